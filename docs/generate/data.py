"""The data sets: where each comes from, how its folder looks, what prepares it."""

from mmattn.analysis.tables import markdown_table
from mmattn.datasets.guides import Guide, guides

INTRO = """# Data sets

What `python -m mmattn data` knows. `python -m mmattn data NAME` counts what of a data set is
there, `python -m mmattn data --verify CONFIG` reads every image and annotation of a config. The
folders are the shipped configs' own; `--data-root DIR` of `tools/train.py` and `tools/test.py`
names another.

"""


def pages() -> dict[str, str]:
    """The page of the data sets."""
    known = guides()
    rows = [
        [f'[{guide.title}](#data-{name})', guide.size, f'`{guide.root}`']
        for name, guide in known.items()
    ]
    table = markdown_table(['data set', 'download', 'folder of the configs'], rows, left=3)
    sections = [_section(name, guide) for name, guide in known.items()]
    return {'data.md': INTRO + table + '\n' + '\n'.join(sections)}


def _section(name: str, guide: Guide) -> str:
    tree = '\n'.join(f'  {line}' for line in guide.tree)
    counts = [f'{one.expected:,} {one.what}' for one in guide.contents if one.expected is not None]
    lines = [
        f'(data-{name})=\n## {guide.title}\n',
        f'From {guide.source}.\n',
        f'```text\n{guide.root}/\n{tree}\n```\n',
    ]
    if counts:
        lines.append(f'Complete with {", ".join(counts)}.\n')
    if guide.prepare:
        lines.append(f'Then:\n\n```text\n{guide.prepare}\n```\n')
    return '\n'.join(lines)
