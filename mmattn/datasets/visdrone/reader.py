"""VisDrone-DET as converted by tools/dataset_converters/visdrone_to_coco.py."""

import logging
from typing import Any

from mmdet.datasets import CocoDataset
from mmengine.logging import print_log

from mmattn.datasets.boxes import corners_of
from mmattn.datasets.visdrone.converter import CLASSES, IGNORED_REGION
from mmattn.datasets.visdrone.ignored_regions import INSIDE, coverage
from mmattn.registry import DATASETS

# Of boxes that are to be ignored and have no class.
NO_LABEL = -1


@DATASETS.register_module()
class VisDroneDataset(CocoDataset):
    """Ten classes, and ignored regions that training leaves alone; arguments as CocoDataset.

    "Vision Meets Drones: A Challenge", arXiv:1804.07437. Instances of the
    category 'ignored regions' get ``ignore_flag=1`` and the label -1; objects at
    least half inside them, which the benchmark does not count, get
    ``ignore_flag=1``. An assigner with ``ignore_iof_thr=0.5`` then gives no loss
    to anchors and proposals that lie more than half inside one of these boxes
    (mmdet's default, -1, would learn them as background). Its assigners forget
    about that in an image without any other object, so ``filter_empty_gt=True``
    leaves out such images too.
    """

    METAINFO = {
        'classes': CLASSES,
        'palette': [
            (220, 20, 60), (255, 120, 120), (119, 11, 32), (0, 0, 142), (0, 60, 230),
            (0, 0, 70), (250, 170, 30), (190, 130, 0), (0, 60, 100), (0, 200, 230),
        ],
    }  # fmt: skip

    def load_data_list(self) -> list[dict]:
        """Read the json file; warns if it knows no ignored regions."""
        self.region_ids: list[int] | None = None
        data_list = super().load_data_list()
        if self.region_ids == []:
            print_log(
                f'{self.ann_file} has no category {IGNORED_REGION!r}: the ignored regions are '
                'learnt as background. tools/dataset_converters/visdrone_to_coco.py writes them.',
                logger='current',
                level=logging.WARNING,
            )
        return data_list

    def parse_data_info(self, raw_data_info: dict[str, Any]) -> dict[str, Any]:
        """One image's data with its ignored regions as instances."""
        info = super().parse_data_info(raw_data_info)
        if self.region_ids is None:
            self.region_ids = self.coco.get_cat_ids(cat_names=[IGNORED_REGION])
        regions = [
            list(corners_of(annotation['bbox']))
            for annotation in raw_data_info['raw_ann_info']
            if annotation['category_id'] in self.region_ids
        ]
        objects = info['instances']
        covered = coverage([each['bbox'] for each in objects], regions)
        for each, part in zip(objects, covered, strict=True):
            if part >= INSIDE:
                each['ignore_flag'] = 1
        objects += [dict(bbox=box, bbox_label=NO_LABEL, ignore_flag=1) for box in regions]
        return info

    def filter_data(self) -> list[dict]:
        """Leave out, besides mmdet's choice, training images with nothing but ignored boxes."""
        kept = super().filter_data()
        if self.test_mode or not (self.filter_cfg or {}).get('filter_empty_gt'):
            return kept
        return [info for info in kept if not all(i['ignore_flag'] for i in info['instances'])]

    def get_cat_ids(self, idx: int) -> list[int]:
        """Labels of the objects of one image, as class-aware samplers ask for them."""
        return [label for label in super().get_cat_ids(idx) if label != NO_LABEL]
