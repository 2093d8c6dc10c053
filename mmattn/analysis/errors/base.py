"""What the errors of detectors, segmenters and classifiers have in common."""

import heapq
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.structures import BaseDataElement
from torch import Tensor

from mmattn.analysis.errors.pictures import draw_bars, draw_confusion

WORST = 12  # images on a contact sheet
CONFUSIONS = 10  # pairs of classes that are printed


@dataclass(frozen=True)
class Table:
    """Figures by row; those of a baseline stand beside those of the same row."""

    name: str
    title: str
    columns: tuple[str, ...]  # the first one names the rows
    rows: dict[str, tuple[float | int, ...]]  # nan: there is no such figure
    of_data: int = 0  # how many columns describe the data: a baseline's would be the same
    digits: int = 3
    most: int | None = None  # rows that count; the others only serve a comparison


class Errors(ABC):
    """Counts what a model does wrong, image by image.

    Args:
        dataset: Of the split, as built.
        metrics: The metrics of the split's evaluator, as built.
        score: From which score on a detection counts, where a threshold is needed.
        by: 'boxes' or 'masks': whose overlaps tell what a detector has found.

    Attributes:
        classes: Names, each one different.
        number: Of images.
        figure: Name and unit of what the classes are judged by.
        counted: What the confusion matrix counts.
    """

    figure: str
    counted: str

    def __init__(
        self, dataset: Any, metrics: Sequence[Any], score: float, by: str = 'boxes'
    ) -> None:
        self.dataset, self.metrics, self.score, self.by = dataset, metrics, score, by
        self.classes = class_names(dataset.metainfo.get('classes') or ())
        self.number = 0

    def add(self, sample: BaseDataElement, pixels: Tensor) -> None:
        """Take the next image.

        Args:
            sample: What the model's ``test_step`` returned for it.
            pixels: The image as the pipeline left it, of shape (3, H, W).

        Raises:
            UserError: If it has no annotation to judge the model by.
        """
        self._add(sample, sample.metainfo.get('img_path') or pixels)
        self.number += 1

    @abstractmethod
    def _add(self, sample: BaseDataElement, image: str | Tensor) -> None: ...

    @property
    @abstractmethod
    def matrix(self) -> np.ndarray:
        """Confusion matrix of counts; the annotated class by row, the predicted one by column."""

    @property
    def labels(self) -> list[str]:
        """Names of the matrix' rows and columns."""
        return self.classes

    @abstractmethod
    def tables(self) -> list[Table]:
        """The figures, that of the classes first."""

    @property
    @abstractmethod
    def worst(self) -> list[dict[str, Any]]:
        """The images of the contact sheet: path (if there is one) and how bad they are."""

    @property
    @abstractmethod
    def by_class(self) -> np.ndarray:
        """What the classes are judged by, a figure each; nan where there is none."""

    def draw(self, folder: Path, baseline: 'Errors | None' = None) -> list[Path]:
        """Write the pictures and return their paths."""
        sides = {'model': self} | ({'baseline': baseline} if baseline else {})
        order = np.argsort(self.by_class, kind='stable')
        names = [self.classes[index] for index in order]
        figures = {name: side.by_class[order] for name, side in sides.items()}
        return [
            draw_bars(folder / 'classes.png', names, figures, self.figure),
            draw_confusion(
                folder / 'confusion.png', self.matrix, self.labels, f'Confusions of {self.counted}'
            ),
            *self._draw(folder, sides),
        ]

    @abstractmethod
    def _draw(self, folder: Path, sides: dict[str, 'Errors']) -> list[Path]:
        """Those that only this task has; ``sides``: name -> this one, and the baseline."""


def class_names(names: Sequence[str]) -> list[str]:
    """Short names of classes, made different: ImageNet has two cranes, and lists synonyms."""
    names = [name.split(',')[0] for name in names]
    times = Counter(names)
    return [f'{name} ({i})' if times[name] > 1 else name for i, name in enumerate(names)]


def confusions(matrix: np.ndarray, labels: Sequence[str]) -> Table:
    """Pairs of different classes, the most frequent first, with their share of the row."""
    wrong = matrix * ~np.eye(len(matrix), dtype=bool)
    rows, columns = np.nonzero(wrong)
    order = np.argsort(-wrong[rows, columns], kind='stable')
    totals = matrix.sum(1)
    pairs = {
        f'{labels[row]} as {labels[column]}': (
            int(wrong[row, column]),
            100 * wrong[row, column] / totals[row],
        )
        for row, column in zip(rows[order], columns[order], strict=True)
    }
    columns = ('annotated as predicted', 'number', '% of the row')
    return Table('confusions', 'Largest confusions', columns, pairs, digits=1, most=CONFUSIONS)


class Worst:
    """Keeps the few entries with the highest figures; of equals the first ones."""

    def __init__(self, most: int = WORST) -> None:
        self.most = most
        self._heap: list[tuple[float, int, Any]] = []
        self._seen = 0

    def add(self, figure: float, entry: Any) -> None:
        self._seen += 1
        item = (figure, -self._seen, entry)
        (heapq.heappush if len(self._heap) < self.most else heapq.heappushpop)(self._heap, item)

    def sorted(self) -> list[tuple[float, Any]]:
        """(figure, entry), the worst first."""
        return [(figure, entry) for figure, _, entry in sorted(self._heap, reverse=True)]
