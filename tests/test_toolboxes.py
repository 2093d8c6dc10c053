"""The shipped configs inside of mmdet, mmseg and mmpretrain."""

import copy
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.optim import build_optim_wrapper
from mmengine.registry import MODELS, init_default_scope
from mmengine.structures import InstanceData, PixelData

from mmattn.attention.names import attention_names

CONFIGS = Path(__file__).resolve().parents[1] / 'configs'
PAPER = ('SE', 'ECA', 'CBAM', 'CA', 'SCSA')
DETECTOR = 'faster_rcnn_r50_scsa_1x_coco'
SEGMENTER = 'upernet_r50_scsa_80k_ade20k'
CLASSIFIER = 'resnet50_scsa_in1k'


def load(stem, **options):
    cfg = Config.fromfile(CONFIGS / f'{stem}.py')
    cfg.merge_from_dict(options)
    # What a CPU cannot do, and a download.
    cfg.model.backbone.init_cfg = None
    # With weights loaded no residual branch starts at zero; a frozen one would stay there.
    cfg.model.backbone.zero_init_residual = False
    text = cfg.pretty_text.replace('SyncBN', 'BN')
    return Config.fromstring(text, '.py')


def build(cfg):
    init_default_scope(cfg.default_scope)
    torch.manual_seed(0)
    model = MODELS.build(cfg.model)
    model.init_weights()
    return model


def batch(scope, size=(64, 96)):
    """Two images with a label each, as the toolbox's loader gives them."""
    generator = torch.Generator().manual_seed(0)
    images = [torch.randint(256, (3, *size), generator=generator).byte() for _ in range(2)]
    samples = []
    for _ in images:
        if scope == 'mmdet':
            from mmdet.structures import DetDataSample

            sample = DetDataSample()
            sample.gt_instances = InstanceData(
                bboxes=torch.tensor([[8.0, 8.0, 40.0, 48.0]]), labels=torch.tensor([3])
            )
        elif scope == 'mmseg':
            from mmseg.structures import SegDataSample

            sample = SegDataSample()
            labels = torch.randint(150, (1, *size), generator=generator)
            sample.gt_sem_seg = PixelData(data=labels)
        else:
            from mmpretrain.structures import DataSample

            sample = DataSample().set_gt_label(7)
        shape = dict(img_shape=size, ori_shape=size, scale_factor=(1.0, 1.0), pad_shape=size)
        sample.set_metainfo(shape)
        samples.append(sample)
    return dict(inputs=images, data_samples=samples)


@pytest.mark.parametrize('name', PAPER)
@pytest.mark.parametrize('stem', [DETECTOR, SEGMENTER, CLASSIFIER])
def test_each_attention_trains_in_each_toolbox(stem, name):
    cfg = load(stem, **{'model.backbone.attention.type': name})
    model = build(cfg).train()
    if cfg.default_scope == 'mmseg':
        # The crop of the config is for real images.
        model.data_preprocessor.size = (64, 96)
    elif cfg.default_scope == 'mmdet':
        model.train_cfg.rpn_proposal.max_per_img = 64
        model.roi_head.bbox_sampler.num = 32
    optimizer = build_optim_wrapper(
        model, dict(type='OptimWrapper', optimizer=dict(type='SGD', lr=1e-4))
    )
    parameters = {n: p for n, p in model.named_parameters() if '.attn_' in n}
    assert parameters
    # Hooks, because the original mmengine clears the gradients within the step.
    largest = {}
    for key, parameter in parameters.items():
        parameter.register_hook(
            lambda gradient, key=key: largest.setdefault(key, []).append(gradient.abs().max())
        )
    for step in range(3):
        losses = model.train_step(batch(cfg.default_scope), optimizer)
        assert losses['loss'].isfinite()
        assert {key: len(values) for key, values in largest.items()} == dict.fromkeys(
            parameters, step + 1
        )
    still = [key for key, values in largest.items() if not max(values) > 0]
    assert not still


@pytest.mark.parametrize('name', PAPER)
def test_a_stock_detector_keeps_its_detections(name):
    stock_cfg = Config(
        dict(
            default_scope='mmdet',
            model=copy.deepcopy(load(DETECTOR).model),
        )
    )
    stock_cfg.model.backbone.update(type='mmdet.ResNet')
    stock_cfg.model.backbone.pop('attention')
    # Random weights are never sure of anything.
    ours_cfg = load(DETECTOR, **{'model.backbone.attention.type': name})
    for cfg in (stock_cfg, ours_cfg):
        cfg.model.test_cfg.rcnn.score_thr = 0.0
    stock = build(stock_cfg)
    ours = build(ours_cfg)
    with torch.no_grad():
        for parameter in ours.parameters():
            parameter.add_(0.01)
    fresh = build(ours_cfg)
    missing, unexpected = fresh.load_state_dict(stock.state_dict(), strict=False)
    assert not unexpected and missing and all('.attn_' in key for key in missing)
    data = batch('mmdet', (96, 128))
    expected, actual, other = (
        model.eval().test_step(copy.deepcopy(data)) for model in (stock, fresh, ours)
    )
    assert len(expected[0].pred_instances) > 10
    for a, b in zip(expected, actual, strict=True):
        for key in ('bboxes', 'scores', 'labels'):
            assert torch.equal(a.pred_instances[key], b.pred_instances[key]), key
    assert not torch.equal(expected[0].pred_instances.scores, other[0].pred_instances.scores)


@pytest.mark.parametrize('name', attention_names())
@pytest.mark.parametrize('scope', ['mmdet', 'mmseg'])
def test_plugins_work_in_the_stock_resnets(scope, name):
    init_default_scope(scope)
    model = MODELS.build(
        dict(
            type=f'{scope}.ResNet',
            depth=50,
            base_channels=64,
            stem_channels=64,
            plugins=[
                dict(
                    cfg=dict(type=f'mmattn.{name}', warm_start=True),
                    # SA needs 128 channels.
                    position='after_conv3',
                    stages=(False, True, True, True),
                )
            ],
        )
    )
    assert not hasattr(model.layer1[0], 'attn')
    assert type(model.layer2[0].attn).__name__ == name
    model.train()
    model(torch.randn(2, 3, 32, 32))[-1].sum().backward()
    assert model.layer2[0].attn.warm_scale.grad is not None


NEW_STYLE = """
from mmpretrain.models.classifiers import ImageClassifier
from mmpretrain.models.heads import LinearClsHead
from mmpretrain.models.losses import CrossEntropyLoss
from mmpretrain.models.necks import GlobalAveragePooling

from mmattn.attention import SCSA
from mmattn.backbones import ResNet

default_scope = 'mmpretrain'
model = dict(
    type=ImageClassifier,
    backbone=dict(type=ResNet, depth=50, attention=dict(type=SCSA, warm_start=True)),
    neck=dict(type=GlobalAveragePooling),
    head=dict(
        type=LinearClsHead, num_classes=10, in_channels=2048, loss=dict(type=CrossEntropyLoss)
    ),
)
"""


def test_a_new_style_config_builds_trains_and_survives_a_dump(tmp_path):
    path = tmp_path / 'new_style.py'
    path.write_text(NEW_STYLE)
    cfg = Config.fromfile(path)
    cfg.dump(tmp_path / 'dumped.py')
    for config in (cfg, Config.fromfile(tmp_path / 'dumped.py')):
        model = build(config)
        attention = model.backbone.layer1[0].attn_after_conv2
        assert type(attention).__name__ == 'SCSA' and attention.warm_start
        optimizer = build_optim_wrapper(
            model, dict(type='OptimWrapper', optimizer=dict(type='SGD', lr=0.01))
        )
        data = batch('mmpretrain')
        data = dict(inputs=torch.stack(data['inputs']), data_samples=data['data_samples'])
        assert model.train().train_step(data, optimizer)['loss'].isfinite()


RUN = """
import sys
from mmengine.config import Config
from mmengine.runner import Runner
from mmattn.demo import Demo
from mmattn.engine import adapt_to_machine

base, attentions = sys.argv[1], sys.argv[2:]
for name in attentions:
    open('mine.py', 'w').write(f'''
_base_ = [{base!r}]
custom_imports = dict(imports=['mmattn'], allow_failed_imports=False)
model = dict(backbone=dict(attention=dict(type={name!r})))
''')
    cfg = Config.fromfile('mine.py')
    cfg.work_dir = 'work'
    Demo().prepare(cfg)
    adapt_to_machine(cfg)
    cfg.train_cfg = dict(type='IterBasedTrainLoop', max_iters=2)
    cfg.val_cfg = cfg.val_dataloader = cfg.val_evaluator = None
    cfg.train_dataloader.batch_size = 2
    cfg.train_dataloader.sampler = dict(type='InfiniteSampler', shuffle=True)
    cfg.default_hooks.checkpoint = dict(type='CheckpointHook', by_epoch=False, interval=9)
    cfg.default_hooks.logger = dict(type='LoggerHook', interval=1)
    cfg.log_processor = dict(by_epoch=False)
    cfg.param_scheduler = []
    cfg.experiment_name = f'run_{name}'
    runner = Runner.from_cfg(cfg)
    runner.train()
    assert runner.iter == 2
    print('TRAINED', name, sum('.attn_' in n for n, _ in runner.model.named_parameters()))
"""


@pytest.mark.slow
@pytest.mark.parametrize('stem', [DETECTOR, SEGMENTER, CLASSIFIER])
def test_runner_from_cfg_trains_each_attention_from_a_foreign_folder(tmp_path, stem):
    """As the toolboxes' own tools/train.py does, with custom_imports only."""
    (tmp_path / 'run.py').write_text(textwrap.dedent(RUN))
    done = subprocess.run(
        [sys.executable, 'run.py', str(CONFIGS / f'{stem}.py'), *PAPER],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    trained = [line.split() for line in done.stdout.splitlines() if line.startswith('TRAINED')]
    assert [line[1] for line in trained] == list(PAPER)
    assert all(int(line[2]) >= 16 for line in trained)


@pytest.fixture(scope='module')
def picture(tmp_path_factory):
    import cv2

    path = tmp_path_factory.mktemp('own') / 'my image.jpg'
    image = np.random.default_rng(0).integers(0, 255, (90, 120, 3), dtype=np.uint8)
    cv2.imwrite(str(path), image)
    return path


def small_config(stem, folder):
    """A shipped config with small images, and a checkpoint of its model."""
    from mmattn.demo import Demo

    cfg = Config.fromfile(CONFIGS / f'{stem}.py')
    cfg.work_dir = str(folder)
    Demo().prepare(cfg)
    cfg.dump(folder / 'config.py')
    model = build(cfg)
    meta = dict(
        dataset_meta=dict(
            classes=[f'class{i}' for i in range(1000)],
            palette=[[i % 256, 0, 0] for i in range(1000)],
        )
    )
    torch.save(dict(state_dict=model.state_dict(), meta=meta), folder / 'weights.pth')
    return str(folder / 'config.py'), str(folder / 'weights.pth')


def test_mmdets_inferencer_runs(tmp_path, picture):
    from mmdet.apis import DetInferencer

    config, weights = small_config(DETECTOR, tmp_path)
    inferencer = DetInferencer(model=config, weights=weights, device='cpu')
    results = inferencer(str(picture), out_dir=str(tmp_path / 'out'), no_save_vis=False)
    assert 'bboxes' in results['predictions'][0]
    assert list((tmp_path / 'out' / 'vis').iterdir())


def test_mmsegs_inferencer_runs(tmp_path, picture):
    from mmseg.apis import MMSegInferencer

    config, weights = small_config(SEGMENTER, tmp_path)
    inferencer = MMSegInferencer(
        model=config,
        weights=weights,
        classes=[f'class{i}' for i in range(150)],
        palette=[[i, i, i] for i in range(150)],
        device='cpu',
    )
    result = inferencer(str(picture), out_dir=str(tmp_path / 'out'))
    assert result['predictions'].shape == (90, 120)
    assert list((tmp_path / 'out').rglob('*'))


def test_mmpretrains_inferencer_runs(tmp_path, picture):
    from mmpretrain import ImageClassificationInferencer

    config, weights = small_config(CLASSIFIER, tmp_path)
    inferencer = ImageClassificationInferencer(config, pretrained=weights, device='cpu')
    result = inferencer(str(picture), show_dir=str(tmp_path / 'out'))[0]
    assert 0 <= result['pred_label'] < 1000 and 0 <= result['pred_score'] <= 1
    assert list((tmp_path / 'out').iterdir())
