"""docs/blocks.md shows every position of every backbone, as the code computes it today."""

import runpy
import sys

import pytest

from mmattn.registry import MODELS


@pytest.fixture(scope='module')
def page(project_root):
    """What docs/blocks_page.py defines."""
    script = project_root / 'docs' / 'blocks_page.py'
    if not script.is_file():
        pytest.skip('docs/ is in the checkout only, not in the wheel')
    pytest.importorskip('mmpretrain')
    pytest.importorskip('matplotlib')
    before = sys.path[:]
    names = runpy.run_path(str(script))
    sys.path[:] = before
    return names


@pytest.fixture(scope='module')
def found(page):
    return page['blocks']()


def test_the_page_is_up_to_date(page, found):
    assert page['PAGE'].read_text(encoding='utf-8') == page['render'](found), (
        'run: python docs/blocks_page.py'
    )


def test_every_backbone_and_every_position_is_there(page, found):
    assert {name for _, names in found.values() for name in names} == set(
        MODELS.names_in('mmattn.backbones')
    )
    for kind, (block, _) in found.items():
        slots = [one.label for one in page['steps'](block) if one.kind == 'slot']
        assert {label.split('\n')[0] for label in slots} == set(kind.positions)
        defaults = [word for label in slots for word in label.split('\n')[1:]]
        assert sorted(', '.join(defaults).split(', ')) == ['before_norm', 'inner', 'outer']


def test_a_block_is_drawn_as_it_computes(page, found):
    block = next(block for kind, (block, _) in found.items() if kind.__name__ == 'BasicBlock')
    chain = page['steps'](block)
    assert [one.label.split('\n')[0] for one in chain] == [
        *('input', '3x3 conv', 'BatchNorm', 'ReLU', 'after_conv1', '3x3 conv', 'before_norm2'),
        *('BatchNorm', 'after_conv2', '+', 'ReLU'),
    ]
    assert chain[9].sources == (8, 0)
