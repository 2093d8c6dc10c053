"""Timing in turns, memory, and the tool that measures any config."""

import platform
import runpy
import subprocess
import sys
import weakref

import pytest
import torch
from mmengine.config import Config
from torch import nn

from mmattn import kernels
from mmattn.analysis import networks, tables, throughput
from mmattn.analysis.networks import Network, Setting, compare, variants
from mmattn.analysis.throughput import (
    Timing,
    alternate,
    machine,
    peak_memory,
    saved_bytes,
)
from mmattn.engine.config import load_config
from mmattn.utils.errors import UserError

KIB = 2**10


def test_candidates_run_in_turns():
    order = []
    candidates = {name: lambda name=name: order.append(name) for name in 'abc'}
    timings = alternate(candidates, rounds=4, warm_up=2, sample=0.0)
    # two to warm up and one to see how long a call takes
    assert order[:9] == [*'aaabbbccc']
    assert order[9:] == [*'abc', *'cba', *'abc', *'cba']
    assert list(timings) == [*'abc'] and all(len(t.samples) == 4 for t in timings.values())


def test_short_calls_are_repeated_and_a_limit_ends_the_rounds():
    calls = []
    timing = alternate({'a': lambda: calls.append(0)}, 50, warm_up=0, limit=0.0, sample=1e-3)['a']
    assert len(timing.samples) == 3 and len(calls) > 50


def test_ratios_are_taken_within_a_round():
    # The machine is twice as slow in the second half; the ratio is not.
    plain, other = Timing.of([1, 1, 2, 2, 2]), Timing.of([2, 2, 4, 4, 4])
    assert plain.median == 2 and (plain.low, plain.high) == (1, 2)
    ratio = other.speed(plain)
    assert (ratio.median, ratio.low, ratio.high) == (0.5, 0.5, 0.5)
    assert Timing.of([3.0]).high == 3.0


def test_saved_activations_are_counted_once_without_parameters():
    x = torch.zeros(256)  # 1 KiB
    net = nn.Sequential(nn.Linear(256, 256), nn.ReLU(), nn.Linear(256, 256))
    # x; the ReLU's output, which is also the input of the second layer
    assert saved_bytes(lambda: net(x), net.parameters()) == 2 * KIB
    # the second layer's weight, for the gradient of its input
    assert saved_bytes(lambda: net(x)) == 2 * KIB + 256 * KIB


def test_counting_saved_activations_holds_none_of_them():
    outputs = []

    def forward():
        out = torch.relu(torch.ones(4, requires_grad=True) * 2)  # saves its own output
        outputs.append(weakref.ref(out))
        return out

    saved_bytes(forward)
    assert outputs[-1]() is None


def test_peak_memory_is_the_most_at_once():
    x = torch.zeros(2**20 // 4)  # 1 MiB

    def steps():
        y = x + 1
        z = y * 2
        del y
        return (z + 1).sum()  # z and z + 1

    assert peak_memory(steps) == pytest.approx(2 * 2**20, rel=0.01)
    assert peak_memory(lambda: x.add_(1)) < KIB


PAGES = """
import resource, sys
import torch
from mmattn.analysis.throughput import steady_allocator
if sys.argv[1] == 'steady':
    assert steady_allocator()
# Four times the size: what is small may settle at the begin of what was freed.
torch.empty(2**27).fill_(0)
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(4):
    torch.empty(2**25).fill_(0)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != 'glibc', reason='mallopt is of glibc')
def test_the_steady_allocator_has_no_page_faults():
    faults = {
        how: int(subprocess.check_output([sys.executable, '-c', PAGES, how], text=True))
        for how in ('steady', 'usual')
    }
    # 128 MiB are 32,768 pages, or 64 huge ones.
    assert faults['steady'] < 10 and faults['usual'] > 4 * 60


def test_the_machine_is_named():
    assert {'device', 'threads', 'torch', 'python', 'date'} < set(machine())


def test_nothing_but_torch_is_needed(project_root):
    source = (project_root / 'mmattn' / 'analysis' / 'throughput.py').read_text()
    imported = {
        line.split()[1].partition('.')[0]
        for line in source.splitlines()
        if ' import ' in line
        and line.startswith('from')
        # which the kernels need as well
        and not line.startswith('from mmattn.environment ')
    }
    imported |= {line.split()[1] for line in source.splitlines() if line.startswith('import ')}
    assert imported <= sys.stdlib_module_names | {'torch'}


@pytest.fixture(scope='module')
def small():
    cfg, _ = load_config('resnet50_scsa_in1k', ['model.backbone.depth=18'])
    cfg.model.head.in_channels = 512
    return cfg


def test_variants_are_the_plain_network_and_the_attentions(small):
    assert list(variants(small)) == ['plain', 'SCSA']
    found = variants(small, ['SE', 'mmattn.ECA'])
    assert list(found) == ['plain', 'SE', 'ECA']
    assert found['plain'].model.backbone.attention is None
    assert found['ECA'].model.backbone.attention == {'type': 'mmattn.ECA'}
    assert small.model.backbone.attention == {'type': 'SCSA'}
    assert list(variants(found['plain'])) == ['plain']
    stock = Config({'default_scope': 'mmpretrain', 'model': {'backbone': {'type': 'VGG'}}})
    assert list(variants(stock)) == ['VGG']
    with pytest.raises(UserError, match='VGG, takes none; valid: mmattn'):
        variants(stock, ['SE'])
    two = Config(small._cfg_dict.to_dict())
    two.model.backbone.attention = [dict(type='SE'), dict(type='CA')]
    assert list(variants(two)) == ['plain', 'SE + CA']
    with pytest.raises(UserError, match='a list of 2 attentions'):
        variants(two, ['SE'])


def test_networks_are_compared(small):
    seen = []
    built = {
        name: Network(cfg, Setting(2, (32, 48), channels_last=True))
        for name, cfg in variants(small, ['SE']).items()
    }
    se = built['SE'].model.backbone.layer1[0]
    se.register_forward_hook(lambda *_: seen.append(kernels.implementation(torch.zeros(1))))
    results = list(compare(built, ways=('auto', 'pure'), rounds=2))
    runs = [('plain', ''), ('SE', 'auto'), ('SE', 'pure')]
    assert [(r.step, r.name, r.kernels) for r in results] == [
        (step, *run) for step in ('inference', 'training') for run in runs
    ]
    assert {'pure', kernels.implementation(torch.zeros(1))} == set(seen)
    assert results[0].ratio.median == 1 and results[0].saved is None
    plain, se = results[3], results[4]
    assert plain.saved < se.saved < 1.5 * plain.saved and plain.peak > plain.saved
    images = built['plain'].images
    assert images.shape == (2, 3, 32, 48)
    assert images.is_contiguous(memory_format=torch.channels_last)
    # nothing stays of a step
    assert all(p.grad is None for p in built['SE'].model.parameters())


@pytest.mark.parametrize(
    'name', ['retinanet_r50_scsa_1x_coco', 'mask_rcnn_r50_scsa_1x_coco', 'upernet_r50_scsa_camvid']
)
def test_every_toolbox_has_both_steps(name):
    few = ['model.train_cfg.rcnn.sampler.num=8', 'model.test_cfg.rpn.max_per_img=8']
    cfg, _ = load_config(name, few if 'mask' in name else [])
    network = Network(cfg, Setting(2, (64, 64)))
    network.inference()
    loss = network.loss()
    assert loss.requires_grad and loss.isfinite()
    loss.backward()
    head = list(network.model.parameters())[-1]
    assert head.grad is not None and head.grad.isfinite().all()


def test_mixed_precision_without_a_gpu(small):
    network = Network(small, Setting(2, (32, 32), amp=True))
    assert network.inference()[0].dtype == torch.bfloat16
    with pytest.raises(UserError, match='RoIAlign has no bfloat16 on a CPU'):
        cfg, _ = load_config('faster_rcnn_r50_scsa_1x_coco')
        Network(cfg, Setting(2, (32, 32), amp=True))


@pytest.fixture
def tool(project_root, monkeypatch):
    """Runs tools/analysis_tools/throughput.py in this process."""
    script = project_root / 'tools' / 'analysis_tools' / 'throughput.py'
    monkeypatch.setattr(sys, 'path', [*sys.path])
    # It would hold for the whole process.
    monkeypatch.setattr(throughput, 'steady_allocator', lambda: True)

    def call(*words):
        monkeypatch.setattr(sys, 'argv', [str(script), *words])
        with pytest.raises(SystemExit) as end:
            runpy.run_path(str(script), run_name='__main__')
        return end.value.code

    return call


def test_the_tool(tool, project, tmp_path, capsys):
    out = tmp_path / 'table.md'
    words = ['tiny.py', '--attention', 'SE', 'ECA', '--train', '--shape', '32', '32', '--rounds']
    words += ['2', '--batch-size', '2', '--device', 'cpu', '--format', 'markdown']
    assert tool(*words, '--out', str(out)) == 0
    lines = out.read_text().splitlines()
    cells = [[cell.strip() for cell in line.split('|')[1:-1]] for line in lines[2:8]]
    assert [(row[0], row[1]) for row in cells] == [
        (name, step) for step in networks.STEPS for name in ('plain', 'SE', 'ECA')
    ]
    assert all(float(row[2]) > 0 for row in cells) and cells[0][4] == cells[3][4] == '1.00'
    assert cells[0][7] == '-' and float(cells[3][7]) > 0
    text = out.read_text()
    assert 'batch 2, float32, NCHW, kernels: ' in text and tables.NOTES_SPEED[0] in text
    assert tool('tiny.py', '--shape', '32', '32', '--rounds', '1', '--batch-size', '1') == 0
    assert 'plain' in capsys.readouterr().out


def test_the_tool_leaves_the_kernels_as_they_are(small):
    network, seen = Network(small, Setting(2, (32, 32))), []
    network.model.register_forward_hook(
        lambda *_: seen.append(kernels.implementation(torch.zeros(1)))
    )
    with kernels.using('pure'):
        list(compare({'plain': network, 'SCSA': network}, ['inference'], rounds=1))
    assert set(seen) == {'pure'}


@pytest.mark.parametrize(
    ('words', 'said'),
    [
        (['--attention', 'SCAS'], "unknown attention 'SCAS' (did you mean SCSA?)"),
        (['--device', 'gpu'], "--device 'gpu'"),
        (['--rounds', '0'], "--rounds: '0': at least 1"),
        (['--cfg-options', 'default_scope=mmagic'], 'mmagic'),
    ],
)
def test_wrong_options_are_refused(words, said, tool, project, capsys):
    assert tool('tiny.py', *words) == 2 and said in capsys.readouterr().err
