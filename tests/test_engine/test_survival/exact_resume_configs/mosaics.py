"""The detector on mosaics of several images, without them in its second epoch."""

_base_ = 'detector.py'
train_dataloader = dict(
    batch_sampler=None,
    dataset=dict(
        _delete_=True,
        type='MultiImageMixDataset',
        dataset=dict(
            type='RepeatDataset',
            times=1,
            dataset=dict(_base_.train_dataset, pipeline=_base_.train_pipeline[:2]),
        ),
        pipeline=[
            dict(type='Mosaic', img_scale=(64, 64), pad_val=114.0),
            dict(type='MixUp', img_scale=(64, 64), pad_val=114.0),
            dict(type='RandomFlip', prob=0.5),
            dict(type='Resize', scale=(64, 64), keep_ratio=True),
            dict(type='Pad', size=(64, 64)),
            dict(type='PackDetInputs'),
        ],
    ),
)
custom_hooks = [
    dict(
        type='PipelineSwitchHook',
        switch_epoch=1,
        switch_pipeline=[
            dict(type='RandomFlip', prob=0.5),
            dict(type='Resize', scale=(64, 64), keep_ratio=False),
            dict(type='PackDetInputs'),
        ],
    )
]
