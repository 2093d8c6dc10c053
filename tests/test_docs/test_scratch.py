"""docs/scratch.py makes the data that a tutorial needs, for who follows it."""

import runpy
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = ROOT / 'docs' / 'scratch.py'
TUTORIALS = [
    path.stem
    for path in sorted(ROOT.glob('docs/tutorials/*.md'))
    if '{code-cell}' in path.read_text('utf-8')
]

pytestmark = pytest.mark.skipif(not SCRIPT.is_file(), reason='the pages are in the checkout only')


def run(monkeypatch, *words):
    monkeypatch.setattr(sys, 'argv', [SCRIPT.name, *words])
    runpy.run_path(str(SCRIPT), run_name='__main__')


@pytest.mark.parametrize('tutorial', TUTORIALS)
def test_data_of_a_tutorial(tutorial, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    run(monkeypatch, tutorial)
    folder = Path(capsys.readouterr().out.split()[-1])
    page = (ROOT / 'docs' / 'tutorials' / f'{tutorial}.md').read_text('utf-8')
    assert folder.parent == Path('data') and page.count(str(folder)) > 2
    assert len([*folder.rglob('*.jpg'), *folder.rglob('*.png')]) > 50
    assert f'python docs/scratch.py {tutorial}\n' in page
    # What may be a person's own is never touched.
    with pytest.raises(SystemExit, match=f'{folder} is there already'):
        run(monkeypatch, tutorial)


def test_a_name_that_is_none(monkeypatch, capsys):
    with pytest.raises(SystemExit):
        run(monkeypatch, 'comparing')
    assert "'comparing'" in (said := capsys.readouterr().err)
    assert all(name in said for name in TUTORIALS) and len(TUTORIALS) == 7
