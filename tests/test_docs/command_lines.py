"""Whether the commands of the pages exist, and take what they are given; none is run."""

import argparse
import re
import runpy
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from tests.test_docs import pages

# Commands of others that a page may name; a new one is looked at by whoever adds it here.
OTHERS = {
    *('apt-get', 'cd', 'cp', 'export', 'git', 'ls', 'mkdir', 'nvidia-smi', 'tar', 'unzip'),
    *('awk', 'head', 'rm', 'sed', 'sort', 'sphinx-build', 'tail'),
}
# Those that start the rest of their line, with options of their own that take a word.
STARTERS = {'nohup': (), 'nice': (), 'time': (), 'sbatch': (), 'uv run': ('--group', '--extra')}
MODULES = {'pip', 'uv', 'venv', 'http.server'}
VARIABLES = {
    *('CPUS_PER_TASK', 'GPUS', 'GPUS_PER_NODE', 'MASTER_ADDR', 'MAX_RESTARTS', 'MMATTN_KERNELS'),
    *('MMATTN_TUTORIALS', 'NNODES', 'NODE_RANK', 'PORT', 'PYTHON', 'SRUN_ARGS'),
    *('CUDA_VISIBLE_DEVICES', 'OMP_NUM_THREADS', 'TRITON_INTERPRET'),
    *('CFLAGS', 'CXX', 'FORCE_CUDA', 'MMCV_WITH_OPS', 'UV_CACHE_DIR'),
}
# Shell scripts: how many words of their own they take, and the script that the rest is for.
LAUNCHERS = {
    'tools/dist_train.sh': ('CONFIG PROCESSES', 'tools/train.py'),
    'tools/dist_test.sh': ('CONFIG CHECKPOINT PROCESSES', 'tools/test.py'),
    'tools/slurm_train.sh': ('PARTITION JOB_NAME CONFIG', 'tools/train.py'),
}
# Placeholders of names that are upper-case themselves.
ANY_ATTENTION = ('NAME', 'ATTENTION')
TOOLBOXES = ('mmdet', 'mmseg', 'mmpretrain')


class Wrong(Exception):
    """What is wrong with a command line."""


class _Found(BaseException):
    """The parser of a script that has come to its command line."""

    def __init__(self, parser: argparse.ArgumentParser, rest: bool) -> None:
        self.parser, self.rest = parser, rest


@dataclass(frozen=True)
class Parser:
    """A parser, and whether what it does not know is for another."""

    parser: argparse.ArgumentParser
    rest: bool = False


@dataclass(frozen=True)
class Checker:
    """Checks command lines, as they would run from the root of a checkout.

    Args:
        root: Of the checkout.
        own: Names of files that the page itself writes.
        whole: False for commands within sentences, which may leave words out.
    """

    root: Path
    own: frozenset[str] = frozenset()
    whole: bool = True

    def check(self, words: Sequence[str]) -> None:
        """Raise :class:`Wrong` unless the command exists and takes these words."""
        words = list(words)
        while words and (match := re.fullmatch(r'([A-Z_]+)=.*', words[0], re.DOTALL)):
            if match[1] not in VARIABLES:
                raise Wrong(f'{match[1]} is no variable that is read')
            words.pop(0)
        if not words:
            return
        if words[:2] == ['uv', 'run']:
            words[:2] = ['uv run']
        command, rest = words[0], words[1:]
        if command in STARTERS:
            while rest and rest[0].startswith('-'):
                del rest[: 2 if rest[0] in STARTERS[command] else 1]
            self.check(rest)
        elif command in ('python', 'python3'):
            self._python(rest)
        elif command == 'pip':
            self._pip(rest)
        elif command == 'uv':
            self._uv(rest)
        elif command in LAUNCHERS:
            self._launcher(command, rest)
        elif command == 'docs/quick_start.py':  # hands its words on
            self._script('tools/train.py', rest or ['CONFIG'])
        elif command.startswith(('.ci/', 'tools/')):
            self._exists(command)
        elif command not in OTHERS:
            raise Wrong(f'{command} is no known command')

    def _exists(self, path: str) -> Path:
        if not (self.root / path).is_file():
            raise Wrong(f'{path} is not there')
        return self.root / path

    def _python(self, words: list[str]) -> None:
        if not words:
            raise Wrong('python alone')
        if words[0] == '-c':
            compile(words[1], 'python -c', 'exec')
        elif words[0] != '-m':
            self._script(words[0], words[1:])
        elif words[1] == 'mmattn':
            from mmattn.__main__ import build_parser

            self._parse(Parser(build_parser()), words[2:])
        elif words[1] == 'pytest':
            for word in words[2:]:
                if word.startswith('tests/') and not pages.is_placeholder(word):
                    self._exists_at_all(word)
        elif words[1] == 'pip':
            self._pip(words[2:])
        elif words[1] not in MODULES:
            raise Wrong(f'python -m {words[1]} is no known command')

    def _exists_at_all(self, path: str) -> None:
        if not (self.root / path.partition('::')[0]).exists():
            raise Wrong(f'{path} is not there')

    def _pip(self, words: list[str]) -> None:
        extras = (self.root / 'pyproject.toml').read_text(encoding='utf-8')
        for word, after in zip(words, [*words[1:], ''], strict=True):
            for extra in re.findall(r'mmattn\[([\w,]+)\]', word):
                for name in extra.split(','):
                    if not re.search(rf'^{name} = \[', extras, re.MULTILINE):
                        raise Wrong(f'mmattn has no extra {name!r}')
            if word == '-r':
                self._exists(after)

    def _uv(self, words: list[str]) -> None:
        if words[:1] == ['pip']:
            self._pip(words[1:])
        elif words[:1] not in (['sync'], ['venv'], ['build'], ['lock'], ['cache']):
            raise Wrong(f'uv {" ".join(words[:1])} is no known command')

    def _launcher(self, script: str, words: list[str]) -> None:
        self._exists(script)
        names, command = LAUNCHERS[script]
        count = len(names.split())
        if len(words) < count:
            if self.whole:
                raise Wrong(f'{script} takes {names}')
            return
        own = dict(zip(names.split(), words, strict=False))
        number = own.get('PROCESSES', '1')
        if not number.isdigit() and not pages.is_placeholder(number):
            raise Wrong(f'{script}: {number} is no number of processes')
        given = [own['CONFIG'], *([own['CHECKPOINT']] if 'CHECKPOINT' in own else [])]
        self._script(command, [*given, *words[count:]])

    def _script(self, script: str, words: list[str]) -> None:
        path = self._exists_or_toolbox(script, words)
        parser = parser_of(path)
        if parser is None:
            if any(word.startswith('-') for word in words):
                raise Wrong(f'{script} takes no options')
            return
        rest = self._parse(parser, words)
        if script == 'tools/launch.py':
            given = rest
            self._script(given[0], given[1:])
        elif rest:
            self._parse(parser_of(self.root / 'tools/train.py'), ['CONFIG', *rest])

    def _exists_or_toolbox(self, script: str, words: list[str]) -> Path:
        """The script; of a toolbox, if it is given one of the toolbox's configs."""
        folders = [re.fullmatch(r'configs/([^/]+)/[^/]+\.py', word) for word in words]
        if any(match and match[1] != '_base_' for match in folders):
            config = next(match[0] for match in folders if match)
            for toolbox in TOOLBOXES:
                spec = find_spec(toolbox)
                home = Path(spec.origin).parent / '.mim' if spec else None
                if home and (home / config).is_file() and (home / script).is_file():
                    return home / script
            raise Wrong(f'{config} is in none of {", ".join(TOOLBOXES)}')
        return self._exists(script)

    def _parse(self, known: Parser, words: list[str]) -> list[str]:
        """Check the words of a command; returns those that are for another."""
        if not self.whole:
            self._options(known.parser, words)
            return []
        if words in (['--help'], ['-h']):
            return []
        with _strict():
            args, rest = known.parser.parse_known_args(words)
        if rest and not known.rest:
            raise Wrong(f'unknown: {" ".join(rest)}')
        # torchrun's, the rest of whose line is a script's.
        if hasattr(args, 'training_script_args'):
            return [args.training_script, *args.training_script_args]
        self._values(args)
        return rest

    def _options(self, parser: argparse.ArgumentParser, words: list[str]) -> None:
        for action in parser._actions:
            if isinstance(action, argparse._SubParsersAction) and words:
                if words[0] not in action.choices:
                    raise Wrong(f'there is no {words[0]}')
                return self._options(action.choices[words[0]], words[1:])
        for word in words:
            if word.startswith('--') and word not in parser._option_string_actions:
                raise Wrong(f'unknown: {word}')
        return None

    def _values(self, args: argparse.Namespace) -> None:
        """Check what a command would look up: configs and their options, tables, attentions."""
        named = vars(args)
        options = named.get('cfg_options') or []
        if isinstance(options, list):  # a toolbox's own command parses it
            options = dict(option.split('=', 1) for option in options)
        configs = [word for value in named.values() for word in _words(value)]
        configs = [word for word in configs if word.endswith('.py')]
        configs += [named[name] for name in ('config', 'verify') if named.get(name)]
        if named.get('dry_run') is not None:  # run_table.py's: a part of a name
            configs = []
        for config in configs:
            if 'commands' not in named and not pages.is_placeholder(config):
                self._config(config, [f'{key}={value}' for key, value in options.items()])
        if named.get('table') and not pages.is_placeholder(named['table']):
            _table(named['table'])
        types = [value for key, value in options.items() if key.endswith('attention.type')]
        for name in [*_words(named.get('attention')), *types]:
            if name not in ('none', *ANY_ATTENTION):
                _attention(name)

    def _config(self, config: str, options: list[str]) -> None:
        from mmattn.utils.errors import UserError

        if config in self.own or config.startswith('configs/') and config.count('/') > 1:
            return  # the page's; a toolbox's, which has been found
        name = str(self.root / config) if (self.root / config).is_file() else config
        known = [option for option in options if not option.startswith('KEY=')]
        try:
            _prepared(name, tuple(known))
        except UserError as error:
            raise Wrong(str(error)) from error


def _words(value: object) -> list[str]:
    if isinstance(value, str):
        return [value]
    return [word for one in value for word in _words(one)] if isinstance(value, list) else []


@cache
def _prepared(config: str, options: tuple[str, ...]) -> None:
    from mmattn.engine.prepare import prepare

    prepare(config, options)


@cache
def _table(name: str) -> None:
    from mmattn.experiments import find_experiments
    from mmattn.utils.errors import UserError

    try:
        find_experiments(name)
    except UserError as error:
        raise Wrong(str(error)) from error


@cache
def _attention(name: str) -> None:
    from mmattn.attention.names import attention_names

    if name not in attention_names():
        raise Wrong(f'there is no attention {name}')


@cache
def parser_of(path: Path) -> Parser | None:
    """The parser of a script, which is run up to where it parses; None if it has none."""
    if not re.search(r'parse_(known_)?args\(', _source(path)):
        return None
    modules, folders, words = set(sys.modules), sys.path[:], sys.argv
    sys.path.insert(0, str(path.parent))
    sys.argv = [path.name]
    parse_args, known = argparse.ArgumentParser.parse_args, argparse.ArgumentParser.parse_known_args

    def found(parser: argparse.ArgumentParser, *_, **__) -> None:
        raise _Found(parser, rest=False)

    def found_known(parser: argparse.ArgumentParser, *_, **__) -> None:
        raise _Found(parser, rest=True)

    argparse.ArgumentParser.parse_args = found
    argparse.ArgumentParser.parse_known_args = found_known
    try:
        runpy.run_path(str(path), run_name='__main__')
    except _Found as it:
        return Parser(it.parser, it.rest)
    finally:
        argparse.ArgumentParser.parse_args = parse_args
        argparse.ArgumentParser.parse_known_args = known
        sys.path[:], sys.argv = folders, words
        # Neighbours of scripts have common names: data, runs.
        for name in set(sys.modules) - modules:
            origin = getattr(sys.modules[name], '__file__', None)
            if origin and Path(origin).parent == path.parent:
                del sys.modules[name]
    raise AssertionError(f'{path} does not come to its command line')


def _source(path: Path) -> str:
    """A script's text, with those of the neighbours that it imports from."""
    text = path.read_text(encoding='utf-8')
    for name in re.findall(r'^from (\w+) import', text, re.MULTILINE):
        if (neighbour := path.with_name(f'{name}.py')).is_file():
            text += neighbour.read_text(encoding='utf-8')
    return text


@contextmanager
def _strict() -> Iterator[None]:
    """Parsers that raise, know no abbreviations, and take a placeholder for any value."""
    cls = argparse.ArgumentParser
    kept = cls.error, cls._get_value, cls._check_value, cls.parse_known_args
    error, get_value, check_value, parse = kept

    def raising(parser: argparse.ArgumentParser, message: str) -> None:
        raise Wrong(message)

    def value(parser: argparse.ArgumentParser, action: argparse.Action, text: str) -> object:
        return text if pages.is_placeholder(text) else get_value(parser, action, text)

    def check(parser: argparse.ArgumentParser, action: argparse.Action, found: object) -> None:
        if not (isinstance(found, str) and pages.is_placeholder(found)):
            check_value(parser, action, found)

    def without_abbreviations(parser: argparse.ArgumentParser, *args, **options) -> object:
        parser.allow_abbrev = False
        return parse(parser, *args, **options)

    cls.error, cls._get_value, cls._check_value = raising, value, check
    cls.parse_known_args = without_abbreviations
    try:
        yield
    finally:
        cls.error, cls._get_value, cls._check_value, cls.parse_known_args = kept
