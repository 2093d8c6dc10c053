"""What a network is made of, and where attention would go: ``python -m mmattn places``."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from importlib import import_module

from mmengine.config import DictAction
from mmengine.registry import MODELS, DefaultScope
from rich.console import Console
from rich.table import Table
from torch import nn

from mmattn.attention.entries import read_entries
from mmattn.insertion.dry_run import Layout, layout_of, observe
from mmattn.insertion.insert import places_of
from mmattn.insertion.patterns import KEYS, Place
from mmattn.insertion.presets import PLACEMENTS, preset_of, preset_places
from mmattn.utils.errors import UnknownName, UserError, did_you_mean, one_line

TOOLBOXES = ('mmpretrain', 'mmdet', 'mmseg')


def build_network(name: str, arguments: Mapping) -> nn.Module:
    """A network by its name in the toolboxes, 'timm.NAME' or 'torchvision.models.NAME'.

    Args:
        name: A registered type, with or without its scope ('CSPNeXt', 'mmdet.CSPNeXt').
        arguments: Its own.

    Raises:
        KeyError: If there is none of this name.
        UserError: If it refuses its arguments.
    """
    scope, _, rest = name.partition('.')
    try:
        if scope == 'timm':
            return import_module('timm').create_model(rest, **arguments)
        if scope == 'torchvision':
            return import_module('torchvision.models').get_model(rest.split('.')[-1], **arguments)
        for toolbox in [scope] if rest else TOOLBOXES:
            with suppress(ImportError):
                import_module(f'{toolbox}.models')
            with DefaultScope.overwrite_default_scope(toolbox):
                with MODELS.switch_scope_and_registry(toolbox) as registry:
                    known = registry.get(name) is not None
                if known:
                    return MODELS.build(dict(type=name, **arguments))
    except (AssertionError, KeyError, TypeError, ValueError, RuntimeError, ImportError) as error:
        raise UserError(f'{name} cannot be built: {one_line(error)}') from error
    names = {kind for one in MODELS.children.values() for kind in one.module_dict}
    raise UnknownName(f'no network {name!r} is registered.{did_you_mean(name, names)}')


def parse_arguments(words: Sequence[str]) -> dict:
    """``['depth=18', 'arch=b0']`` -> a dict, with values as --cfg-options has them."""
    arguments = {}
    for word in words:
        key, equals, value = word.partition('=')
        if not equals:
            raise UserError(f'{word!r}: arguments of the network are KEY=VALUE')
        arguments[key] = DictAction._parse_iterable(value)
    return arguments


def print_places(network: nn.Module, attention: dict | None, depth: int) -> None:
    """Print a network's parts with their maps, its usual places, and those of an attention.

    Args:
        network: The network.
        attention: A dict as in :func:`insert_attention`; None for none.
        depth: How many parts of a name are shown.
    """
    marks: dict[Place, list[str]] = {}
    if preset_of(network):
        for placement in PLACEMENTS:
            with suppress(UserError):
                for place in preset_places(network, placement):
                    marks.setdefault(place, []).append(placement)
    (entry,) = read_entries(attention, KEYS) if attention else (None,)
    chosen = set(places_of(network, entry)) if entry else set()
    names = [name for name, _ in network.named_modules() if name]
    seen, sizes = observe(network, [Place(name) for name in names])
    layouts = {}
    for place, one in seen.items():
        with suppress(UserError):
            layouts[place.module] = layout_of(place, one, sizes)
    table = Table(title=f'{type(network).__name__}, input {sizes[0][0]} x {sizes[0][1]}')
    table.add_column('module', no_wrap=True)
    table.add_column('type')
    table.add_column('channels', justify='right')
    table.add_column('1 / size', justify='right')
    table.add_column('places')
    if entry:
        table.add_column(entry.cls.__name__, justify='center')
    rows: list[list[str]] = []
    wanted = {place.module for place in (*marks, *chosen)}
    for name in names:
        if name.count('.') >= depth and name not in wanted:
            continue
        kind = type(network.get_submodule(name)).__name__
        places = [Place(name), Place(name, 'input')]
        words = [
            word if place.side == 'output' else f'{word} (input)'
            for place in places
            for word in marks.get(place, ())
        ]
        row = [name, kind, *_map(layouts.get(name)), ', '.join(words)]
        rows.append([*row, '*' if chosen & set(places) else ''] if entry else row)
    for row in rows:
        table.add_row(*row)
    console = Console()
    console.print(table)
    if entry:
        console.print(f'{entry.cls.__name__} goes to {len(chosen)} places, marked *.')
    elif not marks:
        console.print("No usual places are known: give at='PATTERN' of these names.")


def _map(layout: Layout | None) -> tuple[str, str]:
    if layout is None:
        return '', ''
    tokens = f' + {layout.extra}' if layout.extra else ''
    return str(layout.channels), f'{layout.stride}{tokens}'
