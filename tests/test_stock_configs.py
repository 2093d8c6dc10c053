"""Configs of mmdet and mmseg, as installed, train with every attention."""

import importlib
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.optim import build_optim_wrapper
from mmengine.registry import MODELS, init_default_scope
from mmengine.structures import InstanceData, PixelData

from mmattn.attention.names import attention_names, find_attention

SIZE = (64, 96)


def stock_config(scope):
    """The toolbox's own Faster R-CNN R50 or UperNet R50, from its wheel."""
    path = {
        'mmdet': 'faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py',
        'mmseg': 'upernet/upernet_r50_4xb4-80k_ade20k-512x512.py',
    }[scope]
    folder = Path(importlib.import_module(scope).__file__).parent / '.mim' / 'configs'
    cfg = Config.fromfile(folder / path)
    # SyncBN needs a GPU
    return Config.fromstring(cfg.pretty_text.replace('SyncBN', 'BN'), '.py')


def samples(scope):
    if scope == 'mmdet':
        from mmdet.structures import DetDataSample

        sample = DetDataSample()
        sample.gt_instances = InstanceData(
            bboxes=torch.tensor([[8.0, 8.0, 40.0, 48.0]]), labels=torch.tensor([3])
        )
    else:
        from mmseg.structures import SegDataSample

        sample = SegDataSample()
        generator = torch.Generator().manual_seed(0)
        labels = torch.randint(150, (1, *SIZE), generator=generator)
        sample.gt_sem_seg = PixelData(data=labels)
    sample.set_metainfo(
        dict(img_shape=SIZE, ori_shape=SIZE, scale_factor=(1.0, 1.0), pad_shape=SIZE)
    )
    return [sample, sample.clone()]


@pytest.mark.parametrize('name', attention_names())
@pytest.mark.parametrize('scope', ['mmdet', 'mmseg'])
def test_a_stock_config_trains_with_plugins_and_attention_neck(scope, name):
    cfg = stock_config(scope)
    attention = dict(type=name, warm_start=True)
    outer = find_attention(name).placement == 'outer'
    cfg.model.backbone.plugins = [
        dict(
            cfg=dict(type=f'mmattn.{name}', warm_start=True),
            position='after_conv3' if outer else 'after_conv2',
        )
    ]
    if scope == 'mmdet':
        neck = dict(type='mmattn.AttentionNeck', neck=cfg.model.neck, attention=attention)
    else:  # which has no neck: attention on the stages' outputs
        channels = cfg.model.decode_head.in_channels
        neck = dict(
            type='mmattn.AttentionNeck', in_channels=channels, num_levels=4, attention=attention
        )
        cfg.model.data_preprocessor.size = SIZE
    cfg.model.neck = neck
    init_default_scope(scope)
    torch.manual_seed(0)
    model = MODELS.build(cfg.model).train()

    gammas = {
        k: p for k, p in model.named_parameters() if k.endswith('warm_scale') and p.requires_grad
    }
    # mmdet's frozen_stages=1 freezes the plugins of the first stage as well.
    blocks = (13 if scope == 'mmdet' else 16) + (5 if scope == 'mmdet' else 4)
    assert len(gammas) == blocks
    optimizer = build_optim_wrapper(
        model, dict(type='OptimWrapper', optimizer=dict(type='SGD', lr=1e-3))
    )
    images = [torch.randint(256, (3, *SIZE)).byte() for _ in range(2)]
    losses = model.train_step(dict(inputs=images, data_samples=samples(scope)), optimizer)
    assert all(value.isfinite() for value in losses.values())
    still = [key for key, gamma in gammas.items() if not gamma.any()]
    # No anchor of the top levels lies inside of so small an image.
    assert not [key for key in still if not key.startswith('neck.levels')]
    assert len([key for key in gammas if key.startswith('neck.levels')]) > len(still)
