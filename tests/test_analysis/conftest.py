"""The smallest real config of each toolbox, and the tools, as fixtures."""

import runpy
import sys

import cv2
import numpy as np
import pytest

BACKBONE = """dict(type='mmattn.ResNet', depth=18, base_channels=8, stem_channels=8, num_stages=2,
    strides=(1, 2), dilations=(1, 1), out_indices=(0, 1), attention=dict(type='SCSA'))"""
LOADER = """
test_dataloader = dict(dataset=dict(type={kind!r}, data_root='nowhere', {where}, pipeline=[
    dict(type='LoadImageFromFile'),
    dict(type='Resize', scale=(64, 48), keep_ratio=True),
    dict(type='LoadAnnotations'),
    dict(type={pack!r}),
]))
"""
CLASSIFIER = f"""
default_scope = 'mmpretrain'
data_preprocessor = dict(mean=[128.0] * 3, std=[64.0] * 3, to_rgb=True)
model = dict(
    type='ImageClassifier',
    backbone={BACKBONE},
    neck=dict(type='GlobalAveragePooling'),
    head=dict(type='LinearClsHead', num_classes=2, in_channels=16),
)
test_dataloader = dict(dataset=dict(type='CustomDataset', data_root='nowhere', pipeline=[
    dict(type='LoadImageFromFile'), dict(type='CenterCrop', crop_size=32), dict(type='PackInputs'),
]))
"""
DETECTOR = f"""
default_scope = 'mmdet'
model = dict(
    type='RetinaNet',
    data_preprocessor=dict(type='DetDataPreprocessor', mean=[128.0] * 3, std=[64.0] * 3,
                           bgr_to_rgb=True, pad_size_divisor=64),
    backbone={BACKBONE},
    neck=dict(type='mmattn.AttentionNeck', attention=dict(type='CA'),
              neck=dict(type='FPN', in_channels=[8, 16], out_channels=8, num_outs=2)),
    bbox_head=dict(
        type='RetinaHead', num_classes=2, in_channels=8, stacked_convs=1, feat_channels=8,
        anchor_generator=dict(type='AnchorGenerator', octave_base_scale=4, scales_per_octave=1,
                              ratios=[1.0], strides=[4, 8])),
    test_cfg=dict(nms_pre=10, min_bbox_size=0, score_thr=0.05, max_per_img=5,
                  nms=dict(type='nms', iou_threshold=0.5)),
)
""" + LOADER.format(kind='CocoDataset', where="ann_file='a.json'", pack='PackDetInputs')
SEGMENTER = f"""
default_scope = 'mmseg'
model = dict(
    type='EncoderDecoder',
    data_preprocessor=dict(type='SegDataPreProcessor', mean=[128.0] * 3, std=[64.0] * 3,
                           bgr_to_rgb=True, test_cfg=dict(size_divisor=64)),
    backbone={BACKBONE},
    decode_head=dict(type='FCNHead', in_channels=16, in_index=1, channels=8, num_convs=1,
                     num_classes=3),
    test_cfg=dict(mode='slide', crop_size=(16, 16), stride=(8, 8)),
)
""" + LOADER.format(
    kind='BaseSegDataset', where="data_prefix=dict(img_path='img')", pack='PackSegInputs'
)
CONFIGS = {'mmpretrain': CLASSIFIER, 'mmdet': DETECTOR, 'mmseg': SEGMENTER}


@pytest.fixture
def tiny_models(tmp_path, monkeypatch):
    """A folder with mmpretrain.py, mmdet.py, mmseg.py, red.png and half.png; one works in it."""
    for name, text in CONFIGS.items():
        (tmp_path / f'{name}.py').write_text(text)
    image = np.zeros((48, 64, 3), np.uint8)
    image[..., 2] = 200
    cv2.imwrite(str(tmp_path / 'red.png'), image)
    image[:, 32:] = np.random.default_rng(0).integers(0, 255, (48, 32, 3))
    cv2.imwrite(str(tmp_path / 'half.png'), image)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def analysis_tool(project_root, monkeypatch):
    """Runs tools/analysis_tools/NAME.py in this process; returns the exit status."""

    def call(name, *words):
        script = project_root / 'tools' / 'analysis_tools' / f'{name}.py'
        monkeypatch.setattr(sys, 'path', [*sys.path])
        monkeypatch.setattr(sys, 'argv', [str(script), *map(str, words)])
        with pytest.raises(SystemExit) as end:
            runpy.run_path(str(script), run_name='__main__')
        return end.value.code

    return call
