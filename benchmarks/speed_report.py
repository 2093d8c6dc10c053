"""The table and the picture of what speed.py measured."""

from collections.abc import Iterable, Iterator
from operator import itemgetter
from pathlib import Path
from statistics import geometric_mean

from matplotlib import pyplot as plt
from matplotlib import ticker

from mmattn.analysis.networks import PLAIN
from mmattn.analysis.tables import MIB, markdown_table

STEPS = ('inference', 'training')
WAYS = ('auto', 'pure')
# Beyond this many times the bound a kernel has something to win.
FAR = 2.0
MODULES = """\
Ratio: time of the literal implementation of the paper's formula over ours (above 1: ours is
faster), with the kernels and with PyTorch alone in parentheses; medians over the rounds. 'mean':
geometric mean over the shapes. 'far' counts the shapes at which the literal implementation takes
more than twice the bound: the reads and writes of the map that cannot be avoided (inference two
reads and a write; training three more reads and a write), measured beside it.
"""
NETWORKS = """\
Throughput relative to the plain network in the same rounds: median (quartiles). Memory in MiB:
'saved' is what the forward pass keeps for the backward pass, 'peak' the most that a training step
allocates beyond parameters and batch, both with their ratio to the plain network.
"""


def write_report(parts: dict, stem: Path) -> None:
    """Write STEM.md and STEM.png."""
    if 'modules' in parts:
        parts['modules']['rows'].sort(key=itemgetter('attention'))
    text = ['# Speed\n']
    for part, title, table in (
        ('modules', 'Modules', _modules),
        ('networks', 'Networks', _networks),
        ('detector', 'Detector', _networks),
    ):
        if part in parts:
            text += [f'## {title}\n', _about(parts[part]), *table(parts[part]['rows'])]
    stem.with_suffix('.md').write_text('\n'.join(text))
    _plot(parts, stem.with_suffix('.png'))


def _about(part: dict) -> str:
    earlier = _groups([row for row in part['rows'] if 'date' in row], 'date')
    dates = [
        f'\nMeasured {date}, on the same machine: '
        f'{", ".join(sorted({row["attention"] for row in rows}))}.\n'
        for (date,), rows in earlier
    ]
    return (
        f'`{part["command"]}`: {part["device"]}, {part["threads"]} threads, torch {part["torch"]}, '
        f'Python {part["python"]}, CUDA {part["cuda"]}; kernels (auto): {part["kernels"]}; '
        f'allocator: {part["allocator"]}; {part["date"]}, {part["minutes"]} minutes, '
        f'load of the machine before: {part["load"]}.\n' + ''.join(dates)
    )


def _modules(rows: list[dict]) -> Iterator[str]:
    yield MODULES
    shapes = list(dict.fromkeys(tuple(row['shape']) for row in rows))
    titles = [' x '.join(map(str, shape)) for shape in shapes]
    for (layout, step), group in _groups(rows, 'layout', 'step'):
        ratios, times = [], []
        for (name,), own in _groups(group, 'attention'):
            means = [geometric_mean(row['ratio'][way][0] for row in own) for way in WAYS]
            far = sum(_far(row) for row in own)
            found = {tuple(row['shape']): row for row in own}
            # Not every attention is measured at every shape.
            own = [found.get(shape) for shape in shapes]
            cells = [_ratios(row) if row else '-' for row in own]
            ratios.append([name, *cells, _pair(*means), f'{far} of {len(found)}'])
            times.append([name, *(_milliseconds(row) if row else '-' for row in own)])
        yield f'### {step.capitalize()}, {layout}\n'
        yield markdown_table(['ratio', *titles, 'mean', 'far'], ratios)
        yield markdown_table(['ms: kernels / pure / literal / bound', *titles], times)


def _far(row: dict) -> bool:
    return row['seconds']['literal'][0] > FAR * row['seconds']['bound'][0]


def _ratios(row: dict) -> str:
    return _pair(*(row['ratio'][way][0] for way in WAYS))


def _pair(auto: float, pure: float) -> str:
    return f'{auto:.2f} ({pure:.2f})'


def _milliseconds(row: dict) -> str:
    return ' / '.join(f'{1e3 * row["seconds"][key][0]:.4g}' for key in (*WAYS, 'literal', 'bound'))


def _networks(rows: list[dict]) -> Iterator[str]:
    yield NETWORKS
    for (config,), of_config in _groups(rows, 'config'):
        for (layout,), group in _groups(of_config, 'layout'):
            steps = [step for step in STEPS if any(row['step'] == step for row in group)]
            header = [f'{step} {way}' for step in steps for way in WAYS]
            # Of training, which a part may have left out.
            kinds = ('saved', 'peak') if 'training' in steps else ()
            memory = [f'{kind} {way}' for kind in kinds for way in WAYS]
            lines = list(_network_lines(group, steps, kinds))
            one = group[0]
            about = (f'batch {one["batch"]}', '{} x {}'.format(*one['size']), one['dtype'])
            yield f'### {config}, {layout}, {", ".join(about)}\n'
            yield markdown_table(['attention', *header, *memory], lines)


def _network_lines(
    group: list[dict], steps: list[str], kinds: tuple[str, ...]
) -> Iterator[list[str]]:
    for (name,), own in _groups(group, 'attention'):
        found = {(row['step'], row['kernels']): row for row in own}
        if name == PLAIN:
            # Measured again beside every few networks: the first time.
            first = {step: next(row for row in own if row['step'] == step) for step in steps}
            cells = [f'{first[step]["images"][0]:.4g} images/s' for step in steps for _ in WAYS]
            plain = first.get('training')
            sizes = [f'{plain[kind] / MIB:.0f}' for kind in kinds for _ in WAYS]
        else:
            cells = [_spread(found[step, way]['ratio']) for step in steps for way in WAYS]
            sizes = [
                f'{row[kind] / MIB:.0f} ({row[kind] / plain[kind]:.2f}x)'
                for kind in kinds
                for row in (found['training', way] for way in WAYS)
            ]
        yield [name, *cells, *sizes]


def _spread(figures: list[float]) -> str:
    median, low, high = figures
    return f'{median:.2f} ({low:.2f}-{high:.2f})'


def _groups(rows: Iterable[dict], *keys: str) -> list[tuple[tuple, list[dict]]]:
    """Rows by the values of some keys, in the order of the first ones."""
    found: dict[tuple, list[dict]] = {}
    for row in rows:
        found.setdefault(tuple(row[key] for key in keys), []).append(row)
    return list(found.items())


def _plot(parts: dict, path: Path) -> None:
    """Ratios of the modules (means over the shapes) and of the networks, NCHW."""
    panels = []
    if 'modules' in parts:
        values = {
            (name, step, way): geometric_mean(row['ratio'][way][0] for row in own)
            for (name, step, layout), own in _groups(
                parts['modules']['rows'], 'attention', 'step', 'layout'
            )
            if layout == 'NCHW'
            for way in WAYS
        }
        panels.append(('modules', 'speed relative to the literal implementation (ratio)', values))
    values = {
        (
            f'{row["attention"]}, {row["config"].partition("_scsa")[0]}',
            row['step'],
            row['kernels'],
        ): (row['ratio'][0])
        for part in ('networks', 'detector')
        for row in parts.get(part, {}).get('rows', [])
        if row['layout'] == 'NCHW' and row['attention'] != PLAIN
    }
    if values:
        panels.append(('networks', 'throughput relative to the plain network (ratio)', values))
    most = max(len({key[0] for key in values}) for _, _, values in panels)
    size = (7 * len(panels), 1.8 + 0.3 * most)
    figure, axes = plt.subplots(1, len(panels), figsize=size, layout='constrained', squeeze=False)
    markers = {('inference', 'auto'): 'C0o', ('inference', 'pure'): 'C0x'}
    markers |= {('training', 'auto'): 'C1o', ('training', 'pure'): 'C1x'}
    for axis, (title, label, values) in zip(axes[0], panels, strict=True):
        names = list(dict.fromkeys(key[0] for key in values))
        for (step, way), marker in markers.items():
            shown = [
                (values[n, step, way], y) for y, n in enumerate(names) if (n, step, way) in values
            ]
            if shown:
                axis.plot(*zip(*shown, strict=True), marker, label=f'{step}, kernels {way}')
        axis.axvline(1, color='grey', linewidth=1)
        axis.set_yticks(range(len(names)), names)
        axis.invert_yaxis()
        if title == 'modules':
            axis.set_xscale('log')
            axis.xaxis.set_major_locator(ticker.LogLocator(subs=(1, 1.5, 2, 3, 5, 7)))
            axis.xaxis.set_major_formatter(ticker.FormatStrFormatter('%g'))
            axis.xaxis.set_minor_locator(ticker.NullLocator())
        axis.set_xlabel(label)
        axis.set_title(f'{title}, NCHW')
        axis.grid(axis='x', alpha=0.4)
    columns = 2 * len(panels)
    handles = axes[0][0].get_legend_handles_labels()
    figure.legend(*handles, loc='outside lower center', ncols=columns)
    figure.suptitle(
        '{device}, {threads} threads, torch {torch}'.format(**next(iter(parts.values())))
    )
    figure.savefig(path, dpi=100)
    plt.close(figure)
