"""Folding BatchNorm layers into the convolutions before them, for deployment."""

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.utils.fusion import fuse_conv_bn_eval

from mmattn.utils.errors import InvalidValue


def fold_norm(module: nn.Module, conv_name: str, norm_name: str) -> None:
    """Fold a BatchNorm into a convolution; in its place stays an identity.

    Outputs are those of eval mode, to rounding. What cannot be folded stays as
    it is: a convolution that computes with other than its own weights
    (deformable, weight-standardised), or a norm that is folded already.

    Args:
        module: The module that holds both.
        conv_name, norm_name: Their names in it, with dots for those further inside.

    Raises:
        ValueError: If the norm layer is not a BatchNorm.
    """
    conv, norm = module.get_submodule(conv_name), module.get_submodule(norm_name)
    if isinstance(norm, nn.Identity) or type(conv) is not nn.Conv2d:
        return
    if not isinstance(norm, _BatchNorm):
        raise InvalidValue(
            f'only BatchNorm can be folded into a convolution, {norm_name} is a '
            f'{type(norm).__name__}'
        )
    folded = fuse_conv_bn_eval(conv.eval(), norm.eval())
    folded.bias.requires_grad_(folded.weight.requires_grad)
    _replace(module, conv_name, folded)
    _replace(module, norm_name, nn.Identity())


def fold_sequence(sequence: nn.Sequential) -> None:
    """Fold every norm that directly follows a convolution, see :func:`fold_norm`."""
    for index in range(len(sequence) - 1):
        if isinstance(sequence[index], nn.Conv2d):
            fold_norm(sequence, str(index), str(index + 1))


def _replace(module: nn.Module, name: str, new: nn.Module) -> None:
    parent, _, child = name.rpartition('.')
    setattr(module.get_submodule(parent), child, new)
