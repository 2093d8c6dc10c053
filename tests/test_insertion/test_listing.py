"""``python -m mmattn places``: a network's parts, and where attention goes."""

import pytest

from mmattn.__main__ import main


def places(capsys, *words) -> tuple[dict[str, list[str]], str]:
    """Name of a module -> the other words of its line, and all that was printed."""
    assert main(['places', *words]) == 0
    said = capsys.readouterr().out
    return {line.split()[0]: line.split()[1:] for line in said.splitlines() if line.split()}, said


@pytest.fixture(scope='module', autouse=True)
def toolboxes():
    pytest.importorskip('mmpretrain.models')
    pytest.importorskip('mmdet.models')


def test_parts_channels_sizes_and_usual_places(capsys):
    lines, said = places(capsys, 'mmpretrain.ResNet', 'depth=18')
    assert said.startswith('ResNet, input 224 x 224')
    assert lines['layer3.0.bn2'][:3] == ['SyncBatchNorm' if 'Sync' in said else 'BatchNorm2d',
                                         '256', '16']  # fmt: skip
    assert 'outer' in said.partition('layer3.0.bn2')[2].partition('\n')[0]
    assert 'before_norm' in said.partition('layer1.0.conv2')[2].partition('\n')[0]
    assert 'attention' not in said
    shallow, _ = places(capsys, 'mmpretrain.ResNet', 'depth=18', '--depth', '1')
    assert 'layer1' in shallow and 'layer1.0.relu' in lines and 'layer1.0.relu' not in shallow
    assert 'layer1.0.bn2' in shallow, 'a usual place is always shown'


def test_where_an_attention_would_go(capsys):
    lines, said = places(capsys, 'mmdet.CSPNeXt', '--attention', 'ECA')
    marked = [name for name, words in lines.items() if words[-1:] == ['ECA'] and '.' in name]
    assert len(marked) > 4 and f'ECA would go to {len(marked)} places.' in said
    lines, said = places(capsys, 'mmdet.CSPNeXt', '--at', 'stage[12].0', 'stage3.0:input')
    assert lines['stage1.0'][-1] == lines['stage2.0'][-1] == 'SE'
    assert lines['stage3.0'][-2:] == ['SE', '(input)']
    assert 'SE would go to 3 places.' in said


def test_a_config_with_attention_in_any_network(capsys, tmp_path):
    path = tmp_path / 'own.py'
    path.write_text(
        "default_scope = 'mmdet'\n"
        "model = dict(type='YOLOX', backbone=dict(type='mmattn.AnyBackbone', network='CSPDarknet',"
        "    widen_factor=0.25, attention=[dict(type='CA', at='stage[34].*.blocks.0'),"
        "                                  dict(type='SE', at='stem')]))\n"
    )
    lines, said = places(capsys, str(path))
    assert lines['stem'][-1] == 'SE' and lines['stage3.1.blocks.0'][-1] == 'CA'
    assert lines['stage3.1.blocks.0'][1] == '64'
    assert 'CA, SE would go to 3 places.' in said
    lines, said = places(capsys, str(path), '--attention', 'ECA', '--at', 'stage1.0')
    assert 'ECA would go to 1 place.' in said and lines['stage1.0'][-1] == 'ECA'
    assert main(['places', str(tmp_path / 'other.py')]) == 2
    assert 'does not exist' in capsys.readouterr().err


def test_a_stock_config_shows_where_an_attention_would_go(capsys):
    lines, said = places(
        capsys, 'mmdet::rtmdet/rtmdet_tiny_8xb32-300e_coco.py', '--attention', 'SCSA'
    )
    assert lines['stage1.1.blocks.0.conv1'][-1] == 'SCSA'
    assert 'SCSA would go to 4 places.' in said


def test_a_config_of_our_own_backbone_shows_its_slots(capsys):
    lines, said = places(capsys, 'resnet56_cifar10', 'model.backbone.attention.type=SCSA')
    inside = [name for name in lines if name.endswith('attn_after_conv2')]
    assert len(inside) == 27 and lines[inside[0]][-1] == 'SCSA'
    assert 'SCSA is at 27 places.' in said
    assert not any('.smsa' in name for name in lines)


def test_networks_of_libraries(capsys):
    pytest.importorskip('torchvision')
    _, said = places(capsys, 'torchvision.models.squeezenet1_1')
    assert said.startswith('SqueezeNet, input')
    pytest.importorskip('timm')
    lines, _ = places(capsys, 'timm.mobilenetv3_small_050', 'num_classes=3')
    assert lines['classifier'][0] == 'Linear'


@pytest.mark.parametrize(
    ('words', 'said'),
    [
        (['CSPNeX'], 'Did you mean CSPNeXt'),
        (['mmdet.CSPNeXt', 'arch'], 'KEY=VALUE'),
        (['mmdet.CSPNeXt', 'arhc=P5'], 'cannot be built'),
        (['mmdet.CSPNeXt', '--at', 'stge1'], 'names no module'),
        (['mmdet.CSPNeXt', '--attention', 'EAC'], 'did you mean'),
    ],
)
def test_mistakes(capsys, words, said):
    assert main(['places', *words]) == 2
    assert said in capsys.readouterr().err
