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
    root = ElementTree.Element('annotation')
    ElementTree.SubElement(root, 'filename').text = filename
    height, width = scene.labels.shape
    _fields(root, 'size', width=width, height=height, depth=3)
    for item in scene.objects:
        node = ElementTree.SubElement(root, 'object')
        ElementTree.SubElement(node, 'name').text = names[item.category]
        ElementTree.SubElement(node, 'difficult').text = '0'
        x1, y1, x2, y2 = item.box
        # From 0-based continuous to 1-based inclusive pixels.
        _fields(
            node,
            'bndbox',
            xmin=int(x1) + 1,
            ymin=int(y1) + 1,
            xmax=min(int(x2) + 1, width),
            ymax=min(int(y2) + 1, height),
        )
    ElementTree.indent(root)
    return ElementTree.ElementTree(root)


def _fields(parent: ElementTree.Element, tag: str, **values: int) -> None:
    node = ElementTree.SubElement(parent, tag)
    for name, value in values.items():
        ElementTree.SubElement(node, name).text = str(value)


DEMO = DemoFormat('detection', ('XMLDataset', 'VOCDataset'), write)
