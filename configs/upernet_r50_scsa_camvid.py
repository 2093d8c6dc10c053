"""Train on your own segmentation data: UperNet R50 + SCSA on CamVid, street scenes.

    tools/train.py configs/upernet_r50_scsa_camvid.py --data-root DIR

    DIR/images/train/NAME.png        DIR/images/val/NAME.png
    DIR/annotations/train/NAME.png   DIR/annotations/val/NAME.png   one label per pixel

For your own data, copy this file and change the values marked (1) to (5); everything else can
stay. It trains from scratch, sized for a few dozen images and two CPU cores.
"""

_base_ = ['_base_/models/upernet_r50.py', '_base_/runtime/mmseg.py']
custom_imports = dict(imports=['mmattn'], allow_failed_imports=False)

# (1) Where the data lies; `--data-root DIR` says it on the command line.
data_root = 'data/camvid'
# (2) The names of the labels 0, 1, ... of the annotation files, and their colours in pictures.
classes = (
    'sky', 'building', 'pole', 'road', 'pavement', 'tree', 'sign', 'fence', 'car', 'pedestrian',
    'bicyclist',
)  # fmt: skip
palette = [
    [128, 128, 128], [128, 0, 0], [192, 192, 128], [128, 64, 128], [0, 0, 192], [128, 128, 0],
    [192, 128, 128], [64, 64, 128], [64, 0, 128], [64, 64, 0], [0, 128, 192],
]  # fmt: skip
# (3) The label of pixels that belong to none of them; 255 if there is none.
void = 11
# (4) Width and height that all images are resized to, and height and width of the crops.
image_size = (320, 240)
crop_size = (192, 256)
# (5) How long to train, in batches of four crops.
max_iters = 300

norm_cfg = dict(type='BN', requires_grad=True)
model = dict(
    data_preprocessor=dict(size=crop_size, seg_pad_val=void),
    backbone=dict(attention=dict(type='SCSA'), norm_cfg=norm_cfg, init_cfg=None),
    # A fifth of ADE20K's width is enough for few classes.
    decode_head=dict(channels=96, num_classes=len(classes), norm_cfg=norm_cfg, ignore_index=void),
    auxiliary_head=dict(
        channels=64, num_classes=len(classes), norm_cfg=norm_cfg, ignore_index=void
    ),
)

train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations'),
    dict(type='RandomResize', scale=image_size, ratio_range=(0.8, 1.5), keep_ratio=True),
    dict(type='RandomCrop', crop_size=crop_size, ignore_index=void),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PackSegInputs'),
]
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='Resize', scale=image_size, keep_ratio=True),
    # After Resize: the ground truth keeps its size.
    dict(type='LoadAnnotations'),
    dict(type='PackSegInputs'),
]
dataset = dict(
    type='BaseSegDataset',
    data_root=data_root,
    metainfo=dict(classes=classes, palette=palette),
    img_suffix='.png',
    seg_map_suffix='.png',
)
train_dataloader = dict(
    batch_size=4,
    num_workers=1,
    persistent_workers=True,
    sampler=dict(type='InfiniteSampler', shuffle=True),
    dataset=dict(
        data_prefix=dict(img_path='images/train', seg_map_path='annotations/train'),
        pipeline=train_pipeline,
        **dataset,
    ),
)
val_dataloader = dict(
    batch_size=1,
    num_workers=1,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        data_prefix=dict(img_path='images/val', seg_map_path='annotations/val'),
        pipeline=test_pipeline,
        **dataset,
    ),
)
test_dataloader = val_dataloader
del dataset
val_evaluator = dict(type='IoUMetric', iou_metrics=['mIoU'], ignore_index=void)
test_evaluator = val_evaluator

train_cfg = dict(type='IterBasedTrainLoop', max_iters=max_iters, val_interval=max_iters)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
# Without pretrained weights AdamW gets much further in a few hundred iterations than SGD.
optim_wrapper = dict(type='OptimWrapper', optimizer=dict(type='AdamW', lr=5e-4, weight_decay=0.01))
param_scheduler = [
    dict(type='LinearLR', start_factor=0.1, by_epoch=False, begin=0, end=20),
    dict(type='PolyLR', power=0.9, eta_min=1e-5, by_epoch=False, begin=20, end=max_iters),
]
default_hooks = dict(
    logger=dict(type='LoggerHook', interval=10, log_metric_by_epoch=False),
    checkpoint=dict(
        type='CheckpointHook', by_epoch=False, interval=100, max_keep_ckpts=1, save_best='mIoU'
    ),
)
log_processor = dict(by_epoch=False)
