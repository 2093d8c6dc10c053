"""The pages of the site that are not written by hand: into docs/reference/, at every build."""

import importlib
from pathlib import Path

from mmattn.utils.files import write_whole

DOCS = Path(__file__).resolve().parents[1]
ROOT = DOCS.parent
OUT = DOCS / 'reference'
# Each has pages() -> {path below OUT: text or bytes}.
WRITERS = ('attention', 'blocks', 'zoo', 'data', 'troubleshooting', 'api')


def write_pages(out: Path = OUT) -> list[Path]:
    """Write every generated page and picture; what is no longer generated goes."""
    pages = {}
    for name in WRITERS:
        pages.update(importlib.import_module(f'generate.{name}').pages())
    wanted = {out / name: content for name, content in pages.items()}
    for path in sorted(out.rglob('*'), reverse=True) if out.is_dir() else ():
        if path.is_file() and path not in wanted:
            path.unlink()
    for path, content in wanted.items():
        content = content.encode() if isinstance(content, str) else content
        # Sphinx reads again what is newer than its last build.
        if not path.is_file() or path.read_bytes() != content:
            path.parent.mkdir(parents=True, exist_ok=True)
            write_whole(path, content)
    return sorted(wanted)


def setup(app) -> None:
    """Have Sphinx write them before it looks for pages."""
    app.connect('builder-inited', lambda app: write_pages())
    # Before napoleon.
    docstring = importlib.import_module('generate.api').docstring
    app.connect('autodoc-process-docstring', docstring, priority=400)
