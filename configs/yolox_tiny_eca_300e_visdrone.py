"""YOLOX-tiny with ECA, VisDrone2019-DET from scratch, 300 epochs.

The metric leaves ignored regions out as the benchmark does; YOLOX's assigner knows none, so that
they are background in training.
"""

_base_ = ['./yolox_tiny_eca_300e_coco.py']
data_root = 'data/visdrone/'
model = dict(bbox_head=dict(num_classes=10))
dataset = dict(type='mmattn.VisDroneDataset', data_root=data_root, data_prefix=dict(img=''))
# Inside MultiImageMixDataset.
train_dataloader = dict(dataset=dict(dataset=dict(ann_file='coco/train.json', **dataset)))
val_dataloader = dict(dataset=dict(ann_file='coco/val.json', **dataset))
test_dataloader = val_dataloader
val_evaluator = dict(
    _delete_=True, type='mmattn.VisDroneMetric', ann_file=data_root + 'coco/val.json'
)
test_evaluator = val_evaluator
del dataset
