"""How large a demo of each task is: sized for minutes on two CPU cores, from random weights."""

from __future__ import annotations

from dataclasses import dataclass

from .scenes import SceneStyle


@dataclass(frozen=True)
class Task:
    """The size of a demo.

    Args:
        style: the look of the pictures.
        train_images, val_images: how many are generated (over all parts of a split).
        batch_size: training images in a step.
        iterations: training steps.
        evaluations: how often the model is evaluated and saved.
        side: the short side of the images in pixels, unless the config's are smaller.
        aspect: width over height where the config does not set it.
        learning_rate: of AdamW.
    """

    style: SceneStyle
    train_images: int
    val_images: int
    batch_size: int
    iterations: int
    evaluations: int
    side: int
    aspect: float
    learning_rate: float


TASKS = {
    'detection': Task(
        style=SceneStyle(categories=3, count=(1, 4), extent=(0.25, 0.55)),
        train_images=160,
        val_images=40,
        batch_size=4,
        iterations=100,
        evaluations=2,
        side=160,
        aspect=4 / 3,
        learning_rate=2e-4,
    ),
    'segmentation': Task(
        style=SceneStyle(categories=8, stuff=2, count=(2, 4), extent=(0.3, 0.6)),
        train_images=160,
        val_images=40,
        batch_size=4,
        iterations=120,
        evaluations=2,
        side=96,
        aspect=5 / 4,
        learning_rate=3e-4,
    ),
    'classification': Task(
        style=SceneStyle(categories=10, count=(1, 1), extent=(0.6, 0.85), centred=True),
        train_images=960,
        val_images=200,
        batch_size=32,
        iterations=150,
        evaluations=2,
        side=64,
        aspect=1.0,
        learning_rate=5e-4,
    ),
}
