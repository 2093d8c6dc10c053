"""``load_from`` of a stock model through the Runner: the run starts at the stock outputs."""

import pickle
import subprocess
import sys
from itertools import count

import pytest
import torch
from mmengine.config import Config, ConfigDict
from mmengine.dataset import pseudo_collate
from mmengine.evaluator import BaseMetric, Evaluator
from mmengine.registry import MODELS, DefaultScope
from torch import nn
from torch.utils.data import DataLoader

from mmattn.engine.hooks import CheckpointFitHook
from mmattn.engine.runner import Runner
from mmattn.utils.errors import UserError

RUNS = count()
SWIN = dict(embed_dims=16, depths=(1, 2, 1, 1), num_heads=(1, 2, 4, 8), window_size=3)
RESNET = dict(depth=50, base_channels=8)
RES2NET = dict(depth=50, base_channels=8, base_width=4)
# Toolbox, stock class -> its arguments, the stages' outputs that are used and their channels.
PYRAMID = (0, 1, 2, 3), (32, 64, 128, 256)
STOCK = {
    ('mmdet', 'MobileNetV2'): (dict(widen_factor=0.25), (1, 2, 4, 7), (8, 8, 24, 1280)),
    ('mmdet', 'SwinTransformer'): (SWIN, (0, 1, 2, 3), (16, 32, 64, 128)),
    ('mmdet', 'ResNetV1d'): (RESNET, *PYRAMID),
    ('mmdet', 'ResNet'): (RESNET, *PYRAMID),
    ('mmdet', 'Res2Net'): (RES2NET, *PYRAMID),
    ('mmseg', 'MobileNetV2'): (dict(widen_factor=0.25), (4, 6), (24, 80)),
    ('mmseg', 'SwinTransformer'): (SWIN, (3,), (128,)),
    ('mmseg', 'ResNetV1c'): (RESNET, (3,), (256,)),
    ('mmseg', 'ResNetV1d'): (RESNET, (3,), (256,)),
    ('mmpretrain', 'MobileNetV2'): (dict(widen_factor=0.25), (7,), (1280,)),
    ('mmpretrain', 'SwinTransformer'): (
        dict(arch={k: SWIN[k] for k in ('embed_dims', 'depths', 'num_heads')}, window_size=2),
        (3,),
        (128,),
    ),
    ('mmpretrain', 'ResNetV1c'): (RESNET, (3,), (256,)),
    ('mmpretrain', 'ResNetV1d'): (RESNET, (3,), (256,)),
    ('mmpretrain', 'Res2Net'): (RES2NET, (3,), (256,)),
    ('mmpretrain', 'RepVGG'): (
        dict(
            arch=dict(
                num_blocks=[1, 2, 1, 1], width_factor=[0.25] * 4, group_layer_map=None, se_cfg=None
            )
        ),
        (3,),
        (128,),
    ),
}


def model_config(scope, kind, **options):
    """A small detector, segmenter or classifier on a backbone."""
    arguments, indices, channels = STOCK[scope, kind.removeprefix('mmattn.')]
    backbone = dict(type=kind, out_indices=indices, **arguments, **options)
    if scope == 'mmdet':
        return ConfigDict(
            type='RetinaNet',
            data_preprocessor=dict(type='DetDataPreprocessor', mean=[128.0] * 3, std=[64.0] * 3),
            backbone=backbone,
            neck=dict(type='FPN', in_channels=list(channels), out_channels=8, num_outs=5),
            bbox_head=dict(
                type='RetinaHead',
                num_classes=3,
                in_channels=8,
                feat_channels=8,
                stacked_convs=1,
                anchor_generator=dict(
                    type='AnchorGenerator', scales=[4], ratios=[1.0], strides=[4, 8, 16, 32, 64]
                ),
            ),
            test_cfg=dict(
                nms_pre=50, score_thr=0.0, max_per_img=20, nms=dict(type='nms', iou_threshold=0.5)
            ),
        )
    if scope == 'mmseg':
        return ConfigDict(
            type='EncoderDecoder',
            data_preprocessor=dict(type='SegDataPreProcessor', mean=[128.0] * 3, std=[64.0] * 3),
            backbone=backbone,
            decode_head=dict(
                type='FCNHead',
                in_channels=channels[-1],
                in_index=-1,
                channels=8,
                num_convs=1,
                num_classes=5,
                norm_cfg=dict(type='BN'),
                align_corners=False,
            ),
            test_cfg=dict(mode='whole'),
        )
    return dict(
        type='ImageClassifier',
        data_preprocessor=dict(mean=[128.0] * 3, std=[64.0] * 3, num_classes=5),
        backbone=backbone,
        neck=dict(type='GlobalAveragePooling'),
        head=dict(type='LinearClsHead', num_classes=5, in_channels=channels[-1]),
    )


def image(scope, size=(64, 96)):
    pixels = torch.randint(256, (3, *size), generator=torch.Generator().manual_seed(0)).byte()
    if scope == 'mmdet':
        from mmdet.structures import DetDataSample as Sample
    elif scope == 'mmseg':
        from mmseg.structures import SegDataSample as Sample
    else:
        from mmpretrain.structures import DataSample as Sample
    sample = Sample()
    sample.set_metainfo(
        dict(img_shape=size, ori_shape=size, scale_factor=(1.0, 1.0), pad_shape=size)
    )
    return dict(inputs=pixels, data_samples=sample)


def collate(samples):
    """mmpretrain takes a batch of images, the others a list."""
    batch = pseudo_collate(samples)
    if type(samples[0]['data_samples']).__name__ == 'DataSample':
        batch['inputs'] = torch.stack(batch['inputs'])
    return batch


class Recorder(BaseMetric):
    """Keeps what the model returns."""

    def process(self, data_batch, data_samples):
        self.results += data_samples

    def compute_metrics(self, results):
        self.outputs = list(results)
        return {}


def run(folder, scope, model, load_from=None):
    """A test through the Runner; returns what the model returned, and the model."""
    recorder = Recorder()
    runner = Runner(
        model=model,
        work_dir=str(folder),
        default_scope=scope,
        load_from=load_from and str(load_from),
        test_dataloader=DataLoader([image(scope)], collate_fn=collate),
        test_cfg={},
        test_evaluator=Evaluator([recorder]),
        experiment_name=str(next(RUNS)),
    )
    runner.register_hook(CheckpointFitHook())
    runner.test()
    return tensors(recorder.outputs[0]), runner.model


def tensors(output):
    """All tensors of a data sample, in one order."""
    if isinstance(output, torch.Tensor):
        return [output]
    items = output.items() if hasattr(output, 'items') else []
    return [tensor for _, value in sorted(items) for tensor in tensors(value)]


def stock_model(scope, config):
    """With weights that let every layer matter."""
    with DefaultScope.overwrite_default_scope(scope):
        model = MODELS.build(config)
    torch.manual_seed(0)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.running_mean, -0.5, 0.5)
            nn.init.uniform_(module.running_var, 0.5, 1.5)
            nn.init.uniform_(module.weight, 0.5, 1.5)
    return model


@pytest.mark.parametrize(('scope', 'kind'), STOCK)
def test_a_stock_model_keeps_its_outputs(tmp_path, scope, kind):
    stock = stock_model(scope, model_config(scope, kind))
    checkpoint = tmp_path / 'stock.pth'
    torch.save(dict(state_dict=stock.state_dict(), meta={}), checkpoint)
    expected, _ = run(tmp_path, scope, stock)
    config = model_config(scope, f'mmattn.{kind}', attention=dict(type='SE', warm_start=True))
    actual, model = run(tmp_path, scope, config, checkpoint)
    assert any('.attn_' in key for key in model.state_dict())
    assert expected and len(expected) == len(actual)
    assert all(map(torch.equal, expected, actual))
    other, _ = run(tmp_path, scope, config)
    assert not all(map(torch.equal, expected, other))


def log_of(folder):
    return '\n'.join(path.read_text() for path in sorted(folder.rglob('*.log')))


def test_the_log_counts_what_was_loaded_under_whatever_name(tmp_path):
    stock = stock_model('mmdet', model_config('mmdet', 'MobileNetV2'))
    state = stock.state_dict()
    del state['bbox_head.retina_cls.weight']
    state['neck.lateral_convs.0.conv.weight'] = torch.zeros(3)
    torch.save(state, tmp_path / 'stock.pth')
    config = model_config('mmdet', 'mmattn.MobileNetV2', attention=dict(type='SE'))
    _, model = run(tmp_path, 'mmdet', config, tmp_path / 'stock.pth')
    own = [key for key in model.state_dict() if 'num_batches_tracked' not in key]
    new = sum('.attn_' in key for key in own)
    assert (
        f'{len(own) - new - 2} of {len(own)} weights of the model were loaded; not loaded: {new} '
        f'of attention, which start anew; bbox_head.retina_cls.weight, '
        f'neck.lateral_convs.0.conv.weight' in log_of(tmp_path)
    )


@pytest.mark.parametrize('kind', ['ResNet', 'mmattn.ResNet'])
def test_what_does_not_fit_is_refused(tmp_path, kind):
    """Bare backbone weights, another network's and another depth's."""
    config = model_config('mmdet', kind)
    path = tmp_path / 'other.pth'
    stock = stock_model('mmdet', model_config('mmdet', 'ResNet'))
    torch.save(stock.backbone.state_dict(), path)
    with pytest.raises(UserError, match=r'backbone.*init_cfg=dict\(type=.Pretrained'):
        run(tmp_path, 'mmdet', config, path)
    torch.save(stock_model('mmdet', model_config('mmdet', 'MobileNetV2')).state_dict(), path)
    with pytest.raises(UserError, match='does not fit'):
        run(tmp_path, 'mmdet', config, path)
    config['backbone'].update(depth=18)
    config['neck'].update(in_channels=[8, 16, 32, 64])
    torch.save(stock.state_dict(), path)
    with pytest.raises(UserError, match='does not fit'):
        run(tmp_path, 'mmdet', config, path)


@pytest.mark.slow
def test_the_tool_starts_a_mobilenet_detector_at_mmdets_detections(tmp_path, project_root):
    from mmattn.demo import Demo
    from mmattn.engine.evaluate import evaluate

    cfg = Config.fromfile(project_root / 'configs' / 'faster_rcnn_r50_scsa_1x_coco.py')
    cfg.work_dir = str(tmp_path / 'data')
    Demo().prepare(cfg)
    for name, backbone in (
        ('stock', dict(kind='MobileNetV2')),
        ('ours', dict(kind='mmattn.MobileNetV2', attention=dict(type='SCSA', warm_start=True))),
    ):
        cfg.model = model_config('mmdet', **backbone)
        cfg.model.bbox_head.num_classes = 80
        cfg.dump(tmp_path / f'{name}.py')
        if name == 'stock':
            model = stock_model('mmdet', cfg.model)
            torch.save(dict(state_dict=model.state_dict(), meta={}), tmp_path / 'stock.pth')
    results = [tmp_path / 'stock.pkl', tmp_path / 'ours.pkl']
    checkpoint = str(tmp_path / 'stock.pth')
    evaluate(str(tmp_path / 'stock.py'), checkpoint, out=str(results[0]), work_dir=cfg.work_dir)
    done = subprocess.run(
        [sys.executable, project_root / 'tools' / 'test.py', 'ours.py', checkpoint]
        + ['--out', str(results[1]), '--work-dir', cfg.work_dir],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    expected, actual = (pickle.loads(path.read_bytes()) for path in results)
    assert expected and len(expected) == len(actual)
    for a, b in zip(expected, actual, strict=True):
        assert len(a['pred_instances']['scores'])
        for key, value in a['pred_instances'].items():
            assert torch.equal(value, b['pred_instances'][key]), key
