"""VisDrone-DET's evaluation on COCO's evaluator.

"The Vision Meets Drone Object Detection in Image Challenge Results" (ICCV Workshops 2019) and its
toolkit, github.com/VisDrone/VisDrone2018-DET-toolkit (utils/dropObjectsInIgr.m, calcAccuracy.m).
From there: objects and detections at least half inside the union of an image's ignored regions
are dropped first; the 500 best detections of an image count, and AR@k takes the k best, over all
classes together.

Deviations: AP is COCO's (101 points, unweighted mean over the classes that occur), so that it
equals COCO's where there are no ignored regions (and, since COCO's stops there, at most 100
detections of a class in an image); the toolkit interpolates at every point and counts a class
once for each image that shows it. Boxes are not rounded to whole pixels.
"""

import contextlib
import io
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import numpy as np
from mmdet.datasets.api_wrappers import COCO, COCOeval
from mmdet.evaluation import CocoMetric
from mmengine.logging import MMLogger

from mmattn.datasets.boxes import Corners, corners_of
from mmattn.datasets.visdrone.converter import IGNORED_REGION
from mmattn.datasets.visdrone.ignored_regions import INSIDE, coverage
from mmattn.registry import METRICS

# Numbers of detections an image.
AR_AT = (1, 10, 100, 500)
MOST = AR_AT[-1]
NO_VALUE = -1.0


@METRICS.register_module()
class VisDroneMetric(CocoMetric):
    """AP as COCO and AR at 1, 10, 100 and 500 detections, ignored regions left out.

    Reports bbox_mAP, bbox_mAP_50, bbox_mAP_75, bbox_mAP_s, bbox_mAP_m, bbox_mAP_l,
    AR@1, AR@10, AR@100 and AR@500 from 0 to 1; -1 where nothing is there to be found.

    Args:
        ann_file: As written by tools/dataset_converters/visdrone_to_coco.py; boxes of
            the category 'ignored regions' are such regions.
        classwise: Also report the AP of each class, as NAME_precision.
        format_only: Write the detections, do not evaluate.
        outfile_prefix: Writes all detections to OUTFILE_PREFIX.bbox.json.
        backend_args: Of the file backend.
        collect_device: 'cpu' or 'gpu', where results of several processes meet.
        prefix: Before the names of the results; 'visdrone' unless told.
    """

    default_prefix = 'visdrone'
    #: What the best checkpoint is chosen by.
    main_metric = 'bbox_mAP'

    def __init__(
        self,
        ann_file: str,
        classwise: bool = False,
        format_only: bool = False,
        outfile_prefix: str | None = None,
        backend_args: dict | None = None,
        collect_device: str = 'cpu',
        prefix: str | None = None,
    ) -> None:
        if not ann_file:
            raise ValueError(
                f'VisDroneMetric: ann_file is {ann_file!r}; it has to name the json file, '
                'since the ignored regions are read from there.'
            )
        if format_only and outfile_prefix is None:
            raise ValueError('VisDroneMetric: format_only=True needs an outfile_prefix.')
        super().__init__(
            ann_file=ann_file,
            classwise=classwise,
            format_only=format_only,
            outfile_prefix=outfile_prefix,
            backend_args=backend_args,
            collect_device=collect_device,
            prefix=prefix,
        )

    def compute_metrics(self, results: list) -> dict[str, float]:
        """Evaluate what ``process`` has collected."""
        predictions = [prediction for _, prediction in results]
        names = list(self.dataset_meta['classes'])
        self.cat_ids = self._coco_api.get_cat_ids(cat_names=names)
        if self.outfile_prefix is not None:
            self.results2json(predictions, self.outfile_prefix)
        if self.format_only:
            return {}
        regions = self._regions()
        truth = self._truth(regions)
        found = self._detections(predictions, regions)
        best = self._evaluate(truth, found, MOST, by_area=True)
        metrics = {
            'bbox_mAP': _mean(best['precision'][..., 0, 0]),
            'bbox_mAP_50': _mean(best['precision'][0, ..., 0, 0]),
            'bbox_mAP_75': _mean(best['precision'][5, ..., 0, 0]),
        }
        for index, size in enumerate('sml', start=1):
            metrics[f'bbox_mAP_{size}'] = _mean(best['precision'][..., index, 0])
        for number in AR_AT:
            few = best if number == MOST else self._evaluate(truth, found, number)
            metrics[f'AR@{number}'] = _mean(few['recall'][..., 0, 0])
        if self.classwise:
            for index, name in enumerate(names):
                metrics[f'{name}_precision'] = _mean(best['precision'][:, :, index, 0, 0])
        return metrics

    def _annotations(self, categories: Sequence[int]) -> dict[Any, list[dict]]:
        """Image id -> its annotations of these categories."""
        groups = defaultdict(list)
        for annotation in self._coco_api.dataset.get('annotations', []):
            if annotation['category_id'] in categories:
                groups[annotation['image_id']].append(annotation)
        return groups

    def _regions(self) -> dict[Any, list[Corners]]:
        """Image id -> corners of its ignored regions."""
        ids = self._coco_api.get_cat_ids(cat_names=[IGNORED_REGION])
        if not ids:
            MMLogger.get_current_instance().warning(
                f'VisDroneMetric: the annotations have no category {IGNORED_REGION!r}, so this '
                'is plain COCO AP. tools/dataset_converters/visdrone_to_coco.py writes them.'
            )
        groups = self._annotations(ids)
        return {key: [corners_of(each['bbox']) for each in groups[key]] for key in groups}

    def _truth(self, regions: dict[Any, list[Corners]]) -> COCO:
        """The annotated objects outside of ignored regions."""
        objects = self._annotations(self.cat_ids)
        kept = []
        for key, group in objects.items():
            inside = coverage([corners_of(each['bbox']) for each in group], regions.get(key, []))
            kept += [each for each, part in zip(group, inside, strict=True) if part < INSIDE]
        total = sum(map(len, objects.values()))
        _log_dropped('objects', total - len(kept), total)
        truth = COCO()
        truth.dataset = {**self._coco_api.dataset, 'annotations': kept}
        with contextlib.redirect_stdout(io.StringIO()):
            truth.createIndex()
        return truth

    def _detections(self, predictions: Sequence[dict], regions: dict[Any, list]) -> list[list]:
        """For each image the detections outside of ignored regions, the best first."""
        found, total = [], 0
        for prediction in predictions:
            boxes = np.asarray(prediction['bboxes'], float).reshape(-1, 4)
            total += len(boxes)
            key = prediction['img_id']
            kept = coverage(boxes, regions.get(key, [])) < INSIDE
            order = np.argsort(-prediction['scores'], kind='stable')
            best = []
            for index in order[kept[order]]:
                category = self.cat_ids[prediction['labels'][index]]
                bbox, score = self.xyxy2xywh(boxes[index]), float(prediction['scores'][index])
                best.append(dict(image_id=key, category_id=category, bbox=bbox, score=score))
            found.append(best)
        _log_dropped('detections', total - sum(map(len, found)), total)
        return found

    def _evaluate(
        self, truth: COCO, found: list[list], number: int, by_area: bool = False
    ) -> dict[str, np.ndarray]:
        """COCO's evaluation of the best detections of each image; -1 where nothing is annotated.

        Shapes: precision (IoU threshold, recall, class, area, 1), recall without the second.
        """
        best = [each for image in found for each in image[:number]]
        with contextlib.redirect_stdout(io.StringIO()):
            # pycocotools cannot load an empty list.
            detections = truth.loadRes(best) if best else COCO()
            evaluation = COCOeval(truth, detections, 'bbox')
            evaluation.params.catIds = self.cat_ids
            evaluation.params.imgIds = truth.get_img_ids()
            evaluation.params.maxDets = [number]
            if not by_area:
                evaluation.params.areaRng = evaluation.params.areaRng[:1]
                evaluation.params.areaRngLbl = evaluation.params.areaRngLbl[:1]
            evaluation.evaluate()
            evaluation.accumulate()
        return evaluation.eval


def _mean(values: np.ndarray) -> float:
    values = values[values > -1]
    return float(values.mean()) if values.size else NO_VALUE


def _log_dropped(what: str, dropped: int, total: int) -> None:
    MMLogger.get_current_instance().info(
        f'{dropped} of {total} {what} lie at least half inside ignored regions and are dropped'
    )
