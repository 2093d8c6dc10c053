"""Annotations and lists whose names lead out of the data: refused, and nothing is read there."""

import json
import pickle
import shutil
from pathlib import Path

import pytest
from mmengine.config import Config
from mmengine.registry import DATASETS, DefaultScope

from mmattn.datasets import samples
from mmattn.datasets.boxes import Record
from mmattn.datasets.cifar10.reader import GeneratedCIFAR10
from mmattn.datasets.contact_sheet import draw_contact_sheet
from mmattn.datasets.images import check_image
from mmattn.datasets.reading import BadData
from mmattn.datasets.voc.converter import read_split_file
from mmattn.engine import check_data
from mmattn.engine.config import load_config
from mmattn.engine.runner import Runner
from mmattn.utils.checkpoints import trusting
from mmattn.utils.errors import UserError
from mmattn.utils.paths import LEADS_OUT, LeadsOut


@pytest.fixture
def listed(project):
    """tiny.py whose training images are in a list; returns a function that writes it."""
    image = next((project / 'data' / 'tiny' / 'train').rglob('*.png'), None) or next(
        (project / 'data' / 'tiny' / 'train').rglob('*.jpg')
    )
    # It could be read, and must not be.
    shutil.copy(image, project / 'secret.png')

    def build(name):
        lines = [f'{name} 0'] + [f'{image.relative_to(project / "data/tiny/train")} 1'] * 7
        (project / 'data' / 'tiny' / 'list.txt').write_text('\n'.join(lines) + '\n')
        options = ['train_dataloader.dataset.ann_file=list.txt', 'work_dir=w']
        cfg, _ = load_config('tiny.py', options)
        cfg.train_dataloader.sampler.shuffle = False
        return cfg

    return build


@pytest.mark.parametrize('name', ['../../../secret.png', 'ABSOLUTE/secret.png', 'http://x/a.png'])
def test_a_run_stops_at_a_name_that_leads_out(listed, project, name):
    cfg = listed(name.replace('ABSOLUTE', str(project)))
    with pytest.raises(BadData, match=rf'(secret|a)\.png.*{LEADS_OUT}'):
        Runner.from_cfg(cfg).train()
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        dataset = DATASETS.build(cfg.train_dataloader.dataset)
    faults = list(samples._faults(dataset, 0, []))
    assert [what for _, what in faults] == [LEADS_OUT]


def test_a_name_that_stays_in_the_data_root_is_read(listed, project):
    shutil.copy(project / 'secret.png', project / 'data' / 'tiny' / 'beside.png')
    Runner.from_cfg(listed('../beside.png')).train()


@pytest.mark.parametrize('name', ['../../etc/x.jpg', '/etc/x.jpg'])
def test_a_coco_file_is_looked_at_before_the_run(tmp_path, name):
    pytest.importorskip('mmdet')
    images = [dict(id=1, file_name='a.jpg', width=4, height=4)]
    images.append(dict(images[0], id=2, file_name=name))
    content = dict(images=images, annotations=[], categories=[dict(id=1, name='cat')])
    (tmp_path / 'ann.json').write_text(json.dumps(content))
    (tmp_path / 'img').mkdir()
    dataset = dict(type='CocoDataset', data_root=str(tmp_path), ann_file='ann.json')
    dataset |= dict(data_prefix=dict(img='img'), metainfo=dict(classes=('cat',)), test_mode=True)
    cfg = Config(dict(default_scope='mmdet', test_dataloader=dict(dataset=dataset)))
    with pytest.raises(LeadsOut, match=f'{name} leads|{name}. leads'):
        check_data(cfg, ('test',))
    images[1]['file_name'] = '../img/b.jpg'
    (tmp_path / 'ann.json').write_text(json.dumps(content))
    check_data(cfg, ('test',))


def test_converters_count_such_images(tmp_path):
    record = Record('x', '../secret.png')
    check_image(record, tmp_path)
    assert record.problem == LEADS_OUT
    with pytest.raises(LeadsOut):
        coco = dict(images=[dict(id=1, file_name='../x.png')], annotations=[], categories=[])
        draw_contact_sheet(coco, tmp_path, tmp_path / 'sheet.png')
    (tmp_path / 'train.txt').write_text('a\n../../b\n')
    with pytest.raises(LeadsOut, match=r'\.\./\.\./b'):
        read_split_file(tmp_path / 'train.txt')


class Harm:
    def __reduce__(self):
        return Path.touch, (Path('canary'),)


def test_annotations_that_are_pickles(project):
    (project / 'data' / 'tiny' / 'list.pkl').write_bytes(pickle.dumps(Harm()))
    cfg, _ = load_config('tiny.py', ['train_dataloader.dataset.proposal_file=list.pkl'])
    with pytest.raises(
        UserError, match=r"proposal_file='list.pkl' .*is a pickle.*--trust-checkpoint"
    ):
        check_data(cfg)
    with trusting():
        check_data(cfg)
    cfg.survival = dict(trust_checkpoint=True)
    check_data(cfg)


def test_cifar_files_without_a_checksum(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / GeneratedCIFAR10.base_folder
    folder.mkdir()
    for name, _ in GeneratedCIFAR10.test_list:
        (folder / name).write_bytes(pickle.dumps(dict(data=Harm(), labels=[])))
    with pytest.raises(UserError, match=r'asks for pathlib\.'):
        GeneratedCIFAR10(str(tmp_path), 'test')
    assert not Path('canary').exists()
