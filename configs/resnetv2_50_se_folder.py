"""Train on your own folders of images: timm's ResNetV2-50 + SE, four classes.

    tools/train.py configs/resnetv2_50_se_folder.py --data-root DIR

    DIR/train/CLASS/NAME.jpg (or .png, ...)
    DIR/val/CLASS/NAME.jpg

The classes are those of a study of brain tumours in MRI, ResNet50V2 with SE. For your own data,
copy this file and change the values marked (1) to (4); everything else can stay.
"""

_base_ = ['mmpretrain::_base_/default_runtime.py']
custom_imports = dict(imports=['mmattn'], allow_failed_imports=False)

# (1) Where the data lies; `--data-root DIR` says it on the command line.
data_root = 'data/folder'
# (2) The names of the folders in alphabetical order, which is that of the labels.
classes = ('glioma', 'meningioma', 'notumor', 'pituitary')
# (3) Side of the square that images are cut to. Bigger shows finer details, and takes longer.
image_size = 224
# (4) How long to train, in passes over the training images.
max_epochs = 30

model = dict(
    type='ImageClassifier',
    backbone=dict(
        type='mmattn.AnyBackbone',
        network='TIMMBackbone',
        # Any name that timm.list_models() gives; head.in_channels then is its num_features.
        model_name='resnetv2_50',
        # From scratch. With True timm fetches its weights of ImageNet, which a few hundred images
        # need; then add warm_start=True to the attention, and take a tenth of the learning rate.
        pretrained=False,
        attention=dict(type='SE'),
    ),
    neck=dict(type='GlobalAveragePooling'),
    head=dict(
        type='LinearClsHead',
        in_channels=2048,
        num_classes=len(classes),
        loss=dict(type='LabelSmoothLoss', label_smooth_val=0.1),
        topk=(1,),
    ),
)
data_preprocessor = dict(
    num_classes=len(classes),
    mean=[127.5, 127.5, 127.5],
    std=[127.5, 127.5, 127.5],
    to_rgb=True,
)

train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='RandomResizedCrop', scale=image_size, crop_ratio_range=(0.5, 1.0)),
    dict(type='RandomFlip', prob=0.5, direction='horizontal'),
    dict(type='PackInputs'),
]
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='ResizeEdge', scale=image_size, edge='short'),
    dict(type='CenterCrop', crop_size=image_size),
    dict(type='PackInputs'),
]
dataset = dict(type='CustomDataset', data_root=data_root, metainfo=dict(classes=classes))
train_dataloader = dict(
    batch_size=32,
    num_workers=2,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=True),
    dataset=dict(data_prefix='train', pipeline=train_pipeline, **dataset),
)
val_dataloader = dict(
    batch_size=32,
    num_workers=2,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(data_prefix='val', pipeline=test_pipeline, **dataset),
)
test_dataloader = val_dataloader
del dataset
val_evaluator = [
    dict(type='Accuracy', topk=1),
    # Means over the classes: the accuracy hides a small class that is never found.
    dict(type='SingleLabelMetric', items=('precision', 'recall', 'f1-score')),
]
test_evaluator = val_evaluator

train_cfg = dict(by_epoch=True, max_epochs=max_epochs, val_interval=1)
val_cfg = {}
test_cfg = {}
optim_wrapper = dict(optimizer=dict(type='AdamW', lr=5e-4, weight_decay=0.05))
param_scheduler = [
    dict(type='LinearLR', start_factor=0.1, by_epoch=False, begin=0, end=100),
    dict(type='CosineAnnealingLR', T_max=max_epochs, by_epoch=True, begin=0, end=max_epochs),
]
default_hooks = dict(checkpoint=dict(max_keep_ckpts=1, save_best='accuracy/top1'))
auto_scale_lr = dict(base_batch_size=32)
