"""What a network is made of, and where attention would go: ``python -m mmattn places``."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from importlib import import_module
from typing import Any

from mmengine.config import DictAction
from mmengine.registry import MODELS, DefaultScope
from rich import box
from rich.console import Console
from rich.table import Table
from torch import nn

from mmattn.attention import Attention
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


def network_of(backbone: Mapping, scope: str | None) -> tuple[nn.Module, Any]:
    """The network of a config's ``model.backbone``.

    Args:
        backbone: The config. Attention of ``mmattn.AnyBackbone`` is left out of it; our own
            backbones hold theirs in slots.
        scope: The config's ``default_scope``.

    Returns:
        The network, and the attention that was left out.

    Raises:
        UserError: If it cannot be built.
    """
    backbone = dict(backbone)
    attention = None
    if str(backbone.get('type')).rpartition('.')[2] == 'AnyBackbone':
        attention = backbone.pop('attention', None)
        backbone.pop('freeze_attention', None)
        backbone['type'] = backbone.pop('network', None)
    with DefaultScope.overwrite_default_scope(scope):
        try:
            return MODELS.build(backbone), attention
        except (AssertionError, KeyError, TypeError, ValueError, ImportError) as error:
            raise UserError(f'model.backbone cannot be built: {one_line(error)}') from error


def print_places(network: nn.Module, attention: Any, depth: int) -> None:
    """Print a network's parts with their maps, its usual places, and those of attention.

    Args:
        network: The network. Attention that is in it already is shown.
        attention: As :func:`insert_attention` takes it; None for none.
        depth: How many parts of a name are shown.
    """
    marks: dict[Place, list[str]] = {}
    if preset_of(network):
        for placement in PLACEMENTS:
            with suppress(UserError):
                for place in preset_places(network, placement):
                    marks.setdefault(place, []).append(placement)
    entries = read_entries(attention, KEYS)
    chosen: dict[Place, list[str]] = {}
    for entry in entries:
        for place in places_of(network, entry):
            chosen.setdefault(place, []).append(entry.cls.__name__)
    own = _attention_in(network)
    layouts, title = _layouts(network)
    shown = {place.module for place in (*marks, *chosen)} | set(own)
    table = Table(title=title, title_justify='left', box=box.SIMPLE_HEAD)
    for name in ('module', 'type', 'channels', '1 / size', 'usual places'):
        right = name in ('channels', '1 / size')
        table.add_column(name, justify='right' if right else 'left', no_wrap=True)
    if chosen or own:
        table.add_column('attention', no_wrap=True)
    for name, module in network.named_modules():
        inside = any(name.startswith(f'{path}.') for path in own)
        if not name or inside or (name.count('.') >= depth and name not in shown):
            continue
        ends = [(Place(name), ''), (Place(name, 'input'), ' (input)')]
        words = [f'{word}{end}' for place, end in ends for word in marks.get(place, ())]
        goes = [f'{word}{end}' for place, end in ends for word in chosen.get(place, ())]
        goes += [own[name]] if name in own else []
        row = [name, type(module).__name__, *_map(layouts.get(name)), ', '.join(words)]
        table.add_row(*row, *([', '.join(goes)] if chosen or own else []))
    # To a file or a pipe as wide as it is.
    console = Console(highlight=False)
    console = console if console.is_terminal else Console(width=1000, highlight=False)
    console.print(table)
    if chosen or own:
        number = sum(map(len, chosen.values())) + len(own)
        names = dict.fromkeys([*(entry.cls.__name__ for entry in entries), *own.values()])
        verb = 'would go to' if chosen else 'is at'
        console.print(f'{", ".join(names)} {verb} {number} place{"s" * (number != 1)}.')
    elif not marks:
        console.print("No usual places are known: give at='PATTERN' of these names.")


def _attention_in(network: nn.Module) -> dict[str, str]:
    """Name of a module -> kind, of attention in it that is no part of another."""
    found: dict[str, str] = {}
    for name, module in network.named_modules():
        part = any(name.startswith(f'{path}.') for path in found)
        if isinstance(module, Attention) and not part:
            found[name] = type(module).__name__
    return found


def _layouts(network: nn.Module) -> tuple[dict[str, Layout], str]:
    """How the maps of modules lie; a title that says of which image, or why nothing is known."""
    names = [name for name, _ in network.named_modules() if name]
    try:
        seen, sizes = observe(network, [Place(name) for name in names])
    except UserError as error:
        return {}, str(error).partition('; give channels')[0]
    layouts = {}
    for place, one in seen.items():
        with suppress(UserError):
            layouts[place.module] = layout_of(place, one, sizes)
    return layouts, f'{type(network).__name__}, input {" x ".join(map(str, sizes[0]))}'


def _map(layout: Layout | None) -> tuple[str, str]:
    if layout is None:
        return '', ''
    tokens = f' + {layout.extra}' if layout.extra else ''
    return str(layout.channels), f'{layout.stride}{tokens}'
