"""What holds of a network with attention in it, whatever happens to the network."""

import copy
import io
import os
import subprocess
import sys

import pytest
import torch
from mmengine.registry import DefaultScope
from torch import Tensor, nn

from mmattn import insert_attention
from mmattn.attention import ECA, SE, Attention
from mmattn.registry import MODELS
from mmattn.utils.errors import InvalidArgument, InvalidValue, UnknownName, UserError


class Block(nn.Module):
    """conv, norm, ReLU, conv, norm, and what went in."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.relu = nn.ReLU()
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.bn2(self.conv2(self.relu(self.bn1(self.conv1(x)))))


class Net(nn.Module):
    """A stem, two stages of two blocks, and a mean."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, 2, 1)
        self.layer1 = nn.Sequential(Block(8), Block(8))
        self.down = nn.Conv2d(8, 16, 3, 2, 1)
        self.layer2 = nn.Sequential(Block(16), Block(16))

    def forward(self, x: Tensor) -> Tensor:
        return self.layer2(self.down(self.layer1(self.stem(x))))


def made(attention, network=None, **options) -> nn.Module:
    torch.manual_seed(0)
    return insert_attention(network or Net(), attention, **options)


def randomise(network: nn.Module) -> nn.Module:
    """Weights, norms and their statistics that nothing cancels in."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for name, value in network.state_dict().items():
            if value.is_floating_point():
                value.copy_(torch.rand(value.shape, generator=generator) * 0.2 + 0.05)
                if name.endswith('weight') and value.dim() > 1:
                    value.sub_(0.15)
    return network


def attentions(network: nn.Module) -> dict[str, Attention]:
    return {n: m for n, m in network.named_modules() if isinstance(m, Attention)}


def calls(network: nn.Module, x: Tensor) -> list[str]:
    """Names of the attentions that run in a pass, in order."""
    ran, handles = [], []
    for name, one in attentions(network).items():
        handles.append(one.register_forward_hook(lambda *_, name=name: ran.append(name)))
    network(x)
    for handle in handles:
        handle.remove()
    return ran


X = torch.randn(2, 3, 32, 48, generator=torch.Generator().manual_seed(0))


def test_an_output_is_attended_to():
    network = made(dict(type='SE', at='layer1.0')).eval()
    plain = Net().eval()
    plain.load_state_dict({k: v for k, v in network.state_dict().items() if 'attn' not in k})
    y = plain.layer1[0](plain.stem(X))
    expected = plain.layer2(plain.down(plain.layer1[1](network.layer1[0].attn_output(y))))
    torch.testing.assert_close(network(X), expected, rtol=0, atol=0)
    assert isinstance(network, Net) and type(network).__name__ == 'Net'


def test_an_input_is_attended_to():
    network = made(dict(type='SE', at='down:input')).eval()
    y = network.layer1(network.stem(X))
    attended = network.down.attn_input(y)
    expected = network.layer2(nn.functional.conv2d(attended, network.down.weight,
                                                   network.down.bias, 2, 1))  # fmt: skip
    torch.testing.assert_close(network(X), expected, rtol=0, atol=0)


@pytest.mark.parametrize(
    ('at', 'found'),
    [
        ('layer*.*.conv2', ['layer1.0', 'layer1.1', 'layer2.0', 'layer2.1']),
        ('layer[2].?.conv2', ['layer2.0', 'layer2.1']),
        ('layer[!2].*.conv2', ['layer1.0', 'layer1.1']),
        ('layer[1-2].1.conv2', ['layer1.1', 'layer2.1']),
        ('**.conv2', ['layer1.0', 'layer1.1', 'layer2.0', 'layer2.1']),
        (['layer2.0.conv2', 'layer1.1.conv2'], ['layer1.1', 'layer2.0']),
    ],
)
def test_patterns(at, found):
    names = attentions(made(dict(type='SE', at=at)))
    assert list(names) == [f'{block}.conv2.attn_output' for block in found]


def test_two_stars_at_the_end_are_all_below():
    names = attentions(made(dict(type='SE', at='layer1.0.**')))
    below = ('conv1', 'bn1', 'relu', 'conv2', 'bn2')
    assert set(names) == {f'layer1.0.{one}.attn_output' for one in below}


@pytest.mark.parametrize(
    ('place', 'found'),
    [
        (dict(stages=(False, True)), ['layer2.0', 'layer2.1']),
        (dict(blocks='last'), ['layer1.1', 'layer2.1']),
        (dict(blocks='every 2nd', stages=(True, False)), ['layer1.1']),
        (dict(blocks=[0]), ['layer1.0', 'layer2.0']),
        (dict(blocks=['first', 'last']), ['layer1.0', 'layer2.1']),
    ],
)
def test_stages_and_blocks(place, found):
    names = attentions(made(dict(type='SE', at='layer*.*', **place)))
    assert list(names) == [f'{block}.attn_output' for block in found]


@pytest.mark.parametrize(
    ('attention', 'error', 'said'),
    [
        (dict(type='SE', at='layre1.*'), UnknownName, r'parts are stem, .*Near: layer\*\.\*'),
        (dict(type='SE', at=3), InvalidArgument, "such as 'layer"),
        (dict(type='SE', at='stem:output'), InvalidValue, "':input', not in ':output'"),
        (dict(type='SE', at='layer*.*', stages=(True,)), InvalidValue, 'each of layer1, layer2'),
        (dict(type='SE', at='layer*.*', blocks=5), InvalidValue, 'no block 5'),
        (dict(type='SE', at='stem', stages=(False,)), InvalidValue, 'leave none of 1 places'),
        (dict(type='SE', at='stem', position='inner'), InvalidArgument, 'both say where'),
        (dict(type='SE'), InvalidArgument, "'python -m mmattn places Net'"),
        (dict(type='EAC', at='stem'), UnknownName, 'did you mean'),
        (dict(type='SE', at='stem', reductoin=4), InvalidArgument, "'reductoin'; valid: .*at"),
        (dict(type='SA', at='layer1.*'), InvalidValue, r'at layer1\.0: SA: in_channels=8'),
        (dict(at='stem'), InvalidArgument, "dict with a 'type'"),
    ],
)
def test_what_is_wrong_is_named(attention, error, said):
    network = Net()
    keys = list(network.state_dict())
    with pytest.raises(error, match=said):
        insert_attention(network, attention)
    assert list(network.state_dict()) == keys and type(network) is Net


def test_two_at_one_place_run_in_their_order():
    network = made([dict(type='SE', at='layer1.0'), dict(type='ECA', at='layer1.0')])
    assert calls(network, X) == ['layer1.0.attn_output', 'layer1.0.attn_output_1']
    assert [type(one) for one in attentions(network).values()] == [SE, ECA]
    more = insert_attention(network, dict(type='ECA', at=['layer1.0', 'stem']))
    assert more is network
    assert calls(network, X)[0] == 'stem.attn_output' and len(attentions(network)) == 4


def test_a_copy_runs_its_own_attention():
    network = made(dict(type='SE', at='layer*.*.bn2')).eval()
    copied = copy.deepcopy(network)
    before = network(X)
    for one in attentions(copied).values():
        nn.init.constant_(one.fc2.weight if hasattr(one, 'fc2') else next(one.parameters()), 3.0)
    torch.testing.assert_close(network(X), before, rtol=0, atol=0)
    assert not torch.equal(copied(X), before)
    assert set(calls(copied, X)) == set(attentions(copied))
    copied.train()
    assert {id(slot.holder) for slot in copied.slots} <= {id(m) for m in copied.modules()}


def test_a_whole_network_is_saved_and_loaded():
    network = made(dict(type='CA', at='layer2.*')).eval()
    file = io.BytesIO()
    torch.save(network, file)
    file.seek(0)
    loaded = torch.load(file, weights_only=False)
    torch.testing.assert_close(loaded(X), network(X), rtol=0, atol=0)
    assert type(loaded) is type(network)
    assert set(calls(loaded, X)) == set(attentions(loaded)) and len(attentions(loaded)) == 2


def test_sync_batch_norm_keeps_attention_running():
    network = made(dict(type='SE', at=['layer*.*.bn2', 'layer1.*.conv1'])).eval()
    before, names = network(X), set(calls(network, X))
    converted = nn.SyncBatchNorm.convert_sync_batchnorm(network).eval()
    assert isinstance(converted.layer1[0].bn2, nn.SyncBatchNorm)
    assert set(calls(converted, X)) == names and len(names) == 6
    torch.testing.assert_close(converted(X), before)


@pytest.mark.parametrize(
    'at',
    [
        'layer*.*',
        *(f'layer*.*.{name}' for name in ('conv1', 'bn1', 'conv2', 'bn2')),
        *(f'layer*.*.{name}:input' for name in ('conv2', 'bn2')),
    ],
)
@pytest.mark.parametrize('kind', ['SE', 'CBAM', 'CA'])
def test_mmcvs_fuse_conv_bn_keeps_the_outputs(at, kind):
    pytest.importorskip('mmcv')
    from mmcv.cnn.utils import fuse_conv_bn

    network = randomise(made(dict(type=kind, at=at))).eval()
    expected, ran = network(X), calls(network, X)
    fused = fuse_conv_bn(network)
    torch.testing.assert_close(fused(X), expected, rtol=1e-5, atol=1e-5)
    assert calls(fused, X) == ran and len(ran) == 4
    fused.eval()
    torch.testing.assert_close(fused(X), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize('at', ['body', 'body.1', 'body.0:input'])
def test_attention_in_a_sequential_outlives_its_norm(at):
    pytest.importorskip('mmcv')
    from mmcv.cnn.utils import fuse_conv_bn

    body = nn.Sequential(nn.Conv2d(8, 8, 3, bias=False), nn.BatchNorm2d(8))
    network = nn.Sequential()
    network.add_module('stem', nn.Conv2d(3, 8, 3))
    network.add_module('body', body)
    randomise(made(dict(type='SE', at=at), network)).eval()
    expected, keys = network(X), {key for key in network.state_dict() if 'attn_' in key}
    fused = fuse_conv_bn(network).eval()
    torch.testing.assert_close(fused(X), expected, rtol=1e-5, atol=1e-5)
    assert isinstance(body[1], nn.Identity)
    assert {key for key in fused.state_dict() if 'attn_' in key} == keys and keys
    assert len(calls(fused, X)) == 1


@pytest.mark.parametrize('at', ['0', '1:input'])
def test_what_lies_between_a_convolution_and_its_norm_cannot_be_fused(at):
    pytest.importorskip('mmcv')
    from mmcv.cnn.utils import fuse_conv_bn

    network = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8))
    fused = fuse_conv_bn(made(dict(type='SE', at=at), network).eval())
    with pytest.raises(UserError, match='between a convolution and its norm, 1, which were fused'):
        fused.eval()


@pytest.mark.parametrize(
    ('name', 'options'), [('RepVGG', dict(arch='A0')), ('MobileOne', dict(arch='s0'))]
)
def test_deploying_keeps_the_outputs(name, options):
    pytest.importorskip('mmpretrain.models')
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        network = MODELS.build(
            dict(type='mmattn.AnyBackbone', network=name, attention=dict(type='SE'), **options)
        )
    torch.manual_seed(0)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, std=0.1)
            nn.init.normal_(module.running_mean, std=0.1)
            nn.init.uniform_(module.running_var, 0.5, 1.5)
    network.double().eval()
    x = torch.randn(1, 3, 64, 64, dtype=torch.float64)
    expected, count = network(x), len(calls(network, x))
    network.switch_to_deploy()
    for one, other in zip(network(x), expected, strict=True):
        torch.testing.assert_close(one, other)
    assert len(calls(network, x)) == count == len(attentions(network)) > 10
    assert 'bn' not in ''.join(n for n in network.state_dict() if 'attn' not in n)


@pytest.mark.parametrize(
    ('name', 'options', 'frozen'),
    [
        ('ResNet', dict(depth=18, frozen_stages=2, norm_eval=True), ('layer1', 'layer2')),
        ('CSPDarknet', dict(widen_factor=0.125, deepen_factor=0.33, frozen_stages=2,
                            norm_eval=True), ('stage1', 'stage2')),
    ],
)  # fmt: skip
def test_attention_in_frozen_stages_keeps_training(name, options, frozen):
    pytest.importorskip('mmdet.models')
    attention = dict(type='CBAM')
    config = dict(type='mmattn.AnyBackbone', network=name, attention=attention, **options)
    with DefaultScope.overwrite_default_scope('mmdet'):
        trained = MODELS.build(config).train()
        still = MODELS.build(dict(config, freeze_attention=True))
    inside = [key for key in attentions(trained) if key.startswith(frozen)]
    assert inside and len(inside) < len(attentions(trained))
    for key, one in attentions(trained).items():
        assert all(module.training for module in one.modules())
        assert all(p.requires_grad for p in one.parameters()), key
    stock = {n: p for n, p in trained.named_parameters() if 'attn_' not in n}
    assert any(n.startswith(frozen) for n in stock)
    assert not any(p.requires_grad for n, p in stock.items() if n.startswith(frozen))
    for network in (still, still.train()):
        for key, one in attentions(network).items():
            assert all(p.requires_grad != key.startswith(frozen) for p in one.parameters())
    assert not any(m.training for m in still.modules() if isinstance(m, nn.BatchNorm2d))


def test_what_is_frozen_by_hand_stays_frozen():
    """As a teacher's or a moving average's attention."""
    network = made(dict(type='SE', at='layer1.*')).requires_grad_(False)
    network.train()
    assert not any(p.requires_grad for p in network.parameters())


def test_checkpointing_gives_the_same_gradients():
    pytest.importorskip('mmdet.models')
    gradients = []
    for with_cp in (False, True):
        torch.manual_seed(0)
        with DefaultScope.overwrite_default_scope('mmdet'):
            network = MODELS.build(
                dict(
                    type='mmattn.AnyBackbone',
                    network='ResNet',
                    depth=18,
                    with_cp=with_cp,
                    attention=dict(type='SCSA'),
                )  # fmt: skip
            )
        x = X.clone().requires_grad_()
        sum(one.square().mean() for one in network.train()(x)).backward()
        gradients.append([p.grad for p in network.parameters()])
    for one, other in zip(*gradients, strict=True):
        torch.testing.assert_close(one, other)


def test_pretrained_weights_load_and_attention_stays(tmp_path):
    pytest.importorskip('mmpretrain.models')
    config = dict(type='ResNet', depth=18)
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        stock = MODELS.build(config)
        path = tmp_path / 'stock.pth'
        torch.save(stock.state_dict(), path)
        network = MODELS.build(
            dict(
                type='mmattn.AnyBackbone',
                network='ResNet',
                depth=18,
                attention=dict(type='SCSA', warm_start=True),
                init_cfg=dict(type='Pretrained', checkpoint=str(path)),
            )  # fmt: skip
        )
        network.init_weights()
    network.eval(), stock.eval()
    for one, other in zip(network(X), stock(X), strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=0)


def test_a_moving_average_has_its_own():
    from mmengine.model import ExponentialMovingAverage

    network = made(dict(type='SE', at='layer*.*'))
    average = ExponentialMovingAverage(network, momentum=0.5)
    for value in (0.5, 1.0):
        for parameter in network.parameters():
            nn.init.constant_(parameter, value)
        average.update_parameters(network)
    assert set(calls(average.module, X)) == set(attentions(average.module))
    assert not any(p.requires_grad for p in average.train().parameters())
    assert not torch.equal(average(X), network(X))


def test_distributed_training_reaches_attention(tmp_path):
    from torch import distributed as dist

    dist.init_process_group('gloo', init_method=f'file://{tmp_path / "meet"}', rank=0, world_size=1)
    try:
        network = nn.parallel.DistributedDataParallel(made(dict(type='SE', at='layer*.*')))
        network.train()(X).square().mean().backward()
        for one in attentions(network).values():
            assert all(p.grad is not None for p in one.parameters())
    finally:
        dist.destroy_process_group()


def test_one_graph_and_an_exported_program():
    network = made(dict(type='SE', at='layer*.*')).eval()
    torch._dynamo.reset()
    compiled = torch.compile(network, fullgraph=True, backend='eager')
    torch.testing.assert_close(compiled(X), network(X))
    exported = torch.export.export(network, (X,))
    torch.testing.assert_close(exported.module()(X), network(X))


def test_a_plain_sequential_and_its_slices():
    network = made(
        dict(type='SE', at=['0', '1']), nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Flatten())
    )
    assert calls(network, X) == ['0.attn_output', '1.attn_output']
    torch.testing.assert_close(network[:2].eval()(X).flatten(1), network.eval()(X))
    assert len(network) == 3


@pytest.mark.parametrize('dims', [1, 3])
def test_sequences_and_volumes(dims):
    conv = (nn.Conv1d, None, nn.Conv3d)[dims - 1]
    network = made(dict(type='SE', at='0'), nn.Sequential(conv(2, 8, 3), nn.ReLU()))
    x = torch.randn(2, 2, *(9, 7, 8)[:dims])
    y = nn.Sequential(*(copy.deepcopy(one) for one in network))
    assert network(x).shape == (2, 8, *(7, 5, 6)[:dims])
    assert calls(network, x) == ['0.attn_output']
    torch.testing.assert_close(network(x), y(x))
    with pytest.raises(InvalidValue, match=r'CA takes maps \(N, C, H, W\), not NC'):
        made(dict(type='CA', at='0'), nn.Sequential(conv(2, 8, 3)))


class Twice(nn.Module):
    """A layer that every level shares, as a detector's head has it."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3, padding=1)
        self.shared = nn.Conv2d(8, 8, 3, padding=1)

    def forward(self, x: Tensor, smaller: int = 1) -> Tensor:
        x = self.shared(self.conv(x))
        return self.shared(x[..., ::2, ::2] if self.halved else x)


def test_a_shared_module_is_attended_to_each_time():
    network = Twice()
    network.halved = False
    made(dict(type='SE', at='shared'), network)
    assert calls(network, X) == ['shared.attn_output'] * 2
    network = Twice()
    network.halved = True
    with pytest.raises(InvalidValue, match='called 2 times in a pass, with maps of several shapes'):
        made(dict(type='SE', at='shared'), network)
    network = made(dict(type='SE', at='shared', channels=8), network)
    assert calls(network, X) == ['shared.attn_output'] * 2


def shapes_seen(network: nn.Module, x: Tensor) -> set[tuple]:
    seen = set()
    for one in attentions(network).values():
        one.register_forward_hook(lambda _, args, out: seen.add(tuple(args[0].shape)))
    network.eval()(x)
    return seen


def test_tokens_behind_a_class_token_at_other_sizes():
    pytest.importorskip('mmpretrain.models')
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        network = MODELS.build(
            dict(
                type='mmattn.AnyBackbone',
                network='VisionTransformer',
                img_size=64,
                patch_size=16,
                arch=dict(embed_dims=32, num_layers=2, num_heads=2, feedforward_channels=32),
                attention=dict(type='CA'),
            )  # fmt: skip
        )
    assert shapes_seen(network, torch.randn(1, 3, 64, 64)) == {(1, 32, 4, 4)}
    assert (1, 32, 6, 5) in shapes_seen(network, torch.randn(1, 3, 96, 80))


def test_maps_whose_channels_come_last():
    swin = pytest.importorskip('torchvision.models.swin_transformer')
    network = swin.SwinTransformer([4, 4], 16, [1, 1], [2, 2], [4, 4], num_classes=2)
    network = made(dict(type='SE', at='features.1.*'), network)
    assert shapes_seen(network, torch.randn(1, 3, 64, 96)) == {(1, 16, 16, 24)}
    assert network.eval()(torch.randn(1, 3, 50, 70)).shape == (1, 2)


FORK = """
import os
import torch
from torch import nn
import mmattn

torch.set_num_threads(1)  # those of OpenMP would not be in the fork
network = nn.Sequential(nn.Conv2d(3, 16, 3), nn.Conv2d(16, 16, 3))
mmattn.insert_attention(network, dict(type='ECA', at='1'))

def train():
    network(torch.zeros(1, 3, 9, 9)).sum().backward()

train()
process = os.fork()
if process == 0:
    try:
        train()
    except BaseException:
        os._exit(1)
    os._exit(0)
raise SystemExit(os.waitpid(process, 0)[1] != 0)
"""


@pytest.mark.skipif(not hasattr(os, 'fork'), reason='no fork on this system')
def test_a_process_with_inserted_attention_can_fork_and_train():
    done = subprocess.run([sys.executable, '-c', FORK], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr


def test_a_module_of_several_names_holds_no_attention():
    """It would be in the checkpoint once for each name."""
    act = nn.ReLU()
    blocks = [nn.Sequential(nn.Conv2d(8, 8, 3, padding=1), act) for _ in range(3)]
    network = made(dict(type='SE', at='[123]'), nn.Sequential(nn.Conv2d(3, 8, 3), *blocks))
    assert calls(network, X) == [f'{i}.0.attn_output' for i in (1, 2, 3)]
    assert len({key for key in network.state_dict() if 'attn_' in key}) == 3 * 2
