"""What docs/generate writes: nothing of the product is left out, and what is drawn is right."""

import re
from importlib import import_module

import pytest

import mmattn
from mmattn.attention import BAM, CBAM, SE
from mmattn.attention.names import attention_names, find_attention
from mmattn.datasets.guides import guides
from mmattn.doctor.mismatches import RULES
from mmattn.engine.config import shipped_configs
from mmattn.experiments import find_experiments
from mmattn.registry import MODELS


@pytest.fixture(scope='module')
def part(generate):
    """NAME -> the module generate.NAME."""
    return lambda name: import_module(f'{generate.__name__}.{name}')


@pytest.fixture(scope='module')
def found(part):
    return part('blocks').blocks()


@pytest.mark.parametrize('name', attention_names())
def test_an_attention_has_a_page_with_all_its_arguments(name, part):
    text = part('attention').page(name)
    assert text.startswith(f'# {name}\n')
    for words in ('```{math}', '<svg class="flow"', ':Paper: ', ':Deviations: ', '## Speed'):
        assert words in text
    assert f"type='{name}'" in text and 'class="here"' in text
    # The formula has become one: nothing of the terminal's notation is left.
    formula = text.split('```{math}\n')[1].split('\n```')[0]
    assert '*' not in formula and '&' in formula


@pytest.mark.parametrize('name', attention_names())
def test_what_an_attention_computes_begins_with_x_and_ends_with_a_map(name, part):
    cls = find_attention(name)
    steps = part('flow').record(cls(256, **cls.slot_defaults(1)).eval())
    assert (steps[0].lines, steps[0].shape) == (['x'], 'C × H × W')
    assert steps[-1].shape == 'C × H × W'
    # Every box is taken from, and takes from one before it.
    taken = {source for step in steps for source in step.sources}
    assert taken == set(range(len(steps) - 1))
    assert all(source < i for i, step in enumerate(steps) for source in step.sources)


def test_steps_of_se_and_cbam(part):
    record = part('flow').record
    chain = ['mean over H, W', 'Linear', 'ReLU', 'Linear', 'sigmoid']
    steps = [(step.lines, step.sources, step.shape) for step in record(SE(256).eval())]
    whole = 'C × H × W'
    assert steps == [(['x'], [], whole), (chain, [0], 'C'), (['×'], [0, 1], whole)]
    labels = [line for step in record(CBAM(256).eval()) for line in step.lines]
    assert labels.count('×') == 2 and 'conv 7×7' in labels and 'max over C' in labels


def test_a_chain_is_one_box_and_a_branch_is_not(part):
    lines = [step.lines for step in part('flow').record(BAM(256).eval())]
    assert lines[1][:3] == ['mean over H, W', 'conv 1×1', 'BatchNorm']
    assert 'conv 3×3, dilation 4' in lines[2]
    assert lines[3:] == [['×', 'sigmoid', '+ 1'], ['×']]


@pytest.mark.parametrize(
    ('text', 'latex'),
    [
        (
            'y = x * sigmoid(W2 relu(W1 mean_hw(x)))',
            r'y &= x \odot \sigma ( W_{2} \, \mathrm{relu} ( W_{1} \, \mathrm{mean}_{hw} ( x ) ) )',
        ),
        ('e = alpha * sqrt(q k^T + eps)', r'\alpha \cdot \sqrt { q \, k^{\top} + \varepsilon }'),
        ('d + sum over k in 7, 11 of dw_kx1(d)', r'\sum_{k \in 7, 11} \, \mathrm{dw}_{k \times 1}'),
        ('(z - mean_hw(z)) / (v + 1e-5)', r'v + 10^{-5} )'),
        ('a frequency per group of channels', r'\text{a frequency per group of channels}'),
    ],
)
def test_a_formula_in_latex(text, latex, part):
    written = part('formula').to_latex(text)
    assert latex in re.sub(r' +', ' ', written)


def test_every_formula_is_understood(part, load_script, project_root):
    pytest.importorskip('docutils')
    to_mathml = load_script(project_root, 'mathml').to_mathml
    for name in attention_names():
        formula = part('attention').part(find_attention(name), 'Formula')
        assert to_mathml(part('formula').to_latex(formula), block=True).startswith('<math')


def test_complexity_counts_the_two_layers_of_se(part):
    # The mean over 256 x 56 x 56, a relu, a sigmoid and the product with the map.
    others = 2 * 256 * 56 * 56 + 16 + 256
    assert part('attention').complexity(SE) == (2 * 256 * 16, 2 * 256 * 16, others)


def test_a_changed_docstring_shows(part, monkeypatch):
    monkeypatch.setattr(SE, '__doc__', SE.__doc__.replace('Channel gate', 'Something else'))
    assert part('attention').page('SE').split('\n')[2].startswith('Something else')


def test_every_backbone_and_every_position_is_drawn(found, part):
    assert {name for _, names in found.values() for name in names} == set(
        MODELS.names_in('mmattn.backbones')
    )
    for kind, (chain, _) in found.items():
        slots = [one for one in chain if one.kind == 'slot']
        assert {one.label for one in slots} == set(kind.positions)
        defaults = [placement for one in slots for placement in one.default_of]
        assert sorted(defaults) == ['before_norm', 'inner', 'outer']
        svg = part('blocks').drawing(kind, chain)
        assert all(f'>{position}<' in svg for position in kind.positions)


def test_a_block_is_drawn_as_it_computes(found):
    chain = next(chain for kind, (chain, _) in found.items() if kind.__name__ == 'BasicBlock')
    assert [one.label for one in chain] == [
        *('input', 'conv 3×3', 'BatchNorm', 'ReLU', 'after_conv1', 'conv 3×3', 'before_norm2'),
        *('BatchNorm', 'after_conv2', '+', 'ReLU'),
    ]
    assert chain[9].sources == (8, 0)


def test_the_zoo_has_every_config_and_every_row(part):
    text = part('zoo').pages()['zoo.md']
    rows = [line for line in text.split('\n') if line.startswith('| `')]
    for config in shipped_configs():
        assert any(f'`{config}`' in row and f'`configs/{config}.py' in row for row in rows), config
    for experiment in find_experiments():
        name = f'| {experiment.table}: {experiment.row} |'
        assert any(name in row and f'`{experiment.config}`' in row for row in rows), name


def test_every_data_set_and_every_rule_of_the_doctor_has_its_words(part):
    data = part('data').pages()['data.md']
    assert all(f'## {guide.title}' in data and guide.source in data for guide in guides().values())
    assert set(part('troubleshooting').examples()) == {rule.__name__ for rule in RULES}
    assert 'overwrite each other as cv2' in part('troubleshooting').pages()['troubleshooting.md']


def test_the_api_reference_has_every_public_name(part):
    pages = part('api').pages()
    shown = set(re.findall(r'automodule:: (\S+)', ''.join(pages.values())))
    names = [*attention_names(), *MODELS.names_in('mmattn.backbones')]
    for public in (mmattn.insert_attention, *map(MODELS.get, names)):
        assert public.__module__ in shown, public


def test_docstrings_become_restructured_text(part):
    lines = ['One.', '', 'Formula:', '    y = |x| * w', '', 'Why |x|:', '- a', '- b ``|c|``']
    part('api').docstring(None, 'class', 'X', None, None, lines)
    assert lines == [
        *('One.', '', 'Formula:', '    ::', '', '        y = |x| * w', '    '),
        *(r'Why \|x\|:', '', '- a', '- b ``|c|``'),
    ]
