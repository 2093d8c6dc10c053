"""How large a demo of each task is: sized for minutes on two CPU cores, from random weights."""

from collections.abc import Iterable
from dataclasses import dataclass, replace

from mmattn.datasets.scenes import SceneStyle
from mmattn.utils.errors import InvalidValue
from mmattn.utils.walk import iter_dicts, type_name


@dataclass(frozen=True)
class Task:
    """The size of a demo.

    Args:
        style: The look of the pictures.
        train_images, val_images: How many are generated (over all parts of a split).
        batch_size: Training images in a step.
        iterations: Training steps.
        evaluations: How often the model is evaluated and saved.
        side: The short side of the images in pixels, unless the config's are smaller.
        usual: Side of the images of most configs; what takes larger ones, takes larger ones here.
        aspect: Width over height where the config does not set it.
        learning_rate: Of AdamW.
        workers: Processes that load the images of a loader.
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
    workers: int = 1
    usual: int | None = None


DENSE = 'detection by dynamic assignment'
# What chooses the places that learn an object by what they predict, which at first is nothing:
# such detectors, small ones as a rule, take more steps.
DYNAMIC_ASSIGNERS = {'DynamicSoftLabelAssigner', 'SimOTAAssigner', 'TaskAlignedAssigner'}
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
    DENSE: Task(
        style=SceneStyle(categories=3, count=(1, 4), extent=(0.25, 0.55)),
        train_images=160,
        val_images=40,
        batch_size=8,
        iterations=300,
        evaluations=2,
        side=160,
        aspect=4 / 3,
        learning_rate=1e-3,
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
        usual=224,
        aspect=1.0,
        learning_rate=5e-4,
    ),
}


def task_of(model: dict, names: Iterable[str]) -> Task:
    """The size of a model's demo, with no more categories than its heads have classes.

    Args:
        model: Config of the model.
        names: Tasks of its data sets.

    Raises:
        InvalidValue: If the data sets serve different tasks.
    """
    name, *others = sorted(names)
    if others:
        raise InvalidValue(f'the data loaders serve different tasks: {", ".join([name, *others])}.')
    if name == 'detection' and DYNAMIC_ASSIGNERS & set(map(type_name, iter_dicts(model))):
        name = DENSE
    task = TASKS[name]
    counts = [node['num_classes'] for node in iter_dicts(model) if 'num_classes' in node]
    counts = [count for count in counts if isinstance(count, int)]
    categories = min([task.style.categories, *counts])
    stuff = min(task.style.stuff, categories - 1)
    return replace(task, style=replace(task.style, categories=categories, stuff=stuff))
