"""A new data set is a folder, a _base_ file and a config; everything else follows from them."""

import json
import os
import shutil
import subprocess
import sys

import pytest
from PIL import Image

FILES = {
    'mmattn/datasets/toys/__init__.py': '"""Toys."""\n',
    'mmattn/datasets/toys/guide.py': """
from mmattn.datasets.counting import files
from mmattn.datasets.guides import Countable, Guide, converted

GUIDE = Guide(
    title='Toys on a Table',
    source='the attic',
    size='1 MB',
    root='data/toys',
    tree=('train.csv, val.csv', 'images/*.png'),
    contents=(Countable('images', 2, files('images/*.png')), *converted('train')),
    prepare='python tools/dataset_converters/to_coco.py toys DATA_ROOT',
    readers=('Toys',),
)
""",
    'mmattn/datasets/toys/converter.py': """
from mmattn.datasets.boxes import Box, Record
from mmattn.datasets.converters import Converter


class ToysConverter(Converter):
    classes = ('ball', 'bear')

    def splits(self):
        return sorted(path.stem for path in self.root.glob('*.csv'))

    def records(self, split):
        records = []
        for row in (self.root / f'{split}.csv').read_text().split():
            name, label, *corners = row.split(',')
            boxes = [Box(label, tuple(map(float, corners)))]
            records.append(Record(name, f'images/{name}', boxes=boxes))
        return records


CONVERTER = ToysConverter
""",
    'mmattn/datasets/toys/reader.py': """
from mmdet.datasets import CocoDataset

from mmattn.registry import DATASETS


@DATASETS.register_module()
class ToysDataset(CocoDataset):
    METAINFO = {'classes': ('ball', 'bear')}
""",
    'mmattn/datasets/toys/demo.py': """
from pathlib import Path

from mmattn.datasets.demos import DemoFormat, class_names, convert_split, save_image
from mmattn.datasets.toys.converter import ToysConverter


def write(dataset, demo):
    root, split = Path(dataset.data_root), Path(dataset.ann_file).stem
    rows = []
    for index, scene in enumerate(demo.scenes()):
        save_image(scene, root / 'images' / f'{split}{index}.png')
        item = scene.objects[0]
        label = class_names(dataset)[item.category]
        rows.append(','.join([f'{split}{index}.png', label, *map(str, item.box)]))
    (root / f'{split}.csv').write_text('\\n'.join(rows))
    convert_split(ToysConverter(root), split, dataset)


DEMO = DemoFormat('detection', ('ToysDataset',), write)
""",
    'configs/_base_/datasets/toys.py': """
_base_ = ['mmdet::_base_/datasets/coco_detection.py']
data_root = 'data/toys/'
train_dataloader = dict(
    dataset=dict(
        type='mmattn.ToysDataset',
        data_root=data_root,
        ann_file='coco/train.json',
        data_prefix=dict(img=''),
    ),
)
val_dataloader = dict(
    dataset=dict(
        type='mmattn.ToysDataset',
        data_root=data_root,
        ann_file='coco/val.json',
        data_prefix=dict(img=''),
    ),
)
test_dataloader = val_dataloader
val_evaluator = dict(ann_file=data_root + 'coco/val.json')
test_evaluator = val_evaluator
""",
    'configs/faster_rcnn_r50_se_1x_toys.py': """
'''Faster R-CNN R50 + SE on toys.'''

_base_ = [
    'mmdet::_base_/models/faster-rcnn_r50_fpn.py',
    '_base_/datasets/toys.py',
    'mmdet::_base_/schedules/schedule_1x.py',
    'mmdet::_base_/default_runtime.py',
]
custom_imports = dict(imports=['mmattn'], allow_failed_imports=False)
model = dict(
    backbone=dict(type='mmattn.ResNet', attention=dict(type='SE')),
    roi_head=dict(bbox_head=dict(num_classes=2)),
)
""",
}

FOLLOWS = """
import sys

from mmattn.__main__ import main
from mmattn.demo import Demo
from mmattn.demo.tasks import TASKS
from mmattn.engine.config import load_config
from mmattn.engine.data_check import check_data
from mmattn.utils.errors import UserError

assert main(['data', 'toys', '--data-root', sys.argv[1]]) == 0
name = 'faster_rcnn_r50_se_1x_toys'
try:
    check_data(load_config(name)[0])
except UserError as error:
    print(error)
try:
    wrong, _ = load_config(name, ['model.roi_head.bbox_head.num_classes=80'])
    for part in (wrong.train_dataloader, wrong.val_dataloader):
        part.dataset.update(data_root=sys.argv[1], ann_file='coco/train.json')
    wrong.val_evaluator.ann_file = sys.argv[1] + '/coco/train.json'
    check_data(wrong)
except UserError as error:
    print(error)
vars(TASKS['detection']).update(train_images=4, val_images=1, side=64)
cfg, _ = load_config(name)
cfg.work_dir = sys.argv[2]
print(Demo().prepare(cfg))
assert check_data(cfg) == []

from mmengine.registry import DATASETS

print(DATASETS.build(cfg.train_dataloader.dataset))
"""


@pytest.fixture
def run(project_root, tmp_path):
    """Runs Python in a copy of the project that has the data set; gives what it printed."""
    pytest.importorskip('mmdet')
    copy = tmp_path / 'project'
    for folder in ('mmattn', 'configs', 'tools'):
        if not (project_root / folder).is_dir():
            pytest.skip(f'{folder}/ is not beside the tests')
        ignored = shutil.ignore_patterns('__pycache__', '.mim')
        shutil.copytree(project_root / folder, copy / folder, ignore=ignored)
    for name, text in FILES.items():
        (copy / name).parent.mkdir(exist_ok=True)
        (copy / name).write_text(text)

    def run(*arguments):
        done = subprocess.run(
            [sys.executable, *map(str, arguments)],
            cwd=copy,
            env={**os.environ, 'PYTHONPATH': str(copy)},
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run


@pytest.mark.slow
def test_everything_follows(run, tmp_path):
    data = tmp_path / 'data'
    (data / 'images').mkdir(parents=True)
    for name in ('1.png', '2.png'):
        Image.new('RGB', (40, 30)).save(data / 'images' / name)
    (data / 'train.csv').write_text('1.png,bear,2,3,12,13\n2.png,ball,0,0,50,9\n')
    shown = run('tools/dataset_converters/to_coco.py', 'toys', data)
    assert 'clipped at the image border' in shown
    content = json.loads((data / 'coco' / 'train.json').read_text())
    assert [each['name'] for each in content['categories']] == ['ball', 'bear']
    assert [each['bbox'] for each in content['annotations']] == [[2, 3, 10, 10], [0, 0, 40, 9]]
    shown = run('-c', FOLLOWS, data, tmp_path / 'work_dir')
    for words in (
        'Toys on a Table, from the attic',
        'python -m mmattn data toys --data-root DIR counts what is there',
        'bbox_head.num_classes is 80, but the data set ToysDataset',
        'they show ball, bear',
        'ToysDataset',
    ):
        assert words in shown
