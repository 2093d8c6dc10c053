#!/usr/bin/env python
"""Show what each attention in a trained model lets pass on images."""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from arguments import SHARED, exit_status, parser_of

EPILOG = """\
The share is the sum of |y| over the sum of |x| of an attention's input x and output y: per channel,
row, column and position. For each image there are, in a folder of its name, slots.png with all
attentions and a picture of each one; attention_maps.json beside the folders has the figures.

examples:
  attention_maps.py faster_rcnn_r50_scsa_bccd work_dirs/bccd/epoch_3.pth BloodImage_00007.jpg
  attention_maps.py CONFIG CHECKPOINT images/ --slot 'backbone.layer4.*' --out maps
"""


def parse_args() -> argparse.Namespace:
    """Read the command line; nothing heavy is imported for it."""
    parser = parser_of(__doc__, '--cfg-options', '--trust-checkpoint', epilog=EPILOG)
    parser.add_argument('config', **SHARED['config'])
    parser.add_argument('checkpoint', metavar='CHECKPOINT', help='of the model, or its backbone')
    parser.add_argument('images', nargs='+', metavar='IMAGE', help='images, or folders of them')
    parser.add_argument(
        '--slot',
        nargs='+',
        default=[],
        metavar='NAME',
        help='only these attentions, by their names in the model or shell patterns; default all',
    )
    parser.add_argument(
        '--out', default='attention_maps', metavar='DIR', help='default attention_maps'
    )
    parser.add_argument('--device', help='cpu, cuda, cuda:1 ...; default a GPU if there is one')
    return parser.parse_args()


def main(args: argparse.Namespace) -> None:
    import json

    from rich.console import Console
    from rich.progress import Progress

    from mmattn.analysis import attention_maps as maps
    from mmattn.analysis import attention_pictures as pictures
    from mmattn.analysis.networks import usable_device
    from mmattn.analysis.tables import Section, render_sections
    from mmattn.analysis.trained import Trained, list_images
    from mmattn.engine.prepare import prepare
    from mmattn.utils.files import write_whole

    console, out = Console(stderr=True), Path(args.out)
    images = list_images(args.images)
    cfg, notes = prepare(args.config, args.cfg_options)
    for note in notes:
        console.print(f'note: {note}')
    with console.status('building'):
        trained = Trained(cfg, args.checkpoint, usable_device(args.device))
    slots = maps.choose(maps.attentions(trained.model), args.slot)
    figures, sections = {}, []
    with Progress(console=console, disable=not console.is_terminal) as progress:
        task = progress.add_task('pictures', total=len(images) * (len(slots) + 1))
        for image, folder in pictures.folders(images).items():
            picture, found = maps.on_image(trained, image, slots)
            for _ in pictures.draw(out / folder, picture, found):
                progress.advance(task)
            figures[folder] = dict(
                image=str(image),
                size=picture.shape[:2],
                slots={one.slot: one.figures() for one in found},
            )
            idle = slots.keys() - {one.slot for one in found}
            if idle:
                console.print(f'note: {", ".join(sorted(idle))} do not run in a prediction.')
            rows = [one.row() for one in found]
            sections.append(Section(f'{image}: shares that pass', rows, left=2))
    content = dict(config=args.config, checkpoint=args.checkpoint, images=figures)
    write_whole(out / 'attention_maps.json', json.dumps(content) + '\n')
    print(render_sections(sections, 'text'))
    print(f'written: {out}')


if __name__ == '__main__':
    sys.exit(exit_status(main, parse_args()))
