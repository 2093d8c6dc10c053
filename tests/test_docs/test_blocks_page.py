"""docs/blocks.md shows every position of every backbone, as the code computes it today."""

import pytest

from mmattn.registry import MODELS


@pytest.fixture(scope='module')
def page(load_script, project_root):
    """The module docs/blocks_page.py."""
    pytest.importorskip('mmpretrain')
    pytest.importorskip('matplotlib')
    return load_script(project_root, 'blocks_page')


@pytest.fixture(scope='module')
def found(page):
    return page.blocks()


def test_the_page_is_up_to_date(page, found):
    assert page.PAGE.read_text(encoding='utf-8') == page.render(found), (
        'run: python docs/blocks_page.py'
    )


def test_every_backbone_and_every_position_is_there(found):
    assert {name for _, names in found.values() for name in names} == set(
        MODELS.names_in('mmattn.backbones')
    )
    for kind, (chain, _) in found.items():
        slots = [one for one in chain if one.kind == 'slot']
        assert {one.label for one in slots} == set(kind.positions)
        defaults = [placement for one in slots for placement in one.default_of]
        assert sorted(defaults) == ['before_norm', 'inner', 'outer']


def test_a_block_is_drawn_as_it_computes(found):
    chain = next(chain for kind, (chain, _) in found.items() if kind.__name__ == 'BasicBlock')
    assert [one.label for one in chain] == [
        *('input', '3x3 conv', 'BatchNorm', 'ReLU', 'after_conv1', '3x3 conv', 'before_norm2'),
        *('BatchNorm', 'after_conv2', '+', 'ReLU'),
    ]
    assert chain[9].sources == (8, 0)
