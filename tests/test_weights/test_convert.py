"""Published checkpoints convert strictly, and give the published models' outputs."""

import json

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.registry import MODELS as ROOT
from mmengine.registry import DefaultScope

from mmattn.registry import MODELS
from mmattn.utils.errors import UserError
from mmattn.weights import Conversion, config_text, convert_checkpoint, find_source, to_bytes

HALF = (True, True, True, True, False, False, False)
OTHER = (False, False, False, False, True, True, True)
# Name in models_keys.json -> source, config of the backbone.
PUBLISHED = {
    'eca_resnet50': (
        'ecanet',
        dict(type='mmattn.ResNet', depth=50, attention=dict(type='ECA', kernel_size=3)),
    ),
    'eca_mobilenet_v2': (
        'ecanet',
        dict(
            type='mmattn.MobileNetV2',
            attention=[
                dict(type='ECA', kernel_size=1, stages=HALF),
                dict(type='ECA', kernel_size=3, stages=OTHER),
            ],
        ),
    ),
    'fcanet50': ('fcanet', dict(type='mmattn.ResNet', depth=50, attention=dict(type='FCA'))),
    'sa_resnet50': ('sanet', dict(type='mmattn.ResNet', depth=50, attention=dict(type='SA'))),
    'cbam_resnet50': ('cbam', dict(type='mmattn.ResNet', depth=50, attention=dict(type='CBAM'))),
    'mbv2_ca': (
        'coordatt',
        dict(
            type='mmattn.MobileNetV2',
            attention=dict(type='CA', stages=(False, True, True, True, True, True, True)),
        ),
    ),
    'simam_resnet50': (
        'simam',
        dict(type='mmattn.ResNet', depth=50, attention=dict(type='SimAM', e_lambda=0.1)),
    ),
    'se_resnet50': ('senet', dict(type='mmattn.ResNet', depth=50, attention=dict(type='SE'))),
    'scsa_resnet50': ('scsa', dict(type='mmattn.ResNet', depth=50, attention=dict(type='SCSA'))),
    'scsa_mobilenet_v2': ('scsa', dict(type='mmattn.MobileNetV2', attention=dict(type='SCSA'))),
    'res2net50_26w_4s': (
        'res2net',
        dict(
            type='mmattn.Res2Net',
            depth=50,
            scales=4,
            base_width=26,
            pool_unstrided=True,
            deep_stem=False,
            avg_down=False,
        ),
    ),
    'res2net50_v1b_26w_4s': (
        'res2net',
        dict(type='mmattn.Res2Net', depth=50, scales=4, base_width=26, pool_unstrided=True),
    ),
    'rgse_resnet50': ('rgse', dict(type='mmattn.ResNet', depth=50, attention=dict(type='RGSE'))),
    'spse_resnet50': ('spse', dict(type='mmattn.ResNet', depth=50, attention=dict(type='SPSE'))),
}


def test_every_published_model_is_tried(published_keys):
    assert set(PUBLISHED) == set(published_keys)


@pytest.mark.usefixtures('quick_build')
@pytest.mark.parametrize('name', sorted(PUBLISHED))
def test_published_models_convert_strictly(empty, name):
    kind, config = PUBLISHED[name]
    tensors = empty(name)
    # Told from the keys; named explicitly, it is the same.
    source = find_source(None, tensors, name)
    assert source.name == kind and find_source(kind, tensors, name) is source
    conversion = convert_checkpoint(tensors, source, file=f'{name}.pth')
    assert conversion.config == config
    # The printed config, not the dict, builds the model that the file has to fit.
    text = config_text(conversion, 'converted.pth')
    backbone = Config.fromstring(text, '.py').model.backbone
    assert backbone.pop('init_cfg') == dict(type='Pretrained', checkpoint='converted.pth')
    model = MODELS.build(backbone)
    state = conversion.checkpoint['state_dict']
    assert {k: v.shape for k, v in state.items()} == {
        k: v.shape for k, v in model.state_dict().items()
    }
    # Every key is accounted for.
    assert set(conversion.mapped) | set(conversion.left_out) == set(tensors)
    assert set(conversion.mapped.values()) | set(conversion.added) == set(state)
    heads = [key for key in tensors if key.startswith(('fc.', 'classifier.'))]
    assert sorted(conversion.left_out) == sorted(heads)


def relative_error(actual, expected):
    """Of the sampled values, to the value itself and the mean absolute value."""
    expected = torch.as_tensor(np.asarray(expected), dtype=torch.float64)
    flat = actual.flatten()
    flat = flat[:: -(-flat.numel() // 2048)].double()
    return float(((flat - expected).abs() / (expected.abs() + expected.abs().mean())).max())


@pytest.mark.parametrize('name', ['eca_resnet50', 'mbv2_ca', 'res2net50_26w_4s', 'scsa_resnet50'])
def test_outputs_are_those_of_the_published_model(goldens, fill, filled, name):
    case = json.loads((goldens / 'models.json').read_text())[name]
    stored = np.load(goldens / 'models.npz')
    tensors = filled(name)
    with_head = name != 'scsa_resnet50'
    conversion = convert_checkpoint(tensors, find_source(None, tensors, name), with_head)
    model_cfg = conversion.config if with_head else dict(**conversion.config, out_indices=range(4))
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        model = (ROOT if with_head else MODELS).build(model_cfg)
    model.load_state_dict(conversion.checkpoint['state_dict'], strict=True)
    # In float64: these weights amplify rounding, and numpy 1 and 2 round them differently.
    model.eval().double()
    outputs = {}
    for label in case['outputs']:
        size, index = label.split('/')
        if size not in outputs:
            image = torch.from_numpy(
                fill(case['seed'], 'input', [int(n) for n in size.split('x')])
            ).double()
            with torch.no_grad():
                outputs[size] = model(image) if not with_head else (model(image, mode='tensor'),)
        expected = next(stored[key] for key in stored.files if name in key and label in key)
        assert relative_error(outputs[size][int(index)], expected) < 1e-4, label


def test_the_written_file_loads_through_init_cfg(tmp_path, filled):
    tensors = filled('mbv2_ca')
    path = tmp_path / 'converted.pth'
    for with_head in (False, True):
        conversion = convert_checkpoint(tensors, find_source(None, tensors, 'x'), with_head)
        path.write_bytes(to_bytes(conversion.checkpoint))
        cfg = Config.fromstring(config_text(conversion, str(path)), '.py').model
        with DefaultScope.overwrite_default_scope('mmpretrain'):
            model = ROOT.build(cfg if with_head else cfg.backbone)
        model.init_weights()
        own = model.state_dict()
        state = conversion.checkpoint['state_dict']
        assert set(own) == set(state)
        assert all(torch.equal(value, own[key]) for key, value in state.items())
        # Tensors and plain containers only.
        assert torch.load(path, weights_only=True)['meta']['source'] == 'coordatt'


@pytest.mark.usefixtures('quick_build')
def test_the_head_is_dropped_or_kept(empty):
    tensors = empty('eca_resnet50')
    source = find_source(None, tensors, 'x')
    dropped = convert_checkpoint(tensors, source)
    assert set(dropped.left_out) == {'fc.weight', 'fc.bias'}
    kept = convert_checkpoint(tensors, source, with_head=True)
    assert not kept.left_out
    state = kept.checkpoint['state_dict']
    assert state['head.fc.weight'].shape == (1000, 2048)
    assert {key.split('.')[0] for key in state} == {'backbone', 'head'}
    assert kept.config['head']['in_channels'] == 2048
    without = {key: value for key, value in tensors.items() if not key.startswith('fc.')}
    with pytest.raises(UserError, match='no classifier.*leave out --with-head'):
        convert_checkpoint(without, source, with_head=True)


@pytest.mark.usefixtures('quick_build')
def test_kernel_sizes_are_read_stage_by_stage(empty):
    tensors = empty('eca_resnet50')
    for key in list(tensors):
        if '.eca.' in key:
            size = {'1': 3, '2': 5, '3': 5, '4': 7}[key[5]]
            tensors[key] = torch.zeros(1, 1, size)
    conversion = convert_checkpoint(tensors, find_source('ecanet', tensors, 'x'))
    assert conversion.config['attention'] == [
        dict(type='ECA', kernel_size=3, stages=(True, False, False, False)),
        dict(type='ECA', kernel_size=5, stages=(False, True, True, False)),
        dict(type='ECA', kernel_size=7, stages=(False, False, False, True)),
    ]
    tensors['layer2.1.eca.conv.weight'] = torch.zeros(1, 1, 9)
    for key in [key for key in tensors if key.startswith('layer1.0.eca.')]:
        del tensors[key]
    conversion = convert_checkpoint(tensors, find_source('ecanet', tensors, 'x'))
    assert conversion.config['attention'] == [
        dict(type='ECA', kernel_size=3, blocks=[[1, 2], [], [], []]),
        dict(type='ECA', blocks=[[], [0, 2, 3], [0, 1, 2, 3, 4, 5], [0, 1, 2]]),
        dict(type='ECA', kernel_size=9, blocks=[[], [1], [], []]),
    ]


@pytest.mark.usefixtures('quick_build')
def test_the_form_of_cbam_is_read(empty):
    tensors = {
        key: value
        for key, value in empty('cbam_resnet50').items()
        if not ('.mlp.' in key and key.endswith('bias')) and '.spatial.bn.' not in key
    }
    conversion = convert_checkpoint(tensors, find_source('cbam', tensors, 'x'))
    assert conversion.config['attention'] == dict(type='CBAM', bias=False, norm=False)


@pytest.mark.usefixtures('quick_build')
def test_frequencies_are_read_from_the_filters(empty):
    """FcaNet's files may hold the cosines, which tell what no shape does."""
    from mmattn.attention import FCA

    tensors = empty('fcanet50')
    for key in list(tensors):
        if key.endswith('att.fc.0.weight'):
            stage, channels = int(key[5]), tensors[key].shape[1]
            fca = FCA(channels, freq_sel='low8', dct_size=56 >> (stage - 1))
            planes = torch.einsum('fh,fw->fhw', fca.vertical, fca.horizontal)
            name = key.replace('fc.0', 'dct_layer')
            tensors[name] = planes.repeat_interleave(channels // 8, 0)
    conversion = convert_checkpoint(tensors, find_source('fcanet', tensors, 'x'))
    assert conversion.config['attention'] == dict(type='FCA', freq_sel='low8')
    assert 'computed' in conversion.left_out['layer1.0.att.dct_layer.weight']
    tensors['layer1.0.att.dct_layer.weight'] += 1
    with pytest.raises(UserError, match='DCT filters.*no freq_sel'):
        convert_checkpoint(tensors, find_source('fcanet', tensors, 'x'))


@pytest.mark.usefixtures('quick_build')
@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (dict(drop='layer3.2.conv2.weight'), '1 key missing .layer3.2.conv2.weight'),
        (dict(add='layer3.2.conv9.weight'), '1 key without a place in it .layer3.2.conv9.weight'),
        (dict(drop='layer4.2.'), r'3, 4, 6, 2.*no depth.*valid depths: \[18, 34, 50'),
        (dict(reshape='layer2.1.bn2.bias'), 'size mismatch for layer2.1.bn2.bias'),
    ],
)
def test_what_does_not_fit_is_named(empty, change, message):
    tensors = empty('eca_resnet50')
    if 'drop' in change:
        tensors = {k: v for k, v in tensors.items() if not k.startswith(change['drop'])}
    if 'add' in change:
        tensors[change['add']] = torch.zeros(3)
    if 'reshape' in change:
        tensors[change['reshape']] = torch.zeros(3)
    with pytest.raises(UserError, match=message):
        convert_checkpoint(tensors, find_source('ecanet', tensors, 'x'))


@pytest.mark.parametrize(
    ('given', 'message'),
    [
        ('fcanet', "does not look like fcanet.*'layer1.0.att.fc.0.weight'.*--source ecanet"),
        # It has no place for the attention, although the rest of its keys are there.
        ('torchvision', 'does not look like torchvision.*--source ecanet'),
        ('eca', 'unknown source .eca.; valid: cbam, coordatt, ecanet.*looks like ecanet'),
    ],
)
def test_a_wrong_source_is_named_with_the_likely_one(empty, given, message):
    with pytest.raises(UserError, match=message):
        find_source(given, empty('eca_resnet50'), 'eca.pth.tar')


def test_an_unknown_file_is_named():
    with pytest.raises(UserError, match='looks like no known source.*block.0.w.*valid: cbam'):
        find_source(None, {'block.0.w': torch.zeros(1)}, 'odd.pth')
    with pytest.raises(UserError, match='Did you mean torchvision'):
        find_source('torchvison', {'block.0.w': torch.zeros(1)}, 'odd.pth')


def test_simam_is_not_lost_as_a_plain_resnet(empty):
    """It has no keys of its own that a strict check could miss."""
    tensors = empty('simam_resnet50')
    with pytest.raises(UserError, match='--source simam'):
        find_source('timm', tensors, 'x')


@pytest.mark.usefixtures('quick_build')
def test_the_command_prints_table_and_config(tmp_path, empty, tool, monkeypatch, capsys):
    src, dst = tmp_path / 'mbv2_ca.pth', tmp_path / 'out' / 'ca.pth'
    torch.save({'state_dict': {f'module.{k}': v for k, v in empty('mbv2_ca').items()}}, src)
    assert tool('convert_checkpoint', src, dst, monkeypatch=monkeypatch) == 0
    out = capsys.readouterr().out
    for text in ('houqb/CoordAttention', 'mapped', 'left out', 'missing', "type='mmattn.Mobile"):
        assert text in out
    assert 'freeze_attention' in out and f'written: {dst}' in out
    assert torch.load(dst, weights_only=True)['meta']['converted_from'] == 'mbv2_ca.pth'
    before = dst.read_bytes()
    for words, error in (
        ((src, dst), 'exists already; --force'),
        ((src, tmp_path / 'x.pth', '--source', 'senet'), '--source coordatt'),
        ((tmp_path / 'none.pth', tmp_path / 'x.pth'), 'none.pth'),
    ):
        assert tool('convert_checkpoint', *words, monkeypatch=monkeypatch) == 2
        assert error in capsys.readouterr().err
    assert not (tmp_path / 'x.pth').exists() and dst.read_bytes() == before
    assert tool('convert_checkpoint', src, dst, '--force', monkeypatch=monkeypatch) == 0
    # Nothing but the name of the file says where it was made.
    assert str(tmp_path).encode() not in dst.read_bytes()


def test_a_long_config_is_readable_and_the_same():
    config = dict(
        type='mmattn.MobileNetV2', attention=PUBLISHED['eca_mobilenet_v2'][1]['attention']
    )
    conversion = Conversion({}, config, {}, {}, [])
    text = config_text(conversion, 'x.pth')
    assert max(map(len, text.splitlines())) <= 100 and len(text.splitlines()) < 25
    backbone = Config.fromstring(text, '.py').model.backbone
    assert backbone.pop('init_cfg') == dict(type='Pretrained', checkpoint='x.pth')
    assert backbone == config
