classes = (
    'sky',
    'building',
    'pole',
    'road',
    'pavement',
    'tree',
    'sign',
    'fence',
    'car',
    'pedestrian',
    'bicyclist',
)
crop_size = (
    192,
    256,
)
custom_imports = dict(
    allow_failed_imports=False, imports=[
        'mmattn',
    ])
data_root = '/tmp/study/camvid'
default_hooks = dict(
    checkpoint=dict(
        by_epoch=False,
        interval=50,
        max_keep_ckpts=1,
        save_best='mIoU',
        type='CheckpointHook'),
    logger=dict(interval=10, log_metric_by_epoch=False, type='LoggerHook'))
default_scope = 'mmseg'
env_cfg = dict(
    cudnn_benchmark=False,
    dist_cfg=dict(backend='gloo'),
    mp_cfg=dict(mp_start_method='fork', opencv_num_threads=0))
image_size = (
    320,
    240,
)
launcher = 'none'
load_from = None
log_level = 'INFO'
log_processor = dict(by_epoch=False)
max_iters = 200
model = dict(
    auxiliary_head=dict(
        align_corners=False,
        channels=64,
        concat_input=False,
        dropout_ratio=0.1,
        ignore_index=11,
        in_channels=256,
        in_index=2,
        loss_decode=dict(
            loss_weight=0.4, type='CrossEntropyLoss', use_sigmoid=False),
        norm_cfg=dict(requires_grad=True, type='BN'),
        num_classes=11,
        num_convs=1,
        type='FCNHead'),
    backbone=dict(
        attention=dict(type='SE'),
        depth=18,
        init_cfg=None,
        norm_cfg=dict(requires_grad=True, type='BN'),
        type='mmattn.ResNet'),
    data_preprocessor=dict(
        bgr_to_rgb=True,
        mean=[
            123.675,
            116.28,
            103.53,
        ],
        pad_val=0,
        seg_pad_val=11,
        size=(
            192,
            256,
        ),
        std=[
            58.395,
            57.12,
            57.375,
        ],
        type='SegDataPreProcessor'),
    decode_head=dict(
        align_corners=False,
        channels=96,
        dropout_ratio=0.1,
        ignore_index=11,
        in_channels=[
            64,
            128,
            256,
            512,
        ],
        in_index=[
            0,
            1,
            2,
            3,
        ],
        loss_decode=dict(
            loss_weight=1.0, type='CrossEntropyLoss', use_sigmoid=False),
        norm_cfg=dict(requires_grad=True, type='BN'),
        num_classes=11,
        pool_scales=(
            1,
            2,
            3,
            6,
        ),
        type='UPerHead'),
    test_cfg=dict(mode='whole'),
    train_cfg=dict(),
    type='EncoderDecoder')
norm_cfg = dict(requires_grad=True, type='BN')
optim_wrapper = dict(
    optimizer=dict(lr=0.0005, type='AdamW', weight_decay=0.01),
    type='OptimWrapper')
palette = [
    [
        128,
        128,
        128,
    ],
    [
        128,
        0,
        0,
    ],
    [
        192,
        192,
        128,
    ],
    [
        128,
        64,
        128,
    ],
    [
        0,
        0,
        192,
    ],
    [
        128,
        128,
        0,
    ],
    [
        192,
        128,
        128,
    ],
    [
        64,
        64,
        128,
    ],
    [
        64,
        0,
        128,
    ],
    [
        64,
        64,
        0,
    ],
    [
        0,
        128,
        192,
    ],
]
param_scheduler = [
    dict(begin=0, by_epoch=False, end=20, start_factor=0.05, type='LinearLR'),
    dict(
        begin=20,
        by_epoch=False,
        end=200,
        eta_min=1e-05,
        power=0.9,
        type='PolyLR'),
]
randomness = dict(seed=0)
resume = False
test_cfg = dict(type='TestLoop')
test_dataloader = dict(
    batch_size=1,
    dataset=dict(
        data_prefix=dict(
            img_path='images/val', seg_map_path='annotations/val'),
        data_root='/tmp/study/camvid',
        img_suffix='.png',
        metainfo=dict(
            classes=(
                'sky',
                'building',
                'pole',
                'road',
                'pavement',
                'tree',
                'sign',
                'fence',
                'car',
                'pedestrian',
                'bicyclist',
            ),
            palette=[
                [
                    128,
                    128,
                    128,
                ],
                [
                    128,
                    0,
                    0,
                ],
                [
                    192,
                    192,
                    128,
                ],
                [
                    128,
                    64,
                    128,
                ],
                [
                    0,
                    0,
                    192,
                ],
                [
                    128,
                    128,
                    0,
                ],
                [
                    192,
                    128,
                    128,
                ],
                [
                    64,
                    64,
                    128,
                ],
                [
                    64,
                    0,
                    128,
                ],
                [
                    64,
                    64,
                    0,
                ],
                [
                    0,
                    128,
                    192,
                ],
            ]),
        pipeline=[
            dict(type='LoadImageFromFile'),
            dict(keep_ratio=True, scale=(
                320,
                240,
            ), type='Resize'),
            dict(type='LoadAnnotations'),
            dict(type='PackSegInputs'),
        ],
        seg_map_suffix='.png',
        type='BaseSegDataset'),
    num_workers=1,
    persistent_workers=True,
    pin_memory=False,
    sampler=dict(shuffle=False, type='DefaultSampler'))
test_evaluator = dict(
    ignore_index=11, iou_metrics=[
        'mIoU',
    ], type='IoUMetric')
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(keep_ratio=True, scale=(
        320,
        240,
    ), type='Resize'),
    dict(type='LoadAnnotations'),
    dict(type='PackSegInputs'),
]
train_cfg = dict(max_iters=200, type='IterBasedTrainLoop', val_interval=200)
train_dataloader = dict(
    batch_size=4,
    dataset=dict(
        data_prefix=dict(
            img_path='images/train', seg_map_path='annotations/train'),
        data_root='/tmp/study/camvid',
        img_suffix='.png',
        metainfo=dict(
            classes=(
                'sky',
                'building',
                'pole',
                'road',
                'pavement',
                'tree',
                'sign',
                'fence',
                'car',
                'pedestrian',
                'bicyclist',
            ),
            palette=[
                [
                    128,
                    128,
                    128,
                ],
                [
                    128,
                    0,
                    0,
                ],
                [
                    192,
                    192,
                    128,
                ],
                [
                    128,
                    64,
                    128,
                ],
                [
                    0,
                    0,
                    192,
                ],
                [
                    128,
                    128,
                    0,
                ],
                [
                    192,
                    128,
                    128,
                ],
                [
                    64,
                    64,
                    128,
                ],
                [
                    64,
                    0,
                    128,
                ],
                [
                    64,
                    64,
                    0,
                ],
                [
                    0,
                    128,
                    192,
                ],
            ]),
        pipeline=[
            dict(type='LoadImageFromFile'),
            dict(type='LoadAnnotations'),
            dict(
                keep_ratio=True,
                ratio_range=(
                    0.8,
                    1.5,
                ),
                scale=(
                    320,
                    240,
                ),
                type='RandomResize'),
            dict(crop_size=(
                192,
                256,
            ), ignore_index=11, type='RandomCrop'),
            dict(prob=0.5, type='RandomFlip'),
            dict(type='PackSegInputs'),
        ],
        seg_map_suffix='.png',
        type='BaseSegDataset'),
    num_workers=1,
    persistent_workers=True,
    pin_memory=False,
    sampler=dict(shuffle=True, type='InfiniteSampler'))
train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations'),
    dict(
        keep_ratio=True,
        ratio_range=(
            0.8,
            1.5,
        ),
        scale=(
            320,
            240,
        ),
        type='RandomResize'),
    dict(crop_size=(
        192,
        256,
    ), ignore_index=11, type='RandomCrop'),
    dict(prob=0.5, type='RandomFlip'),
    dict(type='PackSegInputs'),
]
val_cfg = dict(type='ValLoop')
val_dataloader = dict(
    batch_size=1,
    dataset=dict(
        data_prefix=dict(
            img_path='images/val', seg_map_path='annotations/val'),
        data_root='/tmp/study/camvid',
        img_suffix='.png',
        metainfo=dict(
            classes=(
                'sky',
                'building',
                'pole',
                'road',
                'pavement',
                'tree',
                'sign',
                'fence',
                'car',
                'pedestrian',
                'bicyclist',
            ),
            palette=[
                [
                    128,
                    128,
                    128,
                ],
                [
                    128,
                    0,
                    0,
                ],
                [
                    192,
                    192,
                    128,
                ],
                [
                    128,
                    64,
                    128,
                ],
                [
                    0,
                    0,
                    192,
                ],
                [
                    128,
                    128,
                    0,
                ],
                [
                    192,
                    128,
                    128,
                ],
                [
                    64,
                    64,
                    128,
                ],
                [
                    64,
                    0,
                    128,
                ],
                [
                    64,
                    64,
                    0,
                ],
                [
                    0,
                    128,
                    192,
                ],
            ]),
        pipeline=[
            dict(type='LoadImageFromFile'),
            dict(keep_ratio=True, scale=(
                320,
                240,
            ), type='Resize'),
            dict(type='LoadAnnotations'),
            dict(type='PackSegInputs'),
        ],
        seg_map_suffix='.png',
        type='BaseSegDataset'),
    num_workers=1,
    persistent_workers=True,
    pin_memory=False,
    sampler=dict(shuffle=False, type='DefaultSampler'))
val_evaluator = dict(
    ignore_index=11, iou_metrics=[
        'mIoU',
    ], type='IoUMetric')
visualizer = dict(
    name='visualizer',
    type='SegLocalVisualizer',
    vis_backends=[
        dict(type='LocalVisBackend'),
    ])
void = 11
work_dir = '/tmp/study/work/camvid_se_seed0'
