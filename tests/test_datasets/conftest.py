"""Small hand-written VOC trees, and the converters' command lines."""

import runpy
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from PIL import Image

OBJECT = '<object><name>{name}</name>{extra}<bndbox>{corners}</bndbox></object>'
CORNERS = ('xmin', 'ymin', 'xmax', 'ymax')


def voc_object(name, corners, extra='<difficult>0</difficult>'):
    """An <object>; a corner that is None is left out."""
    tags = zip(CORNERS, corners, strict=True)
    text = ''.join(f'<{tag}>{value}</{tag}>' for tag, value in tags if value is not None)
    return OBJECT.format(name=name, corners=text, extra=extra)


def voc_xml(objects=(), size=(100, 80), filename=None):
    head = '' if filename is None else f'<filename>{filename}</filename>'
    if size is not None:
        head += f'<size><width>{size[0]}</width><height>{size[1]}</height><depth>3</depth></size>'
    return f'<annotation>{head}{"".join(objects)}</annotation>'


def write_tree(root, files, splits=None, suffix='.jpg', size=(100, 80)):
    """Write JPEGImages and Annotations of {name: xml text}, and ImageSets/Main of {split: names}.

    Returns:
        The root as a Path.
    """
    root = Path(root)
    (root / 'Annotations').mkdir(parents=True)
    (root / 'JPEGImages').mkdir()
    for index, (name, xml) in enumerate(files.items()):
        (root / 'Annotations' / f'{name}.xml').write_text(xml, encoding='utf-8')
        image = Image.new('RGB', size, (40 * index % 256, 90, 120))
        image.save(root / 'JPEGImages' / f'{name}{suffix}')
    for split, names in (splits or {}).items():
        folder = root / 'ImageSets' / 'Main'
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f'{split}.txt').write_text('\n'.join(names) + '\n')
    return root


@pytest.fixture
def voc_tree():
    """Functions that write a tree: object, xml, write."""
    return SimpleNamespace(object=voc_object, xml=voc_xml, write=write_tree)


@pytest.fixture
def run_converter(project_root, monkeypatch):
    """Runs tools/dataset_converters/NAME.py in this process; gives its exit status.

    Skips without tools/.
    """
    folder = project_root / 'tools' / 'dataset_converters'
    if not folder.is_dir():
        pytest.skip('tools/ is not beside the tests')

    def run(name, *args):
        tool = folder / f'{name}.py'
        monkeypatch.setattr(sys, 'argv', [str(tool), *map(str, args)])
        # As for a script, which the wrappers rely on.
        monkeypatch.syspath_prepend(folder)
        with pytest.raises(SystemExit) as end:
            runpy.run_path(str(tool), run_name='__main__')
        return end.value.code

    return run
