"""How fast the attentions are: modules, networks, a detector; all side by side in one process.

    python benchmarks/speed.py                      # two cores: a minute and a half an attention
    python benchmarks/speed.py --parts modules --attention SCSA ECA
    python benchmarks/speed.py --quick --out /tmp   # a minute, tiny sizes: only that it runs

- modules: ours (kernels 'auto' and 'pure') against the literal implementation of each paper's
  formula (literal/) and against the reads and writes of the map that cannot be avoided.
- networks: against the plain network, inference and training, with the saved activations.
- detector: a training step of Faster R-CNN R50 with SCSA against the plain one.

What is compared runs in turns; medians, quartiles and ratios are over the rounds. Writes
NAME.json, NAME.md and NAME.png; parts that are not measured keep their figures of the last run,
and so do modules on the same machine with the same versions.
"""

import argparse
import json
import math
import shlex
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from literal import LITERALS, literal
from rich.console import Console
from rich.progress import Progress
from speed_report import write_report
from torch import nn

from mmattn import kernels
from mmattn.analysis.networks import (
    PLAIN,
    STEPS,
    Network,
    Setting,
    compare,
    usable_device,
    with_kernels,
)
from mmattn.analysis.throughput import (
    Timing,
    alternate,
    machine,
    release_memory,
    steady_allocator,
)
from mmattn.attention.names import find_attention
from mmattn.engine.prepare import prepare
from mmattn.experiments import find_experiments
from mmattn.utils.errors import run

PARTS = ('modules', 'networks', 'detector')
LAYOUTS = {'NCHW': torch.contiguous_format, 'channels_last': torch.channels_last}
WAYS = ('auto', 'pure')
SHAPES = ((8, 64, 56, 56), (8, 256, 14, 14), (8, 512, 7, 7), (8, 96, 112, 112))
# Config -> whether with every attention, or with SCSA only.
NETWORKS = {
    'resnet50_scsa_in1k': True,
    'mobilenet_v2_scsa_in1k': True,
    'resnet101_scsa_in1k': False,
    'repvgg_a0_scsa_in1k': False,
    'swin_t_scsa_in1k': False,
}
# What the widths of MobileNetV2 (24 channels) do not divide by.
NARROW = {
    'SA': ['groups=auto'],
    'EMA': ['factor=auto'],
    'ELA': ['num_groups=auto'],
    'FCA': ['freq_sel=top8'],
    'PSA': ['conv_groups=auto'],
    'SGE': ['groups=auto'],
}
DETECTOR = 'faster_rcnn_r50_scsa_1x_coco'
TINY_DETECTOR = [
    'model.backbone.depth=18',
    'model.neck.in_channels=[64,128,256,512]',
    'model.train_cfg.rcnn.sampler.num=16',
    'model.train_cfg.rpn_proposal.max_per_img=32',
]
# torch 2.11 itself, without any attention, corrupts memory in the backward of its convolutions.
LEFT_OUT = {('repvgg_a0_scsa_in1k', 'channels_last', 'training')}
# Their literal implementations write out every pair of positions: 10 GB of the largest map.
PAIRS = {'DANet', 'NonLocal', 'PAM'}
MOST_PAIRED = 56 * 56
# So many networks at once are compared with one plain network.
CHUNK = 6


def parse_args() -> argparse.Namespace:
    form = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=form)
    parser.add_argument('--parts', nargs='+', choices=PARTS, default=PARTS)
    parser.add_argument('--attention', nargs='+', default=list(LITERALS), metavar='NAME')
    parser.add_argument('--device', help='default a GPU if there is one')
    parser.add_argument('--amp', action='store_true', help='float16 on a GPU, bfloat16 on a CPU')
    parser.add_argument('--batch-size', type=int, default=8, help='of the networks; default 8')
    parser.add_argument(
        '--rounds',
        type=int,
        default=15,
        help='of a module, and of a network with SCSA; other networks have a quarter',
    )
    parser.add_argument('--quick', action='store_true', help='tiny sizes: only that it runs')
    parser.add_argument('--out', type=Path, default=Path(__file__).parent / 'results')
    parser.add_argument('--name', help='of the files; default speed_DEVICE')
    return parser.parse_args()


def module_arguments(name: str, shape: tuple[int, ...]) -> dict[str, Any]:
    """What depends on the map, as in a backbone where it has this size, or on the channels."""
    _, channels, height, _ = shape
    return {
        'SA': {'groups': min(64, channels // 2)},
        'FCA': {'dct_size': min(56, height)},
        'LCT': {'groups': min(64, channels // 4)},
        'PSA': {'conv_groups': [math.gcd(channels // 4, groups) for groups in (1, 4, 8, 16)]},
        'SGE': {'groups': math.gcd(64, channels)},
        'RGSE': {'grid': max(1, min(8, height // 7))},
    }.get(name, {})


def module_step(module: nn.Module, x: torch.Tensor, grad: torch.Tensor, step: str) -> Callable:
    """A function that runs one step of a module."""

    def inference() -> None:
        with torch.no_grad():
            module(x)

    def training() -> None:
        torch.autograd.grad(module(leaf), wanted, grad)

    module.train(step == 'training')
    leaf = x.detach().requires_grad_()
    wanted = [leaf, *module.parameters()]
    return training if step == 'training' else inference


def unavoidable(x: torch.Tensor, step: str) -> Callable:
    """The reads and writes of maps that no implementation can avoid.

    Inference reads the map for its descriptors, reads it again and writes the output. Training
    reads map and output gradient for the gates' gradients, the gradient again, and writes that
    of the map: three more reads and a write.
    """
    maps = [torch.randn_like(x) for _ in range(3)]
    outputs = [torch.empty_like(x) for _ in range(2)]

    def run() -> None:
        with torch.no_grad():
            torch.add(x, maps[0], out=outputs[0])
            if step == 'training':
                torch.addcmul(*maps, out=outputs[1])

    return run


def measure_modules(args: argparse.Namespace, advance: Callable) -> Iterator[dict]:
    shapes = ((2, 64, 14, 14), (2, 128, 7, 7)) if args.quick else SHAPES
    for name in args.attention:
        for shape in shapes:
            if name in PAIRS and math.prod(shape[2:]) > MOST_PAIRED:
                continue
            torch.manual_seed(0)
            arguments = module_arguments(name, shape)
            ours = find_attention(name)(shape[1], **arguments).to(args.device)
            theirs = literal(ours, **arguments)
            for layout, form in LAYOUTS.items():
                dtype = args.setting.dtype
                x, grad = torch.randn(2, *shape, device=args.device, dtype=dtype)
                x, grad = x.to(memory_format=form), grad.to(memory_format=form)
                for step in STEPS:
                    advance(f'{name} {tuple(shape)} {layout} {step}')
                    own = module_step(ours.to(dtype), x, grad, step)
                    calls = {way: with_kernels(way, own) for way in WAYS}
                    calls['literal'] = module_step(theirs.to(dtype), x, grad, step)
                    calls['bound'] = unavoidable(x, step)
                    timings = alternate(calls, args.rounds, limit=args.limit)
                    yield {
                        'attention': name,
                        'shape': shape,
                        'layout': layout,
                        'step': step,
                        'seconds': {key: figures(timing) for key, timing in timings.items()},
                        'ratio': {
                            way: figures(timings[way].speed(timings['literal'])) for way in WAYS
                        },
                    }


def kept_modules(old: dict, about: dict, names: list[str]) -> list[dict]:
    """Rows of other attentions of the last run, if nothing but the day and the load differ."""
    if any(old.get(key) != about[key] for key in about.keys() - {'command', 'date', 'load'}):
        return []
    return [{'date': old['date'], **row} for row in old['rows'] if row['attention'] not in names]


def figures(timing: Timing) -> list[float]:
    """Median and quartiles, as they are kept."""
    return [float(f'{value:.4g}') for value in (timing.median, timing.low, timing.high)]


def network_options(config: str, name: str) -> list[str]:
    """--cfg-options of a network with an attention: the paper's row, if it has one."""
    for row in find_experiments('scsa-2', config):
        if row.attention == name:
            return row.cfg_options()
    key = 'model.backbone.attention'
    narrow = NARROW.get(name, []) if 'mobilenet' in config else []
    return [f'{key}.type={name}', *(f'{key}.{option}' for option in narrow)]


def measure_networks(args: argparse.Namespace, advance: Callable) -> Iterator[dict]:
    for config, every in NETWORKS.items():
        names = [name for name in args.attention if every or name == 'SCSA']
        if args.quick and 'mobilenet' not in config:
            continue
        # SCSA alone: nothing else between it and the plain network.
        rest = [name for name in names if name != 'SCSA']
        chunks = [['SCSA']] * ('SCSA' in names)
        chunks += [rest[i : i + CHUNK] for i in range(0, len(rest), CHUNK)]
        for layout in LAYOUTS:
            setting = Setting(**{**asdict(args.setting), 'channels_last': layout != 'NCHW'})
            for chunk in chunks:
                options = {name: network_options(config, name) for name in chunk}
                # A few per cent between them, which SCSA's targets are about, take more rounds.
                rounds = args.rounds if 'SCSA' in chunk else max(2, args.rounds // 4)
                advance(f'{config} {layout} {" ".join(chunk)}')
                steps = [s for s in STEPS if (config, layout, s) not in LEFT_OUT]
                yield from compared(config, options, setting, steps, rounds)


def measure_detector(args: argparse.Namespace, advance: Callable) -> Iterator[dict]:
    size = (240, 320) if args.device == 'cpu' else (800, 1333)
    size, options = ((64, 64), TINY_DETECTOR) if args.quick else (size, [])
    # mmcv's RoIAlign has no bfloat16 on a CPU.
    amp = args.amp and args.device != 'cpu'
    setting = Setting(batch_size=2, size=size, device=args.device, amp=amp)
    advance(f'{DETECTOR} training')
    scsa = {'SCSA': ['model.backbone.attention.type=SCSA']}
    yield from compared(DETECTOR, scsa, setting, ('training',), max(2, args.rounds // 3), options)


def compared(
    config: str,
    options: dict[str, list[str]],
    setting: Setting,
    steps: Sequence[str],
    rounds: int,
    always: list[str] | tuple = (),
) -> Iterator[dict]:
    """Rows of a config with attentions (name -> --cfg-options) beside the plain network's."""
    options = {PLAIN: ['model.backbone.attention=None'], **options}
    cfgs = {name: prepare(config, [*always, *words])[0] for name, words in options.items()}
    networks = {name: Network(cfg, setting) for name, cfg in cfgs.items()}
    for one in compare(networks, steps, WAYS, rounds):
        yield {
            'config': config,
            'attention': one.name,
            'cfg_options': options[one.name],
            'kernels': one.kernels,
            'step': one.step,
            'layout': 'channels_last' if setting.channels_last else 'NCHW',
            'dtype': str(setting.dtype).removeprefix('torch.'),
            'batch': setting.batch_size,
            'size': networks[one.name].size,
            'images': figures(one.images),
            'ratio': figures(one.ratio),
            'peak': one.peak,
            'saved': one.saved,
        }
    del networks, one
    release_memory()


MEASURE = {'modules': measure_modules, 'networks': measure_networks, 'detector': measure_detector}


def main() -> None:
    args = parse_args()
    args.attention = [find_attention(name).__name__ for name in args.attention]
    args.device = usable_device(args.device)
    size = (32, 32) if args.quick else (224, 224)
    batch = 2 if args.quick else args.batch_size
    args.setting = Setting(batch, size, args.device, args.amp)
    args.rounds, args.limit = (2, 0.1) if args.quick else (args.rounds, 4.0)
    about = machine(args.device)
    about['allocator'] = 'glibc, keeps what is freed' if steady_allocator() else 'as it is'
    like = torch.empty(0, device=args.device, dtype=args.setting.dtype)
    about['kernels'] = kernels.implementation(like)
    about['command'] = shlex.join(['python', 'benchmarks/speed.py', *sys.argv[1:]])
    name = args.name or f'speed_{"quick" if args.quick else args.device.partition(":")[0]}'
    path = args.out / f'{name}.json'
    args.out.mkdir(parents=True, exist_ok=True)
    parts = json.loads(path.read_text()) if path.is_file() else {}
    console = Console(stderr=True)
    if about['load'] > 0.5:
        console.print(f'note: the machine is not idle (load {about["load"]}): timings will swing.')
    with Progress(console=console) as progress:
        for part in args.parts:
            bar = progress.add_task(part, total=None)

            def advance(what: str, bar: int = bar, part: str = part) -> None:
                progress.update(bar, description=f'{part}: {what}')

            started = time.perf_counter()
            rows = []
            if part == 'modules':
                rows = kept_modules(parts.get(part, {}), about, args.attention)
            for row in MEASURE[part](args, advance):
                rows.append(row)
                minutes = round((time.perf_counter() - started) / 60, 1)
                parts[part] = {**about, 'minutes': minutes, 'rows': rows}
                # Kept as it comes: an interrupted run loses what it was at.
                path.write_text(json.dumps(parts) + '\n')
            progress.update(bar, description=part, total=1, completed=1)
    write_report(parts, path.with_suffix(''))
    print(f'written: {path}, .md, .png')


if __name__ == '__main__':
    sys.exit(run(main))
