"""ExDark as converted by tools/dataset_converters/exdark_to_coco.py."""

from mmdet.datasets import CocoDataset

from mmattn.datasets.exdark.converter import CLASSES
from mmattn.registry import DATASETS


@DATASETS.register_module()
class ExDarkDataset(CocoDataset):
    """Twelve classes in low light; arguments as CocoDataset.

    "Getting to Know Low-light Images with The Exclusively Dark Dataset",
    arXiv:1805.11227.
    """

    METAINFO = {
        'classes': CLASSES,
        'palette': [
            (119, 11, 32), (106, 0, 228), (0, 165, 120), (0, 60, 100), (0, 0, 142),
            (255, 77, 255), (153, 69, 1), (250, 170, 30), (0, 182, 199), (0, 0, 230),
            (220, 20, 60), (120, 166, 157),
        ],
    }  # fmt: skip
