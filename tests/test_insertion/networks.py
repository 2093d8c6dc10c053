"""Every backbone that the toolboxes register, as small as it comes."""

HRNET = dict(
    stage1=dict(
        num_modules=1, num_branches=1, block='BOTTLENECK', num_blocks=(1,), num_channels=(16,)
    ),
    stage2=dict(
        num_modules=1, num_branches=2, block='BASIC', num_blocks=(1, 1), num_channels=(8, 16)
    ),
    stage3=dict(
        num_modules=1, num_branches=3, block='BASIC', num_blocks=(1,) * 3, num_channels=(8, 16, 32)
    ),
    stage4=dict(
        num_modules=1,
        num_branches=4,
        block='BASIC',
        num_blocks=(1,) * 4,
        num_channels=(8, 16, 32, 64),
    ),
)
BN = dict(type='BN', requires_grad=True)
SMALL_RESNET = dict(
    type='ResNet',
    depth=18,
    num_stages=4,
    out_indices=(0, 1, 2, 3),
    dilations=(1, 1, 2, 4),
    strides=(1, 2, 1, 1),
    norm_cfg=BN,
)
STDC = dict(
    type='STDCNet',
    stdc_type='STDCNet1',
    in_channels=3,
    channels=(32, 64, 256, 512, 1024),
    bottleneck_type='cat',
    num_convs=4,
    norm_cfg=BN,
    act_cfg=dict(type='ReLU'),
    with_final_conv=False,
)
# Of what cannot be built by its name alone.
ARGUMENTS = {
    'mmpretrain': {
        'CSPDarkNet': dict(depth=53),
        'CSPResNet': dict(depth=50),
        'CSPResNeXt': dict(depth=50),
        'EfficientNet': dict(arch='b0'),
        'LeViT': dict(arch='128s'),
        'MobileOne': dict(arch='s0'),
        'PCPVT': dict(arch='small'),
        'PyramidVig': dict(arch='tiny'),
        'RegNet': dict(arch='regnetx_400mf'),
        'RepLKNet': dict(arch='31B'),
        'RepMLPNet': dict(arch='b'),
        'RepVGG': dict(arch='A0'),
        'SVT': dict(arch='small'),
        'TIMMBackbone': dict(model_name='resnetv2_50', features_only=True),
        'VGG': dict(depth=11),
        'Vig': dict(arch='tiny'),
    },
    'mmdet': {
        'HRNet': dict(extra=HRNET),
        'RegNet': dict(arch='regnetx_400mf'),
        'SSDVGG': dict(depth=16),
        'TridentResNet': dict(
            depth=50, num_branch=3, test_branch_idx=1, trident_dilations=(1, 2, 3), num_stages=3,
            strides=(1, 2, 2), dilations=(1, 1, 1), out_indices=(2,),
        ),
        'DetectoRS_ResNet': dict(
            depth=50, conv_cfg=dict(type='ConvAWS'), output_img=True,
            sac=dict(type='SAC', use_deform=False),
            stage_with_sac=(False, True, True, True),
        ),
        'DetectoRS_ResNeXt': dict(
            depth=50, groups=32, base_width=4, conv_cfg=dict(type='ConvAWS'), output_img=True,
            sac=dict(type='SAC', use_deform=False),
            stage_with_sac=(False, True, True, True),
        ),
    },
    'mmseg': {
        'BiSeNetV1': dict(backbone_cfg=SMALL_RESNET),
        'HRNet': dict(extra=HRNET),
        'ICNet': dict(backbone_cfg=dict(SMALL_RESNET, depth=50), layer_channels=(512, 2048)),
        'MSCAN': dict(norm_cfg=BN),
        'STDCNet': {key: value for key, value in STDC.items() if key != 'type'},
        'STDCContextPathNet': dict(backbone_cfg=STDC),
        'TIMMBackbone': dict(model_name='resnetv2_50', features_only=True),
    },
}  # fmt: skip
# What takes a depth by the name of ResNet's family.
DEPTH = dict(depth=50)
# Images other than 224 x 224.
SIZES = {'LeNet5': 32, 'ViTSAM': 1024, 'RepMLPNet': 224}
# Why there is no attention in them.
WITHOUT = {
    ('mmseg', 'DeconvModule'): 'a part of UNet, no network',
    ('mmseg', 'InterpConv'): 'a part of UNet, no network',
    ('mmseg', 'VPD'): 'needs Stable Diffusion, which is downloaded',
}


def arguments_of(scope: str, name: str) -> dict:
    known = ARGUMENTS[scope].get(name)
    if known is not None:
        return known
    family = ('ResNet', 'ResNetV1c', 'ResNetV1d', 'ResNeXt', 'ResNeSt', 'Res2Net', 'SEResNet')
    return DEPTH if name in (*family, 'SEResNeXt', 'ResNet_CIFAR', 'SparseResNet') else {}
