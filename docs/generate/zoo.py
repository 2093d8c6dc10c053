"""The model zoo as one table: every config and every row of the papers' tables."""

import zoo
from mmattn.analysis.tables import markdown_table
from mmattn.experiments import find_experiments, load_tables
from mmattn.experiments.listing import figure

INTRO = """---
hide-toc: true
---

# Model zoo

Every shipped config, and every row of the papers' tables, which is a config with `--cfg-options`.
Click on a head to sort; the field above the table filters.

- **Parameters and multiply-adds are measured** (`tools/analysis_tools/complexity.py`): of one
  image, without an auxiliary head, as mmengine counts.
- **The paper's figures are the paper's**, trained by its authors, in per cent.
- **Ours** are those of the [runs kept](#runs-kept), and no others.

`python -m mmattn experiments` prints the commands, `python tools/run_table.py --table NAME` runs a
table; [train and test](../how_to/train_and_test.md) says more. Sizes and the metafiles for
OpenMMLab's tools are written by `python docs/zoo.py --measure`.

"""


def pages() -> dict[str, str]:
    """The page of the zoo."""
    sizes = zoo.read_sizes()
    runs = zoo.kept_runs()
    rows, in_tables = [], set()
    for row in find_experiments():
        options = row.cfg_options()
        table = load_tables()[row.table]
        metrics = [key for key in table['columns'] if key in table['metrics']]
        paper = ', '.join(f'{key} {figure(row.paper[key])}' for key in metrics)
        own = runs.get(row.config) if not options else None
        in_tables |= {row.config} if not options else set()
        cells = [f'{row.table}: {row.row}', paper, _ours(own), _command(row.config, options)]
        rows.append(_row(sizes[row.config, ' '.join(options)], cells))
    for stem in zoo.config_stems(zoo.ROOT / 'configs'):
        if stem not in in_tables:
            summary = zoo.summary_of(zoo.ROOT / 'configs' / f'{stem}.py')
            cells = [summary, '', _ours(runs.get(stem)), _command(stem, [])]
            rows.append(_row(sizes[stem, ''], cells))
    head = ['config', 'attention', 'data', 'parameters (M)', 'multiply-adds (G)', 'what']
    head += ["paper's", 'ours', 'command: `python tools/train.py ...`']
    table = markdown_table(head, sorted(rows), left=3)
    lines = table.split('\n')
    # Numbers to the right, words to the left.
    lines[1] = '| --- | --- | --- | ---: | ---: | --- | --- | --- | --- |'
    kept = [
        [f'`{name}`', run['progress'], _ours(run), run['time'], run['note']]
        for name, run in runs.items()
    ]
    head = ['run', 'trained', 'result', 'time (2 CPU cores)', 'note']
    return {
        'zoo.md': f'{INTRO}:::{{div}} sortable\n\n{chr(10).join(lines)}\n:::\n\n## Runs kept\n\n'
        'Their logs and curves are in `benchmarks/results/`.\n\n'
        f'{markdown_table(head, kept, left=5)}'
    }


def sizes_of(attention: str) -> list[zoo.Size]:
    """The networks with an attention whose sizes are measured, without further options."""
    key = 'model.backbone.attention.type='
    return [
        size
        for size in zoo.read_sizes().values()
        if size.attention == attention and size.options in ('', key + attention)
    ]


def _row(size: zoo.Size, cells: list[str]) -> list[str]:
    counts = [f'{size.params / 1e6:.3f}', f'{size.flops / 1e9:.3f}']
    data = zoo.data_of(size.config)
    return [f'`{size.config}`', size.attention, data, *counts, *cells]


def _ours(run: dict | None) -> str:
    return ', '.join(f'{key} {value:.4g}' for key, value in run['metrics'].items()) if run else ''


def _command(config: str, options: list[str]) -> str:
    words = ' '.join(['--cfg-options', *options]) if options else ''
    return f'`configs/{config}.py {words}`'.replace(' `', '`')
