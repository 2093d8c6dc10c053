"""What every on-disk format has in common."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from mmattn.datasets.converters import Source, convert, write_json

from ..scenes import Scene, SceneStyle, draw_scene, scene_rng


@dataclass(frozen=True)
class Part:
    """One data set part to generate, such as the training images.

    Args:
        key: names the part; parts with different keys get different pictures.
        images: number of images.
        size: width and height in pixels.
        style: the look of the scenes.
        seed: seed of the whole demo.
        advance: called once an image is done.
    """

    key: str
    images: int
    size: tuple[int, int]
    style: SceneStyle
    seed: int
    advance: Callable[[], None]

    def scenes(self, cycle: bool = False) -> Iterator[Scene]:
        """Yields the scenes; with cycle, each has one category, and they take turns."""
        for index in range(self.images):
            category = index % self.style.categories if cycle else None
            rng = scene_rng(self.seed, self.key, index)
            yield draw_scene(rng, self.size, self.style, category)
            self.advance()


@dataclass(frozen=True)
class Format:
    """An on-disk format.

    Args:
        task: 'detection', 'segmentation' or 'classification'.
        datasets: names of the dataset types that read it.
        write: called with the dataset, built but not loaded, whose paths say where the files
            belong, and the Part to write.
        adapt: called with the dataset, its config, which it edits, and the number of generated
            categories, where the config must change to read generated files; returns notes.
        size: width and height of the images where the format fixes them.
    """

    task: str
    datasets: tuple[str, ...]
    write: Callable[[object, Part], None]
    adapt: Callable[[object, dict, int], list[str]] | None = None
    size: tuple[int, int] | None = None


def class_names(dataset: object) -> list[str]:
    """The dataset's class names.

    Raises:
        ValueError: it has none.
    """
    names = dataset.metainfo.get('classes')
    if not names:
        raise ValueError(
            f'the dataset {type(dataset).__name__} has no class names; '
            'give it metainfo=dict(classes=(...))'
        )
    return list(names)


def save_image(scene: Scene, path: Path) -> None:
    """Writes the picture in the format that the suffix tells."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(scene.image).save(path, quality=92)


def convert_split(source: Source, split: str, dataset: object) -> None:
    """Writes dataset.ann_file out of a split in its own format, as the converter's command does."""
    results, _, _ = convert(source, [split], class_names(dataset))
    write_json(results[split], Path(dataset.ann_file))
