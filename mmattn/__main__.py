"""``python -m mmattn``: commands about the installation."""

import argparse
import sys
from pathlib import Path

from mmattn import __version__
from mmattn.doctor import run_doctor


def build_parser() -> argparse.ArgumentParser:
    """The parser, one subcommand each; ``run`` is the function behind it."""
    parser = argparse.ArgumentParser(prog='python -m mmattn', description=__doc__)
    parser.add_argument('--version', action='version', version=f'mmattn {__version__}')
    commands = parser.add_subparsers(dest='command', required=True, metavar='COMMAND')

    text = 'what is installed, whether it works together, and how to mend what does not'
    doctor = commands.add_parser('doctor', help=text, description=text)
    doctor.set_defaults(run=lambda args: run_doctor())

    text = 'every attention: what it does, its arguments, its cost'
    attention = commands.add_parser('attention', help=text, description=text)
    attention.add_argument(
        '--write', metavar='FILE', help='write the whole page as Markdown instead of a table'
    )
    attention.set_defaults(run=_attention)

    text = 'every row of the tables of the papers: its figures, and the command that runs it'
    rows = commands.add_parser('experiments', help=text, description=text)
    rows.add_argument('--table', help='only this table, such as scsa-4')
    rows.add_argument('--config', metavar='TEXT', help='only configs whose name contains TEXT')
    rows.add_argument('--attention', help="only this attention; 'none' for the plain networks")
    rows.add_argument('--commands', action='store_true', help='only the commands, one a line')
    rows.set_defaults(run=_experiments)

    text = 'write the pages of the model zoo: configs/README.md, configs/metafiles, model-index.yml'
    zoo = commands.add_parser('zoo', help=text, description=text)
    zoo.add_argument(
        '--measure', action='store_true', help='measure all sizes again first (takes minutes)'
    )
    zoo.set_defaults(run=_zoo)

    text = 'where a data set comes from, how its folder has to look, and what of it is there'
    data = commands.add_parser('data', help=text, description=text)
    data.add_argument('name', nargs='?', metavar='NAME', help='which one; without it a list')
    data.add_argument('--data-root', metavar='DIR', help='its folder, if not the default one')
    data.set_defaults(run=_data)

    text = 'the version of mmattn'
    version = commands.add_parser('version', help=text, description=text)
    version.set_defaults(run=lambda args: print(f'mmattn {__version__}') or 0)
    return parser


def _attention(args: argparse.Namespace) -> int:
    # Imported here: the doctor has to run without a stack.
    from mmattn import attention_page

    if args.write is None:
        attention_page.print_table()
    else:
        Path(args.write).write_text(attention_page.render(), encoding='utf-8')
        print(f'written: {args.write}')
    return 0


def _experiments(args: argparse.Namespace) -> int:
    from mmattn.experiments import find_experiments
    from mmattn.experiments.listing import print_experiments

    try:
        found = find_experiments(args.table, args.config, args.attention)
    except (KeyError, ValueError) as error:
        print(f'error: {error.args[0]}', file=sys.stderr)
        return 2
    print_experiments(found, args.commands)
    return 0


def _zoo(args: argparse.Namespace) -> int:
    from rich.console import Console
    from rich.progress import track

    from mmattn.engine.config import shipped_configs_dir
    from mmattn.experiments import zoo

    configs_dir = shipped_configs_dir()
    if configs_dir is None or configs_dir.parent.name == '.mim':
        print('error: these pages belong to a checkout; this mmattn is installed.', file=sys.stderr)
        return 2
    root = configs_dir.parent
    if args.measure:
        console = Console(stderr=True)
        bar = {'console': console, 'disable': not console.is_terminal}
        sizes = zoo.measure_all(configs_dir, lambda all: track(all, 'measuring', **bar))
        zoo.write_sizes(sizes)
    try:
        pages = zoo.render_pages(root)
    except KeyError as error:
        print(f'error: {error.args[0]}', file=sys.stderr)
        return 2
    for path, text in pages.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding='utf-8')
        print(f'written: {path.relative_to(root)}')
    return 0


def _data(args: argparse.Namespace) -> int:
    from mmattn import data_guide

    if args.name is None and args.data_root is None:
        return data_guide.print_data_sets()
    if args.name is None:
        print('error: --data-root needs the NAME of a data set before it.', file=sys.stderr)
        return 2
    try:
        data_set = data_guide.find_data_set(args.name)
    except KeyError as error:
        print(f'error: {error.args[0]}', file=sys.stderr)
        return 2
    return data_guide.print_data_set(data_set, args.data_root)


def main(argv: list[str] | None = None) -> int:
    """Run a command; returns its exit status."""
    args = build_parser().parse_args(argv)
    return args.run(args)


if __name__ == '__main__':
    raise SystemExit(main())
