"""Outputs and gradients agree with the original implementations (goldens)."""

import importlib.util
import json

import numpy as np
import pytest
import torch

from mmattn.attention.names import find_attention
from mmattn.registry import MODELS

# Golden name -> name of the class, and the arguments that make it that one.
CLASSES = {
    'ca': ('CA', {}),
    'cbam': ('CBAM', {}),
    'cpca': ('CPCA', {}),
    'cse': ('CSE', {}),
    'eca': ('ECA', {}),
    'ela': ('ELA', {}),
    'ema': ('EMA', {}),
    'fca': ('FCA', {}),
    'sa': ('SA', {}),
    'scsa': ('SCSA', {}),
    'scse': ('SCSE', {}),
    'se': ('SE', {}),
    'simam': ('SimAM', {}),
    'sse': ('SSE', {}),
    'caa': ('CAA', {}),
    'a2': ('A2', {}),
    'bam': ('BAM', {}),
    'cam': ('CAM', {}),
    'cot': ('CoT', {}),
    'criss_cross': ('CrissCross', {}),
    'danet': ('DANet', {}),
    'ese': ('ESE', {}),
    'external': ('External', {}),
    'gc': ('GC', {}),
    'gct': ('GCT', {}),
    'ge': ('GE', {}),
    'ge_global': ('GE', dict(extra_params=True, use_mlp=False)),
    'nonlocal': ('NonLocal', {}),
    'pam': ('PAM', {}),
    'parnet': ('ParNet', {}),
    'polarized_parallel': ('ParallelPolarized', {}),
    'polarized_parallel_paper': ('ParallelPolarized', dict(form='paper')),
    'polarized_sequential': ('SequentialPolarized', {}),
    'polarized_sequential_paper': ('SequentialPolarized', dict(form='paper')),
    'sge': ('SGE', {}),
    'triplet': ('Triplet', {}),
    'gam': ('GAM', {}),
    'lct': ('LCT', {}),
    'lka': ('LKA', {}),
    'lka_attention': ('LKA', dict(proj=True)),
    'lsk': ('LSK', {}),
    'lsk_attention': ('LSK', dict(proj=True)),
    'lska': ('LSKA', {}),
    'lska_attention': ('LSKA', dict(proj=True)),
    'mca': ('MCA', {}),
    'mixed_pooling': ('MixedPooling', {}),
    'mlca': ('MLCA', {}),
    'nam': ('NAM', {}),
    'psa': ('PSA', {}),
    'sk': ('SK', {}),
    'srm': ('SRM', {}),
    'strip_pooling': ('StripPooling', {}),
}
# The originals' argument names -> ours; the channels are those of the input.
CHANNELS = (
    *('channel', 'gate_channels', 'inp', 'dim', 'channels', 'chans', 'num_channels', 'oup'),
    *('out_channels', 'inplanes', 'planes', 'outplanes', 'gate_channel', 'in_channels', 'in_dim'),
    *('c', 'd_model', 'in_size', 'inplans'),
)
ARGUMENTS = {
    'k_size': 'kernel_size',
    'reduction_ratio': 'reduction',
    'channelAttention_reduce': 'reduction',
    'dct_h': 'dct_size',
    'dct_w': None,
    'freq_sel_method': 'freq_sel',
    'rate': 'reduction',
    'layer_idx': 'map_size',
    'norm_cfg': 'norm',
    'act_cfg': 'act',
}
# The originals' values -> ours: maps of 56, 28, 14, 7 by stage, from 1.
VALUES = {'layer_idx': lambda stage: 112 >> stage}
# Two channels of LSK's maximum are 2e-6 apart at one place: float32 may swap them, and their
# gradients.
TIES = {('lsk_attention_055', torch.float32)}
# What was computed in which dtype, and how closely it is met in others.
TOLERANCES = {
    'modules': {torch.float32: 1e-4},
    'more': {torch.float64: 1e-6, torch.float32: 2e-4},
}


@pytest.fixture(scope='module')
def goldens(shared_dir):
    """The folder, the function that fills a tensor, and the cases by file."""
    folder = shared_dir / 'goldens'
    spec = importlib.util.spec_from_file_location('fill', folder / 'fill.py')
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    cases = {name: json.loads((folder / f'{name}.json').read_text()) for name in TOLERANCES}
    return folder, module.fill, cases


def tensor(fill, *args):
    return torch.from_numpy(fill(*args))


def assert_close(actual, expected, what, tolerance=1e-4):
    """Agreement relative to the mean absolute value."""
    expected = torch.as_tensor(np.asarray(expected), dtype=torch.float64)
    scale = expected.abs().mean().clamp_min(1e-12)
    error = (actual.double() - expected).abs().max() / scale
    # A single element may exceed the mean by orders; compare to both.
    worst = ((actual.double() - expected).abs() / (expected.abs() + scale)).max()
    assert worst < tolerance, f'{what}: relative error {worst:.1e} (to the mean: {error:.1e})'


def sampled(values, most=4096):
    flat = values.detach().flatten()
    return flat[:: -(-flat.numel() // most)]


def build(case, name):
    """Our module for a case, by its arguments."""
    cls, arguments = CLASSES[name]
    for key, value in case['constructor_args'].items():
        value = VALUES.get(key, lambda value: value)(value)
        key = None if key in CHANNELS else ARGUMENTS.get(key, key)
        if key is not None:
            arguments = {**arguments, key: value}
    module = find_attention(cls)(case['input_shape'][1], **arguments)
    return module.train(case['mode'] == 'train')


def test_every_golden_is_checked(goldens):
    assert {case['attention'] for cases in goldens[2].values() for case in cases} == set(CLASSES)


FORMATS = dict(nchw=torch.contiguous_format, channels_last=torch.channels_last)


@pytest.mark.usefixtures('mode')
@pytest.mark.parametrize('memory_format', FORMATS.values(), ids=FORMATS)
@pytest.mark.parametrize('name', sorted(CLASSES))
def test_modules_agree(goldens, name, memory_format):
    folder, fill, files = goldens
    checked = 0
    for file, tolerances in TOLERANCES.items():
        stored = np.load(folder / f'{file}.npz')
        for case in files[file]:
            if case['attention'] == name:
                for dtype, tolerance in tolerances.items():
                    _check_case(case, stored, fill, memory_format, dtype, tolerance)
                    checked += 1
    assert checked


def _check_case(case, stored, fill, memory_format, dtype, tolerance):
    module = build(case, case['attention'])
    state = {
        key: tensor(fill, case['seed'], key, shape) for key, shape in case['state_dict'].items()
    }
    module.load_state_dict(_with_counters(module, state), strict=True)
    module = module.to(dtype)
    x = tensor(fill, case['seed'], 'input', case['input_shape']).to(dtype)
    x = x.contiguous(memory_format=memory_format).requires_grad_()
    out = module(x)
    (out * tensor(fill, case['seed'], 'grad', case['input_shape'])).sum().backward()
    label = case['id']
    what = f'{label} in {dtype}'
    assert_close(sampled(out), stored[f'{label}.out'], f'{what}: output', tolerance)
    if (label, dtype) in TIES:
        return
    expected = stored[f'{label}.grad_input']
    assert_close(sampled(x.grad), expected, f'{what}: input gradient', tolerance)
    # Sums of each parameter's gradient, by the original's key.
    renamed = _renamed(module, case['state_dict'])
    gradients = {key: p.grad for key, p in module.named_parameters()}
    expected = case['parameter_grad_sum_and_abs_sum']
    # A bias in front of a BatchNorm has no gradient but rounding errors.
    floor = 1e-3 * max((absolute for _, absolute in expected.values()), default=0)
    for key, (total, absolute) in expected.items():
        gradient = gradients[renamed[key]].double()
        # The last bit of what fill.py gives depends on numpy, and sums that cancel show it.
        most = 2 * tolerance * max(absolute, floor)
        assert abs(gradient.sum() - total) < most, f'{what}: sum of the gradient of {key}'
        assert abs(gradient.abs().sum() - absolute) < most, f'{what}: gradient of {key}'


def _with_counters(module, state):
    """The goldens leave BatchNorm's counters out."""
    counters = {k: v for k, v in module.state_dict().items() if k.endswith('num_batches_tracked')}
    return {**counters, **state}


def _renamed(module, keys):
    """Original key -> our key, found by loading a marker through each key."""
    names = {}
    own = module.state_dict()
    for index, (key, shape) in enumerate(keys.items()):
        before = {name: value.clone() for name, value in own.items()}
        module.load_state_dict({key: torch.full(shape, 1000.0 + index)}, strict=False)
        after = module.state_dict()
        changed = [
            name
            for name in after
            # Old torch adds the counter that a BatchNorm of old checkpoints lacks.
            if not name.endswith('num_batches_tracked')
            and not torch.equal(after[name], before[name])
        ]
        assert len(changed) == 1, (key, changed)
        names[key] = changed[0]
        module.load_state_dict(before)
    return names


# The published models' attention, and the name of its slot there and here.
MODEL_ATTENTIONS = {
    'eca_resnet50': (dict(type='ECA', kernel_size=3), '.eca.', '.attn_after_conv3.'),
    'scsa_resnet50': (dict(type='SCSA'), '.attn.', '.attn_after_conv2.'),
}


@pytest.mark.usefixtures('mode')
@pytest.mark.parametrize('name', sorted(MODEL_ATTENTIONS))
def test_models_agree(goldens, name):
    folder, fill, _ = goldens
    case = json.loads((folder / 'models.json').read_text())[name]
    keys = json.loads((folder / 'models_keys.json').read_text())[name]
    stored = np.load(folder / 'models.npz')
    attention, their_slot, our_slot = MODEL_ATTENTIONS[name]
    model = MODELS.build(
        dict(type='ResNet', depth=50, out_indices=(0, 1, 2, 3), attention=attention)
    ).eval()
    state = {
        key.replace(their_slot, our_slot): tensor(fill, case['seed'], key, shape)
        for key, shape in keys['state_dict'].items()
    }
    head = [state.pop(key) for key in ('fc.weight', 'fc.bias') if key in state]
    count = sum(p.numel() for p in model.parameters()) + sum(w.numel() for w in head)
    assert count == keys['parameters']
    model.load_state_dict(_with_counters(model, state), strict=True)
    # Fifty layers of float32 round to 1e-4 in one version of torch or another.
    model, head = model.double(), [w.double() for w in head]
    for label in case['outputs']:
        size, index = label.split('/')
        shape = [int(n) for n in size.split('x')]
        with torch.no_grad():
            outs = model(tensor(fill, case['seed'], 'input', shape).double())
            if head:
                outs = (torch.nn.functional.linear(outs[-1].mean((2, 3)), *head),)
        expected = stored[next(k for k in stored.files if name in k and label in k)]
        assert_close(sampled(outs[int(index)], 2048), expected, label)
