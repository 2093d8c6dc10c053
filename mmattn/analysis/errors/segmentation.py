"""The errors of a segmenter's label maps."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.structures import BaseDataElement
from torch import Tensor

from mmattn.analysis.errors.base import Errors, Table, Worst, confusions
from mmattn.analysis.errors.pictures import (
    draw_sheet,
    file_name,
    pixels,
    short,
)
from mmattn.analysis.plots import COLOURS
from mmattn.utils.errors import UserError

SHOWN = 6  # images on the sheet
IGNORED = 255
LEGEND = 12  # classes in it


class SegmentationErrors(Errors):
    """IoU by class, confusions between pixels, images with most wrong pixels."""

    figure, counted = 'IoU (%)', 'pixels'

    def __init__(
        self, dataset: Any, metrics: Sequence[Any], score: float, by: str = 'boxes'
    ) -> None:
        super().__init__(dataset, metrics, score, by)
        given = (getattr(metric, 'ignore_index', None) for metric in metrics)
        self._ignored = next((index for index in given if index is not None), IGNORED)
        self._matrix = np.zeros((len(self.classes),) * 2, dtype=np.int64)
        self._worst = Worst(SHOWN)

    def _add(self, sample: BaseDataElement, image: str | Tensor) -> None:
        if 'gt_sem_seg' not in sample:
            raise UserError('the data have no label maps to judge predictions by.')
        truth = sample.gt_sem_seg.data.squeeze(0).cpu().numpy().astype(np.int64)
        found = sample.pred_sem_seg.data.squeeze(0).cpu().numpy().astype(np.int64)
        number = len(self.classes)
        valid = (truth != self._ignored) & (truth < number)
        pairs = truth[valid] * number + found[valid]
        self._matrix += np.bincount(pairs, minlength=number**2).reshape(number, number)
        if valid.any():
            truth = np.where(valid, truth, -1).astype(np.int16)
            wrong = float(np.mean(truth[valid] != found[valid]))
            self._worst.add(wrong, (image, truth, found.astype(np.int16)))

    @property
    def matrix(self) -> np.ndarray:
        return self._matrix

    @property
    def by_class(self) -> np.ndarray:
        """Of each class in per cent; nan where it neither occurs nor is predicted."""
        hits = self._matrix.diagonal()
        union = self._matrix.sum(0) + self._matrix.sum(1) - hits
        return 100 * np.divide(hits, union, out=np.full(len(hits), np.nan), where=union > 0)

    @property
    def worst(self) -> list[dict[str, Any]]:
        return [
            dict(image=image if isinstance(image, str) else None, wrong=wrong)
            for wrong, (image, _, _) in self._worst.sorted()
        ]

    def tables(self) -> list[Table]:
        hits, pixels_of = self._matrix.diagonal(), self._matrix.sum(1)
        found = np.divide(hits, pixels_of, out=np.full(len(hits), np.nan), where=pixels_of > 0)
        figures = np.stack(
            [100 * pixels_of / max(pixels_of.sum(), 1), self.by_class, 100 * found], 1
        )
        rows = dict(zip(self.classes, map(tuple, figures.tolist()), strict=True))
        rows['mean'] = (float('nan'), *np.nanmean(figures[:, 1:], 0).tolist())
        columns = ('class', '% of pixels', 'IoU (%)', 'accuracy (%)')
        return [
            Table('classes', 'IoU of the classes', columns, rows, of_data=1, digits=2),
            confusions(self._matrix, self.labels),
        ]

    def _draw(self, folder: Path, sides: dict[str, Errors]) -> list[Path]:
        worst = self._worst.sorted()
        if not worst:
            return []
        labels = np.concatenate([each.ravel() for _, (_, *maps) in worst for each in maps])
        counts = np.bincount(labels[labels >= 0], minlength=len(self.classes))
        order = [label for label in np.argsort(-counts, kind='stable') if counts[label]]
        colours = self._colours(order)
        tiles = []
        for wrong, (image, truth, found) in worst:
            shown = pixels(image)
            tiles += [
                (f'{file_name(image)}: {wrong:.0%} wrong', partial(_show, shown)),
                ('annotated', partial(_show, colours[truth])),
                ('predicted', partial(_show, colours[found])),
                ('wrong pixels', partial(_show, _differences(shown, truth, found))),
            ]
        legend = {short(self.classes[label]): _patch(colours[label]) for label in order[:LEGEND]}
        legend |= {'not annotated': _patch(colours[-1]), 'wrong': _patch(_WRONG)}
        height, width = worst[0][1][1].shape
        path = folder / 'wrong_pixels.png'
        return [draw_sheet(path, tiles, 4, legend, min(height / width, 1.0))]

    def _colours(self, occurring: Sequence[int]) -> np.ndarray:
        """RGB of each class and, at the end, of what is not annotated.

        Those that all can tell apart, if there are enough for the classes that occur; or else
        those of the data set.
        """
        number = len(self.classes)
        colours = np.full((number + 1, 3), 255, dtype=np.uint8)
        palette = self.dataset.metainfo.get('palette')
        if len(occurring) <= len(COLOURS):
            colours[occurring] = [_rgb(colour) for colour in COLOURS[: len(occurring)]]
        elif palette:
            colours[:-1] = palette[:number]
        else:
            import matplotlib

            colours[:-1] = 255 * matplotlib.colormaps['turbo'](np.linspace(0, 1, number))[:, :3]
        return colours


def _rgb(colour: str) -> tuple[int, ...]:
    return tuple(bytes.fromhex(colour.lstrip('#')))


# No class has it, and on grey everybody sees it.
_WRONG = np.array((255, 0, 255), dtype=np.uint8)


def _differences(image: np.ndarray, truth: np.ndarray, found: np.ndarray) -> np.ndarray:
    """The image in grey with the wrong pixels coloured."""
    grey = np.repeat(image.mean(2, keepdims=True), 3, axis=2).astype(np.uint8)
    grey[(truth >= 0) & (truth != found)] = _WRONG
    return grey


def _show(image: np.ndarray, ax: Any) -> None:
    ax.imshow(image, interpolation='nearest')


def _patch(colour: np.ndarray) -> Any:
    from matplotlib.patches import Patch

    return Patch(facecolor=colour / 255, edgecolor='black', linewidth=0.5)
