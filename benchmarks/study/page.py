"""The tables and pictures of the study, from what study.py kept, into the pages that show them.

    python benchmarks/study/page.py

Rewrites what stands between '<!-- study -->' and '<!-- end -->' in README.md (means over seeds),
between '<!-- tables -->' and '<!-- end -->' in docs/study.md (all of compare_runs.py), and
docs/images/study.png and study_ranks.png.
"""

import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from mmattn.analysis.comparison import compare
from mmattn.analysis.groups import Group, collect
from mmattn.analysis.runs import read_runs
from mmattn.utils.errors import UserError, run
from mmattn.utils.files import write_whole

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
RESULTS = HERE / 'results'
TOOL = ROOT / 'tools' / 'analysis_tools' / 'compare_runs.py'
ALPHA = 0.05


def main() -> None:
    runs, _ = read_runs([RESULTS])
    groups, _ = collect(runs)
    comparisons, _ = compare(groups)
    significant = {
        one.group for one in comparisons if one.p_holm is not None and one.p_holm < ALPHA
    }
    replace(ROOT / 'README.md', 'study', table_of_means(groups, significant))
    picture = ROOT / 'docs' / 'images' / 'study.png'
    words = [str(TOOL), str(RESULTS), '--format', 'markdown', '--plot', str(picture)]
    done = subprocess.run([sys.executable, *words], stdout=subprocess.PIPE, text=True, check=True)
    replace(ROOT / 'docs' / 'study.md', 'tables', done.stdout.strip())


def table_of_means(groups: Sequence[Group], significant: set[Group]) -> str:
    """One row for each attention, one column for each data set, in Markdown."""
    data = list(dict.fromkeys(group.data for group in groups))
    names = list(dict.fromkeys(group.attention for group in groups))
    metrics = {group.data: group.metric.name.rsplit('/', 1)[-1] for group in groups}
    lines = [
        ['attention', *(f'{name} ({metrics[name]})' for name in data)],
        ['---', *('---:' for _ in data)],
    ]
    cells = {(group.attention, group.data): _cell(group, significant) for group in groups}
    lines += [[name, *(cells.get((name, one), '') for one in data)] for name in names]
    return '\n'.join(f'| {" | ".join(line)} |' for line in lines)


def _cell(group: Group, significant: set[Group]) -> str:
    scores = group.scores
    mean = sum(scores) / len(scores)
    deviation = (sum((x - mean) ** 2 for x in scores) / max(len(scores) - 1, 1)) ** 0.5
    cell = f'{mean:.1f} ± {deviation:.1f}'
    return f'**{cell}**' if group in significant else cell


def replace(path: Path, name: str, text: str) -> None:
    """Put ``text`` between '<!-- NAME -->' and '<!-- end -->' of a page.

    Raises:
        UserError: If the page has no such place.
    """
    page, count = re.subn(
        rf'(?<=<!-- {name} -->\n).*?(?=<!-- end -->)',
        lambda _: f'\n{text}\n\n',
        path.read_text(encoding='utf-8'),
        flags=re.DOTALL,
    )
    if count != 1:
        raise UserError(f"{path} needs one '<!-- {name} -->' line and '<!-- end -->' after it.")
    write_whole(path, page)


if __name__ == '__main__':
    sys.exit(run(main))
