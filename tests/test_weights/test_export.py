"""What is exported runs at any size and gives the model's outputs."""

import os

import pytest
import torch

from mmattn.backbones import Res2Net, ResNet
from mmattn.registry import MODELS
from mmattn.utils.errors import UserError
from mmattn.weights import export as exporting
from mmattn.weights.export import NEW_TORCH, Backbone, choose_part, export

needs_onnx = pytest.mark.usefixtures('onnx_packages')
# A whole network with one attention takes minutes: CI exports short ones, with one attention
# each (ResNet in a test of its own).
EVERYTHING = bool(os.environ.get('MMATTN_EXPORT_EVERYTHING'))
NETS = {
    'ResNet': dict(depth=50, out_indices=(0, 1, 2, 3)),
    'MobileNetV2': {},
    'RepVGG': dict(arch='A0'),
    'Res2Net': dict(depth=50),
}
TWO_STAGES = dict(depth=50, num_stages=2, strides=(1, 2), dilations=(1, 1), out_indices=(0, 1))
SHORT_NETS = {
    'ResNet': TWO_STAGES,
    'MobileNetV2': {},
    'RepVGG': dict(
        arch=dict(num_blocks=[1, 2], width_factor=[1, 1], group_layer_map=None, se_cfg=None),
        strides=(2, 2),
        dilations=(1, 1),
        out_indices=(0, 1),
    ),
    'Res2Net': TWO_STAGES,
}


@pytest.fixture
def onnx_packages():
    for name in ('onnx', 'onnxruntime', *(['onnxscript'] if NEW_TORCH else [])):
        pytest.importorskip(name)


def randomised(model):
    """Every weight and statistic matters."""
    torch.manual_seed(0)
    for name, parameter in model.named_parameters():
        if '.attn_' in name:
            torch.nn.init.normal_(parameter, std=0.2)
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.uniform_(module.running_mean, -0.5, 0.5)
            torch.nn.init.uniform_(module.running_var, 0.5, 1.5)
    return Backbone(model.eval())


def small(attention='SE'):
    cfg = dict(
        type='ResNet', depth=18, num_stages=1, strides=(1,), dilations=(1,), out_indices=(0,)
    )
    return randomised(MODELS.build(dict(**cfg, attention=dict(type=attention))))


@needs_onnx
@pytest.mark.slow
def test_onnx_with_dynamic_batch_height_and_width(tmp_path):
    import onnxruntime

    # The exporter of torch 2.1 knows neither the scale of SCSA's attention nor its joined kernels.
    module = small('SCSA' if NEW_TORCH else 'CA')
    path = tmp_path / 'new' / 'r18.onnx'
    done = export(module, path, 'onnx', size=(64, 64), check_size=(57, 70))
    assert set(done.errors) == {(64, 64), (57, 70)} and max(done.errors.values()) < 1e-4
    assert list(path.parent.iterdir()) == [path]
    session = onnxruntime.InferenceSession(str(path), providers=['CPUExecutionProvider'])
    (given,) = session.get_inputs()
    assert given.name == 'image' and given.shape[1] == 3
    assert all(isinstance(given.shape[axis], str) for axis in (0, 2, 3))
    # Neither of the sizes that were checked.
    image = torch.randn(3, 3, 101, 48)
    (out,) = session.run(['output'], {'image': image.numpy()})
    torch.testing.assert_close(torch.from_numpy(out), module(image)[0], atol=1e-4, rtol=1e-3)
    with pytest.raises(UserError, match='exists already'):
        export(module, path, 'onnx')


@pytest.mark.slow
@pytest.mark.skipif(not NEW_TORCH, reason='torch 2.1 has no dynamic sizes in torch.export')
def test_torch_export_with_dynamic_batch_height_and_width(tmp_path):
    module = small('SCSA')
    path = tmp_path / 'r18.pt2'
    done = export(module, path, 'torch', size=(64, 64), check_size=(57, 70))
    assert max(done.errors.values()) < 1e-4
    # The first stage must hold a window of 7.
    assert done.least == (25, 25)
    program = torch.export.load(path).module()
    for size in ((1, 64, 64), (2, 65, 70), (5, 30, 27)):
        image = torch.randn(size[0], 3, *size[1:])
        torch.testing.assert_close(program(image)[0], module(image)[0], atol=1e-5, rtol=1e-4)
    with pytest.raises(AssertionError, match='25'):
        program(torch.randn(1, 3, 20, 64))


@pytest.mark.skipif(NEW_TORCH, reason='this torch has dynamic sizes in torch.export')
def test_old_torch_is_named(tmp_path):
    with pytest.raises(UserError, match=r'torch\.export has no dynamic sizes.*--format onnx'):
        export(small(), tmp_path / 'x.pt2', 'torch')


CONFIG = """
default_scope = 'mmpretrain'
model = dict(
    type='ImageClassifier',
    backbone=dict(type='mmattn.ResNet', depth=18, num_stages=1, strides=(1,), dilations=(1,),
                  out_indices=(0,), attention=dict(type='ECA')),
    neck=dict(type='GlobalAveragePooling'),
    head=dict(type='LinearClsHead', num_classes=3, in_channels=64),
)
"""


@needs_onnx
def test_the_command_exports_a_classifier(tmp_path, tool, monkeypatch, capsys):
    import onnxruntime
    from mmengine.config import Config

    stock = pytest.importorskip('mmpretrain.registry').MODELS
    config = tmp_path / 'tiny.py'
    config.write_text(CONFIG)
    model = stock.build(Config.fromfile(config).model).eval()
    torch.save(dict(state_dict=model.state_dict()), tmp_path / 'weights.pth')
    dst = tmp_path / 'tiny.onnx'
    words = ('export', config, dst, '--checkpoint', tmp_path / 'weights.pth')
    sizes = ('--size', 64, 64, '--check-size', 57, 70)
    assert tool(*words, *sizes, monkeypatch=monkeypatch) == 0
    out = capsys.readouterr().out
    assert 'checked at 64 x 64' in out and 'checked at 57 x 70' in out and 'written:' in out
    session = onnxruntime.InferenceSession(str(dst), providers=['CPUExecutionProvider'])
    image = torch.randn(2, 3, 40, 90)
    (logits,) = session.run(None, {'image': image.numpy()})
    assert logits.shape == (2, 3)
    torch.testing.assert_close(torch.from_numpy(logits), model(image), atol=1e-5, rtol=1e-3)
    assert tool(*words, monkeypatch=monkeypatch) == 2
    assert 'exists already' in capsys.readouterr().err


def test_missing_packages_are_named(tmp_path, monkeypatch):
    monkeypatch.setattr(exporting, 'find_spec', lambda name: None)
    with pytest.raises(UserError, match='pip install onnx onnxruntime'):
        export(small(), tmp_path / 'x.onnx', 'onnx')
    with pytest.raises(UserError, match="unknown format 'tflite'; valid: onnx, torch"):
        export(small(), tmp_path / 'x.tflite', 'tflite')


def test_a_detector_has_no_classifier():
    with pytest.raises(UserError, match='no classifier.*--part backbone'):
        choose_part(torch.nn.ModuleDict(dict(backbone=torch.nn.Identity())), 'classifier')


def test_wrong_outputs_are_not_written():
    module = small()
    with pytest.raises(UserError, match='other outputs at 32 x 40.*nothing was written'):
        exporting._check(lambda image: (module(image)[0] * 1.01,), module, torch.ones(1, 3, 32, 40))

    def fail(image):
        raise RuntimeError('no such kernel')

    with pytest.raises(UserError, match='does not run at 32 x 40 .no such kernel.'):
        exporting._check(fail, module, torch.ones(1, 3, 32, 40))


@pytest.mark.skipif(not NEW_TORCH, reason='torch 2.1 has no dynamic sizes in torch.export')
def test_what_cannot_be_exported_is_named(tmp_path):
    class Branching(torch.nn.Module):
        def forward(self, image):
            return image if image.sum() > 0 else -image

    with pytest.raises(UserError, match=r'torch\.export cannot export Branching with dynamic'):
        export(Backbone(Branching()), tmp_path / 'x.pt2', 'torch')
    assert not list(tmp_path.iterdir())


@pytest.fixture
def nets(monkeypatch):
    """Arguments of each network; unless everything is asked for, of one block a stage."""
    if EVERYTHING:
        return NETS
    stock = pytest.importorskip('mmpretrain.models.backbones').MobileNetV2
    for cls in (ResNet, Res2Net):
        block = cls.arch_settings[50][0]
        monkeypatch.setitem(cls.arch_settings, 50, (block, (1, 1, 1, 1)))
    settings = [[*setting[:2], 1, setting[3]] for setting in stock.arch_settings]
    monkeypatch.setattr(stock, 'arch_settings', settings)
    return SHORT_NETS


@needs_onnx
@pytest.mark.slow
@pytest.mark.parametrize(
    ('net', 'attention'),
    [(net, attention) for net in NETS for attention in ('SE', 'ECA', 'CA', 'SCSA')]
    if EVERYTHING
    else [('MobileNetV2', 'SE'), ('RepVGG', 'ECA'), ('Res2Net', 'CA')],
)
def test_onnx_agrees_at_two_sizes(tmp_path, nets, net, attention):
    model = MODELS.build(dict(type=net, **nets[net], attention=dict(type=attention)))
    done = export(randomised(model), tmp_path / f'{net}.onnx', 'onnx')
    assert len(done.errors) == 2 and max(done.errors.values()) < 1e-4
