"""Attention in any network: modules beside its own, run by hooks, its keys untouched."""

import inspect
import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from mmengine.model import BaseModule
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from mmattn.attention.entries import Entry, read_entries
from mmattn.insertion.dry_run import Layout, layout_of, map_size, observe, size_hint, tensors_of
from mmattn.insertion.patterns import KEYS, Place, choose, find_places
from mmattn.insertion.presets import preset_places
from mmattn.utils.errors import InvalidArgument, InvalidValue, UserError

# Children that are run, or looked at, by the order they are in: nothing is put beside them.
CONTAINERS = (nn.Sequential, nn.ModuleList, nn.ModuleDict)


def insert_attention(
    network: nn.Module,
    attention: dict | Sequence[dict],
    inputs: Sequence[tuple] | None = None,
    freeze_attention: bool = False,
) -> nn.Module:
    """Put attention on features of a network that knows nothing of it.

    The network's own modules, keys and outputs stay as they are but for the attention, whose
    weights lie beside those of the module that it attends to, as ``attn_output`` or
    ``attn_input``. Where the network freezes stages in its ``train``, attention in them keeps
    training. A module that is called several times in a pass, with maps of one shape, is
    attended to each time, with the same weights.

    Args:
        network: Any module that is called with images: of torchvision, timm, the toolboxes, your
            own. It is changed, and returned.
        attention: A dict or a list of dicts: ``type``, the attention's own arguments, and
            ``at``: shell patterns of names of modules, whose outputs are attended to (with
            ':input' at the end: their inputs); without it the network's usual places, of which
            ``position`` chooses 'inner', 'outer' or 'before_norm' (default: the paper's).
            ``stages``: a bool for each stage among the places; ``blocks``: 'first', 'last',
            'every 2nd', or indices of the blocks in each stage.
            ``channels``: of maps (N, C, H, W), if the network cannot be run to find them.
        inputs: Arguments of calls of the network to find the channels with; default an image.
        freeze_attention: Leave attention in frozen stages frozen, too.

    Raises:
        TypeError: If ``attention`` has another form.
        KeyError: If an attention or a module is not there; names those that are near.
        ValueError: If what passes a place is no map, or has channels that the attention refuses.
    """
    entries = read_entries(attention, KEYS)
    wanted = [places_of(network, entry) for entry in entries]
    unknown = dict.fromkeys(
        place
        for entry, places in zip(entries, wanted, strict=True)
        for place in places
        if entry.place.get('channels') is None
    )
    layouts, size = {}, None
    if unknown:
        seen, sizes = observe(network, list(unknown), inputs)
        layouts = {place: layout_of(place, seen[place], sizes) for place in unknown}
        size = sizes[0]
    image = Image(*(size if size is not None and len(size) == 2 else (0, 0)))
    slots = []
    for entry, places in zip(entries, wanted, strict=True):
        for place in places:
            layout = layouts.get(place) or Layout('NCHW', entry.place['channels'])
            slots.append(_fill(network, place, entry, layout, image))
    if slots:
        attend(network, slots, image, freeze_attention)
    return network


def places_of(network: nn.Module, entry: Entry) -> list[Place]:
    """Where an entry's attention goes, in the order of the network."""
    at, position = entry.place.get('at'), entry.place.get('position')
    if at is None:
        places = preset_places(network, entry.cls.placement if position is None else position)
    elif position is not None:
        raise InvalidArgument(f'position={position!r} and at={at!r} both say where; give one')
    else:
        places = find_places(network, at)
    return choose(places, entry.place)


@dataclass
class Image:
    """Size of the image that is in the network, from which that of a map of tokens follows."""

    height: int
    width: int

    def __call__(self, module: nn.Module, args: tuple) -> None:
        found = [one for one in tensors_of(args) if one.dim() == 4]
        if found:
            self.height, self.width = found[0].shape[2:]


@dataclass
class Slot:
    """Runs an attention on what passes a module; a forward hook of it.

    An object, not a closure, so that a copy of the network has hooks that run its own attention.
    """

    path: str  # of the module in the network
    side: str
    holder: nn.Module
    name: str  # of the attention in its holder
    layout: Layout
    image: Image
    norm: str = ''  # which must not be folded into the convolution in front of the attention

    def __call__(self, module: nn.Module, args: tuple, kwargs: dict, *output: Any) -> Any:
        if self.side == 'input':
            return self._replace(args, args, kwargs), kwargs
        return self._replace(output[0], args, kwargs)

    def _replace(self, value: Any, args: tuple, kwargs: Mapping) -> Any:
        """``value`` with its one tensor attended to."""
        if isinstance(value, Tensor):
            return self._attend(value, args, kwargs)
        if isinstance(value, (list, tuple)) and tensors_of(value):
            made = [self._replace(part, args, kwargs) for part in value]
            return type(value)(*made) if hasattr(value, '_fields') else type(value)(made)
        return value

    def _attend(self, x: Tensor, args: tuple, kwargs: Mapping) -> Tensor:
        attention = getattr(self.holder, self.name)
        if self.layout.kind == 'NHWC':
            return attention(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
        if self.layout.kind != 'NLC':
            return attention(x)
        height, width = self._map_size(x, args, kwargs)
        extra = x.shape[1] - height * width
        tokens = x[:, extra:].transpose(1, 2).reshape(x.shape[0], -1, height, width)
        tokens = attention(tokens).flatten(2).transpose(1, 2)
        return torch.cat((x[:, :extra], tokens), 1) if extra else tokens

    def _map_size(self, x: Tensor, args: tuple, kwargs: Mapping) -> tuple[int, int]:
        hint = size_hint(args, kwargs, x.shape)
        if hint is not None:
            return hint
        size = map_size((self.image.height, self.image.width), self.layout.stride)
        if math.prod(size) + self.layout.extra != x.shape[1]:
            raise InvalidValue(
                f'attention at {self.path}: {x.shape[1]} tokens are not {size[0]} x {size[1]} of '
                f'an image of {self.image.height} x {self.image.width} and {self.layout.extra} more'
            )
        return size

    def hook_onto(self, network: nn.Module) -> None:
        """Hook onto the module at ``path``, unless that is done."""
        try:
            module = network.get_submodule(self.path)
        except AttributeError as error:
            raise UserError(
                f'the attention at {self.path} has lost its module, which was fused or replaced; '
                'put it on a whole block'
            ) from error
        if self.norm and not isinstance(network.get_submodule(self.norm), _BatchNorm):
            raise UserError(
                f'the attention at {self.path} lies between a convolution and its norm, '
                f'{self.norm}, which were fused; put it behind the norm'
            )
        if not isinstance(module, CONTAINERS) and module is not self.holder:
            # A SyncBN takes over what was in the BN that it replaces, an Identity does not.
            if self.name not in module._modules:
                module.add_module(self.name, getattr(self.holder, self.name))
            self.holder = module
        before = self.side == 'input'
        hooks = module._forward_pre_hooks if before else module._forward_hooks
        if all(hook is not self for hook in hooks.values()):
            register = module.register_forward_pre_hook if before else module.register_forward_hook
            register(self, with_kwargs=True)


def _holder(network: nn.Module, module: nn.Module) -> nn.Module:
    """What an attention is a child of: the module itself, or the last suitable one in a container.

    Not a norm, which a fused network has no more, nor a module of several names, under each of
    which the attention would be in the checkpoint.
    """
    if not isinstance(module, CONTAINERS):
        return module
    names = Counter(one for _, one in network.named_modules(remove_duplicate=False))
    while isinstance(module, CONTAINERS):
        children = list(module.children())
        kept = [one for one in children if not isinstance(one, _BatchNorm) and names[one] == 1]
        module = (kept or children)[-1]
    return module


def _fill(network: nn.Module, place: Place, entry: Entry, layout: Layout, image: Image) -> Slot:
    """Build the attention of a place, and put it beside the module's own weights."""
    module = network.get_submodule(place.module)
    holder = _holder(network, module)
    name, taken = f'attn_{place.side}', 0
    while hasattr(holder, name):
        taken += 1
        name = f'attn_{place.side}_{taken}'
    defaults = entry.cls.slot_defaults(max(0, round(math.log2(layout.stride)) - 2))
    synced = any(isinstance(one, nn.SyncBatchNorm) for one in network.modules())
    if synced and 'norm_cfg' in inspect.signature(entry.cls).parameters:
        defaults['norm_cfg'] = dict(type='SyncBN')
    try:
        attention = entry.cls(layout.channels, **{**defaults, **entry.arguments})
    except ValueError as error:
        raise InvalidValue(f'attention at {place}: {error}') from error
    if layout.kind in ('NCL', 'NCDHW') and not attention.any_dims:
        raise InvalidValue(
            f'attention at {place}: {entry.cls.__name__} takes maps (N, C, H, W), not {layout.kind}'
        )
    holder.add_module(name, attention)
    norm = _keep_from_fusing(network, place)
    return Slot(place.module, place.side, holder, name, layout, image, norm)


def _keep_from_fusing(network: nn.Module, place: Place) -> str:
    """Put the norm that is, or follows, a place in front of its siblings; names stay.

    mmcv's ``fuse_conv_bn`` folds a norm into the convolution that is registered before it, and
    an attention on either would be passed over. In a container the order is that of the run:
    returns the name of a norm there behind the attention.
    """
    parent_name, _, child = place.module.rpartition('.')
    parent = network.get_submodule(parent_name)
    names = list(parent._modules)
    index = names.index(child)
    near = names[index : index + (1 if place.side == 'input' else 2)]
    norms = [name for name in near if isinstance(parent._modules[name], _BatchNorm)]
    if isinstance(parent, CONTAINERS):
        behind = [name for name in norms if name != child or place.side == 'input']
        return f'{parent_name}.{behind[0]}'.lstrip('.') if behind else ''
    for name in norms:
        others = dict(parent._modules)
        parent._modules.clear()
        parent._modules.update({name: others[name], **others})
    return ''


class Attended(nn.Module):
    """What a network with attention in it is, beside its own class."""

    slots: Sequence[Slot] = ()
    freeze_attention = False

    def train(self, mode: bool = True) -> nn.Module:
        """As the network's own; attention in stages that it freezes stays as it is."""
        for slot in self.slots:
            # SyncBN conversion puts other modules in place of those that have the hooks.
            slot.hook_onto(self)
        attentions = [getattr(slot.holder, slot.name) for slot in self.slots]
        trained = {p: p.requires_grad for one in attentions for p in one.parameters()}
        super().train(mode)
        if not self.freeze_attention:
            for attention in attentions:
                attention.train(mode)
            for parameter, flag in trained.items():
                parameter.requires_grad = flag
        return self

    def __reduce_ex__(self, protocol: int) -> tuple:
        # The class is made when it is needed, and has no name that pickle could find.
        made = super().__reduce_ex__(protocol)
        return (_blank, (type(self).__mro__[2],), *made[2:])


CLASSES: dict[type, type] = {}


def attended_class(cls: type) -> type:
    """The class of a network with attention, by the class without."""
    if cls not in CLASSES:
        members = dict(__doc__=cls.__doc__, __module__=cls.__module__)
        if hasattr(cls, 'init_weights'):
            members['init_weights'] = _init_weights
        if hasattr(cls, 'switch_to_deploy'):
            members['switch_to_deploy'] = _switch_to_deploy
        CLASSES[cls] = type(cls.__name__, (Attended, cls), members)
    return CLASSES[cls]


def _init_weights(network: nn.Module, *args, **kwargs) -> None:
    """As the network's own; what another library initialises are its own layers.

    timm's networks walk over all that is in them, and take every linear layer to have a bias.
    """
    parts = [part for part in (network, *network.children()) if hasattr(part, 'init_weights')]
    foreign = [part for part in parts if not isinstance(part, BaseModule)]
    own = partial(super(type(network), network).init_weights, *args, **kwargs)
    if network in foreign:
        _without_attention(network, own)
        return
    for part in foreign:
        part.init_weights = partial(_without_attention, network, part.init_weights)
    try:
        own()
    finally:
        for part in foreign:
            del part.init_weights


def _without_attention(network: nn.Module, call: Callable[[], None]) -> None:
    """Call with the network's attention taken out of it."""
    taken = [(slot.holder, slot.name, getattr(slot.holder, slot.name)) for slot in network.slots]
    for holder, name, _ in taken:
        delattr(holder, name)
    try:
        call()
    finally:
        for holder, name, attention in taken:
            holder.add_module(name, attention)


def _switch_to_deploy(network: nn.Module, *args, **kwargs) -> None:
    """As the network's own; refused if an attention has lost its module."""
    super(type(network), network).switch_to_deploy(*args, **kwargs)
    for slot in network.slots:
        slot.hook_onto(network)


def _blank(cls: type) -> nn.Module:
    return attended_class(cls).__new__(attended_class(cls))


def attend(network: nn.Module, slots: list[Slot], image: Image, freeze_attention: bool) -> None:
    """Make a network one that runs its slots."""
    if isinstance(network, Attended):
        network.slots += slots
    else:
        network.__class__ = attended_class(type(network))
        network.slots = slots
    network.freeze_attention = freeze_attention
    if any(slot.layout.kind == 'NLC' for slot in slots):
        network.register_forward_pre_hook(image)
    for slot in slots:
        slot.hook_onto(network)
    if freeze_attention:
        network.train(network.training)
