"""Prints the rows of the tables, and the command of each."""

from rich import box
from rich.console import Console
from rich.table import Table

from mmattn.experiments.rows import Experiment, load_tables
from mmattn.experiments.speed import describe_throughput


def print_experiments(experiments: list[Experiment], commands_only: bool = False) -> None:
    """Print rows with the paper's figures, measured throughput and the command of each.

    With ``commands_only`` nothing but the commands, those of every seed, to feed to a shell.
    """
    console = Console(soft_wrap=True, highlight=False)
    if commands_only:
        for experiment in experiments:
            for run in experiment.runs():
                console.print(run.command(), markup=False)
        return
    for name in dict.fromkeys(experiment.table for experiment in experiments):
        rows = [experiment for experiment in experiments if experiment.table == name]
        table = load_tables()[name]
        console.print(f'\n[bold]{name}[/bold]  {table["title"]} ({table["source"]})')
        units = ', '.join(f'{column} in {unit}' for column, unit in table['columns'].items())
        console.print(f"the paper's figures: {units}")
        if len(rows[0].seeds) > 1:
            seeds = ', '.join(map(str, rows[0].seeds))
            console.print(f'means over seeds {seeds}; the commands are those of seed {seeds[0]}')
        console.print()
        width = max(len(row.name) for row in rows)
        for row in rows:
            figures = '  '.join(f'{key} {figure(value)}' for key, value in row.paper.items())
            console.print(f'[bold]{row.name:{width}}[/bold]  {figures}')
            if throughput := describe_throughput(row):
                console.print(f'    {throughput}', markup=False)
            console.print(f'    {row.command()}', markup=False)
    plural = 'row' if len(experiments) == 1 else 'rows'
    console.print(f'\n{len(experiments)} {plural}')


def figure(value: float | None) -> str:
    """A paper's figure as it is printed; '-' where it gives none."""
    return '-' if value is None else f'{value:g}'


def table_of_figures(
    header: list[str], lines: list[list[str]], title: str | None = None, left: int = 1
) -> Table:
    """A table to print, whose first ``left`` columns are text and the others figures."""
    table = Table(title=title, title_justify='left', box=box.SIMPLE_HEAD)
    for index, name in enumerate(header):
        table.add_column(name, justify='left' if index < left else 'right', no_wrap=True)
    for line in lines:
        table.add_row(*line)
    return table
