"""The hand-written pages, taken apart: code blocks, commands, links and headings."""

import re
import shlex
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from markdown_it import MarkdownIt
from markdown_it.token import Token

PAGES = ('README.md', 'CONTRIBUTING.md', 'SECURITY.md', 'configs/README.md')
# Made anew with the site.
GENERATED = ('docs/reference', 'docs/generate')
# What Sphinx's directives hold that is no Markdown.
LITERAL = {'code-cell', 'code-block', 'literalinclude', 'toctree', 'math', 'raw', 'eval-rst'}
# A word that the reader replaces, anywhere in a path.
PLACEHOLDER = re.compile(r'(^|[/=:,.])[A-Z][A-Z0-9_]*([/=:,.\-]|$)')
COMMAND = re.compile(r'([A-Z_]+=\S+ )*(python|pip|uv|git|tools/\S+\.sh|\.ci/\w+)( |$)')
MARKDOWN = MarkdownIt('commonmark').enable('table')


@dataclass(frozen=True)
class Block:
    """A code block; ``language`` as its fence says, or what an indented one looks like."""

    page: str
    line: int
    language: str
    text: str

    def __str__(self) -> str:
        return f'{self.page}:{self.line}'

    @property
    def file(self) -> str | None:
        """The file that its first line, a comment, says it is."""
        match = re.match(r'# (?:\S*/)?(\w+\.py)\b', self.text)
        return match and match[1]


def pages(root: Path) -> list[str]:
    """Paths of the pages, from the root."""
    found = [name for name in PAGES if (root / name).is_file()]
    found += (path.relative_to(root).as_posix() for path in sorted(root.glob('docs/**/*.md')))
    return [page for page in found if not page.startswith(GENERATED)]


def tokens(text: str) -> list[Token]:
    """Markdown's tokens with lines from 1; directives that hold Markdown are taken apart too."""
    front = re.match(r'---\n.*?\n---\n', text, re.DOTALL)
    if front:
        text = '\n' * front[0].count('\n') + text[front.end() :]
    found = []
    for token in MARKDOWN.parse(text):
        first = token.map[0] if token.map else 0
        directive = re.match(r'\{([\w-]+)\}', token.info) if token.type == 'fence' else None
        if directive is None:
            token.meta = {'line': first + 1}
            found.append(token)
        elif directive[1] not in LITERAL:
            for inner in tokens(token.content):
                inner.meta['line'] += first + 1
                found.append(inner)
    return found


def blocks(page: str, text: str) -> list[Block]:
    """The code blocks of a page, outside of cells."""
    found = []
    for token in tokens(text):
        if token.type == 'fence':
            language = token.info.strip()
        elif token.type == 'code_block':
            language = 'bash' if COMMAND.match(token.content) else 'python'
        else:
            continue
        found.append(Block(page, token.meta['line'], language, token.content))
    return found


def inline_commands(text: str) -> list[str]:
    """Commands within sentences, such as `python -m mmattn doctor`."""
    spans = (one for token in tokens(text) for one in token.children or ())
    return [one.content for one in spans if one.type == 'code_inline' and _is_own(one.content)]


def _is_own(code: str) -> bool:
    return bool(re.match(r'([A-Z_]+=\S+ )*(python (-m mmattn|\S+\.py)|tools/\S+|\.ci/\w+)', code))


def links(text: str) -> list[str]:
    """Where links and images lead."""
    spans = (one for token in tokens(text) for one in token.children or ())
    return [str(one.attrs.get('href') or one.attrs.get('src')) for one in spans if one.attrs]


def anchors(text: str) -> set[str]:
    """What '#...' may name in a page: its headings as GitHub and MyST write them, its labels."""
    found = set(re.findall(r'^\(([\w-]+)\)=$', text, re.MULTILINE))
    seen: Counter[str] = Counter()
    parsed = tokens(text)
    for before, token in zip(parsed, parsed[1:], strict=False):
        if before.type != 'heading_open':
            continue
        words = ''.join(one.content for one in token.children or ())
        slug = re.sub(r'[^\w\- ]', '', words.strip().lower()).replace(' ', '-')
        found.add(f'{slug}-{seen[slug]}' if seen[slug] else slug)
        seen[slug] += 1
    return found


def commands(text: str) -> list[list[str]]:
    """The simple commands of a shell block, in words, with what redirects them left out."""
    found: list[list[str]] = []
    for line in text.replace('\\\n', ' ').splitlines():
        lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
        lexer.whitespace_split, lexer.commenters, words = True, '', [[]]
        for word in lexer:
            if word.startswith('#'):
                break
            if word in ('&&', '||', '|', ';', '&'):
                words.append([])
            else:
                words[-1].append(word)
        found += (_without_redirection(each) for each in words if each)
    return found


def _without_redirection(words: list[str]) -> list[str]:
    kept, skip = [], False
    for word in words:
        if skip:
            skip = False
        elif word in ('>', '>>', '<', '>&'):
            skip = True
            if kept and kept[-1] == '2':
                kept.pop()
        else:
            kept.append(word)
    return kept


def is_placeholder(word: str) -> bool:
    return bool(PLACEHOLDER.search(word))
