"""Attention in every backbone that the toolboxes register, in timm's and torchvision's."""

import pytest
import torch
from mmengine.registry import DefaultScope
from torch import Tensor, nn

import mmattn
from mmattn.attention import Attention
from mmattn.insertion.presets import preset_of
from mmattn.registry import MODELS

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
        'TIMMBackbone': dict(model_name='resnetv2_50'),
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
        'ICNet': dict(
            backbone_cfg=dict(SMALL_RESNET, type='ResNetV1c', depth=50),
            layer_channels=(512, 2048),
        ),
        'MSCAN': dict(norm_cfg=BN),
        'STDCNet': {key: value for key, value in STDC.items() if key != 'type'},
        'STDCContextPathNet': dict(
            backbone_cfg=STDC,
            ffm_cfg=dict(in_channels=384, out_channels=256, scale_factor=4),
        ),
        'TIMMBackbone': dict(
            model_name='resnetv2_50', features_only=True, pretrained=False
        ),
    },
}  # fmt: skip
# What takes a depth by the name of ResNet's family.
DEPTH = dict(depth=50)
# Images other than 224 x 224.
SIZES = {'LeNet5': 32, 'SwinTransformerV2': 256, 'ViTSAM': 1024, 'RepMLPNet': 224}
# Where their places are, of those that have no usual ones.
PATTERNS = {('mmseg', 'TIMMBackbone'): 'timm_model.stages_*.blocks.*'}
# Why there is no attention in them.
WITHOUT = {
    ('mmpretrain', 'SparseConvNeXt'): "takes SparK's mask, which only its pretrainer gives",
    ('mmpretrain', 'SparseResNet'): "takes SparK's mask, which only its pretrainer gives",
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


# Network -> pattern of its places; None where they are known.
TIMM = {
    'resnet18': None,
    'resnetv2_50': None,
    'convnext_atto': None,
    'efficientnet_b0': None,
    'mobilenetv3_small_050': None,
    'mobilenetv2_050': None,
    'densenet121': None,
    'vit_tiny_patch16_224': None,
    'deit_tiny_distilled_patch16_224': None,
    'swin_tiny_patch4_window7_224': None,
    'regnetx_002': None,
    'ghostnet_050': 'blocks.*.*',
    'hrnet_w18_small': None,
    'inception_v3': None,
    'vgg11': None,
    'dla34': 'level[2-5].**.tree[12]',
    'repvgg_a0': 'stages.*.*',
    'poolformer_s12': 'stages.*.blocks.*',
    'mixer_s32_224': None,
    'pvt_v2_b0': 'stages.*.blocks.*',
    'edgenext_xx_small': None,
    'xcit_nano_12_p16_224': 'blocks.*',
}
TORCHVISION = {
    'resnet18': None,
    'convnext_tiny': None,
    'densenet121': None,
    'efficientnet_b0': None,
    'googlenet': None,
    'mnasnet0_5': None,
    'mobilenet_v2': None,
    'mobilenet_v3_small': None,
    'regnet_x_400mf': None,
    'resnext50_32x4d': None,
    'shufflenet_v2_x0_5': None,
    'squeezenet1_1': None,
    'swin_t': None,
    'swin_v2_t': None,
    'vgg11': None,
    'vit_b_16': None,
    'inception_v3': None,
}

# Seconds each; the others are slow.
QUICK = {
    ('mmpretrain', 'LeNet5'),
    ('mmpretrain', 'MobileNetV3'),
    ('mmpretrain', 'MobileOne'),
    ('mmdet', 'CSPDarknet'),
    ('mmdet', 'CSPNeXt'),
    ('mmdet', 'HRNet'),
    ('mmdet', 'SwinTransformer'),
    ('mmseg', 'MixVisionTransformer'),
    ('mmseg', 'UNet'),
}


def registered() -> list:
    cases = []
    for scope in ('mmpretrain', 'mmdet', 'mmseg'):
        models = pytest.importorskip(f'{scope}.models') and pytest.importorskip(f'{scope}.registry')
        for name, cls in sorted(models.MODELS.module_dict.items()):
            if 'backbones' in getattr(cls, '__module__', '') and (scope, name) not in WITHOUT:
                marks = [] if (scope, name) in QUICK else [pytest.mark.slow]
                cases.append(pytest.param(scope, name, marks=marks, id=f'{scope}-{name}'))
    return cases


def tensors(value) -> list[Tensor]:
    if isinstance(value, Tensor):
        return [value]
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, (list, tuple)):
        return [one for part in value for one in tensors(part)]
    return []


def check(stock: nn.Module, network: nn.Module, size: int) -> None:
    """Stock weights load, stock outputs come out, and a gradient reaches every attention."""
    for parameter in stock.parameters():  # some leave them to init_weights
        if not parameter.isfinite().all() or parameter.abs().max() > 100:
            nn.init.normal_(parameter, std=0.02)
    computed = stock.load_state_dict(stock.state_dict(), strict=False).missing_keys
    missing, unexpected = network.load_state_dict(stock.state_dict(), strict=False)
    missing = [name for name in missing if name not in computed]
    assert not unexpected
    attentions = [module for module in network.modules() if isinstance(module, Attention)]
    assert attentions
    added = sum(len(one.state_dict()) for one in attentions)
    assert len(missing) == added and all('attn_' in name for name in missing)
    conv = next((m for m in network.modules() if isinstance(m, nn.Conv2d)), None)
    # CSPDarknet's first one takes four pixels at a time.
    channels = conv.in_channels if conv and conv.in_channels != 12 else 3
    x = torch.randn(1, channels, size, size)
    outputs = []
    for model in (stock, network):
        model.eval()  # returns None in some
        torch.manual_seed(1)  # masked autoencoders draw their masks
        outputs.append(tensors(model(x)))
    for one, other in zip(*outputs, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=0)
    with torch.enable_grad():
        sum(one.float().square().mean() for one in outputs[1] if one.requires_grad).backward()
    assert all(one.warm_scale.grad is not None for one in attentions)


@pytest.mark.parametrize(('scope', 'name'), registered())
def test_registered_backbones(scope: str, name: str):
    attention = dict(type='SE', warm_start=True)
    if pattern := PATTERNS.get((scope, name)):
        attention['at'] = pattern
    with DefaultScope.overwrite_default_scope(scope):
        networks = []
        for kind in (dict(type=name), dict(type='mmattn.AnyBackbone', network=name)):
            torch.manual_seed(0)
            extra = {} if 'network' not in kind else dict(attention=attention)
            networks.append(MODELS.build({**kind, **arguments_of(scope, name), **extra}))
        check(*networks, SIZES.get(name, 224))


def test_nothing_is_without_reason():
    """What is on the list of exceptions is registered."""
    for scope, name in WITHOUT:
        registry = pytest.importorskip(f'{scope}.registry')
        pytest.importorskip(f'{scope}.models')
        assert name in registry.MODELS.module_dict


def library(make, name: str, pattern: str | None) -> None:
    torch.manual_seed(0)
    stock = make(name)
    torch.manual_seed(0)
    place = {} if pattern is None else dict(at=pattern)
    network = mmattn.insert_attention(make(name), dict(type='SE', warm_start=True, **place))
    assert (preset_of(stock) is not None) == (pattern is None)
    check(stock, network, 224)


@pytest.mark.parametrize(
    'name',
    [pytest.param(n, marks=[] if i % 8 == 0 else [pytest.mark.slow]) for i, n in enumerate(TIMM)],
)
def test_timm(name: str):
    timm = pytest.importorskip('timm')
    library(lambda one: timm.create_model(one, num_classes=10), name, TIMM[name])


@pytest.mark.parametrize(
    'name',
    [
        pytest.param(n, marks=[] if i % 8 == 0 else [pytest.mark.slow])
        for i, n in enumerate(TORCHVISION)
    ],
)
def test_torchvision(name: str):
    models = pytest.importorskip('torchvision.models')
    library(lambda one: models.get_model(one, num_classes=10), name, TORCHVISION[name])


def test_what_timm_initialises_are_its_own_layers():
    """Its walk over all layers takes linear ones to have a bias, which SE's have not."""
    pytest.importorskip('timm')
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        network = MODELS.build(
            dict(
                type='mmattn.AnyBackbone',
                network='TIMMBackbone',
                model_name='resnetv2_50',
                attention=dict(type='SE', blocks='first'),
            )
        )
    attentions = {name: m for name, m in network.named_modules() if isinstance(m, Attention)}
    before = {
        name: {k: v.clone() for k, v in m.state_dict().items()} for name, m in attentions.items()
    }
    conv = network.timm_model.stages[0].blocks[0].conv1.weight
    old = conv.clone()
    network.init_weights()
    assert not conv.equal(old)
    after = {name: m for name, m in network.named_modules() if isinstance(m, Attention)}
    assert list(after) == list(before)
    for name, module in after.items():
        assert all(value.equal(before[name][key]) for key, value in module.state_dict().items())
    assert 'init_weights' not in vars(network.timm_model)
