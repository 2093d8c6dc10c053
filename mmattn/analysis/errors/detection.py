"""The errors of a detector's boxes, or of its masks."""

from collections.abc import Iterable, Sequence
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.structures import BaseDataElement
from torch import Tensor

from mmattn.analysis.errors.average_precision import FIGURES, average_precisions
from mmattn.analysis.errors.base import WORST, Errors, Table, class_names, confusions
from mmattn.analysis.errors.boxes import Image, Pairs
from mmattn.analysis.errors.detection_sheet import draw_objects, legend
from mmattn.analysis.errors.pictures import (
    draw_bars,
    draw_sheet,
    file_name,
)
from mmattn.analysis.errors.tide import Tide
from mmattn.analysis.extra import extra
from mmattn.utils.errors import UserError

BACKGROUND = 'background'
_NO_OBJECTS = 'the data have no annotated objects, so there is nothing to judge detections by.'
_NO_MASKS = '{} no masks: leave out --by masks, and boxes are judged.'


class DetectionErrors(Errors):
    """AP by class and size, TIDE's kinds of errors, confusions, images with missed objects.

    AP is COCO's, whatever the evaluator computes. The objects are those that mmdet's CocoMetric
    takes: of the evaluator's annotation file, or else of the data set.
    By masks too the pictures show boxes.
    """

    def __init__(
        self, dataset: Any, metrics: Sequence[Any], score: float, by: str = 'boxes'
    ) -> None:
        super().__init__(dataset, metrics, score, by)
        self.figure = f'AP of {by}'
        extra('faster_coco_eval')  # that it is missing is said now rather than after the pass
        self.counted = f'detections with a score of {score:g} or more'
        files = (getattr(metric, '_coco_api', None) for metric in metrics)
        self._file = next((file for file in files if file is not None), None)
        self._images: list[Image] = []
        if self._file is not None:
            # In the order of the file, as mmdet numbers them.
            ids = self._file.get_cat_ids(cat_names=dataset.metainfo['classes'])
            self._label = {number: label for label, number in enumerate(ids)}
            self.classes = class_names([self._file.cats[number]['name'] for number in ids])
            if not self._file.anns:
                raise UserError(_NO_OBJECTS)

    def _add(self, sample: BaseDataElement, image: str | Tensor) -> None:
        found = sample.get('pred_instances')
        if found is None or 'labels' not in found:
            raise UserError('the model detects no boxes of classes, so there are none to judge.')
        *objects, masks = self._listed(sample) if self._file is not None else self._read(sample)
        scores, found_masks = found.scores, None
        if self.by == 'masks':
            if 'masks' not in found:
                raise UserError(_NO_MASKS.format('the model predicts'))
            # As mmdet's CocoMetric: some heads score their masks anew.
            scores, found_masks = found.get('mask_scores', scores), _encoded(found.masks)
        self._images.append(
            Image(
                image,
                *objects,
                found.bboxes.cpu().numpy().reshape(-1, 4),
                found.labels.cpu().numpy(),
                scores.cpu().numpy(),
                masks,
                found_masks,
            )
        )

    def _listed(self, sample: BaseDataElement) -> tuple:
        """Objects of the annotation file: boxes, labels, areas, crowds, masks."""
        listed = [
            each
            for each in self._file.imgToAnns[sample.img_id]
            if each['category_id'] in self._label
        ]
        boxes = np.array([each['bbox'] for each in listed], dtype=float).reshape(-1, 4)
        boxes[:, 2:] += boxes[:, :2]
        return (
            boxes,
            np.array([self._label[each['category_id']] for each in listed], dtype=int),
            np.array([each['area'] for each in listed], dtype=float),
            np.array([each.get('iscrowd', 0) for each in listed], dtype=bool),
            self._masks(
                (each.get('segmentation') for each in listed), self._file.imgs[sample.img_id]
            ),
        )

    def _read(self, sample: BaseDataElement) -> tuple:
        """Objects of the data set, in the frame of the file."""
        read = self.dataset.get_data_info(self.number)
        if read.get('img_id') != sample.img_id:
            raise UserError(
                'the test data are shuffled: set test_dataloader.sampler.shuffle=False.'
            )
        objects = read.get('instances', ())
        boxes = np.array([each['bbox'] for each in objects], dtype=float).reshape(-1, 4)
        masks = self._masks((each.get('mask') for each in objects), read)
        areas = (boxes[:, 2:] - boxes[:, :2]).prod(1) if masks is None else _areas(masks)
        return (
            boxes,
            np.array([each['bbox_label'] for each in objects], dtype=int),
            areas,
            np.array([each.get('ignore_flag', 0) for each in objects], dtype=bool),
            masks,
        )

    def _masks(self, segmentations: Iterable, image: dict[str, Any]) -> list[dict] | None:
        """Run lengths of polygons and of masks, if they are to be judged."""
        if self.by == 'boxes':
            return None
        from faster_coco_eval.core.mask import segmToRle

        segmentations = list(segmentations)
        if not all(segmentations):
            raise UserError(_NO_MASKS.format(f'image {self.number + 1} of the data has'))
        return [segmToRle(each, image['width'], image['height']) for each in segmentations]

    @cached_property
    def _precisions(self) -> dict[str, np.ndarray]:
        if all(image.ignored.all() for image in self._images):
            raise UserError(_NO_OBJECTS)
        return average_precisions(self._images, len(self.classes))

    @property
    def by_class(self) -> np.ndarray:
        return self._precisions['AP']

    @cached_property
    def tide(self) -> Tide:
        """Kinds of errors, and what each costs."""
        return Tide(self._images, len(self.classes))

    @property
    def labels(self) -> list[str]:
        return [*self.classes, BACKGROUND]

    @cached_property
    def _pairs(self) -> list[Pairs]:
        return [Pairs(image, self.score) for image in self._images]

    @cached_property
    def matrix(self) -> np.ndarray:
        """Of detections from the score on, as :class:`Pairs` has them; background is the last."""
        background = len(self.classes)
        matrix = np.zeros((background + 1,) * 2, dtype=int)
        for pairs in self._pairs:
            truth = np.append(pairs.labels, background)[pairs.partner]  # -1 is the last one
            np.add.at(matrix, (truth, pairs.image.found_labels[pairs.which]), 1)
            alone = np.delete(pairs.labels, pairs.partner[pairs.partner >= 0])
            np.add.at(matrix, (alone, background), 1)
        return matrix

    @cached_property
    def _most_missed(self) -> list[Pairs]:
        ordered = sorted(self._pairs, key=lambda pairs: -pairs.missed.sum())
        return [pairs for pairs in ordered[:WORST] if pairs.missed.any()]

    @property
    def worst(self) -> list[dict[str, Any]]:
        return [
            dict(
                image=str(pairs.image.path),
                missed=int(pairs.missed.sum()),
                objects=len(pairs.missed),
            )
            for pairs in self._most_missed
        ]

    def tables(self) -> list[Table]:
        objects = np.bincount(
            np.concatenate([image.labels[~image.ignored] for image in self._images]),
            minlength=len(self.classes),
        )
        figures = np.stack([self._precisions[name] for name in FIGURES], 1)
        rows = {
            name: (int(number), *row.tolist())
            for name, number, row in zip(self.classes, objects, figures, strict=True)
        }
        present = figures[objects > 0]
        rows['all'] = (int(objects.sum()), *map(_mean, present.T))
        kinds = {name: (self.tide.counts[name], self.tide.gains[name]) for name in self.tide.counts}
        return [
            Table(
                'classes', f"COCO's {self.figure}", ('class', 'objects', *FIGURES), rows, of_data=1
            ),
            Table(
                'tide',
                f'Errors by TIDE; AP50 {self.tide.ap:.3f}, dAP: what it would gain without them',
                ('error', 'number', 'dAP'),
                kinds,
            ),
            confusions(self.matrix, self.labels),
        ]

    def _draw(self, folder: Path, sides: dict[str, 'DetectionErrors']) -> list[Path]:
        gains = {name: list(side.tide.gains.values()) for name, side in sides.items()}
        paths = [
            draw_bars(folder / 'tide.png', list(self.tide.gains), gains, 'dAP at an IoU of 0.5')
        ]
        tiles = [
            (
                file_name(pairs.image.path)
                + f': {pairs.missed.sum()} of {len(pairs.missed)} missed',
                partial(draw_objects, pairs, self.classes),
            )
            for pairs in self._most_missed
        ]
        if tiles:
            paths.append(draw_sheet(folder / 'missed.png', tiles, 3, legend()))
        return paths


def _encoded(masks: Tensor | Sequence[dict]) -> list[dict]:
    """Run lengths of masks (N, H, W), or as some heads give them."""
    from mmdet.structures.mask import encode_mask_results

    return encode_mask_results(masks.cpu().numpy()) if isinstance(masks, Tensor) else [*masks]


def _areas(masks: Sequence[dict]) -> np.ndarray:
    from pycocotools import mask

    return np.array([mask.area(each) for each in masks], dtype=float)


def _mean(values: np.ndarray) -> float:
    values = values[~np.isnan(values)]
    return float(values.mean()) if len(values) else float('nan')
