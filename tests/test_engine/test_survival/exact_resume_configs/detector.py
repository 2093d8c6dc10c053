"""With batches of one aspect ratio, and proposals that are sampled at random."""

_base_ = 'base.py'
default_scope = 'mmdet'
train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations', with_bbox=True),
    dict(type='RandomChoiceResize', scales=[(64, 48), (80, 60)], keep_ratio=True),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PhotoMetricDistortion'),
    dict(type='PackDetInputs'),
]
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations', with_bbox=True),
    dict(type='Resize', scale=(64, 48), keep_ratio=True),
    dict(
        type='PackDetInputs',
        meta_keys=('img_id', 'img_path', 'ori_shape', 'img_shape', 'scale_factor'),
    ),
]
assigner = dict(type='MaxIoUAssigner', pos_iou_thr=0.5, neg_iou_thr=0.4, min_pos_iou=0.2)
sampling = dict(type='RandomSampler', num=16, pos_fraction=0.5)
proposals = dict(nms_pre=50, max_per_img=20, nms=dict(type='nms', iou_threshold=0.7))
model = dict(
    type='FasterRCNN',
    data_preprocessor=dict(type='DetDataPreprocessor', pad_size_divisor=32, **_base_.mean_std),
    backbone=_base_.backbone,
    neck=dict(type='FPN', in_channels=[64, 128], out_channels=16, num_outs=2),
    rpn_head=dict(
        type='RPNHead',
        in_channels=16,
        feat_channels=16,
        anchor_generator=dict(type='AnchorGenerator', scales=[4], ratios=[1.0], strides=[8, 16]),
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
        rpn=dict(
            assigner=assigner,
            sampler=dict(sampling, add_gt_as_proposals=False),
            pos_weight=-1,
            allowed_border=-1,
        ),
        rpn_proposal=proposals,
        rcnn=dict(assigner=assigner, sampler=sampling, pos_weight=-1),
    ),
    test_cfg=dict(
        rpn=proposals,
        rcnn=dict(score_thr=0.05, nms=dict(type='nms', iou_threshold=0.5), max_per_img=5),
    ),
)
train_dataset = dict(
    type='CocoDataset',
    data_root='data',
    ann_file='coco.json',
    data_prefix=dict(img='images/'),
    metainfo=dict(classes=('a', 'b')),
    pipeline=train_pipeline,
)
train_dataloader = dict(batch_sampler=dict(type='AspectRatioBatchSampler'), dataset=train_dataset)
val_dataloader = dict(dataset=dict(train_dataset, test_mode=True, pipeline=test_pipeline))
val_evaluator = dict(type='CocoMetric', ann_file='data/coco.json', metric='bbox')
