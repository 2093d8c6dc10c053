"""Every code block of the pages is executed, or checked; every link leads somewhere."""

import ast
import posixpath
import re
import sys
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch
from mmengine import registry
from mmengine.registry import MODELS as ROOT_MODELS
from mmengine.registry import DefaultScope, Registry

from mmattn.attention.names import attention_names
from mmattn.engine.prepare import prepare
from mmattn.utils.errors import UserError
from tests.test_docs import command_lines, pages

ROOT = Path(__file__).resolve().parents[2]
IN_CHECKOUT = (ROOT / 'docs').is_dir()
PAGES = pages.pages(ROOT) if IN_CHECKOUT else []
BLOCKS = [block for page in PAGES for block in pages.blocks(page, (ROOT / page).read_text('utf-8'))]
LANGUAGES = ('python', 'bash', 'text')
# What stands on several pages runs once.
PYTHON = [*{block.text: block for block in BLOCKS if block.language == 'python'}.values()]
SHELL = [block for block in BLOCKS if block.language == 'bash']
# Written while the site is built, and checked by it then.
GENERATED = re.compile(
    r'docs/reference/((attention/index|zoo|data|troubleshooting|blocks)\.md'
    r'|attention/(?P<attention>[a-z0-9_]+)\.md|api/(index|(?P<module>[\w.]+))\.md)'
)
# Packages that a block may need, and not every environment has.
EXTRA = ('timm',)

pytestmark = pytest.mark.skipif(not IN_CHECKOUT, reason='the pages are in the checkout only')


@cache
def read(page: str) -> str:
    return (ROOT / page).read_text('utf-8')


@cache
def anchors(page: str) -> set[str]:
    return pages.anchors(read(page))


def own_files(page: str) -> frozenset[str]:
    """Names of files that a page tells its reader to write."""
    return frozenset(re.findall(r'(?:`|^# )(\w+\.py)\b', read(page), re.MULTILINE))


def is_config(text: str) -> bool:
    """Whether Python is a config: it sets ``_base_`` or ``custom_imports``."""
    names = {
        target.id
        for statement in ast.parse(text).body
        if isinstance(statement, ast.Assign)
        for target in statement.targets
        if isinstance(target, ast.Name)
    }
    return bool(names & {'_base_', 'custom_imports'})


@pytest.fixture
def registries(tmp_path):
    """What a block registers is gone behind it; what is imported for it stays."""
    roots = [each for each in vars(registry).values() if isinstance(each, Registry)]
    yield
    files = {path.stem for path in tmp_path.glob('*.py')}
    for each in [*with_children(roots)]:
        for name, cls in [*each._module_dict.items()]:
            if getattr(cls, '__module__', None) in {'__main__', *files}:
                del each._module_dict[name]


def with_children(registries):
    for each in registries:
        yield each
        yield from with_children(each.children.values())


@pytest.fixture
def folder(tmp_path, monkeypatch, registries):
    """An empty folder to run in; modules in it can be imported, and are forgotten."""
    before = set(sys.modules)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, 'path', [str(tmp_path), *sys.path])
    yield tmp_path
    for name in set(sys.modules) - before:
        if str(getattr(sys.modules[name], '__file__', '')).startswith(str(tmp_path)):
            del sys.modules[name]


def test_there_are_blocks_of_known_languages():
    assert len(PYTHON) > 5 and len(SHELL) > 5
    unknown = {str(block): block.language for block in BLOCKS if block.language not in LANGUAGES}
    assert not unknown, f'a tree or a log is a ```text fence: {unknown}'


@pytest.mark.parametrize('block', PYTHON, ids=str)
def test_python_runs(block, folder):
    for other in PYTHON:
        if other.page == block.page and other.file:
            (folder / other.file).write_text(other.text)
    try:
        if is_config(block.text):
            build(folder, block.file or 'config.py', block.text)
        else:
            exec(compile(block.text, str(block), 'exec'), {'__name__': '__main__'})
    except ImportError as error:
        missing = [name for name in EXTRA if find_spec(name) is None and name in str(error)]
        if not missing:
            raise
        pytest.skip(f'needs {missing[0]}')


def build(folder: Path, name: str, text: str) -> None:
    """Prepare a config, and build its model without memory for its weights."""
    (folder / name).write_text(text)
    cfg, _ = prepare(str(folder / name))
    if not cfg.get('model'):
        return
    with DefaultScope.overwrite_default_scope(cfg.get('default_scope')):
        try:
            with torch.device('meta'):
                ROOT_MODELS.build(cfg.model)
        except (NotImplementedError, RuntimeError) as error:
            if 'meta' not in str(error).lower():
                raise
            ROOT_MODELS.build(cfg.model)  # it reads numbers off a tensor


@pytest.mark.parametrize('block', SHELL, ids=str)
def test_commands_exist_and_take_their_options(block):
    checker = command_lines.Checker(ROOT, own_files(block.page))
    lines = pages.commands(block.text)
    assert lines
    for words in lines:
        try:
            checker.check(words)
        except command_lines.Wrong as error:
            pytest.fail(f'{block}: {" ".join(words)}\n{error}')


@pytest.mark.parametrize('page', PAGES)
def test_commands_within_sentences_exist(page):
    checker = command_lines.Checker(ROOT, own_files(page), whole=False)
    for code in pages.inline_commands(read(page)):
        for words in pages.commands(code):
            try:
                checker.check(words)
            except command_lines.Wrong as error:
                pytest.fail(f'{page}: `{code}`\n{error}')


@pytest.mark.parametrize('page', PAGES)
def test_links_lead_somewhere(page):
    wrong = [target for target in pages.links(read(page)) if not leads_somewhere(page, target)]
    assert not wrong


def leads_somewhere(page: str, target: str) -> bool:
    if re.match(r'(https?|mailto):', target):
        return True
    path, _, anchor = target.partition('#')
    path = posixpath.normpath(posixpath.join(posixpath.dirname(page), path)) if path else page
    if path.startswith('docs/reference/'):
        match = GENERATED.fullmatch(path)
        names = {name.lower() for name in attention_names()}
        return bool(match) and (
            match['attention'] in (None, 'index', *names)
            and (match['module'] in (None, 'index') or find_spec(match['module']) is not None)
        )
    if not (ROOT / path).exists():
        return False
    return not anchor or not path.endswith('.md') or anchor in anchors(path)


# What has to be found: a page, and the words of what is wrong with it.
FAULTS = {
    'python tools/trian.py CONFIG': 'is not there',
    'python tools/train.py CONFIG --resum': 'unknown: --resum',
    'python tools/train.py': 'required',
    'python tools/train.py no_such_config': 'does not exist',
    'python tools/train.py configs/faster_rcnn/no_such_file.py': 'in none of',
    'python tools/train.py CONFIG --bad-data maybe': 'invalid choice',
    'python tools/train.py CONFIG --seed one': 'invalid int',
    'python tools/train.py resnet50_scsa_in1k --cfg-options model.backbone.attenion=None': 'mean',
    'python tools/train.py CONFIG --cfg-options model.backbone.attention.type=SCSSA': 'SCSSA',
    'python tools/run_table.py --table scsa-4 --gpu 8': 'unknown: --gpu',
    'python tools/run_table.py --table scsa-99': 'scsa-99',
    'tools/dist_train.sh CONFIG --amp': 'is no number of processes',
    'tools/dist_train.sh CONFIG 8 --ampere': 'unknown: --ampere',
    'tools/dist_train.sh CONFIG': 'takes CONFIG PROCESSES',
    'python tools/launch.py --nproc-per-node=2 tools/train.py CONFIG --ampere': '--ampere',
    'python -m mmattn doktor': 'invalid choice',
    'python -m mmattn advise CONFIG --bugdet 2%': 'unknown: --bugdet',
    'python tools/analysis_tools/throughput.py CONFIG --attention SCSE SSCA': 'SSCA',
    'python docs/torchvision_training.py DIR --epochs 3': 'no options',
    'python benchmarks/speed.py --partz networks': '--partz',
    'python -m json.tool FILE': 'no known command',
    'MMATTN_KERNEL=pure python -m mmattn doctor': 'no variable',
    'uv run --no-sync python tools/test.py CONFIG': 'required',
    "pip install 'mmattn[analyses]'": 'no extra',
    'pip install -r requirements/none.txt': 'is not there',
    'curl -O https://example.org/file': 'no known command',
    '.ci/nothing': 'is not there',
}


@pytest.mark.parametrize('line', FAULTS)
def test_a_wrong_command_is_found(line):
    (words,) = pages.commands(line)
    with pytest.raises(command_lines.Wrong, match=re.escape(FAULTS[line])):
        command_lines.Checker(ROOT).check(words)


@pytest.mark.parametrize(
    ('code', 'wrong'),
    [
        ('python tools/trian.py', 'is not there'),
        ('python -m mmattn doktor', 'there is no doktor'),
        ('python -m mmattn data --verfy CONFIG', 'unknown: --verfy'),
        ('MAX_RESTART=3 tools/dist_train.sh ...', 'no variable'),
    ],
)
def test_a_wrong_command_within_a_sentence_is_found(code, wrong):
    (found,) = pages.inline_commands(f'Some say `{code}`.')
    (words,) = pages.commands(found)
    with pytest.raises(command_lines.Wrong, match=re.escape(wrong)):
        command_lines.Checker(ROOT, whole=False).check(words)


@pytest.mark.parametrize(
    'line',
    [
        'python tools/train.py CONFIG --seed N --work-dir work_dirs/NAME  # the paper\'s "seeds"',
        'uv run tools/dist_train.sh configs/faster_rcnn_r50_scsa_1x_coco.py 8 --auto-scale-lr',
        'python tools/train.py configs/faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py --resume',
        'python tools/run_table.py --table scsa-4 --dry-run --amp',
        'nohup python -m mmattn report work_dirs > report.log 2>&1 &',
        'pip install uv && uv run python tools/train.py resnet50_scsa_in1k --demo',
    ],
)
def test_a_right_command_is_not(line):
    for words in pages.commands(line):
        command_lines.Checker(ROOT).check(words)


def test_a_page_is_taken_apart():
    text = """---
front: matter
---
# A page, of *parts*

(label)=
## A `name` twice
## A `name` twice

    python -m mmattn doctor

Some words.

    x = 1

- in a list `python -m mmattn data`:

  ```bash
  MAX_RESTARTS=3 tools/dist_train.sh CONFIG 8 --cfg-options a.b="['c']" \\
      d=2%  # it's said
  ```

````{note}
```python
y = [1](2)
```
[to](x.md#y)
````

```{code-cell} ipython3
no = code
```
"""
    found = pages.blocks('page.md', text)
    kinds = [(block.line, block.language) for block in found]
    assert kinds == [(10, 'bash'), (14, 'python'), (18, 'bash'), (24, 'python')]
    words = ['MAX_RESTARTS=3', 'tools/dist_train.sh', 'CONFIG', '8', '--cfg-options', "a.b=['c']"]
    assert pages.commands(found[2].text) == [[*words, 'd=2%']]
    assert pages.anchors(text) == {'label', 'a-page-of-parts', 'a-name-twice', 'a-name-twice-1'}
    assert pages.links(text) == ['x.md#y']
    assert pages.inline_commands(text) == ['python -m mmattn data']


def test_a_wrong_config_is_found(tmp_path, registries):
    text = """
_base_ = ['mmpretrain::resnet/resnet18_8xb32_in1k.py']
custom_imports = dict(imports=['mmattn'], allow_failed_imports=False)
model = dict(backbone=dict(type='mmattn.ResNet', attention=dict(WHAT)))
"""
    assert is_config(text) and not is_config('import mmattn\nmodel = dict()')
    build(tmp_path, 'right.py', text.replace('WHAT', "type='SE', reduction=8"))
    for wrong in ("type='SES'", "type='SE', ratio=8", "type='SE', position='after_conv9'"):
        with pytest.raises((KeyError, TypeError, ValueError, UserError)):
            build(tmp_path, 'wrong.py', text.replace('WHAT', wrong))


def test_a_dead_link_is_found():
    assert leads_somewhere('README.md', 'docs/analysis.md#errors')
    assert leads_somewhere('docs/index.md', 'reference/attention/scsa.md#what')
    for dead in ('docs/nothing.md', 'docs/analysis.md#nothing', '#nothing'):
        assert not leads_somewhere('README.md', dead)
    for dead in ('reference/attention/nothing.md', 'reference/api/mmattn.nothing.md'):
        assert not leads_somewhere('docs/index.md', dead)
