#!/usr/bin/env python
"""Convert a VOC-style tree (Annotations/*.xml, JPEGImages, ImageSets) to COCO json files.

Writes OUT_DIR/SPLIT.json for each split, whose file names are relative to ROOT, so that a config
uses them with data_root=ROOT and data_prefix=dict(img=''). Coordinates are VOC's minus 1, as in
mmdet; difficult objects become iscrowd=1. ROOT may be a devkit with VOC2007 and VOC2012 in it,
whose splits are joined.
"""

from to_coco import main

main('voc', __doc__)
