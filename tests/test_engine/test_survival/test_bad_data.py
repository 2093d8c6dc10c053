"""Files that are missing or cut off end a run with one line, or are replaced and counted."""

import json
import multiprocessing
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.dataset import DefaultSampler, pseudo_collate
from mmengine.hooks import Hook
from mmengine.registry import DATASETS, init_default_scope
from torch.utils.data import DataLoader

from mmattn.datasets.reading import IN_COLOUR, KEY, BadData, guard
from mmattn.engine.runner import Runner
from mmattn.engine.survival.bad_data import recorded
from mmattn.engine.train import train

BAD = 'data/tiny/train/a/1.png'


def cut_off(path):
    data = Path(path).read_bytes()
    Path(path).write_bytes(data[: len(data) * 2 // 3])


DAMAGES = {
    'cut off': cut_off,
    'No such file': lambda path: Path(path).unlink(),
    'empty': lambda path: Path(path).write_bytes(b''),
    'not an image': lambda path: Path(path).write_text('<html>404</html>'),
    'directory': lambda path: (Path(path).unlink(), Path(path).mkdir()),
}


def run_tiny(workers=0, **survival):
    options = [f'train_dataloader.num_workers={workers}']
    return train('tiny.py', seed=1, survival=survival, cfg_options=options, overwrite=True)


@pytest.mark.parametrize('what', DAMAGES)
def test_stops_before_the_iteration_and_names_the_file(project, what, capfd):
    """CustomDataset lists the folder before the file goes."""
    runner = open_tiny(project)
    DAMAGES[what](BAD)
    with pytest.raises(BadData) as stopped:
        runner.train()
    message = str(stopped.value)
    assert '\n' not in message
    assert BAD in message
    assert what in message
    for way in ('--bad-data skip', '--resume', 'data --verify'):
        assert way in message
    # What was done before is kept, and nothing else was.
    number = runner.iter
    assert list(Path(runner.work_dir).glob('*.pth')) == (
        [Path(runner.work_dir, f'iter_{number}.pth')] if number else []
    )


def open_tiny(project, epochs=2, resume=False, workers=0, hooks=(), **survival):
    cfg = Config.fromfile('tiny.py')
    cfg.work_dir = str(project / f'work_{workers}')
    cfg.train_cfg.max_epochs = epochs
    cfg.train_dataloader.num_workers = workers
    cfg.randomness = dict(seed=1)
    cfg.survival = survival
    cfg.resume = resume
    cfg.default_hooks.checkpoint.interval = 99
    runner = Runner.from_cfg(cfg)
    # CustomDataset lists the files here.
    runner._train_loop = runner.build_train_loop(runner._train_loop)
    for hook in hooks:
        runner.register_hook(hook)
    return runner


class Killed(BaseException):
    pass


class Kill(Hook):
    priority = 'VERY_LOW'

    def __init__(self, iteration):
        self.iteration = iteration

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        if runner.iter + 1 == self.iteration:
            raise Killed


def state(runner):
    weights = {key: value.clone() for key, value in runner.model.state_dict().items()}
    return weights, recorded(runner)


def assert_same(one, two):
    assert one[1] == two[1]
    assert one[0].keys() == two[0].keys()
    for key in one[0]:
        assert torch.equal(one[0][key], two[0][key]), key


def test_replaced_alike_with_any_number_of_workers_and_when_resumed(project):
    cut_off(BAD)
    skip = dict(bad_data='skip', max_bad_data=0.2, save_every='1it')
    whole = open_tiny(project, epochs=3, **skip)
    whole.train()
    expected = state(whole)
    assert expected[1] == {
        BAD: dict(what='cut off, the end of the image is missing', times=3, part='train')
    }
    workers = open_tiny(project, epochs=3, workers=2, **skip)
    workers.train()
    assert_same(state(workers), expected)
    again = project / 'work_0'
    again.rename(project / 'work_of_whole')
    with pytest.raises(Killed):
        open_tiny(project, epochs=3, hooks=[Kill(3)], **skip).train()
    resumed = open_tiny(project, epochs=3, resume=True, **skip)
    resumed.train()
    assert_same(state(resumed), expected)


def test_the_summary_names_the_files(project, capsys):
    cut_off(BAD)
    summary = run_tiny(bad_data='skip', max_bad_data=0.2)
    assert summary.bad_data == {BAD: 'cut off, the end of the image is missing'}
    assert summary.replaced_samples == 2
    written = json.loads(Path(summary.work_dir, 'summary.json').read_text())
    assert (written['bad_data'], written['replaced_samples']) == (summary.bad_data, 2)
    assert f'2, of {BAD} (cut off' in capsys.readouterr().out


def test_too_many_stop_even_so(project):
    cut_off(BAD)
    with pytest.raises(BadData, match=r'1 of 8 samples, --max-bad-data is 0\.1'):
        run_tiny(bad_data='skip', max_bad_data=0.1)


@pytest.mark.parametrize('workers', [0, 2])
def test_no_readable_file_at_all(project, workers):
    for path in Path('data/tiny/train').rglob('*.png'):
        path.write_text('nothing')
    with pytest.raises(BadData) as stopped:
        run_tiny(workers, bad_data='skip', max_bad_data=1)
    assert str(stopped.value).startswith('50 samples one after the other cannot be used')
    assert '\n' not in str(stopped.value)


def test_validation_data_too(project):
    cut_off('data/tiny/val/b/2.png')
    with pytest.raises(BadData, match=r'val/b/2\.png: cut off.* \(val\)'):
        run_tiny()
    # The epoch that was to be validated is not lost.
    assert Path('work_dirs/tiny/epoch_1.pth').is_file()
    summary = run_tiny(bad_data='skip', max_bad_data=0.2)
    assert list(summary.bad_data) == ['data/tiny/val/b/2.png']
    assert summary.metrics


def test_a_bug_of_a_transform_is_no_bad_data(project):
    with Path('tiny.py').open('a') as file:
        file.write(
            "train_dataloader['dataset']['pipeline'].insert(1, dict(type='Resize', scale='x'))"
        )
    with pytest.raises(Exception, match=r'.') as raised:
        run_tiny(bad_data='skip', max_bad_data=1)
    assert not isinstance(raised.value, BadData)


@pytest.mark.slow
def test_toolboxes_own_commands_print_one_line(project):
    cut_off(BAD)
    script = (
        'from mmengine.config import Config; from mmengine.registry import RUNNERS\n'
        "cfg = Config.fromfile('tiny.py')\n"
        "cfg.merge_from_dict(dict(work_dir='work', runner_type='mmattn.Runner',"
        " custom_imports=dict(imports=['mmattn']), custom_hooks=[]))\n"
        'import mmattn\nRUNNERS.build(cfg).train()'
    )
    done = subprocess.run([sys.executable, '-c', script], capture_output=True, text=True)
    assert done.returncode == 1
    assert 'Traceback' not in done.stderr
    assert f'error: {BAD}: cut off' in done.stderr


@pytest.fixture
def coco(tmp_path):
    """Four images with a box each."""
    images, annotations = [], []
    for number in range(4):
        image = np.random.default_rng(number).integers(0, 255, (40, 50, 3), np.uint8)
        cv2.imwrite(str(tmp_path / f'{number}.jpg'), image)
        images.append(dict(id=number, file_name=f'{number}.jpg', width=50, height=40))
        box = dict(id=number + 1, image_id=number, category_id=1, area=400, iscrowd=0)
        annotations.append(dict(box, bbox=[5, 6, 20, 20], segmentation=[[5, 6, 25, 6, 25, 26]]))

    def write():
        content = dict(images=images, annotations=annotations, categories=[dict(id=1, name='a')])
        (tmp_path / 'coco.json').write_text(json.dumps(content))
        return tmp_path

    write.annotations = annotations
    return write


def read_all(dataset, scope, workers=0, wrap=lambda dataset: dataset):
    """Notes on the samples that a guarded loader of single samples reads, and the samples."""
    init_default_scope(scope)
    built = DATASETS.build(wrap(dataset))
    options = dict(sampler=DefaultSampler(built, shuffle=False), collate_fn=pseudo_collate)
    np.random.seed(0)
    batches = list(guard(DataLoader(built, 1, num_workers=workers, **options)))
    return [tuple(each) for batch in batches for each in batch.get(KEY, ())], batches


def detection(root, *more):
    pytest.importorskip('mmdet')
    load = [dict(type='LoadImageFromFile'), dict(type='LoadAnnotations', with_bbox=True)]
    return dict(
        type='CocoDataset',
        data_root=str(root),
        ann_file='coco.json',
        data_prefix=dict(img=''),
        metainfo=dict(classes=('a',)),
        pipeline=[*load, *more, dict(type='PackDetInputs')],
    )


@pytest.mark.parametrize('workers', [0, 2])
def test_detection(coco, workers):
    root = coco()
    cut_off(root / '2.jpg')
    notes, batches = read_all(detection(root), 'mmdet', workers)
    assert len(batches) == 4
    # What is read in its place may be the same one again.
    assert set(notes) == {(str(root / '2.jpg'), 'cut off, the end of the image is missing')}


def test_boxes_that_are_not_finite(coco):
    coco.annotations[1]['bbox'][2] = float('inf')
    root = coco()
    notes, _ = read_all(detection(root), 'mmdet')
    assert set(notes) == {(str(root / '1.jpg'), 'the annotation has a box that is not finite')}


def test_annotation_that_no_transform_can_read(coco):
    coco.annotations[3]['segmentation'] = [['x'] * 6]
    root = coco()
    masks = dict(type='LoadAnnotations', with_bbox=True, with_mask=True)
    notes, _ = read_all(detection(root, masks), 'mmdet')
    ((path, what),) = set(notes)
    assert path == str(root / '3.jpg')
    assert 'LoadAnnotations, line' in what


def test_below_wrappers(coco):
    """What a mosaic is made of is noticed as well."""
    root = coco()
    cut_off(root / '2.jpg')
    data = detection(root)
    data['pipeline'].pop()

    def mosaic(dataset):
        dataset = dict(type='RepeatDataset', dataset=dataset, times=1)
        made = [dict(type='Mosaic', img_scale=(40, 40)), dict(type='PackDetInputs')]
        return dict(type='MultiImageMixDataset', dataset=dataset, pipeline=made)

    notes, batches = read_all(data, 'mmdet', wrap=mosaic)
    assert len(batches) == 4
    assert {path for path, _ in notes} == {str(root / '2.jpg')}


@pytest.fixture
def segmentation(tmp_path):
    pytest.importorskip('mmseg')
    for number in range(3):
        image = np.random.default_rng(number).integers(0, 255, (40, 50, 3), np.uint8)
        for folder, content in (('img', image), ('map', image[..., 0] % 2)):
            (tmp_path / folder).mkdir(exist_ok=True)
            cv2.imwrite(str(tmp_path / folder / f'{number}.png'), content)
    return dict(
        type='BaseSegDataset',
        data_root=str(tmp_path),
        data_prefix=dict(img_path='img', seg_map_path='map'),
        img_suffix='.png',
        metainfo=dict(classes=('a', 'b')),
        pipeline=[
            dict(type='LoadImageFromFile'),
            dict(type='LoadAnnotations'),
            dict(type='RandomCrop', crop_size=(20, 20)),
            dict(type='PackSegInputs'),
        ],
    )


def test_maps_of_labels(segmentation):
    maps = Path(segmentation['data_root'], 'map')
    assert read_all(segmentation, 'mmseg')[0] == []
    cut_off(maps / '0.png')
    cv2.imwrite(str(maps / '1.png'), np.full((40, 50), 7, np.uint8))
    notes, _ = read_all(segmentation, 'mmseg')
    assert dict(notes) == {
        str(maps / '0.png'): 'cut off, the end of the image is missing',
        str(maps / '1.png'): 'label 7, but there are 2 classes',
    }


def test_map_of_another_size_than_its_image(segmentation):
    path = Path(segmentation['data_root'], 'map', '1.png')
    segmentation['pipeline'].pop(2)
    cv2.imwrite(str(path), np.zeros((30, 50), np.uint8))
    notes, _ = read_all(segmentation, 'mmseg')
    ((name, what),) = set(notes)
    assert (name, what[:15]) == (str(path), 'the map of labe')


def test_a_map_of_colours(segmentation):
    path = Path(segmentation['data_root'], 'map', '1.png')
    cv2.imwrite(str(path), np.zeros((40, 50, 3), np.uint8))
    notes, _ = read_all(segmentation, 'mmseg')
    assert set(notes) == {(str(path), IN_COLOUR.format(3))}


def test_ignored_labels_are_no_fault(segmentation):
    path = Path(segmentation['data_root'], 'map', '1.png')
    cv2.imwrite(str(path), np.full((40, 50), 255, np.uint8))
    assert read_all(segmentation, 'mmseg')[0] == []


def work(rank, project, policy):
    torch.set_num_threads(1)
    where = f'file://{project}/meeting_{policy}'
    torch.distributed.init_process_group('gloo', init_method=where, rank=rank, world_size=2)
    runner = open_tiny(project, bad_data=policy, max_bad_data=0.2)
    outcome = dict(error='')
    try:
        runner.train()
    except BadData as error:
        outcome['error'] = str(error)
    outcome.update(record=recorded(runner), iter=runner.iter)
    (project / f'{policy}_{rank}.json').write_text(json.dumps(outcome))
    torch.distributed.barrier()


@pytest.mark.parametrize('policy', ['stop', 'skip'])
def test_two_processes_decide_alike(project, policy):
    """Each has one of the bad files in its part of the data, in different iterations."""
    cut_off('data/tiny/val/b/2.png')
    cut_off(BAD)
    fork = multiprocessing.get_context('fork')
    started = [fork.Process(target=work, args=(rank, project, policy)) for rank in range(2)]
    for process in started:
        process.start()
    for process in started:
        process.join(300)
        assert process.exitcode == 0
    first, second = (json.loads((project / f'{policy}_{rank}.json').read_text()) for rank in (0, 1))
    assert first == second
    if policy == 'stop':
        assert BAD in first['error'] or 'val/b/2.png' in first['error']
        assert first['iter'] < 2
    else:
        times = {path: entry['times'] for path, entry in first['record'].items()}
        assert times == {BAD: 2, 'data/tiny/val/b/2.png': 2}


def test_what_the_heads_of_a_model_ignore_is_no_fault(segmentation, tmp_path):
    """As in upernet_r50_scsa_camvid: the data set itself is not told."""
    for number in range(3):
        labels = np.full((40, 50), 7, np.uint8)
        labels[:20] = number % 2
        cv2.imwrite(str(tmp_path / 'map' / f'{number}.png'), labels)
    head = dict(type='FCNHead', in_channels=64, channels=8, num_classes=2, num_convs=1, in_index=0)
    model = dict(
        type='EncoderDecoder',
        data_preprocessor=dict(type='SegDataPreProcessor', size=(20, 20)),
        backbone=dict(type='mmattn.ResNet', depth=18, num_stages=1, out_indices=(0,), strides=(1,)),
        decode_head=dict(head, ignore_index=7),
        test_cfg=dict(mode='whole'),
    )
    model['backbone']['dilations'] = (1,)
    loader = dict(batch_size=1, num_workers=0, dataset=segmentation)
    cfg = Config(
        dict(
            default_scope='mmseg',
            model=model,
            work_dir=str(tmp_path / 'work'),
            train_dataloader=dict(loader, sampler=dict(type='DefaultSampler', shuffle=False)),
            val_dataloader=dict(loader, sampler=dict(type='DefaultSampler', shuffle=False)),
            optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.01)),
            train_cfg=dict(by_epoch=True, max_epochs=1),
            val_cfg={},
            val_evaluator=dict(type='IoUMetric', ignore_index=7),
        )
    )
    cfg.val_dataloader.dataset.pipeline.pop(2)
    Runner.from_cfg(cfg).train()
    path = Path(segmentation['data_root'], 'map', '0.png')
    cv2.imwrite(str(path), np.full((40, 50), 255, np.uint8))
    cfg.work_dir = str(tmp_path / 'not_ignored')
    with pytest.raises(BadData, match='label 255, but there are 2 classes'):
        Runner.from_cfg(cfg).train()
    del cfg.model.decode_head.ignore_index
    cfg.work_dir = str(tmp_path / 'again')
    with pytest.raises(BadData, match='label 7, but there are 2 classes'):
        Runner.from_cfg(cfg).train()
