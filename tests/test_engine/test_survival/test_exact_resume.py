"""2N iterations end with the same bits as N, a kill, and N more."""

import copy
import json

import cv2
import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.hooks import Hook

from mmattn.engine.runner import Runner

MEAN = dict(mean=[128.0] * 3, std=[64.0] * 3)
BACKBONE = dict(
    type='mmattn.ResNet',
    depth=18,
    num_stages=2,
    out_indices=(0, 1),
    strides=(2, 2),
    dilations=(1, 1),
    norm_eval=False,
    style='pytorch',
    attention=dict(type='SE'),
)
# Of the history in a checkpoint and its meta: what the clock, or the folder, has made.
CLOCK = {'time', 'data_time', 'experiment_name', 'cfg', 'last_ckpt', 'passing_ckpt', 'memory'}
CLOCK |= {'mmengine_version', 'best_ckpt'}
ITERATIONS = 6  # of an epoch


class Killed(BaseException):
    pass


class Kill(Hook):
    """Ends the process, as far as that goes without ending pytest."""

    priority = 'HIGHEST'

    def __init__(self, iteration):
        self.iteration = iteration

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        if runner.iter == self.iteration:
            raise Killed


@pytest.fixture(scope='module')
def data(tmp_path_factory):
    """Twelve images, upright and across, in the layouts of the three toolboxes."""
    root = tmp_path_factory.mktemp('data')
    rng = np.random.default_rng(0)
    images, boxes = [], []
    for number in range(2 * ITERATIONS):
        size = (64, 48) if number % 3 else (48, 64)
        for folder in ('classes/a', 'classes/b', 'images', 'labels'):
            (root / folder).mkdir(parents=True, exist_ok=True)
        image = rng.integers(0, 255, (*size, 3), dtype=np.uint8)
        x, y = 4 + number, 3 + number
        image[y : y + 24, x : x + 24] = number * 20
        cv2.imwrite(str(root / 'classes' / 'ab'[number % 2] / f'{number}.png'), image)
        cv2.imwrite(str(root / 'images' / f'{number}.png'), image)
        labels = np.zeros(size, np.uint8)
        labels[y : y + 24, x : x + 24] = 1
        cv2.imwrite(str(root / 'labels' / f'{number}.png'), labels)
        images.append(dict(id=number, file_name=f'{number}.png', height=size[0], width=size[1]))
        boxes.append(
            dict(
                id=number + 1,
                image_id=number,
                category_id=1 + number % 2,
                bbox=[x, y, 24, 24],
                area=576,
                iscrowd=0,
            )
        )
    categories = [dict(id=1, name='a'), dict(id=2, name='b')]
    annotations = dict(images=images, annotations=boxes, categories=categories)
    (root / 'coco.json').write_text(json.dumps(annotations))
    return root


def classifier(root):
    """With random crops, colours and flips, mixed images, and dropout."""
    pipeline = [
        dict(type='LoadImageFromFile'),
        dict(type='RandomResizedCrop', scale=32),
        dict(type='RandomFlip', prob=0.5),
        dict(type='ColorJitter', brightness=0.4),
        dict(type='PackInputs'),
    ]
    dataset = dict(
        type='CustomDataset', data_root=str(root), data_prefix='classes', pipeline=pipeline
    )
    test = [dict(type='LoadImageFromFile'), dict(type='Resize', scale=32), dict(type='PackInputs')]
    return dict(
        default_scope='mmpretrain',
        model=dict(
            type='ImageClassifier',
            data_preprocessor=dict(**MEAN, num_classes=2),
            backbone=dict(BACKBONE, out_indices=(1,), drop_path_rate=0.2),
            neck=dict(type='GlobalAveragePooling'),
            head=dict(type='LinearClsHead', num_classes=2, in_channels=128, topk=(1,)),
            train_cfg=dict(augments=dict(type='Mixup', alpha=0.8)),
        ),
        train_dataloader=dict(dataset=dataset),
        val_dataloader=dict(dataset=dict(dataset, pipeline=test)),
        val_evaluator=dict(type='Accuracy', topk=(1,)),
    )


def detector(root):
    """Batches of one aspect ratio; proposals are sampled at random."""
    pytest.importorskip('mmdet')
    pipeline = [
        dict(type='LoadImageFromFile'),
        dict(type='LoadAnnotations', with_bbox=True),
        dict(type='RandomChoiceResize', scales=[(64, 48), (80, 60)], keep_ratio=True),
        dict(type='RandomFlip', prob=0.5),
        dict(type='PhotoMetricDistortion'),
        dict(type='PackDetInputs'),
    ]
    dataset = dict(
        type='CocoDataset',
        data_root=str(root),
        ann_file='coco.json',
        data_prefix=dict(img='images/'),
        metainfo=dict(classes=('a', 'b')),
        pipeline=pipeline,
    )
    test = [
        *pipeline[:2],
        dict(type='Resize', scale=(64, 48), keep_ratio=True),
        dict(
            type='PackDetInputs',
            meta_keys=('img_id', 'img_path', 'ori_shape', 'img_shape', 'scale_factor'),
        ),
    ]
    assigner = dict(type='MaxIoUAssigner', pos_iou_thr=0.5, neg_iou_thr=0.4, min_pos_iou=0.2)
    sampling = dict(type='RandomSampler', num=16, pos_fraction=0.5, add_gt_as_proposals=False)
    proposals = dict(nms_pre=50, max_per_img=20, nms=dict(type='nms', iou_threshold=0.7))
    return dict(
        default_scope='mmdet',
        model=dict(
            type='FasterRCNN',
            data_preprocessor=dict(type='DetDataPreprocessor', **MEAN, pad_size_divisor=32),
            backbone=BACKBONE,
            neck=dict(type='FPN', in_channels=[64, 128], out_channels=16, num_outs=2),
            rpn_head=dict(
                type='RPNHead',
                in_channels=16,
                feat_channels=16,
                anchor_generator=dict(
                    type='AnchorGenerator', scales=[4], ratios=[1.0], strides=[8, 16]
                ),
            ),
            roi_head=dict(
                type='StandardRoIHead',
                bbox_roi_extractor=dict(
                    type='SingleRoIExtractor',
                    roi_layer=dict(type='RoIAlign', output_size=3, sampling_ratio=0),
                    out_channels=16,
                    featmap_strides=[8, 16],
                ),
                bbox_head=dict(
                    type='Shared2FCBBoxHead',
                    in_channels=16,
                    fc_out_channels=16,
                    roi_feat_size=3,
                    num_classes=2,
                ),
            ),
            train_cfg=dict(
                rpn=dict(assigner=assigner, sampler=sampling, pos_weight=-1, allowed_border=-1),
                rpn_proposal=proposals,
                rcnn=dict(
                    assigner=assigner,
                    sampler=dict(sampling, add_gt_as_proposals=True),
                    pos_weight=-1,
                ),
            ),
            test_cfg=dict(
                rpn=proposals,
                rcnn=dict(score_thr=0.05, nms=dict(type='nms', iou_threshold=0.5), max_per_img=5),
            ),
        ),
        train_dataloader=dict(dataset=dataset, batch_sampler=dict(type='AspectRatioBatchSampler')),
        val_dataloader=dict(dataset=dict(dataset, test_mode=True, pipeline=test)),
        val_evaluator=dict(type='CocoMetric', ann_file=str(root / 'coco.json'), metric='bbox'),
    )


def segmenter(root):
    """With random scales, crops and colours, and dropout."""
    pytest.importorskip('mmseg')
    pipeline = [
        dict(type='LoadImageFromFile'),
        dict(type='LoadAnnotations'),
        dict(type='RandomResize', scale=(64, 48), ratio_range=(0.8, 1.5), keep_ratio=True),
        dict(type='RandomCrop', crop_size=(32, 32)),
        dict(type='RandomFlip', prob=0.5),
        dict(type='PhotoMetricDistortion'),
        dict(type='PackSegInputs'),
    ]
    dataset = dict(
        type='BaseSegDataset',
        data_root=str(root),
        data_prefix=dict(img_path='images', seg_map_path='labels'),
        img_suffix='.png',
        seg_map_suffix='.png',
        metainfo=dict(classes=('a', 'b'), palette=[[0, 0, 0], [255, 255, 255]]),
        pipeline=pipeline,
    )
    test = [*pipeline[:2], pipeline[-1]]
    return dict(
        default_scope='mmseg',
        model=dict(
            type='EncoderDecoder',
            data_preprocessor=dict(
                type='SegDataPreProcessor', **MEAN, size=(32, 32), seg_pad_val=255
            ),
            backbone=BACKBONE,
            decode_head=dict(
                type='FCNHead',
                in_channels=128,
                in_index=1,
                channels=16,
                num_convs=1,
                dropout_ratio=0.3,
                num_classes=2,
                norm_cfg=dict(type='BN'),
                align_corners=False,
            ),
            train_cfg={},
            test_cfg=dict(mode='whole'),
        ),
        train_dataloader=dict(dataset=dataset),
        val_dataloader=dict(dataset=dict(dataset, pipeline=test)),
        val_evaluator=dict(type='IoUMetric', iou_metrics=['mIoU']),
    )


TASKS = dict(classifier=classifier, detector=detector, segmenter=segmenter)


def config(task, root, by_epoch=True, workers=0, **changes):
    """Of a short training: two epochs of six iterations, or twelve of these."""
    cfg = Config(copy.deepcopy(TASKS[task](root)))
    kind = 'DefaultSampler' if by_epoch else 'InfiniteSampler'
    loaders = dict(
        train_dataloader=dict(type=kind, shuffle=True),
        val_dataloader=dict(type='DefaultSampler', shuffle=False),
    )
    for name, sampler in loaders.items():
        cfg[name].update(batch_size=2, num_workers=workers, persistent_workers=workers > 0)
        cfg[name].sampler = sampler
    cfg.val_dataloader.update(batch_size=1)
    cfg.update(
        train_cfg=dict(by_epoch=True, max_epochs=2, val_interval=1)
        if by_epoch
        else dict(by_epoch=False, max_iters=12, val_interval=3),
        val_cfg={},
        optim_wrapper=dict(
            type='OptimWrapper',
            optimizer=dict(type='SGD', lr=0.01, momentum=0.9),
            clip_grad=dict(max_norm=5),
        ),
        param_scheduler=[
            dict(type='LinearLR', start_factor=0.1, by_epoch=False, begin=0, end=8),
            dict(type='MultiStepLR', by_epoch=by_epoch, milestones=[1 if by_epoch else 7]),
        ],
        default_hooks=dict(
            checkpoint=dict(
                type='CheckpointHook', by_epoch=by_epoch, interval=1 if by_epoch else 6
            ),
            logger=dict(type='LoggerHook', interval=1),
        ),
        custom_hooks=[dict(type='EMAHook', momentum=0.1)],
        env_cfg=dict(dist_cfg=dict(backend='gloo')),
        survival=dict(save_every='4it'),
        log_level='WARNING',
    )
    cfg.merge_from_dict(changes)
    return cfg


def train(cfg, work_dir, kill_at=None, resume=False, **options):
    """Train a config, to the end or until it is killed; the runner."""
    cfg = copy.deepcopy(cfg)
    cfg.merge_from_dict(dict(work_dir=str(work_dir), resume=resume, **options))
    runner = Runner.from_cfg(cfg)
    if kill_at is None:
        runner.train()
    else:
        runner.register_hook(Kill(kill_at))
        with pytest.raises(Killed):
            runner.train()
    return runner


def last(work_dir):
    """The last checkpoint of a work dir, read as one that is not trusted."""
    path = (work_dir / 'last_checkpoint').read_text()
    return torch.load(path, map_location='cpu', weights_only=True)


def differing(one, other, path=''):
    """Paths of what is not the same, bit by bit."""
    if isinstance(one, dict) and isinstance(other, dict):
        keys = {key for key in (*one, *other) if str(key).rpartition('/')[2] not in CLOCK}
        return [
            found
            for key in sorted(keys, key=str)
            for found in differing(one.get(key), other.get(key), f'{path}.{key}')
        ]
    if isinstance(one, (list, tuple)) and isinstance(other, (list, tuple)):
        if len(one) == len(other):
            pairs = enumerate(zip(one, other, strict=True))
            return [found for i, pair in pairs for found in differing(*pair, f'{path}.{i}')]
    elif isinstance(one, torch.Tensor) and isinstance(other, torch.Tensor):
        return [] if torch.equal(one, other) else [path]
    return [] if type(one) is type(other) and one == other else [path]


CASES = [
    (task, by_epoch, workers, kill_at)
    for task in TASKS
    for by_epoch in (True, False)
    for workers in (0, 2)
    for kill_at in (5, 7)  # after iter_4.pth, and after the epoch's end at 6
]
FAST = {('classifier', True, 0, 5), ('classifier', False, 0, 7)}


@pytest.mark.parametrize(
    ('task', 'by_epoch', 'workers', 'kill_at'),
    [case if case in FAST else pytest.param(*case, marks=pytest.mark.slow) for case in CASES],
)
def test_a_killed_run_ends_as_one_without_a_break(task, by_epoch, workers, kill_at, data, tmp_path):
    cfg = config(task, data, by_epoch, workers, randomness=dict(seed=3))
    train(cfg, tmp_path / 'whole')
    killed = train(cfg, tmp_path / 'broken', kill_at)
    assert killed.iter == kill_at
    resumed = train(cfg, tmp_path / 'broken', resume=True)
    assert resumed.iter == 12
    assert differing(last(tmp_path / 'whole'), last(tmp_path / 'broken')) == []
