"""The page about runs: what it says, that it needs no network, and that a browser draws it."""

import json
import re
import shutil
import subprocess

import pytest

from mmattn.analysis.report.curves import MOST_POINTS, figures, iterations
from mmattn.analysis.report.page import config_changes, write_report
from mmattn.analysis.runs import read_runs
from mmattn.utils.errors import UserError

pytest.importorskip('plotly')
pytest.importorskip('scipy')


def make_run(folder, attention='SE', seed=0, metric=70.0, log=True):
    folder.mkdir(parents=True)
    summary = dict(
        config='resnet50_scsa_in1k',
        task='classification (mmpretrain)',
        attention=attention,
        work_dir=str(folder),
        seconds=60.0,
        progress='2 epochs, 20 iterations',
        metrics={'accuracy/top1': metric},
        seed=seed,
        command='train.py resnet50_scsa_in1k <b>',
        versions={'torch': '2.11.0'},
    )
    (folder / 'summary.json').write_text(json.dumps(summary))
    if log:
        entries = [dict(lr=0.1, loss=2.0 / i, time=0.5, step=i, epoch=1) for i in range(1, 21)]
        entries.insert(10, {'accuracy/top1': metric - 5, 'step': 1})
        entries.append({'accuracy/top1': metric, 'step': 2})
        vis = folder / '20260101_000000' / 'vis_data'
        vis.mkdir(parents=True)
        (vis / 'scalars.json').write_text('\n'.join(map(json.dumps, entries)) + '\n')
    return folder


@pytest.fixture
def runs(tmp_path):
    for seed in range(3):
        make_run(tmp_path / f'se_{seed}', seed=seed, metric=70.0 + seed)
    make_run(tmp_path / 'plain', attention='none', metric=69.0)
    return tmp_path


def words_of(page):
    text = re.sub(r'<(script|style)>.*?</\1>', '', page, flags=re.S)
    return ' '.join(re.sub('<[^>]+>', ' ', text).split())


def test_what_the_page_says(runs, tmp_path):
    out = write_report([runs], tmp_path / 'pages' / 'report.html')
    page = out.read_text()
    words = words_of(page)
    assert 'Training report: 4 runs' in words
    assert '2 epochs, 20 iterations' in words
    # Mean, deviation and interval of 70, 71, 72: t(0.975, 2) = 4.303.
    assert 'SE 3 71 ± 1 [68.52, 73.48]' in words
    assert 'none 1 69' in words
    assert 'torch 2.11.0' in words
    # What comes from a command or a log is text.
    assert '<b>' not in page.replace('<body>', '')
    assert '&lt;b&gt;' in page


def test_it_needs_no_network(runs, tmp_path):
    page = write_report([runs], tmp_path / 'report.html').read_text()
    outside = re.sub(r'<script>.*?</script>', '', page, flags=re.S)
    assert not re.search(r'(?:src|href)="(?!data:)', outside)
    assert '<script src' not in page


def test_curves_have_the_iteration_of_a_validation(runs):
    found = figures(read_runs([runs])[0])
    assert list(found)[0] == 'accuracy/top1'
    (line,) = [line for line in found['accuracy/top1']['data'] if line['name'] == 'se_1']
    assert (line['x'], line['y']) == ([10, 20], [66.0, 71.0])
    loss = found['loss']['data'][0]
    assert loss['x'] == list(range(1, 21))
    assert 'time' not in found


def test_long_curves_are_means_of_neighbours(runs):
    (run,), _ = read_runs([make_run(runs / 'long', log=False)])
    count = 2 * MOST_POINTS
    run.__dict__['scalars'] = [dict(loss=float(i), step=i) for i in range(1, count + 1)]
    (figure,) = figures([run]).values()
    line = figure['data'][0]
    assert len(line['x']) == MOST_POINTS
    assert (line['x'][0], line['y'][0]) == (2, 1.5)
    assert line['x'][-1] == count


def test_a_resumed_log_goes_on():
    entries = [dict(loss=1.0, step=5), {'mAP': 0.5, 'step': 1}, dict(loss=1.0, step=10)]
    assert [step for step, _ in iterations(entries)] == [5, 5, 10]


def test_changes_of_the_config(runs, tmp_path):
    from mmattn.engine.config import load_config

    folder = make_run(tmp_path / 'changed')
    cfg, _ = load_config('resnet50_scsa_in1k', ['train_cfg.max_epochs=3'])
    cfg.dump(str(folder / 'resnet50_scsa_in1k.py'))
    (run,), _ = read_runs([folder])
    assert 'train_cfg.max_epochs: 100 -> 3' in config_changes(run)
    assert len(config_changes(run)) < 5


def test_pictures_are_part_of_the_page(runs, tmp_path):
    from PIL import Image

    Image.new('RGB', (2000, 1000), 'red').save(runs / 'plain' / 'seen.png')
    page = write_report([runs / 'plain'], tmp_path / 'report.html').read_text()
    assert 'src="data:image/jpeg;base64,' in page
    assert 'plain: seen.png' in page


def test_no_run_is_said(tmp_path):
    with pytest.raises(UserError, match='no run'):
        write_report([tmp_path], tmp_path / 'report.html')


BROWSERS = ('chromium', 'chromium-browser', 'google-chrome', 'chrome', 'chrome-headless-shell')


def test_a_browser_draws_it(runs, tmp_path):
    """Without errors of its scripts, curves and all; on a phone's screen."""
    browser = next(filter(None, map(shutil.which, BROWSERS)), None)
    if browser is None:
        pytest.skip('needs Chromium or Chrome')
    page = write_report([runs], tmp_path / 'report.html')
    picture = tmp_path / 'page.png'
    options = ['--headless', '--no-sandbox', '--disable-gpu', '--virtual-time-budget=15000']
    options += ['--enable-logging=stderr', '--v=0', '--window-size=400,3000']
    done = subprocess.run(
        [browser, *options, '--dump-dom', f'--screenshot={picture}', page.as_uri()],
        capture_output=True,
        text=True,
        timeout=120,
    )
    errors = [line for line in done.stderr.splitlines() if 'CONSOLE' in line]
    assert not errors
    # plotly has drawn a line for each run.
    assert done.stdout.count('class="scatterlayer') >= 2
    assert picture.stat().st_size > 10_000
