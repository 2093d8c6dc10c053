"""Convert a VOC-style tree (Annotations/*.xml, JPEGImages, ImageSets) to COCO json files.

Writes OUT_DIR/SPLIT.json for each split, whose file names are relative to ROOT, so that a config
uses them with data_root=ROOT and data_prefix=dict(img=''). Coordinates are VOC's minus 1, as in
mmdet; difficult objects become iscrowd=1. ROOT may be a devkit with VOC2007 and VOC2012 in it,
whose splits are joined.
"""

import argparse

from mmattn.datasets.converters import VOCSource, command


def parse_args() -> argparse.Namespace:
    parser = command.build_parser(__doc__)
    parser.add_argument('--img-subdir', default='JPEGImages', help='default: %(default)s')
    parser.add_argument('--ann-subdir', default='Annotations', help='default: %(default)s')
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    command.run(args, lambda: VOCSource(args.root, args.img_subdir, args.ann_subdir))


if __name__ == '__main__':
    main()
