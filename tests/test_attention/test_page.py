"""docs/attention.md is what the command writes today."""

import pytest

from mmattn import __main__ as cli
from mmattn import attention_page
from mmattn.attention import SE
from mmattn.attention.names import attention_names


def test_the_page_is_up_to_date(project_root):
    page = project_root / 'docs' / 'attention.md'
    if not page.is_file():
        pytest.skip('docs/ is in the checkout only, not in the wheel')
    assert page.read_text(encoding='utf-8') == attention_page.render(), (
        'run: python -m mmattn attention --write docs/attention.md'
    )


def test_the_page_has_every_attention_with_all_its_arguments():
    text = attention_page.render()
    for name in attention_names():
        section = text.split(f'## {name}\n')[1].split('\n## ')[0]
        assert all(part in section for part in ('```text', 'Paper: ', 'Deviations'))
    assert '`reduction=16`' in text and '`dct_size` is 56, 28, 14, 7 by stage' in text


def test_complexity_counts_the_two_layers_of_se():
    assert attention_page.complexity(SE) == (2 * 256 * 16, 2 * 256 * 16)


def test_the_command_prints_a_table(capsys):
    assert cli.main(['attention']) == 0
    out = capsys.readouterr().out
    assert all(name in out for name in attention_names())
