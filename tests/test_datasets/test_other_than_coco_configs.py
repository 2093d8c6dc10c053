"""The configs of table 4 of the SCSA paper: VOC, VisDrone, ExDark and FLIR ADAS v2."""

import dataclasses

import pytest
import torch
from mmengine.config import Config
from mmengine.evaluator import Evaluator
from mmengine.optim import build_optim_wrapper
from mmengine.registry import DATASETS, METRICS, MODELS, init_default_scope
from mmengine.runner import Runner
from mmengine.structures import InstanceData

from mmattn.demo import Demo
from mmattn.demo.tasks import TASKS
from mmattn.engine import adapt_to_machine, check_data

CLASSES = {'voc': 20, 'visdrone': 10, 'exdark': 12, 'flir': 16}


@pytest.fixture
def load(project_root):
    pytest.importorskip('mmdet')
    if not (project_root / 'configs').is_dir():
        pytest.skip('configs/ is not beside the tests')

    def load(depth, name):
        path = project_root / 'configs' / f'faster_rcnn_r{depth}_scsa_1x_{name}.py'
        return Config.fromfile(path)

    return load


def trains_as_the_paper(cfg):
    assert cfg.train_cfg.max_epochs == 12 and cfg.train_dataloader.batch_size == 2
    optimizer = cfg.optim_wrapper.optimizer
    assert (optimizer.type, optimizer.lr) == ('SGD', 0.0025)
    assert (optimizer.momentum, optimizer.weight_decay) == (0.9, 1e-4)
    assert cfg.param_scheduler[1].milestones == [8, 11]
    assert cfg.auto_scale_lr.base_batch_size == 2


@pytest.mark.parametrize('name', CLASSES)
def test_a_demo_trains_and_evaluates(load, name, tmp_path, monkeypatch):
    cfg = load(50, name)
    trains_as_the_paper(cfg)
    assert cfg.model.roi_head.bbox_head.num_classes == CLASSES[name]
    assert cfg.model.backbone.depth == 50
    small = dataclasses.replace(TASKS['detection'], train_images=4, val_images=2, side=64)
    monkeypatch.setitem(TASKS, 'detection', small)
    cfg.work_dir = str(tmp_path)
    notes = Demo().prepare(cfg)
    assert notes[0].startswith('data: 4 training and 2 validation images')
    check_data(cfg, ('train', 'val', 'test'))
    adapt_to_machine(cfg)
    cfg.model.backbone.depth = 18
    cfg.model.neck.in_channels = [64, 128, 256, 512]
    for loader in (cfg.train_dataloader, cfg.val_dataloader):
        loader.update(num_workers=0, persistent_workers=False, batch_size=2)
    # A Runner would spend ten times as long on printing the config.
    init_default_scope('mmdet')
    torch.manual_seed(0)
    model = MODELS.build(cfg.model)
    train = Runner.build_dataloader(cfg.train_dataloader, seed=0)
    losses = model.train().train_step(
        next(iter(train)), build_optim_wrapper(model, cfg.optim_wrapper)
    )
    assert losses['loss'].isfinite()
    val = Runner.build_dataloader(cfg.val_dataloader)
    evaluator = Evaluator(cfg.val_evaluator)
    evaluator.dataset_meta = val.dataset.metainfo
    truth = (val.dataset.get_data_info(i)['instances'] for i in range(len(val.dataset)))
    with torch.no_grad():
        for batch in val:
            samples = model.eval().val_step(batch)
            for sample in samples:
                instances = next(truth)  # as if it had found every object
                sample.pred_instances = InstanceData(
                    bboxes=torch.tensor([each['bbox'] for each in instances]).float(),
                    labels=torch.tensor([each['bbox_label'] for each in instances]),
                    scores=torch.ones(len(instances)),
                )
            evaluator.process(data_samples=samples, data_batch=batch)
    metrics = evaluator.evaluate(len(val.dataset))
    prefix = 'visdrone' if name == 'visdrone' else 'coco'
    assert metrics[f'{prefix}/bbox_mAP'] == pytest.approx(1)
    classes = val.dataset.metainfo['classes']
    assert len(classes) == CLASSES[name]
    assert tuple(classes) == tuple(train.dataset.metainfo['classes'])


def test_resnet_101_is_all_that_differs(load):
    small, large = (load(depth, 'visdrone') for depth in (50, 101))
    trains_as_the_paper(large)
    assert large.model.backbone.depth == 101
    assert large.model.backbone.init_cfg.checkpoint == 'torchvision://resnet101'
    large.model.backbone.update(small.model.backbone)
    assert large.model == small.model and large.train_dataloader == small.train_dataloader


def test_difficult_objects_are_neither_missed_nor_false_in_voc(load, voc_tree, tmp_path):
    """The ground truth that CocoMetric takes from the data set keeps them as crowds."""
    objects = [
        voc_tree.object('cat', (11, 11, 31, 31)),
        voc_tree.object('cat', (51, 11, 71, 31), extra='<difficult>1</difficult>'),
    ]
    voc_tree.write(tmp_path / 'VOC2007', {'000001': voc_tree.xml(objects)}, {'test': ['000001']})
    cfg = load(50, 'voc')
    cfg.val_dataloader.dataset.data_root = str(tmp_path)
    init_default_scope('mmdet')
    dataset = DATASETS.build(cfg.val_dataloader.dataset)
    metric = METRICS.build(cfg.val_evaluator)
    metric.dataset_meta = dataset.metainfo
    sample = dataset[0]['data_samples']
    label = dataset.metainfo['classes'].index('cat')
    prediction = dict(
        bboxes=torch.tensor([[50.0, 10, 70, 30], [10, 10, 30, 30]]),
        labels=torch.tensor([label, label]),
        scores=torch.tensor([0.9, 0.8]),
    )
    metric.process({}, [{**sample.metainfo, 'pred_instances': prediction}])
    assert metric.evaluate(size=1)['coco/bbox_mAP'] == 1
