#!/usr/bin/env python
"""Compare training runs: means over seeds, tests, effect sizes, intervals, what each costs."""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from arguments import exit_status, parser_of

EPILOG = """\
Runs of one data set, config and attention that differ in their seeds are a group; each is compared
with the group without attention, in pairs of the same seed. Where runs hold per_image.json,
{image: score}, which --images writes, the comparison is made over images, too. Unfinished runs,
and those without the metric, are named and left out.

examples:
  compare_runs.py work_dirs/study
  compare_runs.py work_dirs/study --metric top1 --plot study.png --format markdown --out study.md
  compare_runs.py work_dirs/res2net-1 --metric "100 - top1" --baseline res2net29_cifar10
  compare_runs.py work_dirs/study --images
  compare_runs.py --published
"""


def parse_args() -> argparse.Namespace:
    """Read the command line; nothing heavy is imported for it."""
    parser = parser_of(__doc__, epilog=EPILOG)
    parser.add_argument(
        'runs', nargs='*', metavar='RUN', help='work dir of a run, or a folder that holds several'
    )
    parser.add_argument(
        '--metric',
        metavar='NAME',
        help='such as top1 or coco/bbox_mAP, "100 - NAME" for an error; default the one that the '
        'runs choose their best checkpoint by. It is that of the last validation',
    )
    parser.add_argument(
        '--baseline',
        metavar='NAME',
        help="a group, an attention or a config; default 'none', without attention",
    )
    parser.add_argument(
        '--no-sizes', action='store_true', help='do not count parameters and multiply-adds'
    )
    parser.add_argument(
        '--images',
        action='store_true',
        help='first score each image of the validation data, with the last checkpoints of the '
        'runs that have not yet: whether it is right, mean IoU, or F1 of boxes',
    )
    parser.add_argument(
        '--published',
        action='store_true',
        help="instead of runs: what follows from the SE-Res2Net report's own figures",
    )
    parser.add_argument(
        '--format', choices=['text', 'csv', 'markdown'], default='text', help='default text'
    )
    parser.add_argument('--out', metavar='FILE', help='write to FILE instead of the terminal')
    parser.add_argument(
        '--plot',
        metavar='FILE',
        help='draw means and differences with their intervals (.png, .pdf, .svg); the ranks of '
        'three groups or more into FILE_ranks',
    )
    args = parser.parse_args()
    if bool(args.runs) == args.published:
        parser.error('give either runs or --published')
    others = (args.metric, args.baseline, args.plot, args.no_sizes, args.images)
    if args.published and any(others):
        parser.error('--published takes no other option than --format and --out')
    return args


def main(args: argparse.Namespace) -> None:
    from mmattn.analysis import published, tables
    from mmattn.utils.files import write_or_print

    if args.published:
        sections = published.sections()
        write_or_print(args.out, tables.render_sections(sections, args.format))
        return
    write_or_print(args.out, tables.render_sections(compare(args), args.format, key=2))


def compare(args: argparse.Namespace) -> list:
    """The tables of the runs; draws them, too, where that is asked for."""
    from rich.console import Console
    from rich.progress import track

    from mmattn.analysis import comparison, comparison_plots, comparison_tables, ranks
    from mmattn.analysis.groups import collect
    from mmattn.analysis.runs import read_runs
    from mmattn.utils.errors import UserError

    console = Console(stderr=True)
    bar = {'console': console, 'disable': not console.is_terminal}
    runs, unread = read_runs(args.runs)
    if args.images:
        from mmattn.analysis.per_image import score_run

        for run in (one for one in runs if one.finished and one.per_image is None):
            try:
                score_run(run)
            except UserError as error:
                unread.append(f'{run.name}: its images are not scored: {error}')
        runs, _ = read_runs(args.runs)
    groups, left_out = collect(runs, args.metric)
    comparisons, known = comparison.compare(groups, args.baseline)
    sizes, unsized = {}, []
    if not args.no_sizes:
        sizes, unsized = comparison.complexities(groups, lambda all: track(all, 'counting', **bar))
    sections = [
        comparison_tables.group_section(groups, sizes, [*unread, *left_out, *unsized]),
        comparison_tables.comparison_section(comparisons, sizes, known),
        comparison_tables.image_section(comparisons),
    ]
    ranked = None
    if len(groups) >= ranks.FEWEST_GROUPS:
        try:
            ranked = ranks.rank(groups)
            sections.append(ranks.section(ranked))
        except UserError as error:
            sections[0].notes.append(str(error))
    if args.plot:
        plot = Path(args.plot)
        comparison_plots.plot_comparison(plot, groups, comparisons)
        console.print(f'written: {plot}', soft_wrap=True)
        if ranked:
            plot = plot.with_stem(f'{plot.stem}_ranks')
            comparison_plots.plot_ranks(plot, ranked)
            console.print(f'written: {plot}', soft_wrap=True)
    if args.format == 'csv':  # which has no place for notes
        for note in (note for section in sections for note in section.notes if note):
            console.print(f'note: {note}', markup=False, soft_wrap=True)
    return sections


if __name__ == '__main__':
    sys.exit(exit_status(main, parse_args()))
