"""What is exported runs at any size and gives the model's outputs."""

import os

import pytest
import torch

from mmattn.attention.names import attention_names
from mmattn.backbones import Res2Net, ResNet
from mmattn.registry import MODELS
from mmattn.utils.errors import UserError
from mmattn.utils.torch_version import NEW_TORCH
from mmattn.weights import export as exporting
from mmattn.weights import onnx_files
from mmattn.weights.export import Network, choose_part, export

needs_onnx = pytest.mark.usefixtures('onnx_packages')
new_torch_only = pytest.mark.skipif(
    not NEW_TORCH, reason='torch 2.1 has no dynamic sizes in torch.export'
)
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
    return Network(model.eval())


def small(attention='SE'):
    cfg = dict(
        type='ResNet', depth=18, num_stages=1, strides=(1,), dilations=(1,), out_indices=(0,)
    )
    return randomised(MODELS.build(dict(**cfg, attention=dict(type=attention))))


def onnx_session(path):
    import onnxruntime

    return onnxruntime.InferenceSession(str(path), providers=['CPUExecutionProvider'])


@needs_onnx
@pytest.mark.slow
def test_onnx_with_dynamic_batch_height_and_width(tmp_path):
    # The exporter of torch 2.1 knows neither the scale of SCSA's attention nor its joined kernels.
    module = small('SCSA' if NEW_TORCH else 'CA')
    path = tmp_path / 'new' / 'r18.onnx'
    done = export(module, path, 'onnx', size=(64, 64), check_size=(57, 70))
    assert set(done.errors) == {(64, 64), (57, 70)} and max(done.errors.values()) < 1e-4
    assert done.least == (1, 1)
    assert list(path.parent.iterdir()) == [path]
    session = onnx_session(path)
    (given,) = session.get_inputs()
    assert given.name == 'image' and given.shape[1] == 3
    assert [given.shape[axis] for axis in (0, 2, 3)] == ['batch', 'height', 'width']
    # None of the sizes that were checked; windows of 7 do not fit into the last two.
    for size in ((3, 101, 48), (1, 20, 80), (2, 3, 27)):
        image = torch.randn(size[0], 3, *size[1:])
        (out,) = session.run(['output'], {'image': image.numpy()})
        torch.testing.assert_close(torch.from_numpy(out), module(image)[0], atol=1e-4, rtol=1e-3)
    with pytest.raises(UserError, match='exists already'):
        export(module, path, 'onnx')


@pytest.mark.slow
@new_torch_only
def test_torch_export_with_dynamic_batch_height_and_width(tmp_path):
    module = small('SCSA')
    path = tmp_path / 'r18.pt2'
    done = export(module, path, 'torch', size=(64, 64), check_size=(57, 70))
    assert max(done.errors.values()) < 1e-4 and done.least == (1, 1)
    program = torch.export.load(path).module()
    for size in ((1, 64, 64), (2, 65, 70), (5, 30, 27), (1, 20, 80), (2, 1, 1)):
        image = torch.randn(size[0], 3, *size[1:])
        torch.testing.assert_close(program(image)[0], module(image)[0], atol=1e-5, rtol=1e-4)


class Alone(torch.nn.Module):
    """An attention that images can be put into."""

    def __init__(self, name):
        super().__init__()
        self.conv = torch.nn.Conv2d(3, 128, 1)
        self.attention = MODELS.build(dict(type=name, in_channels=128))

    def forward(self, image):
        return self.attention(self.conv(image))


@needs_onnx
@new_torch_only
@pytest.mark.slow
@pytest.mark.parametrize('name', attention_names())
def test_every_attention_at_every_size(tmp_path, name):
    """Also where the windows of SCSA and the grids of RGSE, SPSE and FCA do not fit."""
    done = export(Network(Alone(name)), tmp_path / 'x.onnx', 'onnx', (14, 21), (5, 40))
    assert max(done.errors.values()) < 1e-4 and done.least == (1, 1)


@needs_onnx
@new_torch_only
@pytest.mark.parametrize('name', ['PCSA', 'SCSA'])
def test_an_example_of_one_window_ties_nothing_to_it(tmp_path, name):
    """A ResNet's last map of 7 x 7 is one window of SCSA's: larger images went wrong, unsaid."""
    module = Network(randomised(Alone(name)))
    done = export(module, tmp_path / 'x.onnx', 'onnx', (7, 9), (5, 8))
    assert done.least == (1, 1)
    image = torch.randn(1, 3, 16, 30)
    (out,) = onnx_session(tmp_path / 'x.onnx').run(None, {'image': image.numpy()})
    torch.testing.assert_close(torch.from_numpy(out), module(image)[0], atol=1e-4, rtol=1e-3)


class Windows(torch.nn.Module):
    """Needs images of 7 x 7 at least."""

    def forward(self, image):
        means = image.unfold(2, 7, 7).unfold(3, 7, 7).mean((-2, -1))
        return torch.nn.functional.group_norm(means, 1)


@new_torch_only
def test_a_pt2_file_knows_its_least_size(tmp_path):
    path = tmp_path / 'x.pt2'
    assert export(Network(Windows()), path, 'torch', (16, 20), (30, 9)).least == (7, 7)
    limits = dict(least_height='', least_width='')
    program = torch.export.load(path, extra_files=limits).module()
    assert limits == dict(least_height='7', least_width='7')
    assert program(torch.ones(3, 3, 7, 15))[0].shape == (3, 3, 1, 2)
    with pytest.raises(AssertionError, match='7'):
        program(torch.ones(1, 3, 6, 20))


@needs_onnx
@new_torch_only
def test_a_crash_of_onnxruntime_is_an_error_and_an_onnx_file_knows_its_least_size(tmp_path):
    path = tmp_path / 'x.onnx'
    module = Network(Windows())
    assert export(module, path, 'onnx', (16, 20), (30, 9)).least == (7, 7)
    limits = onnx_session(path).get_modelmeta().custom_metadata_map
    assert limits == dict(least_height='7', least_width='7')
    # Without a window its GroupNorm ends the process (seen with onnxruntime 1.31).
    with pytest.raises(UserError, match='does not run at 6 x 20 .onnxruntime crashed with status'):
        exporting._check(onnx_files.runner(path), module, torch.ones(1, 3, 6, 20))


@pytest.mark.skipif(NEW_TORCH, reason='this torch has dynamic sizes in torch.export')
def test_old_torch_is_named(tmp_path):
    with pytest.raises(UserError, match=r'torch\.export has no dynamic sizes.*--format onnx'):
        export(small(), tmp_path / 'x.pt2', 'torch')


CONFIG = """
default_scope = 'mmpretrain'
model = dict(
    type='ImageClassifier',
    backbone=dict(type='mmattn.RepVGG', deploy=True, strides=(2,), dilations=(1,),
                  out_indices=(0,), base_channels=8, attention=dict(type='ECA'),
                  arch=dict(num_blocks=[1], width_factor=[1], group_layer_map=None, se_cfg=None)),
    neck=dict(type='GlobalAveragePooling'),
    head=dict(type='LinearClsHead', num_classes=3, in_channels=8),
)
"""


@needs_onnx
def test_the_command_exports_a_classifier(tmp_path, tool, monkeypatch, capsys):
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
    assert 'smallest image: 1 x 1' in out
    image = torch.randn(2, 3, 40, 90)
    session = onnx_session(dst)
    # Not 's40', as torch.export calls them.
    (given,), (output,) = session.get_inputs(), session.get_outputs()
    assert (given.shape, output.shape) == (['batch', 3, 'height', 'width'], ['batch', 3])
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


@new_torch_only
def test_what_cannot_be_exported_is_named(tmp_path):
    class Branching(torch.nn.Module):
        def forward(self, image):
            return image if image.sum() > 0 else -image

    with pytest.raises(UserError, match=r'torch\.export cannot export Branching with dynamic'):
        export(Network(Branching()), tmp_path / 'x.pt2', 'torch')
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
    assert len(done.errors) == 2 and max(done.errors.values()) < 1e-4 and done.least == (1, 1)
