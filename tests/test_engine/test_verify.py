"""``python -m mmattn data --verify CONFIG`` on small data of each toolbox."""

import json
import multiprocessing
import os
import sys
from pathlib import Path

import cv2
import mmengine.logging
import numpy as np
import pytest
from mmengine.logging import print_log

from mmattn.__main__ import main
from mmattn.datasets.reading import IN_COLOUR
from mmattn.engine.verify import verify


@pytest.fixture
def verified(capfd):
    """Exit status, and what it says is wrong: {file name: what}."""

    def run(config, *args):
        status = main(['data', '--verify', str(config), *args])
        lines = capfd.readouterr().out.splitlines()
        found = {}
        for line in lines:
            path, _, what = line.partition(': ')
            found.setdefault(os.path.basename(path), []).append(what)
        return status, found

    return run


def damage(path):
    data = bytearray(Path(path).read_bytes())
    middle = len(data) // 2
    data[middle : middle + 60] = np.random.default_rng(1).integers(0, 255, 60, np.uint8).tobytes()
    Path(path).write_bytes(data)


def cut_off(path):
    data = Path(path).read_bytes()
    Path(path).write_bytes(data[: len(data) // 2])


def picture(seed):
    grain = np.random.default_rng(seed).integers(0, 255, (15, 20, 3), np.uint8)
    return cv2.resize(grain, (160, 120))


def test_classification(project, verified):
    assert verified('tiny.py') == (0, {})
    cut_off('data/tiny/train/a/1.png')
    cut_off('data/tiny/val/b/2.png')
    Path('data/tiny/train/b/3.png').write_text('no image')
    assert verified('tiny.py') == (
        1,
        {
            '1.png': ['cut off, the end of the image is missing'],
            '2.png': ['cut off, the end of the image is missing'],
            '3.png': ['not an image that can be decoded'],
        },
    )


@pytest.fixture
def forkserver():
    """The start method of processes that Linux has by default from Python 3.14 on."""
    before = multiprocessing.get_start_method(allow_none=True)
    multiprocessing.set_start_method('forkserver', force=True)
    yield
    multiprocessing.set_start_method(before, force=True)


@pytest.mark.skipif(sys.platform != 'linux', reason='forks on Linux only')
def test_says_what_it_has_read(project, capfd, forkserver):
    assert verify('tiny.py', processes=1) == 0
    said = capfd.readouterr()
    assert said.out == ''
    assert '16 samples read (train 8, val 8)' in ' '.join(said.err.split())


def test_imports_of_the_toolboxes_say_nothing(project, capfd, monkeypatch):
    monkeypatch.setattr(mmengine.logging, 'print_log', print_log)
    verify('tiny.py')
    mmengine.logging.print_log('Could not import OneDL')  # as mmseg does
    assert 'OneDL' not in ''.join(capfd.readouterr())


def test_another_data_root_and_options(project, verified):
    cut_off('data/tiny/train/a/1.png')
    Path('data/tiny').rename('data/moved')
    status, found = verified('tiny.py', '--data-root', 'data/moved')
    assert (status, list(found)) == (1, ['1.png'])
    moved = [f'{name}_dataloader.dataset.data_root=data/moved' for name in ('train', 'val', 'test')]
    assert verified('tiny.py', '--cfg-options', *moved)[0] == 1
    assert verified('tiny.py')[0] == 2


DETECTOR = """
default_scope = 'mmdet'
load = [dict(type='LoadImageFromFile'), dict(type='LoadAnnotations', with_bbox=True)]
train_dataloader = dict(dataset=dict(type='RepeatDataset', times=2, dataset=dict(
    type='CocoDataset', data_root='.', ann_file='coco.json', data_prefix=dict(img='images'),
    metainfo=dict(classes=('a',)), filter_cfg=dict(filter_empty_gt=True),
    pipeline=[*load, dict(type='Resize', scale=(64, 64)), dict(type='PackDetInputs')])))
"""


def test_detection(tmp_path, monkeypatch, verified):
    pytest.importorskip('mmdet')
    monkeypatch.chdir(tmp_path)
    Path('images').mkdir()
    Path('detector.py').write_text(DETECTOR)
    images = [dict(id=n, file_name=f'{n}.jpg', width=160, height=120) for n in range(8)]
    boxes = [[5, 6, 20, 20]] * 6 + [[900, 6, 20, 20], [5, 6, 0, 20]]
    annotations = [
        dict(id=n, image_id=n, category_id=1, bbox=box, area=400, iscrowd=0)
        for n, box in enumerate(boxes)
    ]
    for number in range(8):
        cv2.imwrite(f'images/{number}.jpg', picture(number))
    cut_off('images/1.jpg')
    damage('images/2.jpg')
    Path('images/3.jpg').unlink()
    images[4]['width'] = 150
    annotations[5]['category_id'] = 9
    content = dict(images=images, annotations=annotations, categories=[dict(id=1, name='a')])
    Path('coco.json').write_text(json.dumps(content))
    status, found = verified('detector.py')
    assert status == 1
    assert found['1.jpg'] == ['cut off, the end of the image is missing']
    assert found['2.jpg'][0].startswith('damaged: Corrupt JPEG data')
    assert found['3.jpg'] == ['No such file or directory']
    assert found['4.jpg'] == ['150 x 120 pixels in the annotation, 160 x 120 in the image']
    assert sorted(what.split(' (')[0] for what in found['coco.json']) == [
        'annotation 5: its category is not in the file',
        'annotation 6: outside the image',
        'annotation 7: zero or negative area',
    ]
    assert set(found) == {'1.jpg', '2.jpg', '3.jpg', '4.jpg', 'coco.json'}


def test_voc(tmp_path, monkeypatch, verified, write_voc):
    pytest.importorskip('mmdet')
    monkeypatch.chdir(tmp_path)
    write_voc(tmp_path)
    Path('voc.py').write_text(
        "default_scope = 'mmdet'\n"
        "train_dataloader = dict(dataset=dict(type='XMLDataset', data_root='.', "
        "data_prefix=dict(sub_data_root=''), ann_file='train.txt', metainfo=dict(classes=('a',)), "
        "pipeline=[dict(type='LoadImageFromFile'), dict(type='PackDetInputs')]))"
    )
    status, found = verified('voc.py')
    assert status == 1
    assert found == {
        '1.xml': ['zero or negative area (a (9.0, 9.0, 4.0, 19.0))'],
        '1.jpg': ['box [9.0, 9.0, 4.0, 19.0]: zero or negative area'],
    }


@pytest.fixture
def write_voc():
    def write(root):
        for folder in ('Annotations', 'JPEGImages'):
            (root / folder).mkdir()
        for number, right in enumerate((30, 5)):
            cv2.imwrite(str(root / f'JPEGImages/{number}.jpg'), picture(number))
            box = f'<xmin>10</xmin><ymin>10</ymin><xmax>{right}</xmax><ymax>20</ymax>'
            (root / f'Annotations/{number}.xml').write_text(
                '<annotation><size><width>160</width><height>120</height></size><object>'
                f'<name>a</name><difficult>0</difficult><bndbox>{box}</bndbox></object></annotation>'
            )
        (root / 'train.txt').write_text('0\n1\n')

    return write


SEGMENTER = """
default_scope = 'mmseg'
train_dataloader = dict(dataset=dict(
    type='BaseSegDataset', data_root='.', data_prefix=dict(img_path='img', seg_map_path='map'),
    metainfo=dict(classes=('a', 'b')), pipeline=[
        dict(type='LoadImageFromFile'), dict(type='LoadAnnotations'), dict(type='PackSegInputs')]))
"""


def test_segmentation(tmp_path, monkeypatch, verified):
    pytest.importorskip('mmseg')
    monkeypatch.chdir(tmp_path)
    Path('segmenter.py').write_text(SEGMENTER)
    for folder in ('img', 'map'):
        Path(folder).mkdir()
    for number in range(5):
        cv2.imwrite(f'img/{number}.jpg', picture(number))
        labels = np.full((120, 160), 255 if number == 3 else 1, np.uint8)
        cv2.imwrite(f'map/{number}.png', labels)
    cv2.imwrite('map/0.png', np.full((120, 160), 4, np.uint8))
    cv2.imwrite('map/1.png', np.zeros((100, 160), np.uint8))
    cut_off('map/2.png')
    # Colours instead of labels, even small ones that would be labels.
    cv2.imwrite('map/4.png', np.ones((120, 160, 3), np.uint8))
    assert verified('segmenter.py') == (
        1,
        {
            '0.jpg': ['label 4 in the map, but there are 2 classes'],
            '1.jpg': ['the map of labels has 160 x 100 pixels, the image 160 x 120'],
            '2.png': ['cut off, the end of the image is missing'],
            '4.jpg': [IN_COLOUR.format(3)],
        },
    )
    with open('segmenter.py', 'a') as config:
        config.write('model = dict(decode_head=dict(ignore_index=4))')
    faults = verified('segmenter.py')[1]
    # A loss that ignores 4 does not ignore 255.
    assert set(faults) == {'1.jpg', '2.png', '3.jpg', '4.jpg'}
    assert faults['3.jpg'] == ['label 255 in the map, but there are 2 classes']


@pytest.mark.parametrize(
    'words', [['coco', '--verify', 'tiny.py'], ['coco', '--cfg-options', 'model=None']]
)
def test_arguments_that_would_do_nothing_are_refused(project, words, capsys):
    assert main(['data', *words]) == 2
    assert 'CONFIG' in capsys.readouterr().err
