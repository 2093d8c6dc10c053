"""ExDark, converted by tools/dataset_converters/exdark_to_coco.py: its own train, val and test."""

_base_ = ['mmdet::_base_/datasets/coco_detection.py']
data_root = 'data/exdark/'
train_dataloader = dict(
    dataset=dict(
        type='mmattn.ExDarkDataset',
        data_root=data_root,
        ann_file='coco/train.json',
        data_prefix=dict(img=''),
    ),
)
val_dataloader = dict(
    dataset=dict(
        type='mmattn.ExDarkDataset',
        data_root=data_root,
        ann_file='coco/val.json',
        data_prefix=dict(img=''),
    ),
)
test_dataloader = dict(
    dataset=dict(
        type='mmattn.ExDarkDataset',
        data_root=data_root,
        ann_file='coco/test.json',
        data_prefix=dict(img=''),
    ),
)
val_evaluator = dict(ann_file=data_root + 'coco/val.json')
test_evaluator = dict(ann_file=data_root + 'coco/test.json')
