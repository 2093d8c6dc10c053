"""RTMDet-tiny with SCSA, VisDrone2019-DET, 300 epochs.

The metric leaves ignored regions out as the benchmark does; RTMDet's assigner knows none, so that
they are background in training. Objects are small: the 640 pixels of the pipelines are what to
raise first.
"""

_base_ = ['./rtmdet_tiny_scsa_300e_coco.py']
data_root = 'data/visdrone/'
# As many detections as the benchmark counts.
model = dict(bbox_head=dict(num_classes=10), test_cfg=dict(max_per_img=500))
dataset = dict(type='mmattn.VisDroneDataset', data_root=data_root, data_prefix=dict(img=''))
train_dataloader = dict(dataset=dict(ann_file='coco/train.json', **dataset))
val_dataloader = dict(dataset=dict(ann_file='coco/val.json', **dataset))
test_dataloader = val_dataloader
val_evaluator = dict(
    _delete_=True, type='mmattn.VisDroneMetric', ann_file=data_root + 'coco/val.json'
)
test_evaluator = val_evaluator
del dataset
