"""Look around in mmattn: the installation, the attentions, the data sets, the tables."""

import argparse
import sys
from collections.abc import Callable

from mmattn import __version__
from mmattn.doctor import build_kernels, run_doctor
from mmattn.utils.errors import UserError, run

EPILOG = """\
'python -m mmattn COMMAND --help' says more about a command.
Training and testing are scripts: tools/train.py, tools/test.py.
"""


def build_parser() -> argparse.ArgumentParser:
    """The parser, one subcommand each; ``run`` is the function behind it."""
    parser = argparse.ArgumentParser(
        prog='python -m mmattn',
        description=__doc__,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument('-V', '--version', action='version', version=f'mmattn {__version__}')
    commands = parser.add_subparsers(dest='command', title='commands', metavar='COMMAND')

    def add(name: str, run: Callable, text: str) -> argparse.ArgumentParser:
        description = f'{text[0].upper()}{text[1:]}.'
        command = commands.add_parser(name, help=text, description=description)
        command.set_defaults(run=run)
        return command

    add('doctor', lambda _: run_doctor(), 'what is installed, and how to mend what does not fit')
    text = 'the attentions: what each does, its place, its arguments'
    add('attention', _attention, text).add_argument('--write', help=argparse.SUPPRESS)
    data = add('data', _data, 'the data sets: where to get them, what of them is here')
    data.add_argument('name', nargs='?', metavar='NAME', help='which one; without it a list')
    data.add_argument('--data-root', metavar='DIR', help='its folder, if not the default one')
    data.add_argument(
        '--verify', metavar='CONFIG', help="read every image and annotation of a config's data sets"
    )
    data.add_argument(
        '--cfg-options',
        nargs='+',
        default=[],
        metavar='KEY=VALUE',
        help='with --verify: change the config',
    )
    text = "the papers' tables: the figures and the command of each row"
    rows = add('experiments', _experiments, text)
    rows.epilog = (
        'tools/run_table.py runs a whole table, and prints our results beside the figures.'
    )
    rows.add_argument('--table', metavar='NAME', help='only this table, such as scsa-4')
    rows.add_argument('--config', metavar='TEXT', help='only configs whose name contains TEXT')
    rows.add_argument(
        '--attention', metavar='NAME', help="only this attention; 'none' for the plain networks"
    )
    rows.add_argument('--commands', action='store_true', help='only the commands, one a line')
    text = "a network's parts, their channels, and where attention goes"
    places = add('places', _places, text)
    places.add_argument(
        'network', metavar='NETWORK', help='CSPNeXt, mmseg.UNet, timm.resnet50 ... or a config'
    )
    places.add_argument(
        'arguments',
        nargs='*',
        metavar='KEY=VALUE',
        help="the network's own, such as depth=18; options of a config",
    )
    places.add_argument('--attention', metavar='NAME', help='mark where this attention would go')
    places.add_argument('--at', nargs='+', metavar='PATTERN', help='... or these patterns')
    places.add_argument('--depth', type=int, default=3, metavar='N', help='of names; default 3')
    advise = add('advise', _advise, 'what each attention costs in the network of a config')
    advise.epilog = (
        'Measured on this machine, in turns with the plain network, some seconds each. Beside it '
        'what papers report for the task; no run of yours is predicted.'
    )
    advise.add_argument('config', metavar='CONFIG', help='a file, mmdet::..., or a shipped name')
    advise.add_argument(
        '--budget', metavar='SHARE', help='leave out what slows, or adds, more than that: 2%%'
    )
    advise.add_argument('--attention', nargs='+', default=[], metavar='NAME', help='only these')
    advise.add_argument('--task', metavar='TASK', help='whose published figures; default its own')
    advise.add_argument('--shape', nargs=2, type=int, metavar=('H', 'W'), help='of the images')
    advise.add_argument('--batch-size', type=int, default=2, metavar='N', help='default 2')
    advise.add_argument('--device', help='cpu, cuda ...; default a GPU if there is one')
    advise.add_argument('--cfg-options', nargs='+', default=[], metavar='KEY=VALUE')
    advise.add_argument('--plot', metavar='FILE', help='draw costs against each other')
    advise.add_argument('--format', choices=['text', 'markdown', 'csv'], default='text')
    report = add('report', _report, 'one page about training runs, to open in a browser')
    report.epilog = "Needs plotly: pip install 'mmattn[analysis]'. The page needs no network."
    report.add_argument(
        'runs', nargs='+', metavar='RUN', help='work dirs of runs, or folders that hold some'
    )
    report.add_argument('--out', default='report.html', metavar='FILE', help='default report.html')
    add(
        'build-kernels',
        lambda _: build_kernels(),
        'compile the attention kernels for CPUs',
    )
    add('version', lambda _: print(f'mmattn {__version__}'), 'the version of mmattn')
    # Without a help text it is not listed.
    zoo = commands.add_parser('zoo')
    zoo.add_argument('--measure', action='store_true')
    zoo.set_defaults(run=_zoo)
    return parser


def _attention(args: argparse.Namespace) -> None:
    if args.write is not None:
        command = 'uv run --group docs sphinx-build docs site'
        raise UserError(f'the pages are written in a checkout now: {command}')
    # Imported here: the doctor has to run without a stack.
    from mmattn.attention.listing import print_table

    print_table()


def _data(args: argparse.Namespace) -> int:
    from mmattn.datasets.guide_report import print_data_set, print_data_sets
    from mmattn.datasets.guides import find_guide

    if args.cfg_options and args.verify is None:
        raise UserError('--cfg-options changes the config of --verify CONFIG, which is missing.')
    if args.verify is not None:
        if args.name is not None:
            raise UserError(f'--verify CONFIG reads what the config names, not {args.name!r}.')
        from mmattn.engine.verify import verify

        return verify(args.verify, args.data_root, args.cfg_options)
    if args.name is None and args.data_root is None:
        return print_data_sets()
    if args.name is None:
        raise UserError('--data-root needs the NAME of a data set before it.')
    return print_data_set(find_guide(args.name), args.data_root)


def _experiments(args: argparse.Namespace) -> None:
    from mmattn.experiments import find_experiments
    from mmattn.experiments.listing import print_experiments

    print_experiments(find_experiments(args.table, args.config, args.attention), args.commands)


def _places(args: argparse.Namespace) -> None:
    from mmattn.insertion import listing

    attention = None
    if args.attention or args.at:
        attention = dict(type=args.attention or 'SE', **({'at': args.at} if args.at else {}))
    if _is_config(args.network):
        from mmattn.engine.prepare import prepare

        cfg = prepare(args.network, args.arguments)[0]
        if attention is not None and 'attention' in cfg.model.backbone:
            # Our own backbones have slots for it.
            cfg.model.backbone.attention = None
        network, own = listing.network_of(cfg.model.backbone, cfg.default_scope)
        attention = attention or own
    else:
        network = listing.build_network(args.network, listing.parse_arguments(args.arguments))
    listing.print_places(network, attention, args.depth)


def _is_config(name: str) -> bool:
    from mmattn.engine.config import shipped_configs

    return '::' in name or name.endswith('.py') or name in shipped_configs()


def _advise(args: argparse.Namespace) -> None:
    from rich.console import Console
    from rich.progress import track

    from mmattn.analysis import advise, networks, throughput
    from mmattn.engine.prepare import prepare

    budget = None if args.budget is None else advise.share(args.budget)
    console = Console(stderr=True)
    cfg, notes = prepare(args.config, args.cfg_options)
    for note in notes:
        console.print(f'note: {note}')
    setting = advise.default_setting(
        cfg, args.batch_size, size=args.shape, device=networks.usable_device(args.device)
    )
    throughput.steady_allocator()
    costs, parts = advise.advise(
        cfg,
        args.attention,
        budget,
        args.task,
        setting,
        lambda names: track(names, 'measuring', console=console, disable=not console.is_terminal),
    )
    print(advise.render(parts, args.format), end='')
    if args.plot:
        advise.plot(costs, args.plot)
        console.print(f'written: {args.plot}')


def _report(args: argparse.Namespace) -> None:
    from mmattn.analysis.report import write_report

    print(f'written: {write_report(args.runs, args.out)}')


def _zoo(args: argparse.Namespace) -> None:
    command = 'python docs/zoo.py' + (' --measure' if args.measure else '')
    raise UserError(f'the pages of the model zoo are written in a checkout now: {command}')


def main(argv: list[str] | None = None) -> int:
    """Run a command; returns its exit status."""
    parser = build_parser()
    args = parser.parse_args(argv)
    if args.command is None:
        parser.print_help(sys.stderr)
        return 2
    return run(lambda: args.run(args))


if __name__ == '__main__':
    raise SystemExit(main())
