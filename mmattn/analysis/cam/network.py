"""A trained model that explains itself: config, checkpoint, test pipeline, layer."""

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import mmcv
import numpy as np
import torch
from mmengine.config import Config
from mmengine.dataset import Compose, pseudo_collate
from mmengine.registry import MODELS, init_default_scope
from mmengine.runner.checkpoint import load_state_dict
from mmengine.utils import import_modules_from_strings
from torch import Tensor
from torch.nn import functional as F

from mmattn.analysis.cam.layers import DEFAULT, find_layer
from mmattn.analysis.cam.methods import Method, eigen_cam
from mmattn.analysis.cam.targets import TARGETS, Box, Target
from mmattn.engine.hooks import CheckpointFitHook
from mmattn.utils.checkpoints import read_checkpoint, unwrap
from mmattn.utils.errors import UnknownName, UserError, did_you_mean
from mmattn.utils.walk import iter_datasets, iter_dicts, type_name

Choose = Callable[[list[Target]], Sequence[Target]]


@dataclass(frozen=True)
class Explanation:
    """What a model looks at.

    Args:
        label, score, boxes: Of the target; a score of None: not found.
        cam: The map (H, W) over the picture, at least 0, not normalised; 0 if not found.
    """

    label: int
    score: float | None
    boxes: tuple[Box, ...]
    cam: np.ndarray


@dataclass(frozen=True)
class View:
    """A picture (H, W, 3), uint8, RGB, and what a model sees in it."""

    picture: np.ndarray
    explanations: tuple[Explanation, ...]


class Network:
    """A model of one of the toolboxes with the weights of a checkpoint.

    Args:
        cfg: Prepared config. Slides over an image are replaced by the image as a whole.
        checkpoint: File; it is read without running code from it.
        layer: See :func:`mmattn.analysis.cam.layers.find_layer`.
        device: 'cpu', 'cuda' ...

    Attributes:
        names: Of the classes.
        notes: What was replaced, and how much of the checkpoint fits.

    Raises:
        UserError: If the config is of none of the toolboxes, or the checkpoint or the layer is
            not the model's.
    """

    def __init__(
        self, cfg: Config, checkpoint: str, layer: str = DEFAULT, device: str = 'cpu'
    ) -> None:
        scope = cfg.get('default_scope')
        if scope not in TARGETS:
            raise UserError(f'default_scope={scope!r}: maps are made for {", ".join(TARGETS)}.')
        import_modules_from_strings(**cfg.custom_imports)
        init_default_scope(scope)
        self.scope, self.device, self.notes = scope, device, []
        described = copy.deepcopy(cfg.model)
        if cfg.get('data_preprocessor'):
            described.setdefault('data_preprocessor', cfg.data_preprocessor)
        if (described.get('test_cfg') or {}).get('mode') == 'slide':
            described.test_cfg.mode = 'whole'
            self.notes.append("test_cfg.mode='slide' is replaced: each image is seen as a whole.")
        self.model = MODELS.build(described)
        meta = self._load(checkpoint)
        self.model.to(device).eval().requires_grad_(False)
        self.layer = find_layer(self.model, layer)
        self.names = _class_names(cfg, meta)

        leaf = next(iter_datasets(cfg.test_dataloader.dataset))
        self._pipeline = [dict(step) for step in leaf.get('pipeline') or []]
        # Data sets in memory, as CIFAR's, are RGB; what is read from a file is BGR.
        self.reads_files = any('LoadImage' in type_name(step) for step in self._pipeline)

    def _load(self, checkpoint: str) -> dict[str, Any]:
        weights = unwrap(read_checkpoint(checkpoint), checkpoint)
        # It needs no more of a runner.
        log = SimpleNamespace(log=lambda level, text: self.notes.append(text))
        hook, runner = CheckpointFitHook(), SimpleNamespace(model=self.model, logger=log)
        hook.after_load_checkpoint(runner, weights.tensors)
        # It says what does not fit; mmengine need not.
        load_state_dict(self.model, weights.tensors, logger='silent')
        hook.before_test(runner)
        self.notes += weights.notes
        return weights.meta

    def pipeline(self, annotations: bool) -> Compose:
        """The test pipeline; without annotations for images that are of no data set."""
        steps: list = list(self._pipeline)
        if not annotations:
            steps = [step for step in steps if 'Annotations' not in type_name(step)]
            if not self.reads_files:
                steps.insert(0, _read_rgb)
        return Compose(steps)

    def labels(self, names: Sequence[str]) -> list[int]:
        """Labels of classes; raises :class:`UnknownName` for a class that there is not."""
        for name in names:
            if name not in self.names:
                shown = ', '.join(self.names[:20]) + (' ...' if len(self.names) > 20 else '')
                meant = did_you_mean(name, self.names) or f' They are: {shown}.'
                raise UnknownName(f'--class {name!r} is none of the classes.{meant}')
        return [self.names.index(name) for name in names]

    def explain(self, packed: dict, method: Method, choose: Choose) -> View:
        """Maps of one image.

        Args:
            packed: What the pipeline returned.
            method: One of :data:`mmattn.analysis.cam.methods.METHODS`.
            choose: Picks from what the model found; a target without ``value`` was not found.

        Raises:
            UserError: If a score has no gradient.
        """
        # Of the toolboxes' predictions only the loops run without gradients.
        with torch.enable_grad(), self.layer.watch() as maps:
            batch = self.model.data_preprocessor(pseudo_collate([copy.copy(packed)]), False)
            targets = TARGETS[self.scope](self.model, batch)
        place = self._place(packed)
        padded = tuple(batch['inputs'].shape[-2:])
        explanations = []
        for target in choose(targets):
            if target.value is None:
                cam = np.zeros(place[1], np.float32)
            else:
                cam = _cam(maps, target.value, method, padded, place)
            score = None if target.value is None else target.score
            explanations.append(Explanation(target.label, score, target.boxes, cam))
        return View(self.picture(packed), tuple(explanations))

    def picture(self, packed: dict) -> np.ndarray:
        """The image that the model sees, (H, W, 3), RGB, in the size that predictions refer to."""
        pixels = packed['inputs']
        (height, width), size = self._place(packed)
        image = pixels[:, :height, :width].permute(1, 2, 0).numpy()
        image = np.clip(image, 0, 255).astype(np.uint8)
        image = image[..., ::-1] if self.reads_files else image
        return mmcv.imresize(np.ascontiguousarray(image), (size[1], size[0]))

    def picture_size(self, packed: dict) -> tuple[int, int]:
        """Height and width of :meth:`picture`."""
        return self._place(packed)[1]

    def _place(self, packed: dict) -> tuple[tuple[int, int], tuple[int, int]]:
        """Height and width of the image within the input, and of the picture.

        Padding is to the right and below. Detections and segmentations refer to the original
        image; of a classifier's only a part may be seen.
        """
        seen = tuple(packed['inputs'].shape[-2:])
        meta = packed['data_samples'].metainfo
        if self.scope == 'mmpretrain':
            return seen, seen
        original = tuple(meta['ori_shape'][:2])
        if 'scale_factor' in meta:
            x, y = meta['scale_factor'][:2]
            inner = round(original[0] * y), round(original[1] * x)
            seen = min(inner[0], seen[0]), min(inner[1], seen[1])
        return seen, original


def _cam(
    maps: Sequence[Tensor],
    value: Tensor,
    method: Method,
    padded: tuple[int, int],
    place: tuple[tuple[int, int], tuple[int, int]],
) -> np.ndarray:
    """The sum of the maps' CAMs over the picture."""
    gradients: Sequence[Tensor | None] = [None] * len(maps)
    if method is not eigen_cam:
        if not value.requires_grad:
            raise UserError(
                'the scores of this model carry no gradients (soft-NMS computes them anew, and '
                'a layer behind the scores has none): --method eigen_cam needs none.'
            )
        gradients = torch.autograd.grad(value, maps, retain_graph=True, allow_unused=True)
    total = value.new_zeros(1, 1, *padded)
    for activation, gradient in zip(maps, gradients, strict=True):
        slope = torch.zeros_like(activation) if gradient is None else gradient
        cam = method(activation.detach()[0], slope[0])
        total += F.interpolate(cam[None, None], padded, mode='bilinear', align_corners=False)
    (height, width), size = place
    inner = total.detach()[..., :height, :width]
    return F.interpolate(inner, size, mode='bilinear', align_corners=False)[0, 0].cpu().numpy()


def _read_rgb(record: dict) -> dict:
    image = mmcv.imread(record['img_path'], channel_order='rgb')
    return {**record, 'img': image, 'img_shape': image.shape[:2], 'ori_shape': image.shape[:2]}


def _class_names(cfg: Config, meta: dict[str, Any]) -> list[str]:
    """Names from the checkpoint, else from the config's data set, else numbers."""
    found = (meta.get('dataset_meta') or {}).get('classes')
    if not found:
        leaf = next(iter_datasets(cfg.test_dataloader.dataset))
        found = (leaf.get('metainfo') or {}).get('classes')
    counts = [node['num_classes'] for node in iter_dicts(cfg.model) if 'num_classes' in node]
    numbers = map(str, range(max(filter(lambda n: isinstance(n, int), counts), default=0)))
    # ImageNet's names are lists of synonyms.
    return [str(name).split(',')[0] for name in found or numbers]


def labels_of(cfgs: Sequence[Config], configs: Sequence[str], files: Sequence[str]) -> list[str]:
    """Short names of models that stand side by side: by attention, config, or checkpoint."""
    attentions = []
    for cfg in cfgs:
        given = (cfg.model.get('backbone') or {}).get('attention')
        given = given if isinstance(given, (list, tuple)) else [given or {}]
        attentions.append(' + '.join(type_name(one) or 'none' for one in given))
    stems = [Path(name).stem for name in configs]
    for names in (stems if len(cfgs) == 1 else attentions, stems):
        if len(set(names)) == len(names):
            return names
    return [f'{Path(file).parent.name}/{Path(file).stem}' for file in files]
