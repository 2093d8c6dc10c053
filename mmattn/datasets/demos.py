"""How ``--demo`` writes data sets: what every on-disk format has in common."""

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from mmattn.datasets.boxes import Box, Record
from mmattn.datasets.coco_json import write_json
from mmattn.datasets.converters import Converter
from mmattn.datasets.folders import members
from mmattn.datasets.layouts import nearest
from mmattn.datasets.scenes import Scene, SceneStyle, draw_scene, scene_rng
from mmattn.utils.errors import InvalidValue


@dataclass(frozen=True)
class DemoSplit:
    """The images of one split to generate."""

    key: str  # names the split; those with different keys get different pictures
    images: int
    size: tuple[int, int]  # width and height in pixels
    style: SceneStyle
    seed: int  # of the whole demo
    advance: Callable[[], None]  # called once an image is done

    def scenes(self, cycle: bool = False) -> Iterator[Scene]:
        """Yield the scenes; with cycle, each has one category, and they take turns."""
        categories = itertools.cycle(range(self.style.categories) if cycle else [None])
        return self.pictures(lambda *place: draw_scene(*place, self.style, next(categories)))

    def pictures(
        self, draw: Callable[[np.random.Generator, tuple[int, int]], Scene]
    ) -> Iterator[Scene]:
        """Yield what ``draw`` makes of each image's random numbers and size."""
        for index in range(self.images):
            yield draw(scene_rng(self.seed, self.key, index), self.size)
            self.advance()


@dataclass(frozen=True)
class DemoFormat:
    """An on-disk format that can be generated."""

    task: str  # 'detection', 'segmentation' or 'classification'
    readers: tuple[str, ...]  # names of the dataset classes that read it; their subclasses do too
    # Takes the dataset, built but not loaded, whose paths say where the files belong.
    write: Callable[[Any, DemoSplit], None]
    # Where the config must change to read generated files: takes the dataset, its config, which
    # it edits, and the number of generated categories; returns notes.
    adapt: Callable[[Any, dict, int], list[str]] | None = None
    size: tuple[int, int] | None = None  # width and height where the format fixes them


def supported_datasets() -> list[str]:
    """Names of the dataset classes for which data can be generated; their subclasses work too."""
    return sorted({name for form in members('demo').values() for name in form.readers})


def find_format(reader: type) -> DemoFormat:
    """The format that a dataset class reads; raises InvalidValue if none is known."""
    found = nearest(members('demo').values(), reader)
    if found is None:
        raise InvalidValue(
            f'--demo cannot generate data for the dataset type {reader.__name__}; '
            f'supported are {", ".join(supported_datasets())} and their subclasses '
            'that read the same files'
        )
    return found


def class_names(dataset: Any) -> list[str]:
    """The class names of a dataset; raises InvalidValue if it has none."""
    names = dataset.metainfo.get('classes')
    if not names:
        raise InvalidValue(
            f'the dataset {type(dataset).__name__} has no class names; '
            'give it metainfo=dict(classes=(...))'
        )
    return list(names)


def save_image(scene: Scene, path: Path) -> None:
    """Write the picture in the format that the suffix tells."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(scene.image).save(path, quality=92)


def save_scene(scene: Scene, folder: Path, name: str, names: Sequence[str]) -> Record:
    """Write the picture, and give what is to be annotated in it; names are those of classes."""
    save_image(scene, folder / name)
    height, width = scene.labels.shape
    boxes = [Box(names[item.category], item.box) for item in scene.objects]
    return Record(name, name, width, height, boxes)


def convert_split(converter: Converter, split: str, dataset: Any) -> None:
    """Write dataset.ann_file out of a split in its own format, as the converter's command does."""
    results, _, _ = converter.to_coco([split], class_names(dataset))
    write_json(results[split], Path(dataset.ann_file))
