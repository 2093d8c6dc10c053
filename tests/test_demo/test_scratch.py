"""Models start from random weights, whatever way their config names pretrained ones."""

import pytest
from mmengine.model import PretrainedInit

from mmattn.demo.scratch import fewer_regions, from_scratch


@pytest.mark.parametrize('kind', ['Pretrained', PretrainedInit])
def test_pretrained_weights_are_left_out(kind):
    init = dict(type=kind, checkpoint='torchvision://resnet50')
    backbone = dict(type='mmattn.ResNet', depth=50, frozen_stages=1, init_cfg=init)
    cfg = dict(model=dict(backbone=backbone, pretrained='other.pth'), load_from='whole.pth')
    notes = from_scratch(cfg, 'mmattn')
    assert notes[0].endswith('(left out: whole.pth, other.pth, torchvision://resnet50)')
    assert cfg['load_from'] is cfg['model']['pretrained'] is backbone['init_cfg'] is None
    assert (backbone['frozen_stages'], backbone['norm_eval']) == (-1, False)
    assert 'frozen_stages' in notes[1] and 'norm_eval' not in notes[1]


def test_frozen_attention_is_learnt():
    backbone = dict(type='mmattn.ResNet', depth=50, freeze_attention=True)
    assert from_scratch(dict(model=dict(backbone=backbone)), 'mmattn') == []
    assert backbone['freeze_attention'] is False


def test_arguments_that_a_backbone_does_not_take_are_not_given():
    pytest.importorskip('mmpretrain')
    backbone = dict(type='LeNet5')
    from_scratch(dict(model=dict(backbone=backbone)), 'mmpretrain')
    assert backbone == dict(type='LeNet5')


def test_regions_are_never_more_than_before():
    model = dict(
        train_cfg=dict(rpn_proposal=dict(nms_pre=2000, max_per_img=1000)),
        test_cfg=dict(rpn=dict(nms_pre=100, max_per_img=50), rcnn=dict(max_per_img=100)),
    )
    assert '128 proposals' in fewer_regions(model)[0]
    assert model['train_cfg']['rpn_proposal'] == dict(nms_pre=512, max_per_img=128)
    assert model['test_cfg']['rpn'] == dict(nms_pre=100, max_per_img=50)
    assert fewer_regions(model) == []


def test_timms_weights_are_left_out():
    backbone = dict(type='TIMMBackbone', model_name='resnetv2_50', pretrained=True)
    (note,) = from_scratch(dict(model=dict(backbone=backbone)), 'mmpretrain')
    assert backbone['pretrained'] is False and 'resnetv2_50' in note
