"""U-Net of five stages with an FCN head, and an auxiliary one a stage deeper, two classes.

mmseg's own bases are not inherited, see upernet_r50.py.
"""

norm_cfg = dict(type='SyncBN', requires_grad=True)
head = dict(
    type='FCNHead',
    channels=64,
    num_convs=1,
    concat_input=False,
    dropout_ratio=0.1,
    num_classes=2,
    norm_cfg=norm_cfg,
    align_corners=False,
)
model = dict(
    type='EncoderDecoder',
    data_preprocessor=dict(
        type='SegDataPreProcessor',
        mean=[123.675, 116.28, 103.53],
        std=[58.395, 57.12, 57.375],
        bgr_to_rgb=True,
        pad_val=0,
        seg_pad_val=255,
        size=(64, 64),
        # What five stages divide, whatever the image.
        test_cfg=dict(size_divisor=16),
    ),
    backbone=dict(type='UNet', in_channels=3, base_channels=64, norm_cfg=norm_cfg),
    decode_head=dict(
        in_channels=64,
        in_index=4,
        loss_decode=dict(type='CrossEntropyLoss', use_sigmoid=False, loss_weight=1.0),
        **head,
    ),
    auxiliary_head=dict(
        in_channels=128,
        in_index=3,
        loss_decode=dict(type='CrossEntropyLoss', use_sigmoid=False, loss_weight=0.4),
        **head,
    ),
    train_cfg={},
    # Windows of the size of the training crops.
    test_cfg=dict(mode='slide', crop_size=(64, 64), stride=(42, 42)),
)
del head
