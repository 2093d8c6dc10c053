"""run_table.py: skips, continues, reports."""

import json
import os
import runpy
import subprocess
import sys

import pytest

from mmattn.engine.summary import RunSummary, write_summary
from mmattn.engine.survival import signals
from mmattn.experiments import find_experiments, run
from mmattn.experiments.run import How
from mmattn.utils.errors import Interrupted, UserError


@pytest.fixture(autouse=True)
def in_a_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv('NNODES', raising=False)


@pytest.fixture
def rows():
    return find_experiments('scsa-2', config='swin')


@pytest.fixture
def seeded():
    """The three runs of a row whose figures are means over three seeds."""
    (row,) = find_experiments('res2net-1', config='resnet56')
    return row.runs()


@pytest.fixture
def tool(project_root, monkeypatch):
    """Runs tools/run_table.py in this process, which spares a start for each command."""
    script = project_root / 'tools' / 'run_table.py'
    monkeypatch.setattr(sys, 'path', [str(script.parent), *sys.path])

    def call(*words):
        monkeypatch.setattr(sys, 'argv', [str(script), *words])
        with pytest.raises(SystemExit) as end:
            runpy.run_path(str(script), run_name='__main__')
        return end.value.code

    return call


def finish(run_, metrics, demo=False):
    folder = run.work_dir_of(run_, demo)
    folder.mkdir(parents=True, exist_ok=True)
    write_summary(RunSummary(run_.config, 'x', 'x', str(folder), 1.0, metrics=metrics))


def test_results_stand_beside_the_papers(rows, capsys):
    finish(rows[0], {'accuracy/top1': 81.0, 'accuracy/top5': 95.0})
    assert run.result_of(rows[0]) == {'top1': 81.0, 'top5': 95.0}
    assert run.result_of(rows[1]) is None
    run.print_results(rows)
    out = capsys.readouterr().out
    assert '81.00 / 80.83' in out and '- / 81.53' in out and '1 of 2 rows' in out
    assert 'seeds' not in out


def test_shares_become_per_cent():
    row = find_experiments('scsa-4', config='r50_scsa_1x_voc', attention='CA')[0]
    # COCO's evaluator, and VisDrone's.
    for prefix in ('coco', 'visdrone'):
        finish(row, {f'{prefix}/bbox_mAP': 0.518, f'{prefix}/bbox_mAP_50': 0.825})
        assert run.result_of(row) == pytest.approx({'AP': 51.8, 'AP50': 82.5})


def test_a_table_of_means_runs_all_seeds(seeded, tool, capsys):
    assert [one.seed for one in seeded] == [0, 1, 2]
    folders = [one.work_dir for one in seeded]
    # The folder of seed 0 has no suffix: it had none before there were other seeds.
    old = 'work_dirs/res2net-1/resnet56_cifar10'
    assert folders == [old, f'{old}_seed1', f'{old}_seed2']
    assert tool('--table', 'res2net-1', '--config', 'resnet56', '--dry-run') == 0
    lines = capsys.readouterr().out.splitlines()
    for line, one in zip(lines, seeded, strict=True):
        assert f'--work-dir {one.work_dir} --seed {one.seed}' in line
    assert tool('--table', 'scsa-6', '--dry-run', '--seed', '3', '4') == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 16 and '_seed3 --seed 3' in lines[0] and '_seed4 --seed 4' in lines[1]


def test_seeds_are_reported_as_mean_and_deviation(seeded, tool, capsys):
    words = ['--table', 'res2net-1', '--config', 'resnet56', '--results']
    finish(seeded[0], {'accuracy/top1': 94.0})
    assert tool(*words) == 0
    out = capsys.readouterr().out
    assert '1 of 3' in out and '6.00 / 5.82' in out and '0 of 1 rows' in out
    for one, top1 in zip(seeded[1:], (94.4, 94.8), strict=True):
        finish(one, {'accuracy/top1': top1})
    assert tool(*words) == 0
    out = capsys.readouterr().out
    assert '3 of 3' in out and '5.60 ± 0.40 / 5.82' in out and '1 of 1 rows' in out


def test_finished_runs_are_skipped_and_failures_do_not_stop_the_rest(seeded, rows, capfd):
    finish(seeded[0], {'accuracy/top1': 94.0})
    # train.py refuses the option before it imports anything.
    how = How(options=['--no-such-option'])
    failed = run.run_all([*seeded[:2], rows[0]], how)
    out, err = capfd.readouterr()
    assert failed == [seeded[1].run_name, rows[0].run_name]
    assert 'finished before, skipped' in out and err.count('exit status 2') == 2
    assert err.count('unrecognized arguments: --no-such-option') == 2


def test_an_interrupted_row_continues_and_demos_keep_apart(rows):
    folder = run.work_dir_of(rows[1], demo=True)
    assert folder.parts[-2:] == ('scsa-2_demo', 'swin_t_scsa_in1k')
    folder.mkdir(parents=True)
    demo = How(demo=True, options=['--amp'])
    assert '--resume' not in run.train_command(rows[1], demo)
    (folder / 'epoch_1.pth').touch()
    words = run.train_command(rows[1], demo)
    assert {'--resume', '--demo', '--amp'} < set(words) and str(folder) in words
    assert '--resume' not in run.train_command(rows[1], How())


def test_processes_and_machines_go_through_dist_train(rows, monkeypatch):
    assert run.train_command(rows[1], How())[1].endswith('train.py')
    words = run.train_command(rows[1], How(processes=4))
    assert words[0].endswith('dist_train.sh') and words[2] == '4'
    # One process on each of two machines.
    monkeypatch.setenv('NNODES', '2')
    words = run.train_command(rows[1], How())
    assert words[0].endswith('dist_train.sh') and words[2] == '1'


@pytest.mark.parametrize('launcher', [[], ['--launcher', 'pytorch']])
def test_what_runs_is_what_the_dry_run_shows(launcher, tool, tmp_path, monkeypatch, capfd):
    # An interpreter that only says what it is asked to run: dist_train.sh itself is real.
    python = tmp_path / 'python'
    python.write_text('#!/bin/sh\n[ $1 = -c ] && exit\necho "$@"\nexit 3\n')
    python.chmod(0o755)
    monkeypatch.setattr(sys, 'executable', str(python))
    words = ['--table', 'scsa-6', '--row', '0', '--gpus', '2', *launcher]
    assert tool(*words, '--dry-run') == 0
    shown = capfd.readouterr().out.strip()
    assert 'dist_train.sh' in shown
    assert tool(*words) == 1
    out, err = capfd.readouterr()
    assert f'[1/1] scsa-6 mask_rcnn_r50_none_1x_coco: {shown}\n' in out
    assert '--nproc_per_node=2' in out and 'failed with exit status 3' in err


def test_a_slurm_array_has_a_task_for_each_open_run(seeded, tool, tmp_path, monkeypatch, capsys):
    sbatch = tmp_path / 'bin' / 'sbatch'
    sbatch.parent.mkdir()
    sbatch.write_text('#!/bin/sh\necho "$@"\n')
    sbatch.chmod(0o755)
    monkeypatch.setenv('PATH', f'{sbatch.parent}:/usr/bin:/bin')
    finish(seeded[0], {})
    words = ['--table', 'res2net-1', '--config', 'resnet56', '--launcher', 'slurm']
    words += ['--sbatch-args=--partition=gpu', '--seed', '0', '1', '2', '--gpus', '4', '--amp']
    assert tool(*words, '--cfg-options', 'a=1') == 0
    out = capsys.readouterr().out
    assert '--array=1,2 ' in out and '--partition=gpu' in out
    # What a task does is what a run here would do.
    task = out.strip().rpartition('run_table.py ')[2].replace('$SLURM_ARRAY_TASK_ID', '2').split()
    assert tool(*task, '--dry-run') == 0
    (line,) = capsys.readouterr().out.splitlines()
    assert 'dist_train.sh' in line and '--seed 2' in line and '--amp' in line
    assert line.endswith('a=1')

    assert tool(*words, '--row', '2') == 0
    assert '--array=2 ' in capsys.readouterr().out

    monkeypatch.setenv('PATH', '/nowhere')
    with pytest.raises(UserError, match='sbatch is not here.*--array=1'):
        run.submit_array(dict(enumerate(seeded)), ['run_table.py'], [], demo=False)
    for one in seeded:
        finish(one, {})
    with pytest.raises(UserError, match='every row is finished'):
        run.submit_array(dict(enumerate(seeded)), ['run_table.py'], [], demo=False)


def test_options_reach_every_run(tool, capsys):
    words = ['--table', 'scsa-6', '--dry-run', '--demo', '--amp', '--cfg-options', 'a.b=1', 'c=2']
    assert tool(*words) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 8 and all('--demo' in line and '--amp' in line for line in lines)
    assert all(line.endswith(' a.b=1 c=2') and line.count('cfg-options') == 1 for line in lines)
    assert 'model.backbone.attention=None a.b=1' in lines[0]


@pytest.mark.parametrize(
    ('words', 'said'),
    [
        (['--table', 'x'], 'valid: scsa-1'),
        (['--table', 'scsa-6', '--row', '8'], 'there are runs 0 to 7'),
        (['--table', 'scsa-6', '--work-dir', 'mine'], 'each run has its own'),
        (['--table', 'scsa-6', '--gpus', '0'], 'at least 1'),
        (['--table', 'scsa-6', '--dry-run', '--results'], 'not allowed with'),
    ],
)
def test_wrong_options_are_refused(words, said, tool, capsys):
    assert tool(*words) == 2 and said in capsys.readouterr().err


def test_the_tool_is_a_command_of_its_own(project_root):
    script = str(project_root / 'tools' / 'run_table.py')
    done = subprocess.run([sys.executable, script, '--help'], capture_output=True, text=True)
    assert done.returncode == 0 and '--sbatch-args' in done.stdout, done.stderr


def test_a_crashed_rerun_is_not_finished(rows, project):
    """A run that starts training takes the summary of an earlier one away."""
    from mmattn.engine.train import train

    finish(rows[0], {'accuracy/top1': 81.0})
    folder = str(run.work_dir_of(rows[0], False))
    with pytest.raises(UserError, match='misspelt'):
        train('misspelt', work_dir=folder)
    assert run.result_of(rows[0]) == {'top1': 81.0}
    broken = 'train_dataloader.dataset.pipeline=[]'
    with pytest.raises(Exception, match='.'):
        train('tiny.py', work_dir=folder, overwrite=True, cfg_options=[broken])
    assert run.result_of(rows[0]) is None


def test_a_summary_is_json(rows):
    finish(rows[0], {'mIoU': 41.0})
    summary = json.loads((run.work_dir_of(rows[0], False) / 'summary.json').read_text())
    assert summary['metrics'] == {'mIoU': 41.0} and summary['config'] == 'swin_t_scsa_in1k'


@pytest.mark.parametrize(('status', 'what'), [(130, 'Ctrl-C'), (143, 'SIGTERM'), (75, 'SIGUSR1')])
def test_a_training_that_a_signal_has_stopped_ends_the_table(status, what):
    with pytest.raises(Interrupted, match=f'row: stopped by {what}; the same command') as error:
        run.train_by(['sh', '-c', f'exit {status}'], 'row')
    assert error.value.exit_code == status
    assert run.train_by(['sh', '-c', 'exit 1'], 'row') == 1


def test_a_signal_to_the_table_reaches_the_training():
    with signals.handled(), pytest.raises(Interrupted, match='stopped by SIGTERM') as error:
        here = os.getpid()
        command = f'trap "touch got; exit 143" TERM; sleep 1; kill -TERM {here}; sleep 20 & wait'
        run.train_by(['sh', '-c', command], 'row')
    assert error.value.exit_code == 143 and os.path.exists('got')
