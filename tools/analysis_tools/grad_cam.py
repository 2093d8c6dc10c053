#!/usr/bin/env python
"""See where a model looks: Grad-CAM of a classifier, a detector or a segmenter."""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from arguments import SHARED, exit_status, parser_of, positive

EPILOG = """\
A classifier's maps are of its predicted class, a detector's and a segmenter's of each class found.
White contours are the ground truth where the data set has one, red boxes the detections.

--iou is the protocol of the SE-Res2Net report: maps binarised at their median, 100 images drawn by
a seed, intersection over union with the boxes or masks of the class, mean and 95 % interval.

examples:
  grad_cam.py resnet50_scsa_in1k scsa.pth dog.jpg
  grad_cam.py resnet50_scsa_in1k scsa.pth dog.jpg --class 'tabby' --method grad_cam++
  grad_cam.py faster_rcnn_r50_scsa_bccd best.pth --data-root bccd --per-detection
  grad_cam.py none.py none.pth --beside se.py se.pth --beside scsa.py scsa.pth --iou
  grad_cam.py upernet_r50_scsa_camvid last.pth street.png --layer decode_head.fpn_bottleneck
"""


def parse_args() -> argparse.Namespace:
    """Read the command line; nothing heavy is imported for it."""
    parser = parser_of(__doc__, epilog=EPILOG)
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
        nargs=2,
        action='append',
        default=[],
        metavar=('CONFIG', 'CHECKPOINT'),
        help='another model, on the same images for the same classes; may be given several times',
    )
    parser.add_argument(
        '--method',
        choices=['grad_cam', 'grad_cam++', 'eigen_cam'],
        default='grad_cam',
        help='default grad_cam; eigen_cam knows no class',
    )
    parser.add_argument(
        '--layer',
        default='backbone[-1]',
        metavar='NAME',
        help='module to look at, as backbone.layer3; NAME[i] is one of several outputs; default '
        'backbone[-1], the last stage',
    )
    parser.add_argument(
        '--class', nargs='+', default=[], metavar='NAME', dest='classes', help='only these classes'
    )
    parser.add_argument(
        '--per-detection', action='store_true', help='a map of each detection, not of each class'
    )
    parser.add_argument(
        '--score', type=float, default=0.3, metavar='S', help='least of a detection; default 0.3'
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
        '--images',
        type=positive,
        metavar='N',
        help='of the data set; default 12, with --iou 100',
    )
    parser.add_argument(
        '--seed', type=int, default=0, metavar='N', help='draws the images; default 0'
    )
    parser.add_argument('--data-root', **SHARED['--data-root'])
    parser.add_argument('--device', help='cpu, cuda, cuda:1 ...; default a GPU if there is one')
    parser.add_argument(
        '--out', metavar='DIR', help='for pictures and figures; default work_dirs/CONFIG/METHOD'
    )
    parser.add_argument('--cfg-options', **SHARED['--cfg-options'])
    args = parser.parse_args()
    if args.iou and args.per_detection:
        parser.error('--iou measures classes: no --per-detection')
    if args.iou and args.image and not args.masks:
        parser.error('--iou needs the ground truth of a data set, or --masks: no IMAGE')
    return args


def main(args: argparse.Namespace) -> None:
    from mmattn.analysis.cam.command import explain

    explain(**vars(args))


if __name__ == '__main__':
    sys.exit(exit_status(main, parse_args()))
