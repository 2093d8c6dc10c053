"""ImageNet: one folder a class, or a text file of image names and labels."""

from pathlib import Path
from typing import Any

from mmattn.datasets.demos import DemoFormat, DemoSplit, save_image


def write(dataset: Any, demo: DemoSplit) -> None:
    """Write the images, and the list of names and labels where the config names one."""
    folder = Path(dataset.img_prefix or dataset.data_root)
    categories = demo.style.categories
    lines = []
    for index, scene in enumerate(demo.scenes(cycle=True)):
        label = index % categories
        name = f'{index:05d}.jpg'
        if dataset.with_label:
            name = f'n{label:08d}/{name}'
        save_image(scene, folder / name)
        lines.append(f'{name} {label}' if dataset.with_label else name)
    if dataset.ann_file:
        Path(dataset.ann_file).write_text('\n'.join(lines) + '\n')


def adapt(dataset: Any, cfg: dict, categories: int) -> list[str]:
    """Restrict the classes to the generated ones where folders stand for classes.

    Without a list the dataset insists on one folder for each of its classes. The generated ones
    come first, so that labels stay those of the full list.
    """
    names = dataset.CLASSES
    if not dataset.ann_file and names is not None and len(names) > categories:
        cfg.pop('classes', None)
        cfg['metainfo'] = {**(cfg.get('metainfo') or {}), 'classes': tuple(names[:categories])}
    return []


DEMO = DemoFormat('classification', ('CustomDataset', 'ImageNet', 'ImageNet21k'), write, adapt)
