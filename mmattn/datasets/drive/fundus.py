"""Generated fundus images: a retina with branching vessels, a pixel or a few wide."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageDraw

from mmattn.datasets.scenes import Scene, clouds

OVERSAMPLE = 3
# All as parts of the image's short side.
THICKEST = 0.035
THINNEST = 0.012
STEP = 0.03


class Stroke(NamedTuple):
    """A straight piece of a vessel."""

    start: np.ndarray  # x and y in pixels
    end: np.ndarray
    width: float


def draw_fundus(rng: np.random.Generator, size: tuple[int, int]) -> Scene:
    """Draw one retina; its labels are 0 for background and 1 for vessels.

    Args:
        rng: The only source of randomness.
        size: Width and height in pixels.
    """
    width, height = size
    side, centre = min(size), np.array(size) / 2
    disc = centre + side * np.array([rng.choice([-0.22, 0.22]), rng.uniform(-0.06, 0.06)])
    # Drawn with round ends, and counted where half of a pixel is covered.
    canvas = Image.new('L', (width * OVERSAMPLE, height * OVERSAMPLE))
    pen = ImageDraw.Draw(canvas)
    for start, end, thickness in _vessels(rng, disc, side):
        line = [tuple(point * OVERSAMPLE) for point in (start, end)]
        radius = thickness * OVERSAMPLE / 2
        pen.line(line, fill=255, width=max(1, round(2 * radius)))
        pen.ellipse([*(line[1] - np.array(radius)), *(line[1] + np.array(radius))], fill=255)
    vessels = np.asarray(canvas.resize(size, Image.Resampling.BOX), np.float64) / 255
    y, x = np.mgrid[0:height, 0:width] + 0.5
    distance = np.hypot(x - centre[0], y - centre[1]) / (0.48 * side)
    eye = np.clip((1 - distance) * side / 4, 0, 1)
    vessels *= eye
    bright = np.exp(-(((x - disc[0]) ** 2 + (y - disc[1]) ** 2) / (0.07 * side) ** 2))
    tone = np.array([190.0, 95.0, 45.0]) * rng.uniform(0.85, 1.1)
    image = tone * (1.1 - 0.35 * distance[..., None] ** 2)
    image = image + 12 * clouds(rng, size, cells=6)[..., None] + bright[..., None] * (50, 100, 60)
    # Blood takes green away, most of all.
    image = image * (1 - vessels[..., None] * rng.uniform(0.8, 1.0) * np.array([0.3, 0.5, 0.3]))
    image = image * eye[..., None] + rng.normal(0, 5, image.shape)
    labels = (vessels > 0.5).astype(np.int16)
    return Scene(image.clip(0, 255).astype(np.uint8), (), labels)


def _vessels(rng: np.random.Generator, root: np.ndarray, side: int) -> Iterator[Stroke]:
    """Trees that grow from the optic disc, and thin out where they branch."""
    first = rng.uniform(0, np.pi / 4)
    growing = [
        (root, first + turn * np.pi / 4, THICKEST * rng.uniform(0.8, 1)) for turn in range(0, 8)
    ]
    while growing:
        spot, angle, thickness = growing.pop()
        for _ in range(rng.integers(5, 10)):
            angle += rng.normal(0, 0.22)
            ahead = spot + STEP * side * np.array([np.cos(angle), np.sin(angle)])
            yield Stroke(spot, ahead, thickness * side)
            spot = ahead
        if thickness * 0.72 > THINNEST:
            fork = rng.uniform(0.3, 0.6)
            growing += [
                (spot, angle + fork, thickness * 0.72),
                (spot, angle - fork, thickness * 0.72),
            ]
