"""SE-Res2Net-29 learns CIFAR-10 on a CPU: the shipped recipe in 900 steps, 2.3 epochs.

    tar -xf cifar10_jpeg.tar.xz -C DIR       # DIR/train/CLASS/*.jpg, DIR/test/CLASS/*.jpg
    python tools/train.py benchmarks/cifar10_seres2net29.py --data-root DIR --seed 0
    python benchmarks/plot_curve.py work_dirs/cifar10_seres2net29 benchmarks/results

Model, optimizer, learning rate, batch size and augmentation are those of
configs/seres2net29_cifar10.py; the learning rate falls at a half and three quarters of the
run, as there. The images are read from JPEG files, in BGR, instead of CIFAR's pickles.
"""

_base_ = ['../configs/seres2net29_cifar10.py']

iterations = 900  # of 128 images; what two cores do in less than half an hour
train_cfg = dict(
    _delete_=True, type='IterBasedTrainLoop', max_iters=iterations, val_interval=iterations // 2
)
param_scheduler = dict(by_epoch=False, milestones=[iterations // 2, iterations * 3 // 4])
custom_hooks = [dict(type='mmattn.ChannelsLastHook')]
default_hooks = dict(
    logger=dict(interval=20, log_metric_by_epoch=False),
    checkpoint=dict(by_epoch=False, interval=iterations // 2),
)
log_processor = dict(by_epoch=False)

data_root = 'data/cifar10_jpeg'
data_preprocessor = dict(to_rgb=True)
train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='RandomCrop', crop_size=32, padding=4),
    dict(type='RandomFlip', prob=0.5, direction='horizontal'),
    dict(type='PackInputs'),
]
test_pipeline = [dict(type='LoadImageFromFile'), dict(type='PackInputs')]
train_dataloader = dict(
    num_workers=0,
    persistent_workers=False,
    dataset=dict(
        _delete_=True,
        type='CustomDataset',
        data_root=data_root,
        data_prefix='train',
        pipeline=train_pipeline,
    ),
)
val_dataloader = dict(
    num_workers=0,
    persistent_workers=False,
    dataset=dict(
        _delete_=True,
        type='CustomDataset',
        data_root=data_root,
        data_prefix='test',
        pipeline=test_pipeline,
    ),
)
test_dataloader = val_dataloader
