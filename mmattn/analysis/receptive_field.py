"""Effective receptive fields: which pixels the middle of a feature map depends on, and how much.

The contribution of a pixel is the positive part of the gradient, with respect to it, of the sum
over the channels at the map's central position; summed over the three colours, and the mean over
images (Luo et al., Understanding the Effective Receptive Field in Deep Convolutional Neural
Networks, NeurIPS 2016, arXiv:1701.04128; clipped at 0 as in Ding et al., Scaling Up Your Kernels
to 31x31, CVPR 2022, arXiv:2203.06717). The sum is of the positive activations, as RepLKNet's code
has it: behind a ReLU that is the same, behind a LayerNorm the sum of all is a constant.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mmattn.analysis.cam.layers import DEFAULT, find_layer
from mmattn.analysis.complexity import input_size
from mmattn.analysis.plots import PAGE, figure
from mmattn.analysis.trained import Trained, choose, list_images
from mmattn.utils.errors import UserError

# Of the contribution, those that RepLKNet reports.
SHARES = (0.2, 0.3, 0.5, 0.99)
# Powers of ten between the brightest and the darkest colour.
DECADES = 6
# RepLKNet's height and width; networks for CIFAR's images take those.
SIZE, CIFAR = (1024, 1024), (32, 32)
SQUARES = (':', '-.', '--', '-')


@dataclass(frozen=True)
class Square:
    """The smallest square around the middle that holds a share of the contribution.

    Args:
        share: What it has to hold, 0 to 1.
        side: In pixels, odd; beyond the image's border there is nothing.
        area: Of its part inside the image, over the image's.
    """

    share: float
    side: int
    area: float


@dataclass(frozen=True)
class Field:
    """An effective receptive field.

    Args:
        scores: Contribution of each pixel, (H, W), at least 0.
        centre: Row and column of the pixel that the central position lies on.
        map_size: Height and width of the feature map.
    """

    scores: np.ndarray
    centre: tuple[int, int]
    map_size: tuple[int, int]

    def logarithmic(self) -> 'Field':
        """With log10(1 + score) as scores, of which RepLKNet takes its figures."""
        return Field(np.log10(1 + self.scores), self.centre, self.map_size)

    def held(self) -> np.ndarray:
        """Share of the contribution in the square of side 2i + 1, for i = 0, 1, ..."""
        sums = np.bincount(self._rings().ravel(), self.scores.ravel()).cumsum()
        return sums / sums[-1]

    def square(self, share: float) -> Square:
        """The smallest one that holds a share."""
        # Sums in another order differ in the last digits.
        half = int(np.argmax(self.held() >= share - 1e-9))
        return Square(share, 2 * half + 1, float((self._rings() <= half).mean()))

    def _rings(self) -> np.ndarray:
        """How many pixels each one is off the centre, in the direction in which it is more."""
        rows, columns = (
            abs(np.arange(size) - middle)
            for size, middle in zip(self.scores.shape, self.centre, strict=True)
        )
        return np.maximum(rows[:, None], columns[None])

    def figures(self) -> dict[str, Any]:
        """The squares for a JSON file, of the contribution and as RepLKNet takes them."""
        return {
            name: {
                f'{share:g}': dict(side=square.side, area=round(square.area, 6))
                for share, square in ((share, field.square(share)) for share in SHARES)
            }
            for name, field in (('contribution', self), ('replknet', self.logarithmic()))
        }


def receptive_field(feature_map: Callable[[Tensor], Tensor], images: Iterable[Tensor]) -> Field:
    """Measure an effective receptive field.

    Args:
        feature_map: An image (1, 3, H, W) -> a map (1, C, H', W').
        images: All of one size.

    Raises:
        UserError: If a gradient is 0 everywhere, or not finite.
    """
    total, number, size = None, 0, (0, 0)
    for image in images:
        image = image.detach().clone().requires_grad_()
        output = feature_map(image)
        size = tuple(output.shape[2:])
        middle = output[:, :, size[0] // 2, size[1] // 2].relu().sum()
        (gradient,) = torch.autograd.grad(middle, image)
        scores = gradient.clamp_min(0).sum((0, 1)).double().cpu().numpy()
        number += 1
        if not np.isfinite(scores).all() or not scores.any():
            fault = 'not finite' if not np.isfinite(scores).all() else '0 everywhere'
            raise UserError(
                f'image {number}: the gradient at the middle of the {size[0]} x {size[1]} map is '
                f'{fault}; there is no receptive field to measure.'
            )
        total = scores if total is None else total + scores
    if total is None:
        raise UserError('there is no image to measure the receptive field with.')
    # Where the middle lies; of a map of even size it is the middle of the image.
    centre = tuple(
        side // 2 * pixels // side for side, pixels in zip(size, total.shape, strict=True)
    )
    return Field(total / number, centre, size)


def rows(fields: Mapping[str, Field]) -> list[dict[str, str]]:
    """Of a table: side in pixels and area of each square, model by model."""
    found = []
    for name, field in fields.items():
        for scores, each in (('contribution', field), ('log (RepLKNet)', field.logarithmic())):
            squares = map(each.square, SHARES)
            cells = {
                f'{one.share:.0%}': f'{one.side} px, {100 * one.area:.3g} %' for one in squares
            }
            found.append({'model': name, 'scores': scores, **cells})
    return found


def draw(path: Path, fields: Mapping[str, Field], names: Sequence[str]) -> None:
    """The fields beside each other with the same colours, and what squares of them hold.

    Args:
        path: Picture to write; .png, .pdf, .svg.
        fields: Name -> field.
        names: Lines under each field's title.
    """
    import matplotlib
    from matplotlib.colors import LogNorm
    from matplotlib.patches import Rectangle

    shares = [field.scores / field.scores.sum() for field in fields.values()]
    columns = min(len(shares) + 1, 4)
    lines = -(-(len(shares) + 1) // columns)
    width = PAGE if columns > 2 else PAGE * 0.75
    height, wide = shares[0].shape
    size = (width, lines * (width / columns * min(height / wide, 1.3) + 0.8) + 0.5)
    brightest = max(share.max() for share in shares)
    scale = LogNorm(brightest / 10**DECADES, brightest)
    colours = matplotlib.colormaps['cividis'].with_extremes(bad='#00224e', under='#00224e')
    with figure(path, lines, columns, figsize=size) as (drawn, axes):
        *panels, curves = axes.flat[: len(shares) + 1]
        for axis in axes.flat[len(shares) + 1 :]:
            axis.axis('off')
        for axis, share, (name, field), note in zip(
            panels, shares, fields.items(), names, strict=True
        ):
            bottom, right = field.scores.shape
            extent = (0, right, bottom, 0)
            shown = axis.imshow(share, norm=scale, cmap=colours, extent=extent)
            y, x = (middle + 0.5 for middle in field.centre)
            sides = [field.square(each).side for each in SHARES]
            for side, style in zip(sides, SQUARES, strict=True):
                corner = (x - side / 2, y - side / 2)
                options = dict(fill=False, edgecolor='white', linewidth=0.6, linestyle=style)
                axis.add_patch(Rectangle(corner, side, side, **options))
            axis.set_xlabel(f'pixels\nsides {", ".join(map(str, sides))}', fontsize=7)
            axis.set_title(f'{name}\n{note}' if note else name, fontsize=7)
            axis.set(xlim=(0, right), ylim=(bottom, 0))
            axis.tick_params(labelsize=6)
        bar = drawn.colorbar(shown, ax=panels, location='bottom', aspect=40, extend='min')
        bar.set_label('share of the contribution in a pixel', fontsize=7)
        bar.ax.tick_params(labelsize=6)
        for name, field in fields.items():
            held = field.held()
            curves.plot(2 * np.arange(len(held)) + 1, 100 * held, label=name)
        for each, style in zip(SHARES, SQUARES, strict=True):
            curves.axhline(100 * each, color='grey', linewidth=0.9, linestyle=style)
        curves.set_xlabel('side of the square (pixels)', fontsize=7)
        curves.set_ylabel('contribution in it (%)', fontsize=7)
        curves.set(xlim=(0, None), ylim=(0, 102), yticks=[100 * each for each in SHARES])
        curves.tick_params(labelsize=6)
        curves.set_box_aspect(height / wide)
        if len(fields) > 1:
            curves.legend(fontsize=6, loc='upper left', bbox_to_anchor=(-0.1, -0.35))


def feature_map_of(trained: Trained, layer: str = DEFAULT) -> Callable[[Tensor], Tensor]:
    """What :func:`receptive_field` takes of a model.

    Args:
        layer: A module of the backbone or the neck, or ``NAME[i]`` for one of its outputs.

    Raises:
        UnknownName: If the model has no such module.
    """
    found = find_layer(trained.model, layer)
    in_backbone = re.match(r'backbone\b', layer)
    run = trained.model.backbone if in_backbone else trained.model.extract_feat

    def feature_map(image: Tensor) -> Tensor:
        with found.watch() as maps:
            run(image)
        return maps[-1]

    return feature_map


def images_for(
    trained: Trained, where: str | None, number: int, seed: int, required: bool = False
) -> tuple[Sequence[Path | Mapping] | None, str]:
    """Images to measure with, None for noise, and a line that says what they are.

    Args:
        where: A folder or an image, or 'noise'; None takes the config's test images, and noise
            where they are not there.
        number: Of images at most, drawn by the seed.
        required: Whether it is an error that the test images are not there.

    Raises:
        UserError: If there are no such images.
    """
    if where == 'noise':
        return None, f'{number} images of normal noise'
    if where is not None:
        found = choose(list_images([where]), number, seed)
        return found, f'{len(found)} images of {where}'
    try:
        found = trained.test_images(number, seed)
    except UserError as error:
        if required:
            raise
        reason = str(error).splitlines()[0].rstrip(':.')
        return None, f'{number} images of normal noise ({reason})'
    return found, f"{len(found)} of the config's test images"


def usual_size(trained: Trained) -> tuple[int, int]:
    """Height and width of the images where none is given."""
    return CIFAR if input_size(trained.cfg) == CIFAR else SIZE


def inputs(
    trained: Trained,
    images: Sequence[Path | Mapping] | None,
    number: int,
    size: tuple[int, int],
    seed: int,
) -> Iterator[Tensor]:
    """Images of a height and width as the model takes them, (1, 3, H, W).

    Without any ``number`` of normal noise, the same for each model.
    """
    generator = torch.Generator().manual_seed(seed)
    for image in range(number) if images is None else images:
        if images is None:
            yield torch.randn(1, 3, *size, generator=generator).to(trained.device)
        else:
            yield trained.batch(trained.sample(image, size))[0]
