"""Pascal VOC: one xml an image, a text file of image names, 1-based inclusive coordinates."""

import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import Any

from mmattn.datasets.demos import DemoFormat, DemoSplit, class_names, save_image
from mmattn.datasets.scenes import Scene


def write(dataset: Any, demo: DemoSplit) -> None:
    """Write dataset.ann_file, and images and xml files below sub_data_root."""
    names = class_names(dataset)
    root = Path(dataset.sub_data_root)
    target = Path(dataset.ann_file)
    target.parent.mkdir(parents=True, exist_ok=True)
    ids = []
    for index, scene in enumerate(demo.scenes()):
        # All splits share the folders, so that the split is part of the name.
        ids.append(f'{target.stem}_{index:06d}')
        image = root / dataset.img_subdir / f'{ids[-1]}.jpg'
        save_image(scene, image)
        xml = root / dataset.ann_subdir / f'{ids[-1]}.xml'
        xml.parent.mkdir(parents=True, exist_ok=True)
        _annotation(scene, image.name, names).write(xml)
    target.write_text('\n'.join(ids) + '\n')


def _annotation(scene: Scene, filename: str, names: list[str]) -> ElementTree.ElementTree:
    height, width = scene.labels.shape
    root = ElementTree.Element('annotation')
    _add(root, 'filename', filename)
    _add(root, 'size', dict(width=width, height=height, depth=3))
    for item in scene.objects:
        x1, y1, x2, y2 = (int(value) + 1 for value in item.box)
        # From 0-based continuous to 1-based inclusive pixels.
        box = dict(xmin=x1, ymin=y1, xmax=min(x2, width), ymax=min(y2, height))
        _add(root, 'object', dict(name=names[item.category], difficult=0, bndbox=box))
    ElementTree.indent(root)
    return ElementTree.ElementTree(root)


def _add(parent: ElementTree.Element, tag: str, content: object) -> None:
    node = ElementTree.SubElement(parent, tag)
    if isinstance(content, dict):
        for name, value in content.items():
            _add(node, name, value)
    else:
        node.text = str(content)


DEMO = DemoFormat('detection', ('XMLDataset', 'VOCDataset'), write)
