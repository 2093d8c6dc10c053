"""Clean FLIR ADAS v2's COCO json files: 16 categories of 80, no bad boxes, one folder for all.

Writes OUT_DIR/thermal_train.json, thermal_val.json, thermal_test.json and the same for rgb, as far
as ROOT has the folders (images_thermal_train/coco.json, ...); file names in them are relative to
ROOT.
"""

import argparse

from mmattn.datasets.converters import FLIRSource, command


def parse_args() -> argparse.Namespace:
    return command.build_parser(__doc__).parse_args()


def main() -> None:
    args = parse_args()
    command.run(args, lambda: FLIRSource(args.root))


if __name__ == '__main__':
    main()
