#!/usr/bin/env python
"""See where a model looks: Grad-CAM of a classifier, a detector or a segmenter."""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from arguments import SHARED, exit_status, parser_of, positive

EPILOG = """\
A classifier's map is of its predicted class, a detector's and a segmenter's are of each class
found. The number behind a class is its probability, of a segmenter its share of the pixels. White
contours are the ground truth where the data set has one, red boxes the detections.

Grad-CAM weighs channels by their mean gradient; a detection depends on few positions only, which
the mean hides, and the backbone's last stage is too coarse for it: detectors are looked at by
HiResCAM (each position by its own gradient; with a pooled linear head the same as Grad-CAM) over
all levels of the neck.

--iou is the protocol of the SE-Res2Net report: maps binarised at their median, 100 images drawn by
a seed, intersection over union with the boxes or masks of the class, mean and 95 % interval. All
detections count for it, however unsure, unless --score says otherwise.

examples:
  grad_cam.py resnet50_scsa_in1k scsa.pth dog.jpg --class tabby --method grad_cam++
  grad_cam.py faster_rcnn_r50_scsa_bccd best.pth --data-root bccd --per-detection
  grad_cam.py none.py none.pth --beside se.py se.pth --beside scsa.py scsa.pth --iou
  grad_cam.py upernet_r50_scsa_camvid last.pth street.png --layer decode_head.fpn_bottleneck
"""


def parse_args() -> argparse.Namespace:
    """Read the command line; nothing heavy is imported for it."""
    names = ('--cfg-options', '--data-root', '--trust-checkpoint')
    parser = parser_of(__doc__, *names, epilog=EPILOG)
    parser.add_argument('config', **SHARED['config'])
    parser.add_argument('checkpoint', metavar='CHECKPOINT', help='its weights')
    parser.add_argument(
        'image',
        nargs='?',
        metavar='IMAGE',
        help="image file, or a folder of images; default images of the config's data set",
    )
    parser.add_argument(
        '--split', choices=['test', 'val'], default='test', help='of the data set; default test'
    )
    parser.add_argument(
        '--beside',
        nargs='+',
        action='append',
        default=[],
        metavar='CONFIG CHECKPOINT [KEY=VALUE]',
        help='another model, with its own options, on the same images for the same classes; may be '
        'given several times',
    )
    parser.add_argument('--names', nargs='+', metavar='NAME', help='what to call the models')
    parser.add_argument(
        '--method',
        choices=['grad_cam', 'grad_cam++', 'hires_cam', 'eigen_cam'],
        help='default grad_cam, of detectors hires_cam; eigen_cam knows no class',
    )
    parser.add_argument(
        '--layer',
        metavar='NAME',
        help='module to look at, e.g. backbone.layer3; NAME[i] is one of several outputs, of which '
        'else the sum is shown; default backbone[-1], the last stage, of detectors neck',
    )
    parser.add_argument(
        '--class', nargs='+', default=[], metavar='NAME', dest='classes', help='only these classes'
    )
    parser.add_argument(
        '--per-detection', action='store_true', help='a map of each detection, not of each class'
    )
    parser.add_argument(
        '--score',
        type=float,
        metavar='S',
        help='least of a detection; default 0.3, with --iou 0',
    )
    parser.add_argument(
        '--most',
        type=positive,
        metavar='N',
        help='maps of an image; default 4, of a classifier 1',
    )
    parser.add_argument('--iou', action='store_true', help='measure against the ground truth')
    parser.add_argument(
        '--masks',
        metavar='DIR',
        help='ground truth for any images: a PNG of the same name for each, not 0 on the object',
    )
    parser.add_argument(
        '--number',
        type=positive,
        metavar='N',
        help='of images at most; default 12, with --iou 100, and all of a folder, which begins '
        'with its first',
    )
    parser.add_argument(
        '--seed', type=int, default=0, metavar='N', help='draws the images; default 0'
    )
    parser.add_argument('--device', help='cpu, cuda, cuda:1 ...; default a GPU if there is one')
    parser.add_argument(
        '--out', metavar='DIR', help='for pictures and figures; default work_dirs/CONFIG/METHOD'
    )
    args = parser.parse_args()
    args.models = [[args.config, args.checkpoint, *args.cfg_options], *args.beside]
    if args.names and len(set(args.names)) != len(args.models):
        parser.error(f'--names: {len(args.models)} different names are needed, one for each model')
    if args.iou and args.per_detection:
        parser.error('--iou measures classes: no --per-detection')
    if args.iou and args.image and not args.masks:
        parser.error('--iou needs the ground truth of a data set, or --masks: no IMAGE')
    return args


def main(args: argparse.Namespace) -> None:
    from mmattn.analysis.cam.command import explain

    options = vars(args)
    for name in ('config', 'checkpoint', 'beside', 'cfg_options'):  # in models
        del options[name]
    options['classes'] = tuple(args.classes)
    if args.masks is not None:
        options['masks'] = Path(args.masks)
    if args.score is None:
        options['score'] = 0.0 if args.iou else 0.3
    explain(**options)


if __name__ == '__main__':
    sys.exit(exit_status(main, parse_args()))
