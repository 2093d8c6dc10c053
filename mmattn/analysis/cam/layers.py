"""A layer by its name, and its maps while the model runs."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn
from torch.utils._pytree import tree_map

from mmattn.utils.errors import UnknownName, UserError, did_you_mean

# The last stage, whatever the backbone calls it.
DEFAULT = 'backbone[-1]'


@dataclass(frozen=True)
class Layer:
    """A module of a model whose output is looked at.

    Args:
        name: As the user writes it: the module's, or ``NAME[i]`` for one of several outputs.
        module: The module.
        index: Of its output; None takes all, and their maps are added up.
    """

    name: str
    module: nn.Module
    index: int | None = None

    @contextmanager
    def watch(self) -> Iterator[list[Tensor]]:
        """The maps, (N, C, H, W), that the layer puts out meanwhile, ready for their gradients.

        What comes before the layer needs no gradients of its own for that.

        Raises:
            UserError: At the end, if there were none, or none of that index.
        """
        maps: list[Tensor] = []
        others: list[str] = []

        def keep(module: nn.Module, inputs: Any, output: Any) -> Any:
            found: list[Tensor] = []

            def take(value: Any) -> Any:
                if not isinstance(value, Tensor) or value.ndim != 4:
                    shown = tuple(value.shape) if isinstance(value, Tensor) else type(value)
                    others.append(str(shown))
                    return value
                # A copy each: what follows may change its input in place, or share it.
                found.append(value.clone().requires_grad_())
                return found[-1].clone()

            output = tree_map(take, output)
            if self.index is None:
                maps.extend(found)
            elif -len(found) <= self.index < len(found):
                maps.append(found[self.index])
            else:
                others.append(f'only {len(found)} maps')
            return output

        handle = self.module.register_forward_hook(keep)
        try:
            yield maps
        finally:
            handle.remove()
        if not maps:
            what = f'puts out {", ".join(others)}' if others else 'does not run in a prediction'
            raise UserError(
                f'--layer {self.name}: a map (N, C, H, W) is needed, but it {what}. Valid is a '
                'layer with such maps, as a stage of the backbone or a convolution.'
            )


def find_layer(model: nn.Module, name: str) -> Layer:
    """The layer of a name: ``backbone.layer4``, or ``backbone[-1]``, the last output of several.

    Raises:
        UnknownName: If the model has no such module; says what is near it.
    """
    path, index = re.fullmatch(r'(.*?)(?:\[(-?\d+)\])?', name).groups()
    modules = {key: module for key, module in model.named_modules() if key}
    if path not in modules:
        top = [key for key in modules if key.count('.') < 2]
        meant = did_you_mean(path, modules) or f' It has: {", ".join(top)} and those in them.'
        raise UnknownName(f'--layer {name!r}: the model has no layer {path!r}.{meant}')
    return Layer(name, modules[path], None if index is None else int(index))
