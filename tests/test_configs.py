"""Every shipped config: loads, is a delta, builds, and has the papers' numbers."""

from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import MODELS, DefaultScope

from mmattn.attention import Attention
from mmattn.attention.names import attention_names
from mmattn.backbones.slots import AttentionBlock

CONFIGS = sorted((Path(__file__).resolve().parents[1] / 'configs').glob('*.py'))
ids = [path.stem for path in CONFIGS]


READERS = {'mmattn.SwinTransformer', 'ConvNeXt'}
# Of the networks of AnyBackbone one stands for all.
SMALL = 'CSPNeXt'


def build(path, **options):
    """The model of a config, without memory for its weights."""
    cfg = Config.fromfile(path)
    cfg.merge_from_dict(options)
    scope = cfg.default_scope
    with DefaultScope.overwrite_default_scope(scope), torch.device('meta'):
        return MODELS.build(cfg.model)


def attentions(model):
    return [
        module
        for name, module in model.named_modules()
        if isinstance(module, Attention) and '.attn_' in '.' + name.split('.')[-1]
    ]


def test_there_are_configs():
    assert len(CONFIGS) >= 4


@pytest.mark.parametrize('path', CONFIGS, ids=ids)
def test_a_config_is_a_documented_delta_with_one_switchable_attention(path):
    cfg = Config.fromfile(path)
    assert cfg.custom_imports == dict(imports=['mmattn'], allow_failed_imports=False)
    assert cfg.default_scope in ('mmdet', 'mmseg', 'mmpretrain')
    assert path.read_text().startswith('"""')
    # Nothing but what a switch of the type keeps valid; a plain baseline has none. A place is only
    # said where the usual ones do not do.
    attention = cfg.model.backbone.get('attention', {})
    if isinstance(attention, list):  # two places at once, which no option says
        assert all(set(entry) == {'type', 'position'} for entry in attention)
        return
    assert set(attention) <= {'type', 'warm_start', 'at'}
    assert ('at' in attention) == (path.stem == 'hrnet_w18_scsa_cityscapes')
    pretrained = 'Pretrained' in str(cfg.model.backbone.get('init_cfg'))
    assert attention.get('warm_start', False) is pretrained


def representatives():
    """One config for each class of backbone: what switches there, switches in its siblings."""
    kinds = {}
    for path in CONFIGS:
        backbone = Config.fromfile(path).model.backbone
        if backbone.get('network', SMALL) == SMALL:
            kinds.setdefault(backbone.type, path)
    return list(kinds.values())


def switched(path, attention):
    cfg = Config.fromfile(path)
    key = 'model.backbone.attention'
    cfg.merge_from_dict({key: None} if attention is None else {f'{key}.type': attention})
    # These read numbers off a tensor while they are built.
    backbone = cfg.model.backbone
    device = 'cpu' if {backbone.type, backbone.get('network')} & READERS else 'meta'
    with DefaultScope.overwrite_default_scope(cfg.default_scope), torch.device(device):
        return MODELS.build(cfg.model.backbone)


@pytest.mark.parametrize('path', CONFIGS, ids=ids)
def test_the_plain_network_is_an_option_away(path):
    assert not attentions(switched(path, None))


@pytest.mark.parametrize('name', attention_names())
@pytest.mark.parametrize('path', representatives(), ids=lambda path: path.stem)
def test_the_attention_switches_from_the_command_line(path, name):
    try:
        model = switched(path, name)
    except ValueError as error:
        # Channels that its groups do not divide; a ResNet's they all do.
        assert "type='mmattn.ResNet'" not in path.read_text() and 'nearest valid' in str(error)
        return
    found = attentions(model)
    assert {type(m).__name__ for m in found} == {name}
    if path.read_text().count("type='mmattn.AnyBackbone'"):
        return
    # RepVGG's stem is a block too, but has no attention.
    blocks = [
        module
        for name, module in model.named_modules()
        if isinstance(module, AttentionBlock) and name != 'stem'
    ]
    assert len(found) == len(blocks) > 0


@pytest.mark.parametrize(
    ('stem', 'attention', 'millions'),
    [
        ('faster_rcnn_r50_scsa_1x_coco', None, 41.75),
        ('faster_rcnn_r50_scsa_1x_coco', 'SCSA', 41.81),
        ('faster_rcnn_r50_scsa_1x_coco', 'CA', 41.89),
        ('faster_rcnn_r50_scsa_1x_coco', 'SE', 44.27),
        ('upernet_r50_scsa_80k_ade20k', None, 64.10),
        ('upernet_r50_scsa_80k_ade20k', 'SCSA', 64.16),
        ('resnet50_scsa_in1k', None, 25.56),
        ('resnet50_scsa_in1k', 'SCSA', 25.62),
    ],
)
def test_parameters_are_the_papers(stem, attention, millions):
    path = next(path for path in CONFIGS if path.stem == stem)
    key = 'model.backbone.attention' + ('.type' if attention else '')
    model = build(path, **{key: attention})
    extra = 16 if attention else 0  # the scalars of warm_start, not in the paper
    count = sum(
        parameter.numel()
        for name, parameter in model.named_parameters()
        # The paper leaves out the auxiliary head.
        if not name.startswith('auxiliary_head')
    )
    assert round((count - extra) / 1e6, 2) == pytest.approx(millions)


def load(stem):
    return Config.fromfile(next(path for path in CONFIGS if path.stem == stem))


def test_faster_rcnn_trains_as_the_paper():
    cfg = load('faster_rcnn_r50_scsa_1x_coco')
    assert cfg.train_cfg.max_epochs == 12 and cfg.train_dataloader.batch_size == 2
    optimizer = cfg.optim_wrapper.optimizer
    assert (optimizer.type, optimizer.lr) == ('SGD', 0.0025)
    assert (optimizer.momentum, optimizer.weight_decay) == (0.9, 1e-4)
    assert cfg.param_scheduler[1].milestones == [8, 11]
    assert cfg.auto_scale_lr.base_batch_size == 2


def test_upernet_trains_as_the_paper():
    cfg = load('upernet_r50_scsa_80k_ade20k')
    assert cfg.train_cfg.max_iters == 80000 and cfg.train_dataloader.batch_size == 16
    optimizer = cfg.optim_wrapper.optimizer
    assert (optimizer.type, optimizer.lr) == ('SGD', 0.01)
    assert (optimizer.momentum, optimizer.weight_decay) == (0.9, 5e-4)
    assert not cfg.model.backbone.get('deep_stem')


def test_resnet_trains_as_the_paper():
    cfg = load('resnet50_scsa_in1k')
    assert cfg.train_dataloader.batch_size == 128 and cfg.train_cfg.max_epochs == 100
    assert cfg.optim_wrapper.type == 'AmpOptimWrapper'
    assert cfg.optim_wrapper.optimizer.lr == 0.05


@pytest.mark.parametrize('classes', [10, 100])
@pytest.mark.parametrize(
    ('stem', 'millions'),
    [
        # At 10 classes, table 1 of the SE-Res2Net report; what differs is in the backbones.
        ('res2net29', 0.636),
        ('seres2net29', 0.657),
        ('resnet56', 0.856),
        ('se_resnet110', 1.743),
        ('densenet_bc100', 0.769),
    ],
)
def test_cifar_nets_train_as_the_report(stem, millions, classes):
    cfg = load(f'{stem}_cifar{classes}')
    optimizer = cfg.optim_wrapper.optimizer
    assert (optimizer.type, optimizer.lr) == ('SGD', 0.1)
    assert (optimizer.momentum, optimizer.weight_decay) == (0.9, 1e-4)
    assert cfg.train_cfg.max_epochs == 300 and cfg.train_dataloader.batch_size == 128
    assert (cfg.param_scheduler.milestones, cfg.param_scheduler.gamma) == ([150, 225], 0.1)
    augmentation = cfg.train_dataloader.dataset.pipeline
    assert [step.type for step in augmentation] == ['RandomCrop', 'RandomFlip', 'PackInputs']
    assert augmentation[0].padding == 4 and augmentation[0].crop_size == 32
    assert cfg.train_dataloader.dataset.type == f'CIFAR{classes}'
    assert cfg.model.head.num_classes == classes
    if classes == 10:
        model = build(next(path for path in CONFIGS if path.stem == f'{stem}_cifar10'))
        count = sum(parameter.numel() for parameter in model.parameters())
        assert count / 1e6 == pytest.approx(millions, abs=1e-3)
