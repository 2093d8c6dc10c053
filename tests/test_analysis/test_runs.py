"""What a training leaves is read as it was."""

import json
import time

import pytest

from mmattn.analysis.runs import PER_IMAGE_FILE, flat, read_runs, write_per_image
from mmattn.engine.summary import SUMMARY_FILE
from mmattn.engine.train import train
from mmattn.utils.errors import UserError
from tests.test_analysis.fabricated_runs import CONFIG, write_run


def test_a_real_run(project):
    config = project / 'tiny.py'
    logged = "type='UniversalVisualizer', vis_backends=[dict(type='LocalVisBackend')]"
    config.write_text(config.read_text().replace("type='UniversalVisualizer'", logged))
    train('tiny.py', seed=3, work_dir='work/a', cfg_options=['train_cfg.max_epochs=1'])
    time.sleep(1)  # a start's folder is named by its second
    train('tiny.py', seed=3, work_dir='work/a', resume='auto')
    (run,), notes = read_runs(['work'])
    assert not notes and run.finished and run.name == 'a'
    assert (run.stem, run.data, run.attention, run.seed) == ('tiny', 'tiny', 'SE', 3)
    assert run.task == 'classification (mmpretrain)'
    assert set(run.metrics) == {'accuracy/top1'}
    # Two iterations and a validation each, in their order.
    assert [entry['step'] for entry in run.scalars if 'lr' in entry] == [1, 2, 3, 4]
    assert run.scalars[-1]['accuracy/top1'] == run.metrics['accuracy/top1']
    assert run.settings['model.backbone.attention.type'] == 'SE'
    assert not [key for key in run.settings if 'work_dir' in key or 'seed' in key]
    assert len(list(run.folder.glob('2*'))) == 2 and run.started == max(
        path.name for path in run.folder.glob('2*')
    )


def test_an_unfinished_run_is_read_from_its_config(tmp_path):
    folder = write_run(tmp_path / 'a', seed=4)
    (folder / '20260101_120000' / 'vis_data').mkdir(parents=True)
    lines = '{"loss": 1.0, "step": 1}\n{"loss": 0.5, "st'  # killed while it wrote
    (folder / '20260101_120000' / 'vis_data' / 'scalars.json').write_text(lines)
    (folder / SUMMARY_FILE).unlink()
    (run,), _ = read_runs([tmp_path])
    assert not run.finished and not run.metrics
    assert (run.config, run.attention, run.seed) == ('tiny.py', 'SE', 4)
    assert run.scalars == [{'loss': 1.0, 'step': 1}]


@pytest.mark.parametrize(
    ('backbone', 'attention'),
    [
        (dict(type='mmattn.SERes2NetCIFAR', depth=29), 'SE'),
        (dict(type='mmattn.SERes2NetCIFAR', depth=29, attention=None), 'none'),
        (dict(type='mmattn.SERes2NetCIFAR', depth=29, attention=dict(type='ECA')), 'ECA'),
        (dict(type='mmattn.Res2NetCIFAR', depth=29), 'none'),
        (dict(type='timm.SERes2Net'), 'none'),
        (dict(type='Elsewhere'), 'none'),
        ({}, 'none'),
    ],
    ids=str,
)
def test_attention_that_a_backbone_has_by_itself(tmp_path, backbone, attention):
    pytest.importorskip('mmpretrain')
    folder = write_run(tmp_path / 'a', attention='none')  # as earlier versions summed it up
    (folder / 'tiny.py').write_text(f'model = dict(backbone={backbone})')
    (run,), _ = read_runs([tmp_path])
    assert run.attention == attention


def test_a_run_without_its_config(tmp_path):
    write_run(tmp_path / 'a', config=None, name='upernet_r18_camvid', attention='none')
    (run,), _ = read_runs([tmp_path])
    assert (run.data, run.attention, run.config_file) == ('camvid', 'none', None)
    assert run.settings == {}


def test_the_data_set_is_in_the_name_or_the_folder_of_the_data(tmp_path):
    for number, name in enumerate(['faster_rcnn_r50_voc.py', 'resnet50_in1k.py', 'mine.py']):
        write_run(tmp_path / f'{number}', name=name)
    data = CONFIG.replace("data_root = 'data/tiny'", "data_root = '/mnt/Cells/'")
    write_run(tmp_path / '3', config=data, name='mine.py')
    runs, _ = read_runs([tmp_path])
    assert [run.data for run in runs] == ['voc', 'in1k', 'tiny', 'cells']


def test_where_the_data_lies_is_no_setting(tmp_path):
    moved = CONFIG.replace("data_root = 'data/tiny'", "data_root = '/mnt/elsewhere/tiny'")
    write_run(tmp_path / 'a')
    write_run(tmp_path / 'b', seed=1, config=moved)
    write_run(tmp_path / 'c', seed=1, config=CONFIG.replace('lr=0.05', 'lr=0.1'))
    (a, b, c), _ = read_runs([tmp_path])
    assert a.settings == b.settings
    assert a.settings['val_dataloader.dataset.ann_file'] == 'val.txt'
    different = {key for key, value in c.settings.items() if a.settings[key] != value}
    assert different == {'optim_wrapper.optimizer.lr'}


def test_runs_are_found_once_and_named_apart(tmp_path):
    write_run(tmp_path / 'x' / 'seed0')
    write_run(tmp_path / 'y' / 'seed0')
    write_run(tmp_path / 'y' / 'seed1')
    (tmp_path / 'y' / 'empty').mkdir()
    runs, notes = read_runs([tmp_path / 'y', tmp_path, tmp_path / 'x' / '..' / 'x'])
    assert [run.name for run in runs] == ['x/seed0', 'y/seed0', 'seed1'] and not notes


def test_what_is_no_run_is_said(tmp_path):
    with pytest.raises(UserError, match="'nowhere' is no folder"):
        read_runs(['nowhere'])
    with pytest.raises(UserError, match=f'holds no run: no {SUMMARY_FILE}'):
        read_runs([tmp_path])
    write_run(tmp_path / 'a')
    for name, text in (('b', '{"config": '), ('c', '[]')):
        (write_run(tmp_path / name) / SUMMARY_FILE).write_text(text)
    runs, notes = read_runs([tmp_path])
    assert [run.name for run in runs] == ['a'] and len(notes) == 2
    assert 'b/summary.json cannot be read' in notes[0]
    assert 'it is not a summary of tools/train.py' in notes[1]


def test_scores_of_images(tmp_path):
    folder = write_run(tmp_path / 'a')
    assert read_runs([folder])[0][0].per_image is None
    write_per_image(folder, {'1.png': 100.0, '2.png': 0})
    assert read_runs([folder])[0][0].per_image == {'1.png': 100.0, '2.png': 0}
    for text, said in (
        ('{', 'is not json'),
        ('[1, 2]', 'must hold'),
        (json.dumps({'1.png': 'good'}), 'every score a finite number'),
        ('{"1.png": NaN}', 'every score a finite number'),
    ):
        (folder / PER_IMAGE_FILE).write_text(text)
        with pytest.raises(UserError, match=said):
            assert read_runs([folder])[0][0].per_image


def test_flat_keys_are_those_of_cfg_options():
    nested = {'a': {'b': 1, 'c': (1, 2)}, 'd': [{'e': 2}, {'e': 3}], 'f': {}}
    assert flat(nested) == {'a.b': 1, 'a.c': [1, 2], 'd.0.e': 2, 'd.1.e': 3, 'f': {}}
