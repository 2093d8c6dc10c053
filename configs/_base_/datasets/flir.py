"""FLIR ADAS v2, thermal images, cleaned by tools/dataset_converters/flir_to_coco.py."""

_base_ = ['mmdet::_base_/datasets/coco_detection.py']
data_root = 'data/flir/'
train_dataloader = dict(
    dataset=dict(
        type='mmattn.FLIRDataset',
        data_root=data_root,
        ann_file='coco/thermal_train.json',
        data_prefix=dict(img=''),
    ),
)
val_dataloader = dict(
    dataset=dict(
        type='mmattn.FLIRDataset',
        data_root=data_root,
        ann_file='coco/thermal_val.json',
        data_prefix=dict(img=''),
    ),
)
test_dataloader = val_dataloader
val_evaluator = dict(ann_file=data_root + 'coco/thermal_val.json')
test_evaluator = val_evaluator
