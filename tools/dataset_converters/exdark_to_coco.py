#!/usr/bin/env python
"""Convert ExDark (ExDark/CLASS/*, ExDark_Annno/CLASS/*.txt, imageclasslist.txt) to COCO json files.

Writes OUT_DIR/train.json, val.json and test.json after the splits of imageclasslist.txt, whose file
names are relative to ROOT.
"""

from to_coco import main

main('exdark', __doc__)
