"""`python -m mmattn data`: facts, counts, and the message about missing data."""

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import pytest
from mmengine.config import Config

from mmattn.__main__ import main
from mmattn.datasets.counting import batches, files, listed, total
from mmattn.datasets.guides import find_guide, guide_of_reader, guides
from mmattn.engine.config import shipped_configs
from mmattn.engine.data_check import check_data
from mmattn.utils.errors import UserError


def touch(root, *names):
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


@pytest.mark.parametrize(
    ('name', 'numbers'),
    [
        ('coco', [118287, 5000]),
        ('voc', [16551, 4952]),
        ('visdrone', [6471, 548]),
        ('exdark', [7363, 3000, 1800, 2563]),
        ('flir', [10742, 1144]),
        ('ade20k', [20210, 2000]),
        ('imagenet', [1281167, 50000]),
        ('cifar10', [50000, 10000]),
        ('cifar100', [50000, 10000]),
        ('bccd', [292, 72]),
        ('camvid', [367, 101]),
        ('drive', [20, 20]),
        ('cityscapes', [2975, 500]),
        ('folder', [None, None]),
    ],
)
def test_known_totals(name, numbers):
    parts = [each.expected for each in find_guide(name).contents]
    assert [number for number in numbers if number not in parts] == []


def test_all_data_sets_are_listed(capsys):
    assert main(['data']) == 0
    shown = capsys.readouterr().out
    assert len(guides()) == 14
    for name in guides():
        assert name in shown


def test_a_name_nobody_knows_is_corrected(capsys):
    assert main(['data', 'visdron']) == 2
    assert 'Did you mean visdrone? There is ade20k, bccd' in capsys.readouterr().err


def test_a_folder_without_a_name_is_refused(capsys, tmp_path):
    assert main(['data', '--data-root', str(tmp_path)]) == 2
    assert 'needs the NAME' in capsys.readouterr().err


def test_the_real_list_of_exdark_is_counted(capsys, shared_dir):
    assert main(['data', 'exdark', '--data-root', str(shared_dir / 'data' / 'exdark')]) == 1
    shown = capsys.readouterr().out
    for number in ('3,000', '1,800', '2,563'):
        assert shown.count(number) == 2
    assert 'incomplete' in shown


def test_a_missing_folder_is_named(capsys, tmp_path):
    assert main(['data', 'visdrone', '--data-root', str(tmp_path / 'nowhere')]) == 1
    shown = capsys.readouterr().out
    for word in ('github.com/VisDrone', 'visdrone_to_coco.py', 'images/*.jpg', '1.5 GB', 'nowhere'):
        assert word in shown


def test_the_real_bccd_is_complete(capsys, shared_dir):
    assert main(['data', 'bccd', '--data-root', str(shared_dir / 'data' / 'bccd')]) == 0
    assert 'complete' in capsys.readouterr().out


def test_of_ones_own_images_any_number_will_do(capsys, tmp_path):
    touch(tmp_path, 'train/cat/1.JPG', 'train/dog/2.png', 'val/cat/3.jpeg')
    assert main(['data', 'folder', '--data-root', str(tmp_path)]) == 0
    assert ' any ' in capsys.readouterr().out
    (tmp_path / 'val' / 'cat' / '3.jpeg').unlink()
    assert main(['data', 'folder', '--data-root', str(tmp_path)]) == 1
    assert 'missing' in capsys.readouterr().out


def test_what_is_incomplete_is_said(capsys, tmp_path):
    touch(tmp_path, 'train2017/1.jpg', 'val2017/1.JPG', 'annotations/instances_val2017.json')
    assert main(['data', 'coco', '--data-root', str(tmp_path)]) == 1
    shown = capsys.readouterr().out
    assert 'too few' in shown and 'incomplete' in shown


def test_files_are_counted_in_any_case_and_not_below(tmp_path):
    touch(tmp_path, 'a/1.jpg', 'a/2.JPG', 'a/3.png', 'a/deep/4.jpg', 'b/5.jpg')
    assert files('a/*.jpg')(tmp_path) == 2
    assert files('*/*.jpg')(tmp_path) == 3
    assert files('a/*.jpg', 'b/*.jpg')(tmp_path) == 3
    assert files('nowhere/*.jpg')(tmp_path) == 0
    (tmp_path / 'a' / 'folder.jpg').mkdir()
    assert files('a/*.jpg')(tmp_path) == 2
    assert total(files('a/*.jpg'), files('b/*.jpg'))(tmp_path) == 3


def test_listed_names_need_their_image(tmp_path):
    touch(tmp_path, 'images/1.jpg', 'images/3.jpg')
    count = listed('list.txt', 'images/{}.jpg')
    assert count(tmp_path) == 0
    (tmp_path / 'list.txt').write_text('1\n2\n3\n')
    assert count(tmp_path) == 2


def test_batches_need_their_sum(tmp_path):
    (tmp_path / 'one').write_bytes(b'content')
    (tmp_path / 'two').write_bytes(b'changed')
    expected = hashlib.md5(b'content').hexdigest()
    assert batches('.', {'one': expected, 'two': expected, 'gone': expected}, 10)(tmp_path) == 10


@pytest.mark.parametrize(
    ('dataset', 'name'),
    [
        ('CocoDataset', 'coco'),
        ('XMLDataset', 'voc'),
        ('VOCDataset', 'voc'),
        ('VisDroneDataset', 'visdrone'),
        ('CIFAR10', 'cifar10'),
        ('CIFAR100', 'cifar100'),
        ('DRIVEDataset', 'drive'),
        ('CustomDataset', 'folder'),
    ],
)
def test_a_dataset_class_has_its_guide(dataset, name):
    assert guide_of_reader(dataset).name == name


def test_an_unknown_dataset_class_has_none():
    assert guide_of_reader('NowhereDataset') is None


@pytest.mark.parametrize(
    ('name', 'words'),
    [
        ('visdrone', ['coco/train.json', 'coco/val.json', 'visdrone_to_coco.py']),
        ('exdark', ['coco/train.json', 'coco/test.json', 'exdark_to_coco.py']),
        ('flir', ['coco/thermal_train.json', 'flir_to_coco.py']),
        ('voc', ['VOC2012/ImageSets/Main/trainval.txt', 'VOC2007/JPEGImages']),
    ],
)
def test_missing_data_names_path_converter_and_command(name, words, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = shipped_configs().get(f'faster_rcnn_r50_scsa_1x_{name}')
    if path is None:
        pytest.skip('configs/ is not beside the package')
    cfg = Config.fromfile(path)
    with pytest.raises(UserError) as error:
        check_data(cfg, ('train', 'val', 'test'))
    for word in [*words, f'python -m mmattn data {name} ', find_guide(name).root + '/']:
        assert word in str(error.value)


# Run by the interpreter as it starts: of all packages only rich, and packaging for the versions.
BARE = """
import sys

ALLOWED = {'mmattn', 'packaging', 'rich', 'markdown_it', 'mdurl', 'pygments'}


class Bare:
    def find_spec(self, name, path=None, target=None):
        if name.partition('.')[0] not in ALLOWED | sys.stdlib_module_names:
            raise ModuleNotFoundError(f'no {name} here', name=name)


sys.meta_path.insert(0, Bare())
"""


def test_it_runs_without_a_stack(tmp_path):
    (tmp_path / 'sitecustomize.py').write_text(BARE)
    project = Path(__file__).resolve().parents[2]
    done = subprocess.run(
        [sys.executable, '-m', 'mmattn', 'data', 'coco'],
        cwd=tmp_path,
        env={'PYTHONPATH': f'{tmp_path}{os.pathsep}{project}'},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1, done.stderr
    assert 'cocodataset.org' in done.stdout
    command = [sys.executable, '-c', 'import numpy']
    bare = subprocess.run(
        command, cwd=tmp_path, env={'PYTHONPATH': str(tmp_path)}, capture_output=True
    )
    assert b'no numpy here' in bare.stderr
