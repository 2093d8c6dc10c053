"""The errors of a classifier."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.structures import BaseDataElement
from torch import Tensor

from mmattn.analysis.errors.base import Errors, Table, Worst, confusions
from mmattn.analysis.errors.pictures import draw_sheet, pixels, short
from mmattn.utils.errors import UserError


class ClassificationErrors(Errors):
    """Accuracy by class, confusions, the mistakes that the model was surest of."""

    figure, counted = 'accuracy (%)', 'images'

    def __init__(
        self, dataset: Any, metrics: Sequence[Any], score: float, by: str = 'boxes'
    ) -> None:
        super().__init__(dataset, metrics, score, by)
        self._matrix = np.zeros((0, 0), dtype=int)
        self._worst = Worst()

    def _add(self, sample: BaseDataElement, image: str | Tensor) -> None:
        truth, scores = sample.get('gt_label'), sample.get('pred_score')
        if truth is None or truth.numel() != 1 or scores is None:
            raise UserError(
                'the errors of a classifier need one annotated class an image and a score for '
                f'every class; {image if isinstance(image, str) else "an image"} has '
                f'gt_label={None if truth is None else truth.tolist()}.'
            )
        if not len(self._matrix):
            # A demo's data set knows fewer classes than the model.
            more = range(len(self.classes), len(scores))
            self.classes += [f'class {label}' for label in more]
            self._matrix = np.zeros((len(self.classes),) * 2, dtype=int)
        truth, found = int(truth), int(scores.argmax())
        self._matrix[truth, found] += 1
        if found != truth:
            self._worst.add(float(scores[found]), (image, truth, found))

    @property
    def matrix(self) -> np.ndarray:
        return self._matrix

    @property
    def by_class(self) -> np.ndarray:
        """Of each class in per cent; nan where it has no image."""
        return _percent(self._matrix.diagonal(), self._matrix.sum(1))

    @property
    def worst(self) -> list[dict[str, Any]]:
        return [
            dict(
                image=image if isinstance(image, str) else None,
                annotated=self.classes[truth],
                predicted=self.classes[found],
                score=score,
            )
            for score, (image, truth, found) in self._worst.sorted()
        ]

    def tables(self) -> list[Table]:
        hits, images = self._matrix.diagonal(), self._matrix.sum(1)
        precisions = _percent(hits, self._matrix.sum(0))
        rows = {
            name: (int(number), accuracy, precision)
            for name, number, accuracy, precision in zip(
                self.classes, images, self.by_class.tolist(), precisions.tolist(), strict=True
            )
        }
        total = int(images.sum())
        rows['all'] = (total, 100 * float(hits.sum()) / max(total, 1), float('nan'))
        columns = ('class', 'images', 'accuracy (%)', 'precision (%)')
        return [
            Table('classes', 'Accuracy of the classes', columns, rows, of_data=1, digits=2),
            confusions(self._matrix, self.labels),
        ]

    def _draw(self, folder: Path, sides: dict[str, Errors]) -> list[Path]:
        tiles = [
            (
                f'{short(self.classes[truth])}\nas {short(self.classes[found])} {score:.2f}',
                partial(_show, image),
            )
            for score, (image, truth, found) in self._worst.sorted()
        ]
        if not tiles:
            return []
        return [draw_sheet(folder / 'surest_mistakes.png', tiles, 6, aspect=1.05)]


def _percent(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    return 100 * np.divide(part, whole, out=np.full(len(part), np.nan), where=whole > 0)


def _show(image: str | Tensor, ax: Any) -> None:
    ax.imshow(pixels(image))
