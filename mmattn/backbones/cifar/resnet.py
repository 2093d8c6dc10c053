"""ResNet-20 to 110 for CIFAR, with attention in its blocks.

Paper: Deep Residual Learning for Image Recognition, CVPR 2016,
arXiv:1512.03385, section 4.2. mmpretrain's ``ResNet_CIFAR`` is another network:
ResNet-18 and up, with the ImageNet widths.

Deviation: shortcuts that change the shape are 1x1 convolutions with a norm
(the paper's option B); its CIFAR nets pad with zeros (option A). ResNet-56 has
0.856 M parameters, which is the 0.86 M of the SE-Res2Net report; 0.853 M with
zeros. SE-ResNet-110 (``attention=dict(type='SE')``, arXiv:1709.01507) has
1.74 M; the report says 1.71 M.
"""

from torch import nn

from mmattn.backbones.resnet import BasicBlock, ResNet
from mmattn.registry import MODELS
from mmattn.utils.errors import InvalidValue


@MODELS.register_module()
class ResNetCIFAR(ResNet):
    """ResNet for 32 x 32 images: a 3x3 stem without stride, three stages.

    Args:
        depth: 6n + 2 for n blocks a stage, 20 to 110.
        options: Any argument of :class:`ResNet` but ``deep_stem``; with ``num_stages`` up to
            3, and ``stem_channels`` and ``base_channels`` 16, ``strides`` (1, 2, 2) and
            ``out_indices`` (2,) by default.

    Shape:
        (N, 3, H, W) -> a tuple of (N, base_channels * 2**i, H / 2**i, W / 2**i),
        one per entry i of ``out_indices``.
    """

    arch_settings = {6 * n + 2: (BasicBlock, (n, n, n)) for n in range(3, 19)}

    defaults = dict(
        stem_channels=16,
        base_channels=16,
        num_stages=3,
        strides=(1, 2, 2),
        dilations=(1, 1, 1),
        out_indices=(2,),
        norm_eval=False,
    )

    def __init__(self, depth: int, **options) -> None:
        super().__init__(depth, **{**self.defaults, **options})

    def _make_stem(self, in_channels: int, stem_channels: int) -> None:
        if self.deep_stem:
            raise InvalidValue(
                f'deep_stem=True does not fit {type(self).__name__}, whose stem is one 3x3 '
                f'convolution without stride'
            )
        self._add_conv1(in_channels, stem_channels, 3, padding=1)
        self.maxpool = nn.Identity()
