"""Any config as a demo of itself."""

import copy
from pathlib import Path

import numpy as np
import torch
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmengine.device import get_device
from mmengine.registry import DATASETS, MODELS, init_default_scope
from mmengine.runner import load_checkpoint

from mmattn.datasets.demos import DemoFormat, find_format
from mmattn.demo.data import generate
from mmattn.demo.dataset_configs import (
    build_unloaded,
    dataset_class,
    keep_few,
    loaders,
    meet_without_a_disk,
    redirect,
)
from mmattn.demo.schedule import set_optimizer, shorten
from mmattn.demo.scratch import fewer_regions, from_scratch
from mmattn.demo.sizes import native_size, scale_config
from mmattn.demo.tasks import Task, task_of
from mmattn.engine.pictures import Pictures
from mmattn.engine.summary import RunSummary
from mmattn.utils.errors import InvalidValue
from mmattn.utils.walk import iter_datasets

PICTURES = 8


class Demo:
    """A short training of a config on generated data, and pictures of what it learnt.

    Args:
        seed: Of the data and the training, where the config sets none.
    """

    def __init__(self, seed: int = 0) -> None:
        self.seed = seed

    def owns(self, work_dir: str) -> bool:
        """Whether a demo has been there, which another one may overwrite."""
        return Path(work_dir, 'demo_data').is_dir()

    def prepare(self, cfg: Config) -> list[str]:
        """Generate data for a config and shorten it to match.

        The files lie below ``work_dir/demo_data`` in the format and under the relative
        names that the config reads. The heads keep their number of classes, so that the
        checkpoint fits the config as it was; only the first few classes occur in the
        pictures. Every process of a run calls this and gets the same config.

        Args:
            cfg: A config of mmdet, mmseg or mmpretrain with a ``work_dir``; changed in place.

        Returns:
            Lines that say what was replaced.

        Raises:
            InvalidValue: If the config has no ``default_scope``, no ``train_dataloader``, no
                length of the training, or data sets that cannot be generated.
        """
        scope = cfg.get('default_scope')
        if not scope:
            raise InvalidValue('the config sets no default_scope (mmdet, mmseg or mmpretrain).')
        forms = _formats(cfg, scope)
        task = task_of(cfg['model'], {form.task for form in forms})
        factor, size = _sizes(cfg, task, forms)
        randomness = dict(cfg.get('randomness') or {})
        if randomness.get('seed') is None:
            randomness['seed'] = self.seed
        cfg['randomness'] = randomness
        folder = generate(cfg, task, size, randomness['seed'])
        redirect(cfg, folder)
        notes = _adapt(cfg, scope, task, folder)
        scale_config(cfg, factor)
        if factor != 1:
            notes.append(f'images of {size[0]}x{size[1]}; all sizes times {factor:.3g}')
        # The check of the data lets the heads keep classes that no picture shows.
        cfg['demo'] = True
        meet_without_a_disk(cfg)
        keep_few(cfg, task)
        notes += from_scratch(cfg, scope)
        notes += fewer_regions(cfg['model'])
        notes += shorten(cfg, task)
        notes += set_optimizer(cfg, task)
        return notes

    def finish(self, cfg: Config, summary: RunSummary) -> list[str]:
        """Draw predictions of the best checkpoint, or the last one, into the work dir.

        Args:
            cfg: The config as trained.
            summary: What the training came to.

        Returns:
            Lines that say where the pictures are, or why there are none.
        """
        checkpoint = summary.best_checkpoint or summary.last_checkpoint
        if checkpoint is None:
            return ['no pictures of predictions: the run saved no checkpoint.']
        if not cfg.get('val_dataloader'):
            return ['no pictures of predictions: the config has no val_dataloader.']
        pictures = Pictures(cfg, str(Path(cfg.work_dir, 'predictions')))
        _draw(cfg, checkpoint, pictures)
        return [
            f'{len(pictures.paths)} pictures of predictions beside the ground truth: '
            f'{pictures.folder}'
        ]


def _formats(cfg: Config, scope: str) -> list[DemoFormat]:
    """The format of each data set of the config."""
    if not cfg.get('train_dataloader'):
        raise InvalidValue('the config has no train_dataloader: nothing to train in a demo.')
    return [
        find_format(dataset_class(leaf, scope))
        for _, loader in loaders(cfg)
        for leaf in iter_datasets(loader['dataset'])
    ]


def _sizes(cfg: Config, task: Task, forms: list[DemoFormat]) -> tuple[float, tuple[int, int]]:
    """The factor for all sizes of the config, and width and height of the generated images."""
    fixed = next((form.size for form in forms if form.size), None)
    if fixed:
        return 1.0, fixed
    loader = cfg.get('val_dataloader') or cfg.get('test_dataloader') or cfg['train_dataloader']
    native = native_size(next(iter_datasets(loader['dataset'])).get('pipeline') or [])
    side = min(task.side, min(native)) if native else task.side
    if native and task.usual:  # Inception networks, made for 299, take nothing below 75
        side = max(side, round(task.side * min(native) / task.usual))
    return (side / min(native) if native else 1.0), (round(side * task.aspect), side)


def _adapt(cfg: Config, scope: str, task: Task, folder: Path) -> list[str]:
    """Change the data sets to what reads generated files; say what the images show."""
    notes = []
    for _, loader in loaders(cfg):
        for leaf in iter_datasets(loader['dataset']):
            dataset = build_unloaded(leaf, scope)
            if not notes:
                # ImageNet's names are lists of synonyms.
                names = [name.split(',')[0] for name in dataset.metainfo.get('classes') or ()]
                shown = ', '.join(names[: task.style.categories])
                notes.append(
                    f'data: {task.train_images} training and {task.val_images} validation '
                    f'images generated in {folder}; they show '
                    f'{shown or f"{task.style.categories} classes"}'
                )
            form = find_format(type(dataset))
            if form.adapt:
                notes += form.adapt(dataset, leaf, task.style.categories)
    return list(dict.fromkeys(notes))


def _draw(cfg: Config, checkpoint: str, pictures: Pictures) -> None:
    """Draw predictions on a few of the validation images, spread evenly over them."""
    init_default_scope(cfg['default_scope'])
    model = copy.deepcopy(cfg['model'])
    if cfg.get('data_preprocessor'):
        model.setdefault('data_preprocessor', cfg['data_preprocessor'])
    model = MODELS.build(model)
    load_checkpoint(model, checkpoint, map_location='cpu', strict=True)
    model.to(get_device()).eval()
    dataset = DATASETS.build(copy.deepcopy(cfg['val_dataloader']['dataset']))
    pictures.describe(dataset.metainfo)
    for index in np.unique(np.linspace(0, len(dataset) - 1, PICTURES).round().astype(int)):
        batch = pseudo_collate([dataset[int(index)]])
        with torch.no_grad():
            pictures.draw(batch['inputs'], model.test_step(batch))
