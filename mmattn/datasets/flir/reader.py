"""FLIR ADAS v2 as cleaned by tools/dataset_converters/flir_to_coco.py."""

from mmdet.datasets import CocoDataset

from mmattn.datasets.flir.converter import CLASSES
from mmattn.registry import DATASETS


@DATASETS.register_module()
class FLIRDataset(CocoDataset):
    """The 16 categories that have boxes, thermal or visible; arguments as CocoDataset.

    Teledyne FLIR Free ADAS Thermal Dataset v2, 2022. Its release notes name
    fifteen; the thermal training images have eight boxes of 'deer' besides.
    """

    METAINFO = {
        'classes': CLASSES,
        'palette': [
            (220, 20, 60), (119, 11, 32), (0, 0, 142), (0, 0, 230), (0, 60, 100), (0, 80, 100),
            (0, 0, 70), (250, 170, 30), (100, 170, 30), (220, 220, 0), (0, 182, 199),
            (153, 69, 1), (45, 89, 255), (255, 179, 240), (190, 153, 153), (110, 76, 0),
        ],
    }  # fmt: skip
