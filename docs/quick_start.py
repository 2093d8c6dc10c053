# /// script
# requires-python = ">=3.10,<3.14"
# dependencies = [
#     "mmattn",
#     "onedl-mmcv==2.3.6",
#     "onedl-mmengine==0.10.12",
#     "onedl-mmpretrain==1.3.6",
#     "plotly>=5.18",
#     "torch==2.11.0",
#     "torchvision==0.26.0",
# ]
#
# [tool.uv]
# exclude-newer = "2026-11-01T00:00:00Z"
# sources = { mmattn = { path = "..", editable = true } }
# # A classifier needs none of mmcv's operators, which take minutes to compile.
# extra-build-variables = { onedl-mmcv = { MMCV_WITH_OPS = "0" } }
# ///
"""A first taste: tools/train.py for classifiers, in an environment in which nothing is compiled.

    uv run docs/quick_start.py                  ResNet-18 with SCSA on generated images
    uv run docs/quick_start.py CONFIG --demo    another classifier, with any option of train.py

uv reads the lines above and keeps that environment in its cache, apart from the checkout's own,
which `uv sync` makes with all of the stack.
"""

import runpy
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
TRAIN = ROOT / 'tools' / 'train.py'
FIRST = (
    'resnet50_scsa_in1k --demo --work-dir work_dirs/quick_start --overwrite '
    '--cfg-options model.backbone.depth=18 model.head.in_channels=512 train_cfg.max_epochs=2'
)

if __name__ == '__main__':
    sys.argv = [str(TRAIN), *(sys.argv[1:] or FIRST.split())]
    sys.path[0] = str(TRAIN.parent)
    runpy.run_path(str(TRAIN), run_name='__main__')
