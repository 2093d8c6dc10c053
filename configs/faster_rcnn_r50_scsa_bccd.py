"""Train on your own VOC-style data: Faster R-CNN R50 + SCSA on BCCD, blood cells.

    tools/train.py configs/faster_rcnn_r50_scsa_bccd.py --data-root DIR

    DIR/Annotations/NAME.xml
    DIR/JPEGImages/NAME.jpg (or .png, ...)
    DIR/ImageSets/Main/trainval.txt, test.txt    one NAME a line

BCCD is the folder of that name in https://github.com/Shenggan/BCCD_Dataset (MIT licence).
For your own data, copy this file and change the values marked (1) to (4); everything else
can stay. It trains from scratch, sized for a few hundred images and two CPU cores.
"""

_base_ = [
    'mmdet::_base_/models/faster-rcnn_r50_fpn.py',
    'mmdet::_base_/default_runtime.py',
]
custom_imports = dict(imports=['mmattn'], allow_failed_imports=False)

# (1) Where the data lies; `--data-root DIR` says it on the command line.
data_root = 'data/bccd/'
# (2) The names in the xml files. Their order is the order of the labels; boxes of other
# classes are left out, and the log says how many.
classes = ('RBC', 'WBC', 'Platelets')
# (3) Longest and shortest side after resizing. Bigger finds smaller objects, and takes longer.
image_size = (320, 240)
# (4) How long to train, in passes over the training images.
max_epochs = 3

model = dict(
    backbone=dict(
        type='mmattn.ResNet',
        attention=dict(type='SCSA'),
        # From scratch nothing may be frozen: neither stages nor BatchNorm's statistics.
        frozen_stages=-1,
        norm_eval=False,
        init_cfg=None,
    ),
    roi_head=dict(
        bbox_roi_extractor=dict(roi_layer=dict(sampling_ratio=2)),
        bbox_head=dict(num_classes=len(classes)),
    ),
    # Small images hold few objects: fewer regions than the base's 512 and 1000, and two
    # samples per bin of a region, are enough, and on a CPU they halve the time.
    train_cfg=dict(rpn_proposal=dict(nms_pre=1000), rcnn=dict(sampler=dict(num=64))),
    test_cfg=dict(rpn=dict(max_per_img=300)),
)

train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations', with_bbox=True),
    dict(type='Resize', scale=image_size, keep_ratio=True),
    dict(type='RandomFlip', prob=0.5),
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

# mmattn.VOCDataset reads the xml files as mmdet's XMLDataset does, and besides drops boxes
# without an area, which would turn the loss into NaN, and says how many.
train_dataloader = dict(
    batch_size=4,
    num_workers=1,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=True),
    batch_sampler=dict(type='AspectRatioBatchSampler'),
    dataset=dict(
        type='mmattn.VOCDataset',
        data_root=data_root,
        ann_file='ImageSets/Main/trainval.txt',
        metainfo=dict(classes=classes),
        filter_cfg=dict(filter_empty_gt=True),
        pipeline=train_pipeline,
    ),
)
val_dataloader = dict(
    batch_size=4,
    num_workers=1,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type='mmattn.VOCDataset',
        data_root=data_root,
        ann_file='ImageSets/Main/test.txt',
        metainfo=dict(classes=classes),
        pipeline=test_pipeline,
        test_mode=True,
    ),
)
test_dataloader = val_dataloader

val_evaluator = dict(type='VOCMetric', metric='mAP', eval_mode='11points')
test_evaluator = val_evaluator

train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=max_epochs, val_interval=max_epochs)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')

# Without pretrained weights AdamW gets much further in a few epochs than SGD.
optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='AdamW', lr=2e-4, weight_decay=0.05),
    clip_grad=dict(max_norm=10.0),
)
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
default_hooks = dict(
    logger=dict(interval=10),
    checkpoint=dict(interval=1, max_keep_ckpts=1, save_best='pascal_voc/mAP', rule='greater'),
)
