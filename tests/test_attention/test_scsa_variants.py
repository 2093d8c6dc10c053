"""SCSA and every variant of its paper's table 1 equal the formulas, written out."""

import pytest
import torch
from torch.nn import functional as F

from mmattn import kernels
from mmattn.attention import PCSA, SCSA
from mmattn.utils.torch_version import NEW_TORCH
from mmattn.weights.export import trace

# Row of table 1 -> arguments.
VARIANTS = {
    'as published': {},
    'channel first': dict(pcsa_first=True),
    'no norm': dict(norm='none'),
    'batch norm': dict(norm='BN'),
    'layer norm': dict(norm='LN'),
    'norm before': dict(norm_first=True),
    'batch norm before': dict(norm='BN', norm_first=True),
    'no compression': dict(window_size=1),
    'whole map': dict(window_size=-1),
    'heads': dict(head_num=4),
    'heads and shuffle': dict(head_num=8, channel_shuffle=True),
    'not shared': dict(shared=False),
    'scale of the positions': dict(scale='positions'),
    'one branch': dict(group_kernel_sizes=(3,)),
    'two branches': dict(group_kernel_sizes=(3, 5)),
    'other kernels': dict(group_kernel_sizes=(3, 3, 5, 11)),
    'max pool': dict(down_sample_mode='max_pool'),
    'recombination': dict(down_sample_mode='recombination', window_size=4),
    'softmax': dict(gate_layer='softmax'),
    'biases': dict(qkv_bias=True),
}


def strip_gate(x, axis, smsa, convs, norm):
    """Gate along one axis: mean over the other, a convolution per group, norm, gate."""
    strip = x.mean(5 - axis)  # axis 2 is the height, 3 the width
    if smsa.norm_first:
        strip = normed(norm, strip)
    groups = strip.chunk(len(convs), 1)
    strip = torch.cat([conv(group) for conv, group in zip(convs, groups, strict=True)], 1)
    if not smsa.norm_first:
        strip = normed(norm, strip)
    gate = strip.sigmoid() if smsa.gate_layer == 'sigmoid' else strip.softmax(-1)
    return gate.unsqueeze(5 - axis)


def normed(norm, strip):
    if isinstance(norm, torch.nn.LayerNorm):
        return torch.stack([norm(strip[..., i]) for i in range(strip.shape[2])], -1)
    if isinstance(norm, torch.nn.BatchNorm2d):
        return norm(strip[..., None])[..., 0]
    return strip if norm is None else norm(strip)


def spatial(x, smsa):
    other = smsa.convs if smsa.convs_w is None else smsa.convs_w
    rows = strip_gate(x, 2, smsa, smsa.convs, smsa.norm_h)
    return x * rows * strip_gate(x, 3, smsa, other, smsa.norm_w)


def channel(x, pcsa):
    """The original's order: the mean over the windows comes after the product."""
    size = pcsa.window_size
    if size == -1:
        pooled = x.mean((2, 3), keepdim=True)
    elif pcsa.down_sample_mode == 'avg_pool':
        pooled = F.avg_pool2d(x, size)
    elif pcsa.down_sample_mode == 'max_pool':
        pooled = F.max_pool2d(x, size)
    else:
        # pixel (i, j) of each window of channel c is channel c * size^2 + i * size + j
        cells = [x[:, :, i::size, j::size] for i in range(size) for j in range(size)]
        least = [min(cell.shape[axis] for cell in cells) for axis in (2, 3)]
        cells = [cell[:, :, : least[0], : least[1]] for cell in cells]
        pooled = pcsa.conv_d(torch.stack(cells, 2).flatten(1, 2))
    pooled = pcsa.norm(pooled)
    outs = []
    for head in range(pcsa.head_num):
        q, k, v = (
            layer(pooled).chunk(pcsa.head_num, 1)[head].flatten(2)
            for layer in (pcsa.q, pcsa.k, pcsa.v)
        )
        scale = q.shape[1] if pcsa.scale == 'channels' else q.shape[2]
        outs.append((q @ k.transpose(1, 2) / scale**0.5).softmax(-1) @ v)
    logits = torch.cat(outs, 1).mean(2)[:, :, None, None]
    out = x * (logits.sigmoid() if pcsa.gate_layer == 'sigmoid' else logits.softmax(1))
    if pcsa.channel_shuffle:
        per_head = out.shape[1] // pcsa.head_num
        order = [h * per_head + i for i in range(per_head) for h in range(pcsa.head_num)]
        out = out[:, order]
    return out


def randomised(name, **more):
    torch.manual_seed(0)
    module = SCSA(16, **{'window_size': 3, **VARIANTS[name]}, **more).double()
    for parameter in module.parameters():
        torch.nn.init.normal_(parameter)
    return module


def formula(module, x):
    if module.pcsa_first:
        return spatial(channel(x, module.pcsa), module.smsa)
    return channel(spatial(x, module.smsa), module.pcsa)


@pytest.mark.parametrize('mode', kernels.choice.MODES)
@pytest.mark.parametrize('training', [False, True])
@pytest.mark.parametrize('name', VARIANTS)
def test_each_variant_equals_the_formulas(name, training, mode):
    module = randomised(name).train(training)
    x = torch.randn(2, 16, 13, 9).double().requires_grad_()
    inputs = x, *module.parameters()
    with kernels.using(mode):
        out = module(x)
        found = torch.autograd.grad(out.sin().sum(), inputs)
    expected = formula(module, x)
    torch.testing.assert_close(out, expected)
    wanted = torch.autograd.grad(expected.sin().sum(), inputs)
    for ours, theirs in zip(found, wanted, strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize('name', VARIANTS)
def test_each_variant_starts_warm(name):
    module = randomised(name, warm_start=True).eval()
    x = torch.randn(2, 16, 13, 9).double()
    with torch.no_grad():
        for scale in (0.0, 0.3):
            module.warm_scale.fill_(scale)
            expected = torch.lerp(x, formula(module, x), module.warm_scale)
            torch.testing.assert_close(module(x), expected)


@pytest.mark.parametrize('name', VARIANTS)
def test_every_form_but_the_shuffled_multiplies_the_map_once(name, monkeypatch):
    """As one operator or as one gate, whatever the arguments."""
    seen = []
    for function in ('scsa', 'gate'):
        run = getattr(kernels, function)
        monkeypatch.setattr(
            kernels,
            function,
            lambda *args, run=run, **kwargs: seen.append(1) or run(*args, **kwargs),
        )
    module = randomised(name)
    module(torch.randn(2, 16, 13, 9).double())
    # Other poolings than the mean need the gated map itself.
    more = module.pcsa.down_sample_mode != 'avg_pool'
    assert len(seen) == 1 + more


@pytest.mark.skipif(not NEW_TORCH, reason='torch 2.1 has no dynamic sizes in torch.export')
@pytest.mark.parametrize('mode', ['avg_pool', 'max_pool', 'recombination'])
def test_every_mode_pools_small_maps_as_a_whole_exported_too(mode):
    pcsa = PCSA(4, window_size=3, down_sample_mode=mode).eval()
    program = trace(Compress(pcsa), torch.randn(2, 4, 7, 9)).module()
    for height, width in ((7, 9), (1, 1), (2, 5), (5, 2), (3, 3), (12, 14)):
        # Negative too: what fills a small map up must not be its maximum.
        x = torch.randn(2, 4, height, width) - 3
        if mode == 'recombination':
            filled = F.pad(x, (0, max(3 - width, 0), 0, max(3 - height, 0)))
            whole = filled[:, :, : max(height // 3, 1) * 3, : max(width // 3, 1) * 3]
            expected = pcsa.conv_d(F.pixel_unshuffle(whole, 3))
        else:
            pool = F.avg_pool2d if mode == 'avg_pool' else F.max_pool2d
            expected = pool(x, (min(height, 3), min(width, 3)))
        torch.testing.assert_close(pcsa._compress(x), expected)
        torch.testing.assert_close(program(x), expected, atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize('mode', ['avg_pool', 'max_pool', 'recombination'])
def test_compiles_in_every_mode(mode):
    module = PCSA(4, down_sample_mode=mode).eval()
    compiled = torch.compile(module, fullgraph=True, backend='eager')
    x = torch.randn(2, 4, 5, 15)
    torch.testing.assert_close(compiled(x), module(x))


class Compress(torch.nn.Module):
    def __init__(self, pcsa):
        super().__init__()
        self.pcsa = pcsa

    def forward(self, x):
        return self.pcsa._compress(x)


@pytest.mark.parametrize('size', [(5, 4), (9, 6), (14, 21)])
@pytest.mark.parametrize('heads', [1, 2])
def test_the_channels_attention_has_its_gradient(size, heads):
    """One window and several are computed in ways of their own."""
    torch.manual_seed(0)
    module = PCSA(6, head_num=heads, window_size=3, qkv_bias=True).double()
    names = [name for name, _ in module.named_parameters()]
    given = [torch.rand_like(p).add(0.5).requires_grad_() for p in module.parameters()]
    x = torch.randn(2, 6, *size, dtype=torch.float64, requires_grad=True)

    def run(x, *parameters):
        return torch.func.functional_call(module, dict(zip(names, parameters, strict=True)), x)

    assert torch.autograd.gradcheck(run, (x, *given), fast_mode=True)
