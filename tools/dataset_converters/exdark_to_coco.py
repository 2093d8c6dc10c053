"""Convert ExDark (ExDark/CLASS/*, ExDark_Annno/CLASS/*.txt, imageclasslist.txt) to COCO json files.

Writes OUT_DIR/train.json, val.json and test.json after the splits of imageclasslist.txt, whose file
names are relative to ROOT.
"""

import argparse

from mmattn.datasets.converters import ExDarkSource, command, exdark


def parse_args() -> argparse.Namespace:
    parser = command.build_parser(__doc__)
    parser.add_argument('--img-subdir', default=exdark.IMAGES, help='default: %(default)s')
    parser.add_argument('--ann-subdir', default=exdark.ANNOTATIONS, help='default: %(default)s')
    parser.add_argument('--list-file', default=exdark.LIST, help='default: %(default)s')
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    folders = (args.img_subdir, args.ann_subdir, args.list_file)
    command.run(args, lambda: ExDarkSource(args.root, *folders))


if __name__ == '__main__':
    main()
