"""What it costs to apply no non-finite gradient: a training step with and without the guards.

    python benchmarks/guards.py                 # about 5 minutes on two cores
    python benchmarks/guards.py --quick --out /tmp   # seconds, tiny sizes: only that it runs

In turns, in one process: a whole training step (forward, backward, SGD with momentum) without
the guards; the same step with them; and the guards' own work alone, on gradients as large. The
last is the sharper measure, as a busy machine swings steps by more than the guards take. Writes
guards_DEVICE.json.
"""

import argparse
import json
import shlex
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import torch
from mmengine.optim import OptimWrapper

from mmattn.analysis.networks import Network, Setting, usable_device
from mmattn.analysis.throughput import (
    Timing,
    alternate,
    machine,
    release_memory,
    steady_allocator,
)
from mmattn.engine.prepare import prepare
from mmattn.engine.survival import Survival
from mmattn.engine.survival.finite import FiniteHook
from mmattn.utils.errors import run
from mmattn.utils.files import write_whole

# Config, --cfg-options of --quick, batch size, height and width.
NETWORKS = (
    ('resnet50_scsa_in1k', [], 8, (224, 224)),
    (
        'faster_rcnn_r50_scsa_1x_coco',
        ['model.train_cfg.rcnn.sampler.num=16', 'model.train_cfg.rpn_proposal.max_per_img=32'],
        2,
        (240, 320),
    ),
)


def parse_args() -> argparse.Namespace:
    form = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=form)
    parser.add_argument('--device', help='default a GPU if there is one')
    parser.add_argument('--rounds', type=int, default=15)
    parser.add_argument('--quick', action='store_true', help='tiny sizes: only that it runs')
    parser.add_argument('--out', type=Path, default=Path(__file__).parent / 'results')
    return parser.parse_args()


def candidates(network: Network) -> dict[str, Callable[[], None]]:
    """The steps to compare, of one model: plain, guarded, and the guards alone."""
    model = network.model
    weights = [weight for weight in model.parameters() if weight.requires_grad]

    def wrapper() -> OptimWrapper:
        # A rate at which random weights stay what they are.
        return OptimWrapper(torch.optim.SGD(weights, lr=1e-12, momentum=0.9))

    bare, guarded = wrapper(), wrapper()
    hook = FiniteHook()
    runner = SimpleNamespace(
        cfg={},
        model=model,
        optim_wrapper=guarded,
        survival=Survival(),
        train_loop=None,
        message_hub=SimpleNamespace(runtime_info={}),
        iter=0,
        epoch=0,
        _resume=False,
    )
    hook.before_train(runner)
    (guard,) = hook._guards
    gradients = [torch.rand_like(weight) for weight in weights]
    loss = torch.zeros((), device=gradients[0].device, requires_grad=True)

    def plain() -> None:
        bare.update_params(network.loss())

    def with_guards() -> None:
        hook.before_train_iter(runner, 0)
        guarded.update_params(network.loss())
        hook.after_train_iter(runner, 0)

    def guards() -> None:
        hook.before_train_iter(runner, 0)
        guard.marked(loss)
        guard.look(gradients)
        hook.after_train_iter(runner, 0)

    return {'plain': plain, 'guarded': with_guards, 'guards': guards}


def measure(args: argparse.Namespace, config: str, options: list[str], setting: Setting) -> dict:
    cfg, _ = prepare(config, options if args.quick else [])
    network = Network(cfg, setting)
    timings = alternate(candidates(network), args.rounds)
    plain = timings['plain']
    row = {
        'config': config,
        'batch': setting.batch_size,
        'size': network.size,
        'weights': sum(weight.numel() for weight in network.model.parameters()),
        'seconds': {name: figures(timing) for name, timing in timings.items()},
        'guarded to plain': figures(plain.speed(timings['guarded'])),
        'guards to plain': figures(plain.speed(timings['guards'])),
    }
    del network
    release_memory()
    return row


def figures(timing: Timing) -> list[float]:
    """Median and quartiles, as they are kept."""
    return [float(f'{value:.4g}') for value in (timing.median, timing.low, timing.high)]


def main() -> None:
    args = parse_args()
    device = usable_device(args.device)
    about = machine(device)
    about['allocator'] = 'glibc, keeps what is freed' if steady_allocator() else 'as it is'
    about['command'] = shlex.join(['python', 'benchmarks/guards.py', *sys.argv[1:]])
    args.rounds = 2 if args.quick else args.rounds
    args.out.mkdir(parents=True, exist_ok=True)
    path = args.out / f'guards_{"quick" if args.quick else device.partition(":")[0]}.json'
    rows = []
    print('seconds of a training step, guarded / plain (quartiles), seconds of the guards, share')
    for config, options, batch, size in NETWORKS:
        batch, size = (2, (64, 64)) if args.quick else (batch, size)
        row = measure(args, config, options, Setting(batch, size, device))
        rows.append(row)
        write_whole(path, json.dumps({**about, 'rows': rows}) + '\n')
        seconds, (ratio, low, high) = row['seconds'], row['guarded to plain']
        print(
            f'{config}, batch {batch}, {size[0]} x {size[1]}: {seconds["plain"][0]:.3f}, '
            f'{ratio:.4f} ({low:.4f} to {high:.4f}), {seconds["guards"][0]:.4f}, '
            f'{row["guards to plain"][0]:.2%}',
            flush=True,
        )
    print(f'written: {path}')


if __name__ == '__main__':
    sys.exit(run(main))
