#!/usr/bin/env python
"""Measure images a second and memory of a config, with attentions and without, side by side."""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from arguments import SHARED, SIZE, exit_status, parser_of, positive

EPILOG = """\
The networks run in turns in one process, on generated images and annotations, with random weights.
Inference is the forward pass of the whole model (a detector's with its post-processing); a training
step is forward pass, losses and backward pass, without data loading and optimizer.

examples:
  throughput.py resnet50_scsa_in1k
  throughput.py resnet50_scsa_in1k --attention SE ECA SCSA --train --channels-last
  throughput.py faster_rcnn_r50_scsa_1x_coco --batch-size 2 --shape 800 1333 --train --amp
  MMATTN_KERNELS=pure throughput.py CONFIG
"""


def parse_args() -> argparse.Namespace:
    """Read the command line; nothing heavy is imported for it."""
    parser = parser_of(__doc__, '--cfg-options', epilog=EPILOG)
    parser.add_argument('config', **SHARED['config'])
    parser.add_argument(
        '--attention',
        nargs='+',
        default=[],
        metavar='NAME',
        help="attentions to compare with the plain network; default the config's own",
    )
    parser.add_argument('--train', action='store_true', help='training steps, too')
    parser.add_argument(
        '--batch-size', type=positive, default=8, metavar='N', help='images; default 8'
    )
    parser.add_argument(
        '--shape',
        **SIZE,
        help='of the images; default 224 224 (classifiers), 800 1280 (detectors), '
        '512 2048 (segmentation), 32 32 (CIFAR)',
    )
    parser.add_argument('--device', help='cpu, cuda, cuda:1 ...; default a GPU if there is one')
    parser.add_argument(
        '--amp', action='store_true', help='autocast: float16 on a GPU, bfloat16 on a CPU'
    )
    parser.add_argument('--compile', action='store_true', help='torch.compile of the backbone')
    parser.add_argument('--channels-last', action='store_true', help='memory format of the maps')
    parser.add_argument(
        '--rounds', type=positive, default=10, metavar='N', help='default 10, after warming up'
    )
    parser.add_argument(
        '--format', choices=['text', 'csv', 'markdown'], default='text', help='default text'
    )
    parser.add_argument('--out', metavar='FILE', help='write to FILE instead of the terminal')
    return parser.parse_args()


def main(args: argparse.Namespace) -> None:
    from rich.console import Console

    from mmattn.analysis import networks, tables, throughput
    from mmattn.engine.prepare import prepare
    from mmattn.utils.files import write_or_print

    console = Console(stderr=True)
    cfg, notes = prepare(args.config, args.cfg_options)
    for note in notes:
        console.print(f'note: {note}')
    setting = networks.Setting(
        args.batch_size,
        args.shape,
        networks.usable_device(args.device),
        args.amp,
        args.compile,
        args.channels_last,
    )
    throughput.steady_allocator()
    steps = networks.STEPS if args.train else networks.STEPS[:1]
    with console.status('building') as status:
        built = {}
        for name, one in networks.variants(cfg, args.attention).items():
            status.update(f'building: {name}')
            built[name] = networks.Network(one, setting)
        status.update(f'measuring: {", ".join(built)}')
        results = list(networks.compare(built, steps, rounds=args.rounds))
    text = tables.render_speed(results, setting.describe(), args.format)
    write_or_print(args.out, text)


if __name__ == '__main__':
    sys.exit(exit_status(main, parse_args()))
