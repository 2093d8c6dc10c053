"""Res2Net-29 and SE-Res2Net-29 of the SE-Res2Net report, for CIFAR.

Source: Comparative Analysis of SE-Res2Net Block on CIFAR-10 (Agent Laboratory),
after Res2Net (arXiv:1904.01169) and squeeze and excitation (arXiv:1709.01507).

The report leaves out the widths. Those here, four subsets of 13, 26 and 52
channels by stage, reproduce its totals: 0.636 M parameters and 99.6 M
multiply-adds (report: 0.63 M, 100 M), with SE 0.0209 M more. What it also
leaves out: a block with stride 2 has its stride in the 3x3 convolutions, so its
subsets cannot be added to one another; it convolves them side by side and
average-pools the first one, as the first blocks of the original Res2Net do.
"""

from collections.abc import Sequence

from torch import Tensor

from mmattn.backbones.cifar.resnet import ResNetCIFAR
from mmattn.backbones.res2net import Bottle2neck
from mmattn.registry import MODELS

SCALES = 4


class SubsetBottle2neck(Bottle2neck):
    """The report's block: subset 1 passes unchanged, the others in sequence.

    y1 = x1, y_i = ReLU(BN(K_i(x_i + y_{i-1}))) for i = 2, 3, 4; then the
    concatenation is fused by a 1x1 convolution. Attention can be put on a subset
    (``after_subset1`` to ``after_subset4``): what it returns is both fused and
    added to the next subset.
    """

    expansion = 1
    subset_positions = tuple(f'after_subset{i + 1}' for i in range(SCALES))
    positions = ('after_conv1', *subset_positions, 'after_conv2', 'after_conv3')

    def slot_channels(self) -> dict[str, int]:
        return super().slot_channels() | dict.fromkeys(self.subset_positions, self.width)

    def _pools(self) -> bool:
        return self.stride > 1

    def _hierarchy(self, subsets: Sequence[Tensor]) -> list[Tensor]:
        first = subsets[0] if self.pool is None else self.pool(subsets[0])
        outs = [self.run_slots(self.subset_positions[0], first)]
        for index, x in enumerate(subsets[1:]):
            if self.stride == 1:
                x = x + outs[-1]
            out = self._convolve(index, x)
            outs.append(self.run_slots(self.subset_positions[index + 1], out))
        return outs


@MODELS.register_module()
class Res2NetCIFAR(ResNetCIFAR):
    """Res2Net for 32 x 32 images, s = 4.

    Args:
        depth: 9n + 2 for n blocks a stage; the report's is 29.
        base_width: Channels of a subset in the first stage; a block's output
            has four times as many.
        attention: As in :class:`ResNet`. Positions are 'after_conv1',
            'after_subset1' to 'after_subset4' (on one subset), 'after_conv2'
            (on the concatenated subsets) and 'after_conv3' (after the fusion).
        options: Any other argument of :class:`ResNetCIFAR`.

    Shape:
        (N, 3, H, W) -> a tuple of (N, 52 * 2**i, H / 2**i, W / 2**i), one per
        entry i of ``out_indices``.
    """

    arch_settings = {9 * n + 2: (SubsetBottle2neck, (n, n, n)) for n in range(2, 19)}

    def __init__(self, depth: int = 29, base_width: int = 13, **options) -> None:
        self.base_width = base_width
        super().__init__(depth, base_channels=SCALES * base_width, **options)

    def _block_options(self, index: int) -> dict:
        return dict(scales=SCALES, base_width=self.base_width)


@MODELS.register_module()
class SERes2NetCIFAR(Res2NetCIFAR):
    """Res2NetCIFAR with squeeze and excitation (r = 16) after each block's fusion.

    The variants of the report's table 4 are

    - SE on subset s only: ``attention=dict(type='SE', position='after_subset4')``
    - SE on subsets 1, 2: ``attention=[dict(type='SE', position='after_subset1'),
      dict(type='SE', position='after_subset2')]``
    - full: the default.

    Args:
        options: Those of :class:`Res2NetCIFAR`; ``attention=None`` gives the plain network.
    """

    default_attention = dict(type='SE')

    def __init__(self, *args, **options) -> None:
        super().__init__(*args, **{'attention': self.default_attention, **options})
