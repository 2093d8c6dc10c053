"""docs/attention.md is what its script writes today."""

import pytest

from mmattn import __main__ as cli
from mmattn.attention import SE
from mmattn.attention.names import attention_names


@pytest.fixture(scope='module')
def page(load_script, project_root):
    """The module docs/attention_page.py."""
    return load_script(project_root, 'attention_page')


def test_the_page_is_up_to_date(page):
    assert page.PAGE.read_text(encoding='utf-8') == page.render(), (
        'run: python docs/attention_page.py'
    )


def test_the_page_has_every_attention_with_all_its_arguments(page):
    text = page.render()
    for name in attention_names():
        section = text.split(f'## {name}\n')[1].split('\n## ')[0]
        assert all(part in section for part in ('```text', 'Paper: ', 'Deviations'))
    assert '`reduction=16`' in text and '`dct_size` is 56, 28, 14, 7 by stage' in text


def test_complexity_counts_the_two_layers_of_se(page):
    # The mean over 256 x 56 x 56, a relu, a sigmoid and the product with the map.
    others = 2 * 256 * 56 * 56 + 16 + 256
    assert page.complexity(SE) == (2 * 256 * 16, 2 * 256 * 16, others)


def test_the_command_prints_a_table(capsys):
    assert cli.main(['attention']) == 0
    out = capsys.readouterr().out
    assert all(name in out for name in attention_names())
