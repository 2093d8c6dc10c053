"""RTMDet-tiny with SCSA on BCCD, blood cells, from scratch: a light detector on your own data.

    tools/train.py configs/rtmdet_tiny_scsa_bccd.py --data-root DIR

Data, and the values (1) to (4) to change, are as in faster_rcnn_r50_scsa_bccd.py.
"""

_base_ = ['./rtmdet_tiny_scsa_300e_coco.py']

data_root = 'data/bccd/'  # (1)
classes = ('RBC', 'WBC', 'Platelets')  # (2)
image_size = (320, 240)  # (3)
max_epochs = 8  # (4)

model = dict(
    # Images as they are, up to what the network's strides divide.
    data_preprocessor=dict(pad_size_divisor=32),
    backbone=dict(attention=dict(warm_start=False), init_cfg=None),
    bbox_head=dict(num_classes=len(classes)),
)

# Mosaics and mixed images need longer schedules than this.
train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations', with_bbox=True),
    dict(type='Resize', scale=image_size, keep_ratio=True),
    dict(type='RandomFlip', prob=0.5, direction=['horizontal', 'vertical']),
    dict(type='PackDetInputs'),
]
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='Resize', scale=image_size, keep_ratio=True),
    # After Resize: the metric compares in the original image's pixels.
    dict(type='LoadAnnotations', with_bbox=True),
    dict(
        type='PackDetInputs',
        meta_keys=('img_id', 'img_path', 'ori_shape', 'img_shape', 'scale_factor'),
    ),
]
dataset = dict(
    _delete_=True,
    type='mmattn.VOCDataset',
    data_root=data_root,
    metainfo=dict(classes=classes),
)
train_dataloader = dict(
    batch_size=8,
    num_workers=1,
    pin_memory=False,
    dataset=dict(
        ann_file='ImageSets/Main/trainval.txt',
        filter_cfg=dict(filter_empty_gt=True),
        pipeline=train_pipeline,
        **dataset,
    ),
)
val_dataloader = dict(
    batch_size=8,
    num_workers=1,
    dataset=dict(
        ann_file='ImageSets/Main/test.txt', pipeline=test_pipeline, test_mode=True, **dataset
    ),
)
test_dataloader = val_dataloader
del dataset
val_evaluator = dict(_delete_=True, type='VOCMetric', metric='mAP', eval_mode='11points')
test_evaluator = val_evaluator

train_cfg = dict(max_epochs=max_epochs, val_interval=max_epochs, dynamic_intervals=None)
optim_wrapper = dict(optimizer=dict(lr=1e-3), clip_grad=dict(max_norm=35.0))
param_scheduler = [
    dict(type='LinearLR', start_factor=0.1, by_epoch=False, begin=0, end=20),
    dict(
        type='CosineAnnealingLR',
        eta_min_ratio=0.05,
        begin=0,
        end=max_epochs,
        T_max=max_epochs,
        by_epoch=True,
        convert_to_iter_based=True,
    ),
]
# Without averaged weights, which so few steps would leave near the random ones.
custom_hooks = []
default_hooks = dict(
    logger=dict(interval=10),
    checkpoint=dict(interval=1, max_keep_ckpts=1, save_best='pascal_voc/mAP', rule='greater'),
)
