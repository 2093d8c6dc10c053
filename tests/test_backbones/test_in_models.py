"""MobileNetV2, RepVGG, Swin and Res2Net inside of detectors, segmenters and classifiers."""

import copy

import pytest
import torch
from mmengine.config import ConfigDict
from mmengine.optim import OptimWrapper, build_optim_wrapper
from mmengine.registry import MODELS as ROOT_MODELS
from mmengine.registry import DefaultScope
from mmengine.structures import InstanceData, PixelData
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from mmattn.attention import Attention
from mmattn.attention.names import attention_names

NETS = {
    'MobileNetV2': dict(widen_factor=0.25),
    'RepVGG': dict(
        arch=dict(
            num_blocks=[1, 2, 1, 1], width_factor=[0.25] * 4, group_layer_map=None, se_cfg=None
        ),
    ),
    'SwinTransformer': dict(
        embed_dims=16, depths=(1, 2, 1, 1), num_heads=(1, 2, 4, 8), window_size=3
    ),
    # Behind residual branches that start at zero, attention would not move at once.
    'Res2Net': dict(depth=50, base_channels=8, base_width=4, zero_init_residual=False),
    'SERes2Net': dict(depth=50, base_channels=8, base_width=4, zero_init_residual=False),
}
# Indices and channels of four feature maps, at a quarter to a 32nd of the image's size.
LEVELS = {
    'MobileNetV2': ((1, 2, 4, 6), (8, 8, 24, 80)),
    'RepVGG': ((0, 1, 2, 3), (16, 32, 64, 128)),
    'SwinTransformer': ((0, 1, 2, 3), (16, 32, 64, 128)),
    'Res2Net': ((0, 1, 2, 3), (32, 64, 128, 256)),
    'SERes2Net': ((0, 1, 2, 3), (32, 64, 128, 256)),
}
# Arguments for a few channels.
FEW_CHANNELS = {
    'SA': dict(groups=1),
    'ELA': dict(num_groups=4),
    'EMA': dict(factor=4),
    'FCA': dict(freq_sel='top8', dct_size=7),
    'PSA': dict(conv_groups='auto'),
    'SGE': dict(groups='auto'),
}
SIZE = (67, 91)


def net(name, **options):
    indices, _ = LEVELS[name]
    cfg = dict(type=f'mmattn.{name}', out_indices=indices, **copy.deepcopy(NETS[name]))
    return cfg | options


def build(cfg, scope='mmpretrain'):
    with DefaultScope.overwrite_default_scope(scope):
        torch.manual_seed(0)
        return ROOT_MODELS.build(ConfigDict(cfg))


def detector(name, **options):
    return dict(
        type='FasterRCNN',
        data_preprocessor=dict(type='DetDataPreprocessor', mean=[128.0] * 3, std=[64.0] * 3),
        backbone=net(name, **options),
        neck=dict(type='FPN', in_channels=list(LEVELS[name][1]), out_channels=16, num_outs=5),
        rpn_head=dict(
            type='RPNHead',
            in_channels=16,
            feat_channels=16,
            anchor_generator=dict(
                type='AnchorGenerator', scales=[4], ratios=[1.0], strides=[4, 8, 16, 32, 64]
            ),
        ),
        roi_head=dict(
            type='StandardRoIHead',
            bbox_roi_extractor=dict(
                type='SingleRoIExtractor',
                roi_layer=dict(type='RoIAlign', output_size=3, sampling_ratio=1),
                out_channels=16,
                featmap_strides=[4, 8, 16, 32],
            ),
            bbox_head=dict(
                type='Shared2FCBBoxHead',
                in_channels=16,
                fc_out_channels=16,
                roi_feat_size=3,
                num_classes=3,
            ),
        ),
        train_cfg=dict(
            rpn=dict(
                assigner=dict(
                    type='MaxIoUAssigner', pos_iou_thr=0.7, neg_iou_thr=0.3, min_pos_iou=0.3
                ),
                sampler=dict(
                    type='RandomSampler', num=32, pos_fraction=0.5, add_gt_as_proposals=False
                ),
                allowed_border=-1,
                pos_weight=-1,
            ),
            rpn_proposal=dict(
                nms_pre=50, max_per_img=20, nms=dict(type='nms', iou_threshold=0.7), min_bbox_size=0
            ),
            rcnn=dict(
                assigner=dict(
                    type='MaxIoUAssigner', pos_iou_thr=0.5, neg_iou_thr=0.5, min_pos_iou=0.5
                ),
                sampler=dict(type='RandomSampler', num=16, pos_fraction=0.25),
                pos_weight=-1,
            ),
        ),
        test_cfg=dict(rpn={}, rcnn={}),
    )


def segmenter(name, **options):
    return dict(
        type='EncoderDecoder',
        data_preprocessor=dict(
            type='SegDataPreProcessor', mean=[128.0] * 3, std=[64.0] * 3, size=SIZE
        ),
        backbone=net(name, **options),
        decode_head=dict(
            type='UPerHead',
            in_channels=list(LEVELS[name][1]),
            in_index=[0, 1, 2, 3],
            channels=16,
            num_classes=5,
            norm_cfg=dict(type='BN'),
            align_corners=False,
        ),
    )


def classifier(name, **options):
    return dict(
        type='ImageClassifier',
        data_preprocessor=dict(
            type='ClsDataPreprocessor', mean=[128.0] * 3, std=[64.0] * 3, num_classes=5
        ),
        backbone=net(name, **options),
        neck=dict(type='GlobalAveragePooling'),
        head=dict(type='LinearClsHead', in_channels=LEVELS[name][1][-1], num_classes=5),
    )


def batch(scope):
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(256, (2, 3, *SIZE), generator=generator).byte()
    samples = []
    for _ in images:
        if scope == 'mmdet':
            from mmdet.structures import DetDataSample

            sample = DetDataSample()
            boxes = torch.tensor([[8.0, 8.0, 40.0, 48.0]])
            sample.gt_instances = InstanceData(bboxes=boxes, labels=torch.tensor([2]))
        elif scope == 'mmseg':
            from mmseg.structures import SegDataSample

            sample = SegDataSample()
            labels = torch.randint(5, (1, *SIZE), generator=generator)
            sample.gt_sem_seg = PixelData(data=labels)
        else:
            from mmpretrain.structures import DataSample

            sample = DataSample().set_gt_label(3)
        sample.set_metainfo(dict(img_shape=SIZE, ori_shape=SIZE, scale_factor=(1.0, 1.0)))
        samples.append(sample)
    if scope == 'mmpretrain':
        return dict(inputs=images, data_samples=samples)
    return dict(inputs=list(images), data_samples=samples)


MODELS = {'mmdet': detector, 'mmseg': segmenter, 'mmpretrain': classifier}


@pytest.mark.parametrize('scope', MODELS)
@pytest.mark.parametrize('name', NETS)
def test_it_trains_in_bf16_at_an_odd_size_alike_with_gradient_checkpointing(name, scope):
    results = []
    for with_cp in (False, True):
        model = build(MODELS[scope](name, attention=dict(type='SCSA'), with_cp=with_cp), scope)
        model.init_weights()
        model.train()
        before = {key: value.clone() for key, value in model.backbone.named_parameters()}
        in_full_precision = model.extract_feat

        def extract(*args, forward=in_full_precision, **options):
            # Backbone and neck only: on a CPU RoIAlign has no bf16.
            with torch.autocast('cpu', torch.bfloat16):
                outs = forward(*args, **options)
            assert all(out.dtype == torch.bfloat16 for out in outs[:1])
            return tuple(out.float() for out in outs)

        model.extract_feat = extract
        torch.manual_seed(1)
        optimizer = OptimWrapper(torch.optim.SGD(model.parameters(), 0.1))
        losses = model.train_step(batch(scope), optimizer)
        assert losses['loss'].isfinite()
        after = dict(model.backbone.named_parameters())
        moved = {key for key in after if not torch.equal(after[key], before[key])}
        assert moved and any('.attn_' in key for key in moved)
        results.append((losses, after))
    torch.testing.assert_close(results[0][0], results[1][0], rtol=0, atol=0)
    torch.testing.assert_close(results[0][1], results[1][1])


def run(model, x):
    model.eval()
    with torch.no_grad():
        return model(x)


@pytest.mark.parametrize('attention', attention_names())
@pytest.mark.parametrize('name', NETS)
def test_stock_keys_survive_any_attention_and_a_warm_start_keeps_the_outputs(name, attention):
    stock = build(net(name, attention=None))
    options = FEW_CHANNELS.get(attention, {}) | dict(type=attention, warm_start=True)
    model = build(net(name, attention=options))
    missing, unexpected = model.load_state_dict(stock.state_dict(), strict=False)
    assert not unexpected and missing and all('.attn_' in key for key in missing)
    x = torch.randn(1, 3, 33, 50)
    assert all(map(torch.equal, run(model, x), run(stock, x)))
    for key, parameter in model.named_parameters():
        if key.endswith('.warm_scale'):
            nn.init.ones_(parameter)
    assert not all(map(torch.equal, run(model, x), run(stock, x)))


@pytest.mark.parametrize('freeze_attention', [False, True])
@pytest.mark.parametrize('name', NETS)
def test_frozen_stages_and_norm_eval_spare_attention(name, freeze_attention):
    model = build(
        net(
            name,
            attention=dict(type='CBAM'),
            frozen_stages=2,
            norm_eval=True,
            freeze_attention=freeze_attention,
        ),
        'mmdet',
    )
    frozen = ('conv1', 'layer1', 'layer2', 'stem', 'stage_1', 'stage_2')
    frozen += ('patch_embed', 'stages.0', 'stages.1', 'norm0', 'norm1')
    assert model.train() is model and model.eval() is model
    model.train()
    kinds = set()
    for key, parameter in model.named_parameters():
        inside, attention = key.startswith(frozen), '.attn_' in key
        kinds.add((inside, attention))
        assert parameter.requires_grad is (not inside or attention and not freeze_attention), key
    assert len(kinds) == 4
    for key, module in model.named_modules():
        if isinstance(module, _BatchNorm):
            assert module.training is ('.attn_' in key and not freeze_attention), key
    model.eval()
    assert not any(module.training for module in model.modules())


@pytest.mark.parametrize('name', NETS)
def test_plugins_and_several_attentions_share_the_slots(name):
    positions = dict(MobileNetV2='after_project', RepVGG='before_act', SwinTransformer='after_attn')
    position = positions.get(name, 'after_conv3')
    model = build(
        net(
            name,
            attention=[dict(type='SE'), dict(type='mmattn.ECA')],
            plugins=[dict(cfg=dict(type='mmattn.SE'), position=position)],
        )
    )
    slots = {key.split('.')[-1] for key, m in model.named_modules() if isinstance(m, Attention)}
    # A Swin block has an `attn` of its own.
    plugin = 'attn_plugin' if name == 'SwinTransformer' else 'attn'
    assert slots == {f'attn_{position}', f'attn_{position}_1', plugin}
    model(torch.randn(2, 3, 33, 50))[-1].sum().backward()
    assert all(p.grad is not None for key, p in model.named_parameters() if '.attn' in key)


def recipe(root):
    """The lines of docs/how_to/freezing.md on learning rate and weight decay of a warm start."""
    text = (root / 'docs' / 'how_to' / 'freezing.md').read_text(encoding='utf-8')
    line = next(line for line in text.splitlines() if 'custom_keys' in line)
    return dict(paramwise_cfg=eval(line.strip().removeprefix('paramwise_cfg=').removesuffix(')')))


@pytest.mark.parametrize('scope', MODELS)
@pytest.mark.parametrize('name', [name for name in NETS if name != 'SERes2Net'])
def test_the_documented_warm_start_keeps_a_stock_models_outputs(project_root, name, scope):
    if not (project_root / 'docs').is_dir():
        pytest.skip('docs/ is in the checkout only, not in the wheel')
    stock = build(MODELS[scope](name), scope).eval()
    model = build(MODELS[scope](name, attention=dict(type='SE', warm_start=True)), scope).eval()
    missing, unexpected = model.load_state_dict(stock.state_dict(), strict=False)
    assert not unexpected and missing and all('.attn_' in key for key in missing)
    images = torch.randn(1, 3, *SIZE)
    with torch.no_grad():
        outs = [
            net.extract_feat(images, **({'stage': 'backbone'} if scope == 'mmpretrain' else {}))
            for net in (stock, model)
        ]
    assert all(torch.equal(a, b) for a, b in zip(*outs, strict=True))

    optimizer = dict(type='SGD', lr=0.01, weight_decay=1e-4)
    wrapper = build_optim_wrapper(
        model, dict(type='OptimWrapper', optimizer=optimizer, **recipe(project_root))
    )
    groups = {id(p): group for group in wrapper.param_groups for p in group['params']}
    for key, parameter in model.named_parameters():
        group = groups[id(parameter)]
        new = '.attn_' in key
        assert group['lr'] == pytest.approx(0.1 if new else 0.01), key
        assert group['weight_decay'] == (0 if new else 1e-4), key
