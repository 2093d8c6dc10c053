"""What every attention has in common: its contract, warm start and key names."""

from collections.abc import Callable, Mapping
from typing import ClassVar, TypeAlias

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mmattn import kernels
from mmattn.attention import checks
from mmattn.kernels.primitive import cast, no_autocast
from mmattn.utils.errors import InvalidValue

Weights: TypeAlias = Mapping[str, Tensor]


class Attention(nn.Module):
    """Base class of all attentions.

    A subclass takes ``in_channels`` first, then its paper's hyperparameters,
    then ``warm_start``, and implements :meth:`attend`. Registered in
    ``mmattn.registry.MODELS`` it can be named in ``attention=dict(type=...)``.
    Its docstring holds its own arguments only.

    Args:
        in_channels: Channels C of the input, a positive integer.
        warm_start: Start as the exact identity: the output becomes
            ``x + warm_scale * (attend(x) - x)`` with the learned scalar
            ``warm_scale`` at 0, so that a network with pretrained weights keeps
            its outputs until training moves it.
        norm_cfg: In attentions with a norm layer, mmcv's config of it; None is a
            BatchNorm. A backbone fills in its own kind of BatchNorm (SyncBN, ...).

    Shape:
        Input and output: (N, C, H, W) with any H, W >= 1, in the dtype of the
        input, under autocast too; where ``any_dims`` says so, (N, C, L) and
        (N, C, D, H, W) as well.

    Raises:
        ValueError: If an argument, or the shape of the input, is not what its
            description asks for; the message has its value and what would be valid.
    """

    # mmcv's plugin mechanism names a module after it: `attn`, `attn_1`, ...
    _abbr_ = 'attn'

    # Where the paper puts it in a block: 'inner' on the features inside of the
    # block, 'before_norm' on those in front of their norm, 'outer' on the block's
    # output before the addition. A block turns it into one of its positions.
    placement: ClassVar[str] = 'outer'

    # Whether the formula names neither height nor width, so that the places may lie
    # in a sequence or a volume as well; of a class, or of an instance by its arguments.
    any_dims: bool = False

    # The original implementation's key names (prefixes) -> ours, and its keys
    # that hold what the constructor computes.
    original_keys: ClassVar[Mapping[str, str]] = {}
    dropped_keys: ClassVar[tuple[str, ...]] = ()

    # Parameters whose gradient the paper takes as constant in a part of the formula.
    detached: ClassVar[tuple[str, ...]] = ()

    def __init__(self, in_channels: int, warm_start: bool = False) -> None:
        super().__init__()
        checks.positive(self, 'in_channels', in_channels)
        self.in_channels = in_channels
        self.warm_start = warm_start
        scale = nn.Parameter(torch.zeros(1)) if warm_start else None
        self.register_parameter('warm_scale', scale)
        self._register_load_state_dict_pre_hook(_rename_original_keys, with_module=True)

    def init_own(self) -> None:
        """Initialise the layers for which the paper, or its code, says how.

        A constructor calls it last. It is called again where the ``init_cfg`` of a network,
        such as Kaiming for every convolution, has gone over them.
        """

    def apply(self, fn: Callable[[nn.Module], None]) -> 'Attention':
        """As ``nn.Module.apply``; behind an initialiser of MMEngine, :meth:`init_own`."""
        super().apply(fn)
        if getattr(fn, '__module__', None) == 'mmengine.model.weight_init':
            self.init_own()
        return self

    @classmethod
    def slot_defaults(cls, stage: int) -> dict:
        """Arguments whose default depends on the stage (from 0) of the backbone."""
        return {}

    @classmethod
    def own_name(cls, name: str) -> str | None:
        """A key of the original implementation -> ours; None for what it computes.

        Any other key, ours included, stays as it is.
        """
        if name in cls.dropped_keys:
            return None
        for old, new in cls.original_keys.items():
            if name == old or name.startswith(old + '.'):
                return new + name[len(old) :]
        return name

    def name_when_loaded(self, name: str) -> str | None:
        """What ``load_state_dict`` makes of a key: :meth:`own_name`, and mmattn 0.1's names."""
        if name == 'gamma' and name not in self._parameters:
            return 'warm_scale'
        return self.own_name(name)

    @classmethod
    def arguments_from(cls, channels: int, weights: Weights) -> dict:
        """Tell the arguments that a checkpoint was trained with from its weights.

        Args:
            channels: ``in_channels``.
            weights: Our name -> tensor. What :meth:`own_name` drops has its original
                name.

        Raises:
            KeyError: If the weights are another attention's, or nothing is known.
        """
        raise KeyError(f'{cls.__name__} cannot tell its arguments from weights')

    def attend(self, x: Tensor) -> Tensor:
        """The attention proper: (N, C, H, W) -> (N, C, H, W)."""
        raise NotImplementedError

    def attend_warm(self, x: Tensor, scale: Tensor) -> Tensor:
        """``x + scale * (attend(x) - x)``; where scale is 0, x itself.

        Overridden where the formula takes the scale in without another pass over the map.
        """
        return torch.lerp(x, self.attend(x).to(x.dtype), scale.to(x.dtype))

    def forward(self, x: Tensor) -> Tensor:
        if x.dim() != 4:
            checks.dims(self, x)
            # Places in whatever order: a sequence is a map of one column.
            maps = x.unsqueeze(3) if x.dim() == 3 else x.flatten(2, 3)
            return self.forward(maps).reshape(x.shape)
        scale = self.warm_scale
        out = self.attend(x) if scale is None else self.attend_warm(x, scale)
        return cast(out, x.dtype)

    def extra_repr(self) -> str:
        return f'in_channels={self.in_channels}, warm_start={self.warm_start}'


class GateAttention(Attention):
    """Base of the attentions that multiply the map with gates, and do nothing else to it."""

    def gates(self, x: Tensor) -> dict[str, Tensor]:
        """(N, C, H, W) -> the arguments of :func:`mmattn.kernels.gate` beside x and scale."""
        raise NotImplementedError

    def attend(self, x: Tensor) -> Tensor:
        return kernels.gate(x, **self.gates(x))

    def attend_warm(self, x: Tensor, scale: Tensor) -> Tensor:
        return kernels.gate(x, **self.gates(x), scale=scale)


def _rename_original_keys(module: Attention, state_dict: dict, prefix: str, *_) -> None:
    """Let ``load_state_dict`` take the original implementation's keys.

    Weights of a 1x1 convolution and of a linear layer differ in trailing
    dimensions of size 1 only; they are brought to the shape that is expected.
    """
    renamed = {}
    for key in [key for key in state_dict if key.startswith(prefix)]:
        value = state_dict.pop(key)
        name = module.name_when_loaded(key[len(prefix) :])
        if name is not None:
            renamed[prefix + name] = value
    # All at once: a new name may be another key's old one.
    state_dict.update(renamed)
    for name, own in module.state_dict().items():
        value = state_dict.get(prefix + name)
        if value is not None and _without_ones(value.shape) == _without_ones(own.shape):
            state_dict[prefix + name] = value.reshape(own.shape)


def _without_ones(shape: torch.Size) -> tuple[int, ...]:
    size = len(shape)
    while size and shape[size - 1] == 1:
        size -= 1
    return tuple(shape[:size])


def gated(x: Tensor, *gates: Tensor) -> Tensor:
    """``x`` times its gates, in the dtype of ``x``.

    Autocast computes norms, sums and softmax in float32; a gate made of them would
    widen the whole map.
    """
    for gate in gates:
        x = x * gate.to(x.dtype)
    return x


def group_norm(norm: nn.GroupNorm, x: Tensor) -> Tensor:
    """``norm(x)`` in the dtype of ``x``, which autocast would widen.

    Also for a single value per group, which ``nn.GroupNorm`` refuses.
    """
    weight, bias = norm.weight.to(x.dtype), norm.bias.to(x.dtype)
    with no_autocast(x):
        # Not as a map: where one that is channels_last needs no gradient, torch's own of the
        # weights ends the process.
        out = torch.group_norm(x.flatten(2), norm.num_groups, weight, bias, norm.eps)
        return out.reshape(x.shape)


def softmax(x: Tensor, dim: int) -> Tensor:
    """``x.softmax(dim)`` in the dtype of ``x``, which autocast would widen."""
    with no_autocast(x):
        return x.softmax(dim)


class BatchNorm(nn.BatchNorm2d):
    """A BatchNorm that also trains on a single value per channel.

    One image whose map is (or is pooled to) 1x1 has no variance, and torch raises. It is
    normalised with the running statistics then, and does not change them.
    """

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or x.numel() > x.shape[1]:
            return super().forward(x)
        statistics = self.running_mean, self.running_var
        if None in statistics:
            return super().forward(x)
        return F.batch_norm(x, *statistics, self.weight, self.bias, eps=self.eps)


# mmcv's names of torch's own.
PLAIN_NORMS = {
    'BN': nn.BatchNorm2d,
    'BN2d': nn.BatchNorm2d,
    'SyncBN': nn.SyncBatchNorm,
    'GN': nn.GroupNorm,
    'IN': nn.InstanceNorm2d,
}


def batch_norm(
    attention: Attention,
    channels: int,
    norm_cfg: dict | None,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> nn.Module:
    """The norm layer of an attention, for (N, channels, H, W).

    ``norm_cfg`` is mmcv's config of it, None a BatchNorm; ``momentum`` and ``eps`` are the
    paper's, unless ``norm_cfg`` gives them. A plain BatchNorm is a :class:`BatchNorm`.

    Raises:
        ValueError: If ``norm_cfg`` names no norm layer, or its arguments do not fit.
    """
    if norm_cfg is None:
        return BatchNorm(channels, eps=eps, momentum=momentum)
    try:
        norm = _norm_layer(norm_cfg, channels)
    except (AssertionError, KeyError, TypeError, ValueError) as error:
        raise InvalidValue(
            f'{type(attention).__name__}: norm_cfg must be None or the config of a norm layer '
            f"such as dict(type='SyncBN'), got {norm_cfg!r}: {error}"
        ) from error
    if 'momentum' not in norm_cfg and hasattr(norm, 'momentum'):
        norm.momentum = momentum
    if 'eps' not in norm_cfg and hasattr(norm, 'eps'):
        norm.eps = eps
    if type(norm) is nn.BatchNorm2d:
        norm.__class__ = BatchNorm
    return norm


def _norm_layer(norm_cfg: dict, channels: int) -> nn.Module:
    """A norm layer by mmcv's config; without mmcv those of torch that a backbone passes on."""
    try:
        from mmcv.cnn import build_norm_layer
    except ModuleNotFoundError as error:
        if (error.name or '').partition('.')[0] != 'mmcv':
            raise
        options = dict(norm_cfg)
        kind, trained = options.pop('type'), options.pop('requires_grad', True)
        if kind not in PLAIN_NORMS:
            raise ValueError(
                f'without mmcv, which is not installed, its type is one of {", ".join(PLAIN_NORMS)}'
            ) from error
        channels = {'num_channels' if kind == 'GN' else 'num_features': channels}
        return PLAIN_NORMS[kind](**channels, **options).requires_grad_(trained)
    return build_norm_layer(norm_cfg, channels)[1]


def hidden_channels(attention: Attention, reduction: int, least: int = 1) -> int:
    """Channels of a bottleneck: ``in_channels // reduction``, but at least ``least``."""
    checks.positive(attention, 'reduction', reduction)
    return max(least, attention.in_channels // reduction)


def reduction_from(weight: Tensor) -> int:
    """The ``reduction`` of a hidden layer whose weight is (hidden, C, ...)."""
    return max(1, weight.shape[1] // weight.shape[0])
