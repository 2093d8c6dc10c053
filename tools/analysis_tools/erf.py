#!/usr/bin/env python
"""Measure the effective receptive field of a model, and of others side by side."""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from arguments import SHARED, SIZE, exit_status, parser_of, positive

EPILOG = """\
What a pixel contributes to the middle of the backbone's last map: the gradient with respect to it,
clipped at 0, the mean over images (Luo et al. 2016, arXiv:1701.04128). The figures are side and
area of the smallest square around the middle that holds 20, 30, 50 and 99 % of all contributions,
and those of log10(1 + contribution), which RepLKNet (arXiv:2203.06717) reports. They depend on the
size of the image.

examples:
  erf.py resnet50_scsa_in1k epoch_100.pth --images imagenet/val/n01440764 --number 50
  erf.py resnet50_scsa_in1k --beside resnet50_scsa_in1k model.backbone.attention=None
  erf.py CONFIG CHECKPOINT --beside CONFIG CHECKPOINT --names SCSA none --out erf.pdf
"""


def parse_args() -> argparse.Namespace:
    """Read the command line; nothing heavy is imported for it."""
    names = ('--cfg-options', '--data-root', '--trust-checkpoint')
    parser = parser_of(__doc__, *names, epilog=EPILOG)
    parser.add_argument('config', **SHARED['config'])
    parser.add_argument(
        'checkpoint',
        nargs='?',
        metavar='CHECKPOINT',
        help="of the model, or its backbone; default random weights, the layers' own",
    )
    parser.add_argument(
        '--beside',
        nargs='+',
        action='append',
        default=[],
        metavar=('CONFIG', 'CHECKPOINT|KEY=VALUE'),
        help='another model with its own options; may be given several times',
    )
    parser.add_argument(
        '--images',
        metavar='DIR',
        help="folder of images, or 'noise' for normal noise; default the config's test images "
        'where its data is, else noise',
    )
    parser.add_argument(
        '--number', type=positive, default=8, metavar='N', help='of images at most; default 8'
    )
    parser.add_argument(
        '--shape', **SIZE, help="of the images; default 1024 1024, RepLKNet's, CIFAR 32 32"
    )
    parser.add_argument(
        '--layer',
        metavar='NAME',
        help="a module of the backbone or the neck instead of the backbone's last output, e.g. "
        "backbone.layer3; one of several outputs is 'backbone[1]'",
    )
    parser.add_argument('--names', nargs='+', metavar='NAME', help='what to call the models')
    parser.add_argument(
        '--seed', type=int, default=0, metavar='N', help='of images and random weights; default 0'
    )
    parser.add_argument('--device', help='cpu, cuda, cuda:1 ...; default a GPU if there is one')
    parser.add_argument(
        '--out', default='erf.png', metavar='FILE', help='.png, .pdf or .svg, a .json beside it'
    )
    args = parser.parse_args()
    args.models = [[args.config, *filter(None, [args.checkpoint]), *args.cfg_options], *args.beside]
    if args.names and len(set(args.names)) != len(args.models):
        parser.error(f'--names: {len(args.models)} different names are needed, one for each model')
    if Path(args.out).suffix not in ('.png', '.pdf', '.svg'):
        parser.error(f'--out {args.out!r} must end in .png, .pdf or .svg')
    return args


def main(args: argparse.Namespace) -> None:
    import json

    from rich.console import Console
    from rich.progress import Progress

    from mmattn.analysis import receptive_field as erf
    from mmattn.analysis.networks import usable_device
    from mmattn.analysis.tables import Section, render_sections
    from mmattn.analysis.trained import Described, names_of
    from mmattn.utils.files import write_whole

    console, out, device = Console(stderr=True), Path(args.out), usable_device(args.device)
    described = [Described.of(words) for words in args.models]
    names = args.names or names_of(described)
    opened = {}
    for name, model in zip(names, described, strict=True):
        with console.status(f'building {name}'):
            opened[name], notes = model.open(device, args.seed, None if opened else args.data_root)
        for note in notes:
            console.print(f'note: {note}')
    first = opened[names[0]]
    required = bool(args.data_root)
    images, source = erf.images_for(first, args.images, args.number, args.seed, required)
    size = tuple(args.shape or erf.usual_size(first))
    number = args.number if images is None else len(images)
    fields, layer = {}, args.layer or erf.DEFAULT
    with Progress(console=console, disable=not console.is_terminal) as progress:
        for name, trained in opened.items():
            feature_map = erf.feature_map_of(trained, layer)
            tensors = erf.inputs(trained, images, number, size, args.seed)
            shown = progress.track(tensors, total=number, description=name)
            fields[name] = erf.receptive_field(feature_map, shown)
    erf.draw(out, fields, ['' if model.checkpoint else 'random weights' for model in described])
    models = {
        name: dict(model._asdict(), map=field.map_size, **field.figures())
        for (name, field), model in zip(fields.items(), described, strict=True)
    }
    content = dict(layer=layer, images=source, seed=args.seed, shape=size, models=models)
    write_whole(out.with_suffix('.json'), json.dumps(content, indent=2) + '\n')
    title = f'Effective receptive field of {layer} at {size[0]} x {size[1]}: {source}'
    print(render_sections([Section(title, erf.rows(fields), left=2)], 'text'))
    print(f'written: {out}, {out.with_suffix(".json")}')


if __name__ == '__main__':
    sys.exit(exit_status(main, parse_args()))
