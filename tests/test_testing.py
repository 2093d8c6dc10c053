"""check_attention passes sound attentions and names what is wrong with others."""

import pytest
import torch
from torch import nn

from mmattn import kernels
from mmattn.attention import ECA, SE, Attention
from mmattn.kernels.choice import CAN_REGISTER
from mmattn.testing import CHECKS, check_attention

SEES_MAPS = pytest.mark.skipif(
    not CAN_REGISTER, reason='the check sees no wide maps in torch below 2.4'
)


class Halves(Attention):
    """A sound attention, in as few lines as it takes."""

    def __init__(self, in_channels, warm_start=False):
        super().__init__(in_channels, warm_start)
        self.scale = nn.Parameter(torch.ones(1, in_channels, 1, 1))

    def attend(self, x):
        return x * (self.scale.to(x.dtype) * x.mean((2, 3), keepdim=True)).sigmoid()


class Shrinks(Halves):
    def attend(self, x):
        return x[:, ::2]


class Unused(Halves):
    def attend(self, x):
        return x / 2


class Detached(Halves):
    def attend(self, x):
        return x.detach() * self.scale + 0 * x


class LosesThePath(Halves):
    """Its one hidden unit of few channels may be where the ReLU is flat."""

    def __init__(self, in_channels, warm_start=False):
        super().__init__(in_channels, warm_start)
        hidden = in_channels // 4
        self.mlp = nn.Sequential(
            nn.Linear(in_channels, hidden), nn.ReLU(), nn.Linear(hidden, in_channels)
        )

    def attend(self, x):
        gates = self.mlp(x.mean((2, 3)).detach())[..., None, None]
        return super().attend(x) * gates.sigmoid()


class NotANumber(Halves):
    def attend(self, x):
        return x / x.var((2, 3), keepdim=True).sqrt() * self.scale


class Swallows(Halves):
    def __init__(self, in_channels, warm_start=False, **options):
        super().__init__(in_channels, warm_start)


class ForgetsWarmStart(Halves):
    def __init__(self, in_channels):
        super().__init__(in_channels)


class IgnoresWarmStart(Halves):
    def __init__(self, in_channels, warm_start=False):
        super().__init__(in_channels)


class Widens(Halves):
    def attend(self, x):
        return x * x.mean((2, 3), keepdim=True).softmax(1) * self.scale.to(x.dtype)


class Squares(Halves):
    def attend(self, x):
        return x * (x.square().mean((2, 3), keepdim=True) * self.scale).sigmoid().to(x.dtype)


class Normalises(Halves):
    def __init__(self, in_channels, warm_start=False):
        super().__init__(in_channels, warm_start)
        self.norm = nn.GroupNorm(1, in_channels)

    def attend(self, x):
        return super().attend(self.norm(x).to(x.dtype))


class NeedsSeveral(Halves):
    def __init__(self, in_channels, warm_start=False):
        super().__init__(in_channels, warm_start)
        self.norm = nn.BatchNorm2d(in_channels)

    def attend(self, x):
        return super().attend(self.norm(x))


class KnowsItsRows(Halves):
    any_dims = True

    def attend(self, x):
        return super().attend(x) * x.mean(2, keepdim=True)


class TakesAnything(Halves):
    def forward(self, x):
        return x * self.scale.flatten()[0]


class Contiguous(Halves):
    def attend(self, x):
        return super().attend(x).contiguous()


class Accepts(Halves):
    def __init__(self, in_channels, warm_start=False):
        super().__init__(max(int(in_channels), 1), warm_start)


class Hides(Halves):
    def __init__(self, in_channels, warm_start=False):
        super().__init__(in_channels, warm_start)
        self.hidden = [nn.Parameter(torch.rand(1))]

    def attend(self, x):
        return super().attend(x) * self.hidden[0].to(x.dtype)


class OwnKernel(Halves):
    def attend(self, x):
        off = 0 if kernels.choice.mode() == 'pure' else 1e-4
        return super().attend(x) + off * x.detach()


class Breaks(Halves):
    def attend(self, x):
        return super().attend(x) if x.sum() > 1e9 else x * self.scale.to(x.dtype)


@pytest.mark.filterwarnings('ignore:check_.* skipped')
def test_a_sound_attention_passes():
    check_attention(Halves)
    check_attention(ECA, 64, kernel_size=3)


@pytest.mark.parametrize(
    ('cls', 'check', 'message'),
    [
        (nn.ReLU, 'constructor', 'inherit from mmattn.attention.Attention'),
        (Swallows, 'constructor', 'swallows'),
        (ForgetsWarmStart, 'constructor', 'takes warm_start'),
        (IgnoresWarmStart, 'warm_start', 'not the identity'),
        (Accepts, 'bad_channels', 'in_channels=0 is accepted'),
        (Shrinks, 'sizes', r'\(2, 128, 1, 1\) becomes \(2, 64, 1, 1\)'),
        (NotANumber, 'sizes', '1x1, eval: the output is not finite'),
        (Unused, 'sizes', 'scale gets no gradient'),
        (Detached, 'gradients', 'Jacobian mismatch'),
        (LosesThePath, 'gradients', 'Jacobian mismatch'),
        (NeedsSeveral, 'one_value', 'more than 1 value per channel'),
        (KnowsItsRows, 'dims', ''),
        (TakesAnything, 'dims', r'an input of \(2, 128\) is accepted'),
        (Contiguous, 'memory_formats', 'another memory format'),
        (OwnKernel, 'kernels', 'with kernels the output is off by'),
        pytest.param(Widens, 'mixed_precision', 'mul makes a float32 map', marks=SEES_MAPS),
        pytest.param(Squares, 'mixed_precision', 'makes a float32 map', marks=SEES_MAPS),
        pytest.param(Normalises, 'mixed_precision', 'native_group_norm', marks=SEES_MAPS),
        (Hides, 'state_dict', 'computes something else'),
        (Breaks, 'compile', ''),
    ],
    ids=lambda value: getattr(value, '__name__', None),
)
def test_what_is_wrong_is_named(cls, check, message):
    run = next(run for run in CHECKS if run.__name__ == f'check_{check}')
    with pytest.raises(
        (AssertionError, RuntimeError, ValueError, torch._dynamo.exc.Unsupported), match=message
    ):
        run(cls)


def test_the_check_that_fails_is_named():
    with pytest.raises(AssertionError, match='check_sizes: Shrinks: '):
        check_attention(Shrinks)


def test_arguments_reach_the_class():
    with pytest.raises(ValueError, match='reduction .* got 0'):
        check_attention(SE, reduction=0)
