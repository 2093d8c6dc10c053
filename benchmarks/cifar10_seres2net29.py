"""SE-Res2Net-29 learns CIFAR-10 on a CPU: the shipped recipe in 4 epochs instead of 300.

    tar -xf cifar10_jpeg.tar.xz -C DIR       # DIR/train/CLASS/*.jpg, DIR/test/CLASS/*.jpg
    python tools/train.py benchmarks/cifar10_seres2net29.py --data-root DIR --seed 0
    python benchmarks/plot_curve.py work_dirs/cifar10_seres2net29 benchmarks/results

Model, optimizer, learning rate, batch size and augmentation are those of
configs/seres2net29_cifar10.py; the learning rate falls at a half and three quarters of the
run, as there. The images are read from JPEG files, in BGR, instead of CIFAR's pickles.
"""

_base_ = ['../configs/seres2net29_cifar10.py']

epochs = 4
iterations = epochs * 390  # of 128 images
train_cfg = dict(max_epochs=epochs, val_interval=2)
param_scheduler = dict(by_epoch=False, milestones=[iterations // 2, iterations * 3 // 4])
# Half of a step on a CPU is memory traffic around the batch norms; the compiler fuses it.
compile = True
custom_hooks = [dict(type='mmattn.ChannelsLastHook')]
default_hooks = dict(logger=dict(interval=20))

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
    num_workers=0,  # a worker would take more from two cores than it gives
    persistent_workers=False,
    drop_last=True,  # what is compiled is for batches of one size
    dataset=dict(
        _delete_=True,
        type='CustomDataset',
        data_root=data_root,
        data_prefix='train',
        pipeline=train_pipeline,
    ),
)
val_dataloader = dict(
    batch_size=125,
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
