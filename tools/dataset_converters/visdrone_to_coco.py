#!/usr/bin/env python
"""Convert VisDrone-DET (VisDrone2019-DET-train/images, annotations, ...) to COCO json files.

Writes OUT_DIR/train.json, val.json and test-dev.json, as far as ROOT has the folders; file names in
them are relative to ROOT. Ignored regions (category 0) become boxes of a category of their own,
'ignored regions', with iscrowd=1: mmattn.VisDroneDataset and mmattn.VisDroneMetric read them, other
tools pass them over. Objects of the category 'others' are left out and counted.
"""

from to_coco import main

main('visdrone', __doc__)
