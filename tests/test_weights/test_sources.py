"""Models of the libraries: torchvision and mmpretrain themselves, timm by its key names."""

import pytest
import torch
from mmengine.registry import DefaultScope

from mmattn.registry import MODELS
from mmattn.weights import SOURCES, convert_checkpoint, find_source, report_table

IMAGE = (1, 3, 64, 64)


def randomised(model):
    """BatchNorm statistics that matter."""
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.uniform_(module.running_mean, -0.5, 0.5)
            torch.nn.init.uniform_(module.weight, 0.5, 1.5)
    model.eval()  # returns None in mmpretrain
    return model


def converted(state, source, **options):
    tensors = dict(state)
    conversion = convert_checkpoint(tensors, find_source(source, tensors, 'x'), **options)
    model = MODELS.build(dict(conversion.config)).eval()
    model.load_state_dict(conversion.checkpoint['state_dict'], strict=True)
    return conversion, model


def pooled(model, image):
    return model(image)[-1].mean((2, 3))


@pytest.mark.parametrize(
    ('name', 'config'),
    [
        ('resnet18', dict(type='mmattn.ResNet', depth=18)),
        ('resnext50_32x4d', dict(type='mmattn.ResNeXt', depth=50, groups=32, width_per_group=4)),
        ('mobilenet_v2', dict(type='mmattn.MobileNetV2')),
    ],
)
def test_torchvision_models_give_their_features(name, config):
    models = pytest.importorskip('torchvision.models')
    stock = randomised(getattr(models, name)(weights=None, num_classes=3))
    conversion, model = converted(stock.state_dict(), 'torchvision')
    assert conversion.config == config and len(conversion.left_out) == 2
    assert find_source(None, stock.state_dict(), 'x').name == 'torchvision'
    image = torch.randn(IMAGE)
    if name == 'mobilenet_v2':
        expected = stock.features(image).mean((2, 3))
    else:
        stock.fc = torch.nn.Identity()
        expected = stock(image)
    torch.testing.assert_close(pooled(model, image), expected)


@pytest.mark.usefixtures('quick_build')
@pytest.mark.parametrize(
    ('name', 'config'),
    [
        (
            'wide_resnet50_2',
            dict(type='mmattn.ResNet', depth=50, base_channels=128, expansion=2, stem_channels=64),
        ),
        ('resnext101_64x4d', dict(type='mmattn.ResNeXt', depth=101, groups=64, width_per_group=4)),
        ('resnet34', dict(type='mmattn.ResNet', depth=34)),
        ('resnet152', dict(type='mmattn.ResNet', depth=152)),
    ],
)
def test_the_size_is_read(name, config):
    models = pytest.importorskip('torchvision.models')
    with torch.device('meta'):
        shapes = {k: v.shape for k, v in getattr(models, name)(weights=None).state_dict().items()}
    tensors = {key: torch.zeros(shape) for key, shape in shapes.items()}
    assert convert_checkpoint(tensors, SOURCES['torchvision']).config == config


MMPRETRAIN = [
    (
        dict(type='SEResNet', depth=50),
        2048,
        dict(type='mmattn.ResNet', depth=50, attention=dict(type='SE', bias=True)),
    ),
    (dict(type='ResNetV1d', depth=50), 2048, dict(type='mmattn.ResNetV1d', depth=50)),
    (dict(type='MobileNetV2'), 1280, dict(type='mmattn.MobileNetV2')),
    (dict(type='RepVGG', arch='A0'), 1280, dict(type='mmattn.RepVGG', arch='A0')),
    (
        dict(type='RepVGG', arch='A1', deploy=True),
        1280,
        dict(type='mmattn.RepVGG', arch='A1', deploy=True),
    ),
    (
        dict(type='Res2Net', depth=50, scales=2, base_width=48, deep_stem=False, avg_down=False),
        2048,
        dict(
            type='mmattn.Res2Net',
            depth=50,
            scales=2,
            base_width=48,
            pool_unstrided=True,
            deep_stem=False,
            avg_down=False,
        ),
    ),
    (
        dict(type='SwinTransformer', arch='tiny'),
        768,
        dict(type='mmattn.SwinTransformer', arch='tiny'),
    ),
]


@pytest.mark.parametrize(('stock', 'channels', 'config'), MMPRETRAIN)
def test_mmpretrain_classifiers_give_their_features(stock, channels, config):
    registry = pytest.importorskip('mmpretrain.registry').MODELS
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        classifier = registry.build(
            dict(
                type='ImageClassifier',
                backbone=stock,
                neck=dict(type='GlobalAveragePooling'),
                head=dict(type='LinearClsHead', num_classes=3, in_channels=channels),
            )
        )
    randomised(classifier)
    conversion, model = converted(classifier.state_dict(), 'mmpretrain')
    found = dict(conversion.config)
    if found['type'].endswith('SwinTransformer'):
        assert found.pop('arch')[0] == 't'
        config = dict(type='mmattn.SwinTransformer')
    assert found == config
    image = torch.randn(1, 3, 224, 224) if 'Swin' in stock['type'] else torch.randn(IMAGE)
    with torch.no_grad():
        actual, expected = model(image)[-1], classifier.backbone(image)[-1]
    torch.testing.assert_close(actual, expected)
    kept = convert_checkpoint(classifier.state_dict(), SOURCES['mmpretrain'], with_head=True)
    missing, unexpected = classifier.load_state_dict(
        {k: v for k, v in kept.checkpoint['state_dict'].items() if k.startswith('head.')},
        strict=False,
    )
    assert not unexpected and not [key for key in missing if key.startswith('head.')]


@pytest.mark.usefixtures('quick_build')
def test_the_backbone_of_a_detector_is_taken():
    stock = MODELS.build(dict(type='ResNet', depth=18)).state_dict()
    state = {f'backbone.{key}': value for key, value in stock.items()}
    state['rpn_head.rpn_conv.weight'] = torch.zeros(3)
    conversion, _ = converted(state, None)
    assert conversion.left_out == {'rpn_head.rpn_conv.weight': 'not of the backbone'}


@pytest.mark.usefixtures('quick_build')
def test_mmdets_res2net_pools_less():
    stock = MODELS.build(dict(type='Res2Net', depth=50)).state_dict()
    state = {f'backbone.{key}': value for key, value in stock.items()}
    assert converted(state, None)[0].config['pool_unstrided'] is True
    state['rpn_head.rpn_conv.weight'] = torch.zeros(3)
    assert converted(state, None)[0].config['pool_unstrided'] is False


def resnet18():
    return MODELS.build(dict(type='ResNet', depth=18)).state_dict()


def with_slots(state, slots, blocks=2):
    """Put an attention's keys behind the blocks of each stage."""
    state = dict(state)
    for stage, channels in enumerate((64, 128, 256, 512), 1):
        for block in range(blocks):
            for name, shape in slots(channels).items():
                state[f'layer{stage}.{block}.{name}'] = torch.zeros(shape)
    return state


@pytest.mark.usefixtures('quick_build')
def test_timm_seresnet_has_at_least_eight_hidden_channels():
    def slots(channels):
        hidden = max(8, channels // 16)
        return {
            'se.fc1.weight': (hidden, channels, 1, 1),
            'se.fc1.bias': (hidden,),
            'se.fc2.weight': (channels, hidden, 1, 1),
            'se.fc2.bias': (channels,),
        }

    conversion, _ = converted(with_slots(resnet18(), slots), 'timm')
    assert conversion.config['attention'] == [
        dict(type='SE', reduction=8, bias=True, stages=(True, False, False, False)),
        dict(type='SE', bias=True, stages=(False, True, True, True)),
    ]


@pytest.mark.usefixtures('quick_build')
def test_timm_ecaresnet_has_the_papers_kernels():
    sizes = {64: 3, 128: 5, 256: 5, 512: 5}
    state = with_slots(resnet18(), lambda c: {'se.conv.weight': (1, 1, sizes[c])})
    assert find_source(None, state, 'x').name == 'timm'
    conversion, _ = converted(state, None)
    assert conversion.config['attention'] == dict(type='ECA')


def test_timm_deep_stem_and_average_pooling():
    """resnet*d: the stem is a chain called conv1 whose last norm is bn1."""
    own = MODELS.build(dict(type='ResNetV1d', depth=50)).state_dict()
    state = {}
    for key, value in own.items():
        key = key.replace('stem.7.', 'bn1.') if key.startswith('stem.7.') else key
        state[key.replace('stem.', 'conv1.') if key.startswith('stem.') else key] = value
    assert 'conv1.0.weight' in state and 'bn1.weight' in state
    conversion, model = converted(state, 'timm')
    assert conversion.config == dict(type='mmattn.ResNetV1d', depth=50)
    assert all(torch.equal(value, own[key]) for key, value in model.state_dict().items())


def timm_mobilenet_name(key):
    """mmpretrain's name -> timm's."""
    head, _, rest = key.partition('.')
    if head in ('conv1', 'conv2'):
        conv, norm = ('conv_stem', 'bn1') if head == 'conv1' else ('conv_head', 'bn2')
        return rest.replace('conv.', f'{conv}.').replace('bn.', f'{norm}.')
    block, _, chain, number, layer, parameter = rest.split('.')[:1] + [None] + rest.split('.')[1:]
    names = ('conv_dw', 'conv_pw') if head == 'layer1' else ('conv_pw', 'conv_dw', 'conv_pwl')
    name = names[int(number)] if layer == 'conv' else f'bn{int(number) + 1}'
    return f'blocks.{int(head[5:]) - 1}.{block}.{name}.{parameter}'


def test_timm_mobilenet_v2():
    own = MODELS.build(dict(type='MobileNetV2')).state_dict()
    state = {timm_mobilenet_name(key): value for key, value in own.items()}
    assert {'conv_stem.weight', 'bn1.weight', 'blocks.1.0.conv_pwl.weight'} <= set(state)
    conversion, model = converted(state, None)
    assert conversion.config == dict(type='mmattn.MobileNetV2')
    assert all(torch.equal(value, own[key]) for key, value in model.state_dict().items())


@pytest.mark.usefixtures('quick_build')
def test_simam_in_basic_blocks_and_mobilenet_v2_is_in_front_of_the_norm():
    state = {k.replace('conv2.weight', 'conv2.0.weight'): v for k, v in resnet18().items()}
    conversion, _ = converted(state, None)
    assert conversion.config['attention'] == dict(
        type='SimAM', e_lambda=0.1, position='before_norm2'
    )
    models = pytest.importorskip('torchvision.models')
    state = {}
    for key, value in models.mobilenet_v2(weights=None).state_dict().items():
        # In the depthwise layers the norm moves from 1 to 2.
        parts = key.split('.')
        depthwise = '0' if parts[1] == '1' else '1'
        if parts[0] == 'features' and parts[2:5:2] == ['conv', '1'] and parts[3] == depthwise:
            parts[4] = '2'
        state['.'.join(parts)] = value
    conversion, _ = converted(state, None)
    assert conversion.config == dict(
        type='mmattn.MobileNetV2', attention=dict(type='SimAM', e_lambda=0.1)
    )


def test_the_order_of_keys_does_not_matter():
    models = pytest.importorskip('torchvision.models')
    state = models.mobilenet_v2(weights=None).state_dict()
    conversion, _ = converted(state, 'torchvision')
    backwards, _ = converted(dict(reversed(state.items())), 'torchvision')
    assert backwards.mapped == conversion.mapped


def test_the_table_counts_every_tensor():
    state = {**resnet18(), 'fc.weight': torch.zeros(3, 512), 'fc.bias': torch.zeros(3)}
    conversion, _ = converted(state, 'torchvision')
    table = report_table(conversion, 'title')
    cells = [list(column.cells) for column in table.columns]
    rows = dict(zip(cells[0], cells[2], strict=True))
    assert rows['layer*.*.bn1'] == '40' and rows['fc'] == '2'
    assert rows['mapped'] == '120' and rows['left out'] == '2' and rows['missing'] == '0'


def test_of_all_sources_that_fit_one_is_the_least_common(published_keys):
    """Whatever the order in which their files are found."""
    deep_stem = {'conv1.0.weight': 0, 'bn1.weight': 0, 'layer1.0.conv1.weight': 0}
    libraries = {
        'timm resnet50d': deep_stem,
        'timm seresnet50': {'conv1.weight': 0, 'layer1.0.se.fc1.weight': 0},
        'torchvision resnet50': {'conv1.weight': 0},
        'mmdet resnet50': {'backbone.conv1.weight': 0},
    }
    for name, keys in {**published_keys, **libraries}.items():
        for prefix in ('', 'backbone.'):
            prefixed = [prefix + key for key in keys]
            found = sorted(s.commonness for s in SOURCES.values() if s.has_mark(prefixed))
            assert found.count(found[0]) == 1, (name, prefix)
    assert find_source(None, deep_stem, 'x').name == 'timm'
    res2net = deep_stem | {'layer1.0.convs.0.weight': 0}
    assert find_source(None, res2net, 'x').name == 'res2net'


def test_microsofts_swin_transformer():
    own = MODELS.build(dict(type='SwinTransformer', arch='tiny')).state_dict()
    state = {'head.weight': torch.zeros(3, 768), 'head.bias': torch.zeros(3)}
    for name, value in own.items():
        for ours, theirs in (
            ('stages.', 'layers.'),
            ('.w_msa.', '.'),
            ('ffn.layers.0.0', 'mlp.fc1'),
            ('ffn.layers.1', 'mlp.fc2'),
            ('projection', 'proj'),
            ('norm3.', 'norm.'),
        ):
            name = name.replace(ours, theirs)
        if 'downsample' in name:
            value = value.unflatten(-1, (-1, 2, 2)).movedim(-3, -1).transpose(-3, -2).flatten(-3)
        state[name] = value
    state['layers.0.blocks.1.attn_mask'] = torch.zeros(64, 49, 49)
    conversion, model = converted(state, None)
    assert conversion.checkpoint['meta']['source'] == 'swin'
    assert conversion.config['arch'] in ('t', 'tiny')
    assert all(torch.equal(value, own[key]) for key, value in model.state_dict().items())
    assert 'computed' in conversion.left_out['layers.0.blocks.1.attn_mask']
    kept = convert_checkpoint(state, SOURCES['swin'], with_head=True)
    assert kept.checkpoint['state_dict']['head.fc.weight'].shape == (3, 768)
