"""tools/dataset_converters: --help without imports, options, exit codes."""

import subprocess
import sys

import pytest

from mmattn.datasets import command
from mmattn.datasets.folders import members

# What -X importtime prints, a line a module.
HEAVY = ('torch', 'numpy', 'mmengine', 'mmattn')


@pytest.mark.parametrize('tool', ['to_coco', *(f'{name}_to_coco' for name in members('converter'))])
def test_help_imports_nothing_heavy(tool, project_root):
    path = project_root / 'tools' / 'dataset_converters' / f'{tool}.py'
    if not path.is_file():
        pytest.skip('tools/ is not beside the tests')
    done = subprocess.run(
        [sys.executable, '-X', 'importtime', path, '--help'], capture_output=True, text=True
    )
    assert done.returncode == 0
    assert '--img-subdir' in done.stdout and 'ROOT' in done.stdout
    imported = {line.rpartition('|')[2].strip() for line in done.stderr.splitlines()}
    assert 'argparse' in imported
    assert not imported & set(HEAVY)


def test_the_command_takes_the_data_set_s_name(voc_tree, tmp_path, run_converter, capsys):
    xml = voc_tree.xml([voc_tree.object('cat', (11, 21, 31, 51))])
    voc_tree.write(tmp_path / 'tree', {'a': xml}, {'train': ['a']})
    (tmp_path / 'tree' / 'Annotations').rename(tmp_path / 'tree' / 'xml')
    assert run_converter('voc_to_coco', tmp_path / 'tree') == 2
    assert capsys.readouterr().err.startswith('error: ')
    for tool, name in (('voc_to_coco', []), ('to_coco', ['voc'])):
        options = ('--ann-subdir', 'xml', '--out-dir', tmp_path / tool)
        assert run_converter(tool, *name, tmp_path / 'tree', *options) == 0
    written = [(tmp_path / tool / 'train.json').read_bytes() for tool in ('voc_to_coco', 'to_coco')]
    assert written[0] == written[1]


def test_wrong_use(tmp_path, run_converter, capsys):
    assert run_converter('to_coco', 'cats', tmp_path) == 2
    assert 'exdark' in capsys.readouterr().err
    assert run_converter('to_coco', 'visdrone', tmp_path, '--list-file', 'x') == 2
    shown = capsys.readouterr().err
    assert 'error: --list-file: the converter of visdrone takes no such option' in shown
    assert run_converter('to_coco', 'voc', tmp_path, '--list-file', 'x') == 2
    assert 'it takes --img-subdir, --ann-subdir' in capsys.readouterr().err
    assert run_converter('voc_to_coco', tmp_path / 'nowhere') == 2
    assert 'error: ' in capsys.readouterr().err


def test_ctrl_c(tmp_path, run_converter, monkeypatch, capsys):
    def interrupted(*args):
        raise KeyboardInterrupt

    monkeypatch.setattr(command, 'convert_data_set', interrupted)
    assert run_converter('voc_to_coco', tmp_path) == 130
    assert 'Ctrl-C' in capsys.readouterr().err


def test_a_file_that_cannot_be_written(voc_tree, tmp_path, run_converter, capsys):
    xml = voc_tree.xml([voc_tree.object('cat', (11, 21, 31, 51))])
    voc_tree.write(tmp_path / 'tree', {'a': xml}, {'train': ['a']})
    (tmp_path / 'file').touch()
    assert run_converter('voc_to_coco', tmp_path / 'tree', '--out-dir', tmp_path / 'file') == 1
    assert 'cannot be written' in capsys.readouterr().err
