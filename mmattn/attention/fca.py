"""FCA: frequency channel attention, FcaNet.

Paper: FcaNet: Frequency Channel Attention Networks, ICCV 2021,
arXiv:2012.11879. Checked against cfzd/FcaNet (MIT).

Deviations:
- Same function, less work: pooling to the grid of the DCT and projecting on a
  cosine are both linear, so their product, one weight per row and one per
  column for each frequency, is applied to the map itself.
- A grid below 7 keeps its frequencies (the original sets all of them to 0) as
  far as the grid holds them.
- At least one hidden channel.
"""

import math

import torch
from torch import Tensor

from mmattn import kernels
from mmattn.attention import checks
from mmattn.attention.base import Weights
from mmattn.attention.pooling import pooling_matrix
from mmattn.attention.se import Excitation
from mmattn.kernels.primitive import seen_through
from mmattn.registry import MODELS
from mmattn.utils.errors import InvalidValue

# The first 32 (vertical, horizontal) frequencies of a 7x7 grid: by their
# accuracy alone (top, from the best; bot, from the worst), and the lowest.
FREQUENCIES = {
    'top': '00 01 60 05 02 10 12 40 50 16 30 04 06 03 35 22 46 63 33 53 55 21 61 52 54 32 31 41 '
    '23 20 65 13',
    'low': '00 01 10 11 02 20 21 12 22 03 30 40 04 13 31 05 14 23 32 41 50 06 15 24 33 42 51 60 '
    '16 25 34 43',
    'bot': '66 14 34 36 26 43 11 24 44 45 56 15 42 62 25 51 64 13 65 20 23 41 31 32 54 52 61 21 '
    '55 53 33 63',
}
COUNTS = (1, 2, 4, 8, 16, 32)
SELECTIONS = tuple(f'{kind}{count}' for kind in FREQUENCIES for count in COUNTS)
GRID = 7


@MODELS.register_module()
class FCA(Excitation):
    """SE whose descriptors are DCT coefficients, a frequency per group of channels.

    Formula:
        z = [<x_1, DCT_1>, ..., <x_n, DCT_n>], a frequency per group of channels
        y = x * sigmoid(W2 relu(W1 z))

    Args:
        reduction: C is divided by it in the hidden layer; positive.
        freq_sel: 'topN', 'lowN' or 'botN' with N of 1, 2, 4, 8, 16, 32
            frequencies, which must divide C; 'low1' is SE up to a factor.
        dct_size: Side of the grid the map is pooled to; in a backbone 56, 28, 14,
            7 by stage.
    """

    original_keys = {'fc.0': 'fc1', 'fc.2': 'fc2'}
    # Computed, not learned.
    dropped_keys = ('dct_layer.weight',)

    def __init__(
        self,
        in_channels: int,
        reduction: int = 16,
        freq_sel: str = 'top16',
        dct_size: int = 7,
        warm_start: bool = False,
    ) -> None:
        super().__init__(in_channels, reduction, bias=False, warm_start=warm_start)
        valid = f'topN, lowN or botN with N one of {", ".join(map(str, COUNTS))}'
        checks.require(self, freq_sel in SELECTIONS, f'freq_sel must be {valid}, got {freq_sel!r}')
        checks.positive(self, 'dct_size', dct_size)
        count = int(freq_sel[3:])
        problem = f'is not a multiple of the {count} frequencies of freq_sel={freq_sel!r}'
        checks.multiple(self, count, problem)
        self.freq_sel = freq_sel
        self.dct_size = dct_size
        pairs = FREQUENCIES[freq_sel[:3]].split()[:count]
        for axis, name in enumerate(('vertical', 'horizontal')):
            cosines = torch.tensor([_cosines(int(pair[axis]), dct_size) for pair in pairs])
            self.register_buffer(name, cosines, persistent=False)  # (F, dct_size)
        # The planes of the latest size of a map, and what they hold for.
        self._latest = None, None

    @classmethod
    def slot_defaults(cls, stage: int) -> dict:
        return dict(dct_size=max(56 >> stage, 7))

    @classmethod
    def arguments_from(cls, channels: int, weights: Weights) -> dict:
        arguments = super().arguments_from(channels, weights)
        filters = weights.get('dct_layer.weight')  # (C, size, size); not in every file
        if filters is None:
            return arguments
        size = filters.shape[-1]
        for selection in sorted(SELECTIONS, key=lambda name: name != 'top16'):
            count = int(selection[3:])
            if channels % count == 0:
                built = cls(channels, freq_sel=selection, dct_size=size)
                planes = torch.einsum('fh,fw->fhw', built.vertical, built.horizontal)
                planes = planes.repeat_interleave(channels // count, 0)
                if torch.allclose(planes, filters, atol=1e-5):
                    return dict(**arguments, freq_sel=selection, dct_size=size)
        raise InvalidValue(
            f'its DCT filters of {channels} channels and size {size} are those of no freq_sel that '
            f'FCA has; valid: {", ".join(SELECTIONS)}'
        )

    def squeeze(self, x: Tensor) -> Tensor:
        height, width = x.shape[2:]
        if seen_through(x):
            return kernels.project(x, self._planes(height, width))
        key = height, width, self.vertical.device, self.vertical.dtype
        if self._latest[0] != key:
            # Training may follow inference, and use them.
            with torch.inference_mode(False):
                self._latest = key, self._planes(height, width)
        return kernels.project(x, self._latest[1])

    def _planes(self, height: int, width: int) -> Tensor:
        """(F, H, W): for each frequency the weights of a map's values."""
        rows = self.vertical @ pooling_matrix(self.dct_size, height, self.vertical)  # (F, H)
        columns = self.horizontal @ pooling_matrix(self.dct_size, width, self.horizontal)  # (F, W)
        return rows[:, :, None] * columns[:, None, :]


def _cosines(frequency: int, size: int) -> list[float]:
    """The basis function of a 7-grid's frequency on a grid of ``size`` cells."""
    # Frequencies of larger grids are those of the 7-grid, scaled with the grid.
    frequency = min(frequency * max(size // GRID, 1), size - 1)
    scale = math.sqrt((2 if frequency else 1) / size)
    return [scale * math.cos(math.pi * frequency * (k + 0.5) / size) for k in range(size)]
