"""Which images are looked at: those of a config's data set, or files."""

import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.registry import DATASETS

from mmattn.utils.errors import UserError

ENDINGS = ('.png', '.jpg', '.jpeg', '.bmp', '.tif', '.tiff', '.webp', '.ppm')


def files_of(path: str) -> list[dict[str, Any]]:
    """Records, as a pipeline takes them, of an image or of all images in a folder.

    Raises:
        UserError: If there is none.
    """
    given = Path(path).expanduser()
    if given.is_dir():
        files = sorted(file for file in given.iterdir() if file.suffix.lower() in ENDINGS)
        if not files:
            raise UserError(f'{path!r} holds no image ({", ".join(ENDINGS)}).')
    elif given.is_file():
        files = [given]
    else:
        raise UserError(f'image {path!r} does not exist.')
    return [dict(img_path=str(file), img_id=index) for index, file in enumerate(files)]


def records_of(cfg: Config, split: str, count: int, seed: int) -> list[dict[str, Any]]:
    """Records of ``count`` images of a data set, drawn by a seed, in the data set's order.

    Args:
        cfg: Prepared; its data is there.
        split: 'val' or 'test'.
        count: All if there are fewer.
    """
    described = dict(cfg[f'{split}_dataloader'].dataset)
    dataset = DATASETS.build(described)
    indices: Sequence[int] = range(len(dataset))
    if count < len(dataset):
        indices = sorted(random.Random(seed).sample(indices, count))
    return [dataset.get_data_info(index) for index in indices]
