"""The page: its tables, and how it is put together."""

import base64
import io
import json
import statistics
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from mmengine.config import Config

from mmattn import __version__
from mmattn.analysis.extra import extra
from mmattn.analysis.report.curves import figures
from mmattn.analysis.runs import Run, flat, read_runs
from mmattn.engine.config import shipped_configs
from mmattn.engine.summary import describe_seconds
from mmattn.utils.files import write_whole

# Pictures: so many of a run, so wide in pixels.
MOST_PICTURES, WIDTH = 8, 900
PICTURES = ('*.png', '*.jpg', '*/*.png', '*/*.jpg')


def write_report(folders: Sequence[str | Path], out: str | Path) -> Path:
    """Write what runs did, on one page that needs no network.

    Args:
        folders: Work dirs, or folders that hold them.
        out: The file, .html.

    Returns:
        ``out``.

    Raises:
        UserError: If a folder holds no run, plotly is missing, or ``out`` cannot be written.
    """
    from jinja2 import Environment, PackageLoader

    plotly = extra('plotly.offline')
    runs, notes = read_runs(folders)
    curves = figures(runs)
    loader = PackageLoader('mmattn.analysis.report', '.')
    page = Environment(loader=loader, autoescape=True, trim_blocks=True, lstrip_blocks=True)
    text = page.get_template('page.html').render(
        title='Training report: ' + (runs[0].name if len(runs) == 1 else f'{len(runs)} runs'),
        written=time.strftime('%Y-%m-%d %H:%M'),
        version=__version__,
        notes=notes,
        plotly=plotly.get_plotlyjs(),
        results=results_table(runs),
        groups=groups_table(runs),
        curves=list(curves),
        # A closing tag within a string would end the script.
        figures=json.dumps(list(curves.values())).replace('</', '<\\/'),
        speed=speed_table(runs),
        runs=[_described(run) for run in runs],
        pictures=[picture for run in runs for picture in _pictures(run)],
    )
    write_whole(out, text)
    return Path(out)


def _table(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Rows of one kind -> what the template draws; columns in the order of their first use."""
    header = list(dict.fromkeys(name for row in rows for name in row))
    numbers = {
        i
        for i, name in enumerate(header)
        if all(isinstance(row.get(name, 0), int | float) for row in rows)
    }
    body = [[_shown(row.get(name)) for name in header] for row in rows]
    return {'header': header, 'rows': body, 'numbers': numbers}


def _shown(value: Any) -> str:
    if value is None:
        return '–'
    return f'{value:.4g}' if isinstance(value, float) else str(value)


def results_table(runs: Iterable[Run]) -> dict[str, Any]:
    """One row a run: its final metrics and its best."""
    rows = []
    for run in runs:
        best = {}
        if run.summary.get('best_metric'):
            best = {f'best {run.summary["best_metric"]}': run.summary.get('best_score')}
        known = {'run': run.name, 'attention': run.attention, 'seed': run.seed}
        rows.append({**known, 'trained': run.summary.get('progress'), **run.metrics, **best})
    return _table(rows)


def groups_table(runs: Sequence[Run]) -> dict[str, Any] | None:
    """Runs that differ in their seeds only, together; None where there are no two of a kind."""
    groups: dict[tuple[str, str], list[Run]] = {}
    for run in runs:
        groups.setdefault((run.config, run.attention), []).append(run)
    if all(len(group) == 1 for group in groups.values()):
        return None
    rows = []
    for (config, attention), group in groups.items():
        row = {'config': config, 'attention': attention, 'runs': len(group)}
        for name in dict.fromkeys(name for run in group for name in run.metrics):
            row[name] = _spread([run.metrics[name] for run in group if name in run.metrics])
        rows.append(row)
    return _table(rows)


def _spread(values: Sequence[float]) -> str:
    if len(values) < 2:
        return _shown(values[0])
    mean, deviation = statistics.mean(values), statistics.stdev(values)
    half = extra('scipy.stats').t.ppf(0.975, len(values) - 1) * deviation / len(values) ** 0.5
    return f'{mean:.4g} ± {deviation:.2g} [{mean - half:.4g}, {mean + half:.4g}]'


def speed_table(runs: Iterable[Run]) -> dict[str, Any]:
    """Seconds an iteration, of which for data, and the most memory; medians over the log."""
    rows = []
    for run in runs:
        logged = {
            name: [entry[name] for entry in run.scalars if name in entry and 'loss' in entry]
            for name in ('time', 'data_time', 'memory')
        }
        middle = {name: statistics.median(values) for name, values in logged.items() if values}
        rows.append(
            {
                'run': run.name,
                'iteration (s)': middle.get('time'),
                'of it, data (s)': middle.get('data_time'),
                'GPU memory (MiB)': max(logged['memory'], default=None),
                'first iteration after (s)': run.summary.get('first_iteration_seconds'),
                'in all': describe_seconds(run.summary.get('seconds', 0)),
                'machine': run.summary.get('machine'),
            }
        )
    return _table(rows)


def _described(run: Run) -> dict[str, Any]:
    """What was run: command, machine, versions, state of the checkout, changes of the config."""
    summary = run.summary
    versions = ', '.join(f'{name} {number}' for name, number in summary.get('versions', {}).items())
    facts = {
        'command': summary.get('command'),
        'config': run.config,
        'task': summary.get('task'),
        'attention': run.attention,
        'machine': summary.get('machine'),
        'processes': summary.get('processes'),
        'versions': versions,
        'checkout': summary.get('revision'),
        'work dir': str(run.folder),
        'checkpoint': summary.get('best_checkpoint') or summary.get('last_checkpoint'),
    }
    rows = [{'': name, ' ': value} for name, value in facts.items() if value]
    return {'name': run.name, 'facts': _table(rows), 'changes': config_changes(run)}


def config_changes(run: Run) -> list[str]:
    """``key: shipped -> used`` for every value in which a run's config differs from the shipped."""
    shipped = shipped_configs().get(run.stem)
    if shipped is None or run.cfg is None:
        return []
    before = flat(Config.fromfile(shipped, import_custom_modules=False).to_dict())
    after = flat(run.cfg.to_dict())
    return [
        f'{key}: {before.get(key, "not set")!r} -> {after.get(key, "not set")!r}'
        for key in dict.fromkeys([*before, *after])
        if before.get(key) != after.get(key) and key not in ('work_dir', 'filename')
    ]


def _pictures(run: Run) -> list[dict[str, str]]:
    """The first pictures in the work dir, small enough for a page."""
    from PIL import Image

    paths = sorted({path for pattern in PICTURES for path in run.folder.glob(pattern)})
    found = []
    for path in paths[:MOST_PICTURES]:
        with Image.open(path) as image:
            image.thumbnail((WIDTH, 4 * WIDTH))
            content = io.BytesIO()
            image.convert('RGB').save(content, 'JPEG', quality=85)
        encoded = base64.b64encode(content.getvalue()).decode()
        caption = f'{run.name}: {path.relative_to(run.folder)}'
        found.append({'caption': caption, 'source': f'data:image/jpeg;base64,{encoded}'})
    if len(paths) > MOST_PICTURES:
        found[-1]['caption'] += f' (and {len(paths) - MOST_PICTURES} more in the work dir)'
    return found
