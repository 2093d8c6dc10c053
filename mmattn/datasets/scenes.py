"""Generated images whose objects can be learnt: shape, colour and texture tell the category.

The one source of pictures for every on-disk format. Coordinates are in pixels, x to the right and
y down, continuous (a pixel covers [x, x + 1)).
"""

import zlib
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw


@dataclass(frozen=True)
class SceneObject:
    """One object: its category, counted from 0, and its outline of shape (points, 2)."""

    category: int
    outline: np.ndarray

    @property
    def box(self) -> tuple[float, float, float, float]:
        """The tight box x1, y1, x2, y2 around the outline."""
        (x1, y1), (x2, y2) = self.outline.min(0), self.outline.max(0)
        return float(x1), float(y1), float(x2), float(y2)

    @property
    def area(self) -> float:
        """The area within the outline in square pixels."""
        x, y = self.outline.T
        return float(abs(np.dot(x, np.roll(y, -1)) - np.dot(y, np.roll(x, -1))) / 2)


@dataclass(frozen=True)
class Scene:
    """An image (H, W, 3) uint8, its objects, and each pixel's category (H, W) int16 or -1."""

    image: np.ndarray
    objects: tuple[SceneObject, ...]
    labels: np.ndarray


@dataclass(frozen=True)
class SceneStyle:
    """What a task's pictures look like; pairs are the least and the greatest."""

    categories: int
    stuff: int = 0  # the first so many categories fill the background; the others are objects
    count: tuple[int, int] = (1, 4)  # number of objects
    extent: tuple[float, float] = (0.25, 0.5)  # of an object, as a part of the image's short side
    centred: bool = False  # whether the objects keep to the middle of the image


def _regular(points: int, inner: float = 1.0) -> np.ndarray:
    angle = np.arange(points) * 2 * np.pi / points - np.pi / 2
    radius = np.where(np.arange(points) % 2, inner, 1.0)
    return np.stack([radius * np.cos(angle), radius * np.sin(angle)], 1)


_ARM = 0.38
# Outlines within [-1, 1] x [-1, 1].
SHAPES = (
    _regular(32),  # disc
    np.array([(-0.9, -0.9), (0.9, -0.9), (0.9, 0.9), (-0.9, 0.9)]),  # square
    np.array([(0.0, -1.0), (1.0, 0.9), (-1.0, 0.9)]),  # triangle
    _regular(10, inner=0.42),  # star
    np.array(
        [(-_ARM, -1), (_ARM, -1), (_ARM, -_ARM), (1, -_ARM), (1, _ARM), (_ARM, _ARM)]
        + [(_ARM, 1), (-_ARM, 1), (-_ARM, _ARM), (-1, _ARM), (-1, -_ARM), (-_ARM, -_ARM)]
    ),  # cross
    np.array(
        [(-1, -0.35), (0.1, -0.35), (0.1, -0.9), (1, 0), (0.1, 0.9), (0.1, 0.35), (-1, 0.35)]
    ),  # arrow
    _regular(32)[8:25],  # half disc
)
COLOURS = (
    (215, 45, 40), (40, 170, 70), (45, 80, 215), (240, 205, 40), (205, 60, 200), (50, 200, 215),
    (245, 140, 30), (110, 50, 160), (240, 240, 240), (35, 35, 35),
)  # fmt: skip
TEXTURES = ('plain', 'stripes', 'dots')
# 7, 10 and 3 have no common factor: every triple below occurs once.
DISTINCT_CATEGORIES = len(SHAPES) * len(COLOURS) * len(TEXTURES)


def scene_rng(seed: int, key: str, index: int) -> np.random.Generator:
    """The random numbers of image ``index`` of the split ``key`` (any text)."""
    return np.random.default_rng([seed, zlib.crc32(key.encode()), index])


def draw_scene(
    rng: np.random.Generator, size: tuple[int, int], style: SceneStyle, category: int | None = None
) -> Scene:
    """Draw one scene with at least one object; objects overlap at most slightly.

    Args:
        rng: The only source of randomness.
        size: Width and height in pixels.
        style: The task's look.
        category: The category of every object; None draws one for each.
    """
    width, height = size
    if style.categories > DISTINCT_CATEGORIES:
        raise ValueError(
            f'{style.categories} categories asked for; only {DISTINCT_CATEGORIES} look different'
        )
    labels = np.full((height, width), -1, np.int16)
    image = _background(rng, size, style.stuff, labels)
    objects: list[SceneObject] = []
    wanted = int(rng.integers(style.count[0], style.count[1] + 1))
    for _ in range(wanted * 8):
        if len(objects) == wanted:
            break
        drawn = category is None
        kind = int(rng.integers(style.stuff, style.categories)) if drawn else category
        candidate = SceneObject(kind, _place(rng, size, style, kind))
        if any(_overlap(candidate.box, other.box) > 0.05 for other in objects):
            continue
        objects.append(candidate)
        cover = _coverage(candidate.outline, size)
        image += cover[..., None] * (_paint(rng, size, kind) - image)
        labels[cover > 0.5] = kind
    noise = rng.normal(0, 7, image.shape)
    return Scene((image + noise).clip(0, 255).astype(np.uint8), tuple(objects), labels)


def _background(
    rng: np.random.Generator, size: tuple[int, int], stuff: int, labels: np.ndarray
) -> np.ndarray:
    """Muted clouds; with stuff, regions one above the other, each with its own look."""
    width, height = size
    image = 120 + 35 * clouds(rng, size, cells=4)[..., None] + rng.uniform(-25, 25, 3)
    rows = np.arange(height)[:, None]
    upper = np.zeros((1, width))
    for kind in range(stuff):
        wave = np.sin(np.linspace(0, rng.uniform(2, 7), width) + rng.uniform(0, 6))
        edge = height * ((kind + 1) / stuff + rng.uniform(-0.12, 0.12)) + height * 0.03 * wave
        lower = np.full((1, width), height) if kind == stuff - 1 else edge[None]
        region = (rows >= upper) & (rows < lower)
        tone = np.array(COLOURS[kind % len(COLOURS)]) * 0.3 + (95, 105, 115)
        grain = 22 * clouds(rng, size, cells=6 + 14 * (kind % 2))
        image[region] = (tone + grain[..., None] + rng.uniform(-10, 10))[region]
        labels[region] = kind
        upper = lower
    return image


def clouds(rng: np.random.Generator, size: tuple[int, int], cells: int) -> np.ndarray:
    """Smooth noise (H, W) of unit spread, ``cells`` bumps across."""
    coarse = rng.normal(0, 1, (cells, cells)).astype(np.float32)
    return np.asarray(Image.fromarray(coarse).resize(size, Image.Resampling.BICUBIC), np.float64)


def _place(
    rng: np.random.Generator, size: tuple[int, int], style: SceneStyle, category: int
) -> np.ndarray:
    """The outline of one object that lies wholly inside the image."""
    shortest = min(size)
    low, high = style.extent
    extent = shortest * np.exp(rng.uniform(np.log(low), np.log(high)))
    angle = rng.uniform(-0.4, 0.4)
    stretch = np.exp(rng.uniform(-0.2, 0.2))
    turn = np.array([(np.cos(angle), -np.sin(angle)), (np.sin(angle), np.cos(angle))])
    outline = SHAPES[category % len(SHAPES)] * (stretch, 1 / stretch) @ turn.T
    lowest, highest = outline.min(0), outline.max(0)
    outline = (outline - lowest) * extent / (highest - lowest).max()
    room = np.maximum(np.array(size) - outline.max(0) - 2, 0)
    spot = rng.uniform(0.35, 0.65, 2) if style.centred else rng.uniform(0, 1, 2)
    return np.minimum(outline + 1 + room * spot, np.array(size) - 1.0)


def _overlap(a: tuple[float, ...], b: tuple[float, ...]) -> float:
    """Intersection over the smaller box."""
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    smaller = min((r[2] - r[0]) * (r[3] - r[1]) for r in (a, b))
    return max(width, 0) * max(height, 0) / smaller


def _coverage(outline: np.ndarray, size: tuple[int, int], oversample: int = 3) -> np.ndarray:
    """How much of each pixel lies inside the outline: (H, W) within 0 and 1."""
    canvas = Image.new('L', (size[0] * oversample, size[1] * oversample))
    ImageDraw.Draw(canvas).polygon([tuple(p) for p in outline * oversample], fill=255)
    return np.asarray(canvas.resize(size, Image.Resampling.BOX), np.float64) / 255


def _paint(rng: np.random.Generator, size: tuple[int, int], category: int) -> np.ndarray:
    """The category's surface over the whole image (H, W, 3), a little different each time."""
    width, height = size
    colour = np.array(COLOURS[category % len(COLOURS)]) * rng.uniform(0.8, 1.1)
    colour = colour + rng.uniform(-15, 15, 3)
    rows, columns = np.mgrid[0:height, 0:width]
    period = max(6.0, min(size) / 20)
    phase = rng.uniform(0, 2 * np.pi, 2)
    across = np.sin((columns + rows) * 2 * np.pi / period + phase[0])
    down = np.sin((columns - rows) * 2 * np.pi / period + phase[1])
    texture = TEXTURES[category % len(TEXTURES)]
    mark = {'plain': 0 * across, 'stripes': across > 0, 'dots': across * down > 0.25}[texture]
    return colour * (1 - 0.45 * mark[..., None])
