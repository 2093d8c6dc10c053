"""VisDrone2019-DET, converted by tools/dataset_converters/visdrone_to_coco.py.

Its ignored regions are left out of the metric; a model leaves them out of its loss with
train_cfg.rpn.assigner.ignore_iof_thr=0.5 and the same for rcnn.
"""

_base_ = ['mmdet::_base_/datasets/coco_detection.py']
data_root = 'data/visdrone/'
train_dataloader = dict(
    dataset=dict(
        type='mmattn.VisDroneDataset',
        data_root=data_root,
        ann_file='coco/train.json',
        data_prefix=dict(img=''),
    ),
)
val_dataloader = dict(
    dataset=dict(
        type='mmattn.VisDroneDataset',
        data_root=data_root,
        ann_file='coco/val.json',
        data_prefix=dict(img=''),
    ),
)
test_dataloader = val_dataloader
val_evaluator = dict(
    _delete_=True, type='mmattn.VisDroneMetric', ann_file=data_root + 'coco/val.json'
)
test_evaluator = val_evaluator
