"""run_table.py: skips, continues, reports."""

import json
import subprocess
import sys

import pytest

from mmattn.engine.summary import RunSummary, write_summary
from mmattn.experiments import find_experiments, run
from mmattn.utils.errors import UserError


@pytest.fixture(autouse=True)
def in_a_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def rows():
    return find_experiments('scsa-2', config='swin')


def finish(row, metrics, demo=False):
    folder = run.work_dir_of(row, demo)
    folder.mkdir(parents=True, exist_ok=True)
    write_summary(RunSummary(row.config, 'x', 'x', str(folder), 1.0, metrics=metrics))


def test_results_stand_beside_the_papers(rows, capsys):
    finish(rows[0], {'accuracy/top1': 81.0, 'accuracy/top5': 95.0})
    assert run.result_of(rows[0]) == {'top1': 81.0, 'top5': 95.0}
    assert run.result_of(rows[1]) is None
    run.print_results(rows)
    out = capsys.readouterr().out
    assert '81.00 / 80.83' in out and '- / 81.53' in out and '1 of 2 rows' in out


def test_shares_become_per_cent():
    row = find_experiments('scsa-4', config='r50_scsa_1x_voc', attention='CA')[0]
    # COCO's evaluator, and VisDrone's.
    for prefix in ('coco', 'visdrone'):
        finish(row, {f'{prefix}/bbox_mAP': 0.518, f'{prefix}/bbox_mAP_50': 0.825})
        assert run.result_of(row) == pytest.approx({'AP': 51.8, 'AP50': 82.5})


def test_finished_rows_are_skipped_and_failures_do_not_stop_the_rest(rows, capfd, monkeypatch):
    rows = [*rows, find_experiments('scsa-2', config='repvgg', attention='none')[0]]
    finish(rows[0], {'accuracy/top1': 81.0})
    # ImageNet is not here, so both runs end with an error before they begin.
    failed = run.run_rows(rows, 1, False, ['--data-root', 'nowhere'])
    out, err = capfd.readouterr()
    assert failed == [rows[1].name, rows[2].name]
    assert 'finished before, skipped' in out and err.count('exit status 2') == 2


def test_an_interrupted_row_continues_and_demos_keep_apart(rows):
    folder = run.work_dir_of(rows[1], demo=True)
    assert folder.parts[-2:] == ('scsa-2_demo', 'swin_t_scsa_in1k')
    folder.mkdir(parents=True)
    assert '--resume' not in run.train_command(rows[1], 1, True, [])
    (folder / 'epoch_1.pth').touch()
    words = run.train_command(rows[1], 4, True, ['--amp'])
    assert words[0].endswith('dist_train.sh') and words[2] == '4'
    assert {'--resume', '--demo', '--amp'} < set(words) and str(folder) in words
    assert '--resume' not in run.train_command(rows[1], 1, False, [])


def test_a_slurm_array_has_a_task_for_each_open_row(rows, tmp_path, monkeypatch):
    sbatch = tmp_path / 'bin' / 'sbatch'
    sbatch.parent.mkdir()
    sbatch.write_text('#!/bin/sh\necho "$@"\n')
    sbatch.chmod(0o755)
    monkeypatch.setenv('PATH', f'{sbatch.parent}:/usr/bin:/bin')
    finish(rows[0], {})
    out = run.submit_array(rows, ['run_table.py'], ['--partition=gpu'], demo=False)
    assert '--array=1 ' in out and '--partition=gpu' in out
    assert out.endswith('run_table.py --row $SLURM_ARRAY_TASK_ID')
    monkeypatch.setenv('PATH', '/nowhere')
    with pytest.raises(UserError, match='sbatch is not here.*--array=1'):
        run.submit_array(rows, ['run_table.py'], [], demo=False)
    finish(rows[1], {})
    with pytest.raises(UserError, match='every row is finished'):
        run.submit_array(rows, ['run_table.py'], [], demo=False)


def test_the_tool_prints_commands(project_root):
    tool = str(project_root / 'tools' / 'run_table.py')
    words = [sys.executable, tool, '--table', 'scsa-6', '--dry-run', '--demo', '--amp']
    done = subprocess.run(words, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert len(lines) == 8 and all('--demo' in line and '--amp' in line for line in lines)
    done = subprocess.run([*words[:2], '--table', 'x'], capture_output=True, text=True)
    assert done.returncode == 2 and 'valid: scsa-1' in done.stderr


def test_a_summary_is_json(rows):
    finish(rows[0], {'mIoU': 41.0})
    summary = json.loads((run.work_dir_of(rows[0], False) / 'summary.json').read_text())
    assert summary['metrics'] == {'mIoU': 41.0} and summary['config'] == 'swin_t_scsa_in1k'
