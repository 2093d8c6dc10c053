#!/usr/bin/env python
"""Clean FLIR ADAS v2's COCO json files: 16 categories of 80, no bad boxes, one folder for all.

Writes OUT_DIR/thermal_train.json, thermal_val.json, thermal_test.json and the same for rgb, as far
as ROOT has the folders (images_thermal_train/coco.json, ...); file names in them are relative to
ROOT.
"""

from to_coco import main

main('flir', __doc__)
