"""Converters and the VOC reader on files that hypothesis makes up: refused or counted."""

import shutil
import sys
from argparse import Namespace
from pathlib import Path

import pytest

pytest.importorskip('hypothesis')

from hypothesis import HealthCheck, Phase, given, settings

from mmattn.datasets import VOCDataset
from mmattn.datasets.command import convert_data_set
from mmattn.datasets.converters import Converter
from mmattn.utils.errors import UserError

sys.path.insert(0, str(Path(__file__).parent))
from malformed import TREES, voc

sys.path.pop(0)

EXAMPLES = [60, pytest.param(300, marks=pytest.mark.slow)]


def check_all(trees, number, check):
    """Check as many trees, the same ones every time."""
    options = dict(max_examples=number, derandomize=True, deadline=None, database=None)
    # Shrinking takes minutes; what fails is printed.
    options['phases'] = [Phase.generate]
    checks = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.large_base_example]
    settings(**options, suppress_health_check=checks)(given(trees)(check))()


def write(root, files):
    shutil.rmtree(root, ignore_errors=True)
    for name, data in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return root


class Opened:
    """Paths that are opened while it is entered; hooks of the interpreter stay for ever."""

    def __init__(self):
        self.paths = None
        sys.addaudithook(self)

    def __call__(self, event, args):
        if self.paths is not None and event in ('open', 'os.mkdir', 'os.rename', 'os.remove'):
            self.paths += [arg for arg in args[:1] if isinstance(arg, (str, Path))]

    def __enter__(self):
        self.paths = []
        return self

    def __exit__(self, *_):
        self.seen, self.paths = self.paths, None


@pytest.fixture(scope='module')
def opened():
    return Opened()


def outside(paths, root):
    """What was opened below neither the root nor the interpreter's own folders."""
    own = (root, Path(sys.prefix), Path(sys.base_prefix), Path(__file__).parents[2] / 'mmattn')
    resolved = [Path(path).resolve() for path in paths]
    return [path for path in resolved if not any(path.is_relative_to(each) for each in own)]


@pytest.mark.parametrize('number', EXAMPLES)
@pytest.mark.parametrize('name', TREES)
def test_converters_refuse_or_count(name, number, tmp_path, monkeypatch, opened):
    tallies, outcomes = [], []
    convert = Converter.to_coco

    def spy(*args):
        result = convert(*args)
        tallies.append(result[1])
        return result

    monkeypatch.setattr(Converter, 'to_coco', spy)

    def check(tree):
        files, expected = tree
        root = write(tmp_path / 'tree', files)
        args = Namespace(root=root, splits=[], classes=[], out_dir=None, check=None, force=False)
        try:
            with opened:
                convert_data_set(name, args, {})
        except UserError as error:
            outcomes.append('refused')
            assert str(error)
        else:
            outcomes.append('converted')
            (tally,) = tallies.pop().values()
            images, boxes = expected or (None, None)
            assert images in (None, tally.images_read)
            assert boxes in (None, tally.boxes_read)
            assert tally.images + tally.dropped_images.total() == tally.images_read
            assert tally.boxes.total() + tally.dropped_boxes.total() == tally.boxes_read
        assert outside(opened.seen, tmp_path) == []
        assert {path.name for path in tmp_path.iterdir()} == {'tree'}

    check_all(TREES[name], number, check)
    assert outcomes.count('converted') > number / 20
    assert outcomes.count('refused') > number / 20


@pytest.mark.parametrize('number', EXAMPLES)
def test_voc_reader_refuses_or_counts(number, tmp_path, opened):
    outcomes = []

    def check(tree):
        files, expected = tree
        root = write(tmp_path / 'tree', files)
        split = 'ImageSets/Main/train.txt'
        try:
            with opened:
                data = VOCDataset(
                    data_root=str(root),
                    ann_file=split if split in files else '',
                    metainfo=dict(classes=('cat', 'dog')),
                )
                data.full_init()
        except UserError as error:
            outcomes.append('refused')
            assert str(error)
        else:
            outcomes.append('read')
            if expected:
                assert (data.tally.images_read, data.tally.boxes_read) == expected
            assert len(data) == data.tally.images
            kept = sum(len(data.get_data_info(i)['instances']) for i in range(len(data)))
            assert kept + data.tally.dropped_boxes.total() == data.tally.boxes_read
        assert outside(opened.seen, tmp_path) == []

    check_all(voc(), number, check)
    assert outcomes.count('read') > number / 10
    assert outcomes.count('refused') > number / 20
