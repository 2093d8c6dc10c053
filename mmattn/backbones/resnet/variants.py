"""ResNetV1c, ResNetV1d and ResNeXt: ResNets of which an argument or two are given."""

from mmattn.backbones.base import active_toolbox, either
from mmattn.backbones.resnet.network import ResNet
from mmattn.registry import MODELS


@MODELS.register_module()
class ResNetV1c(ResNet):
    """ResNet with the deep stem; the arguments are those of :class:`ResNet`."""

    def __init__(self, depth: int, **options) -> None:
        super().__init__(depth, deep_stem=True, avg_down=False, **options)


@MODELS.register_module()
class ResNetV1d(ResNet):
    """ResNet with the deep stem and average pooling in its shortcuts.

    The arguments are those of :class:`ResNet`.
    """

    def __init__(self, depth: int, **options) -> None:
        super().__init__(depth, deep_stem=True, avg_down=True, **options)


@MODELS.register_module()
class ResNeXt(ResNet):
    """ResNeXt-50 to 152: ResNet with a grouped 3x3 convolution.

    Args:
        depth: 50, 101 or 152.
        groups: Groups of the 3x3 convolution; default 32, in mmdet and mmseg 1.
        width_per_group, base_width: Channels of a group in the first stage under mmpretrain's
            and the others' name, default 4.
        options: Any other argument of :class:`ResNet`.
    """

    arch_settings = {
        depth: setting for depth, setting in ResNet.arch_settings.items() if depth >= 50
    }

    def __init__(
        self,
        depth: int,
        groups: int | None = None,
        width_per_group: int | None = None,
        base_width: int | None = None,
        **options,
    ) -> None:
        width = either('width', width_per_group=width_per_group, base_width=base_width)
        self.width_per_group = width or 4
        if groups is None:
            groups = 32 if active_toolbox() == 'mmpretrain' else 1
        self.groups = groups
        super().__init__(depth, **options)
