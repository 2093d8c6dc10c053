"""A trained model that explains itself: config, checkpoint, test pipeline, layer."""

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import mmcv
import numpy as np
import torch
from mmengine.config import Config
from mmengine.dataset import Compose
from torch import Tensor
from torch.nn import functional as F

from mmattn.analysis.cam.layers import DEFAULT as LAST_STAGE
from mmattn.analysis.cam.layers import find_layer
from mmattn.analysis.cam.methods import Method, eigen_cam
from mmattn.analysis.cam.targets import TARGETS, Attached, Box, Target
from mmattn.analysis.trained import Trained
from mmattn.engine.class_check import reader_of
from mmattn.utils.checkpoints import read_checkpoint, unwrap
from mmattn.utils.errors import UnknownName, UserError, did_you_mean
from mmattn.utils.walk import iter_datasets, iter_dicts

# Where it looks without being told: the last stage of the backbone; of detectors all levels of the
# neck, since the backbone's last stage decides about large objects only.
LAYERS = {'mmpretrain': LAST_STAGE, 'mmdet': 'neck', 'mmseg': LAST_STAGE}
METHOD_OF = {'mmpretrain': 'grad_cam', 'mmdet': 'hires_cam', 'mmseg': 'grad_cam'}
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
    """A trained model and the layer of it that is looked at.

    Args:
        cfg: Prepared config. Slides over an image are replaced by the image as a whole.
        checkpoint: File; it is read without running code from it.
        layer: See :func:`mmattn.analysis.cam.layers.find_layer`; default that of
            :data:`LAYERS`.
        device: 'cpu', 'cuda' ...

    Attributes:
        names: Of the classes.
        notes: What was replaced.
        source: Config, checkpoint and layer, by their names.

    Raises:
        UserError: If the config is of none of the toolboxes, or the checkpoint or the layer is
            not the model's.
    """

    def __init__(
        self, cfg: Config, checkpoint: str, layer: str | None = None, device: str = 'cpu'
    ) -> None:
        cfg, self.notes = copy.deepcopy(cfg), []
        if (cfg.model.get('test_cfg') or {}).get('mode') == 'slide':
            cfg.model.test_cfg.mode = 'whole'
            self.notes.append("test_cfg.mode='slide' is replaced: each image is seen as a whole.")
        self.trained = Trained(cfg, checkpoint, device)
        self.scope, self.model, self.device = cfg.default_scope, self.trained.model, device
        self.layer = find_layer(self.model, layer or LAYERS[self.scope])
        self.names = _class_names(cfg, checkpoint)
        self.source = dict(config=cfg.filename, checkpoint=checkpoint, layer=self.layer.name)

    def pack(self, image: Path | Mapping) -> dict:
        """An image through the test pipeline, with its annotations if it is of a data set."""
        if isinstance(image, Path):
            return self.trained.sample(image)
        leaf = next(iter_datasets(self.trained.cfg.test_dataloader.dataset))
        with self.trained.scope():
            return Compose(leaf.pipeline)(copy.deepcopy(dict(image)))

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
        images, samples = self.trained.batch(packed)
        batch = dict(inputs=images, data_samples=samples)
        # Of the toolboxes' predictions only the loops run without gradients.
        with torch.enable_grad(), Attached(), self.layer.watch() as maps:
            targets = TARGETS[self.scope](self.model, batch)
        place = self._place(packed)
        padded = tuple(images.shape[-2:])
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
        (height, width), size = self._place(packed)
        seen = self.trained.picture(packed)[:height, :width]
        return mmcv.imresize(np.ascontiguousarray(seen), (size[1], size[0]))

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


def _class_names(cfg: Config, checkpoint: str) -> list[str]:
    """Names from the checkpoint, else from the config's data set, else numbers."""
    meta = unwrap(read_checkpoint(checkpoint), checkpoint).meta
    leaf = next(iter_datasets((cfg.get('test_dataloader') or {}).get('dataset')), {})
    reader = reader_of(leaf, cfg.default_scope) if leaf else None
    known = (meta.get('dataset_meta'), leaf.get('metainfo'), getattr(reader, 'METAINFO', None))
    found = next(filter(None, (dict(one or {}).get('classes') for one in known)), None)
    counts = [node['num_classes'] for node in iter_dicts(cfg.model) if 'num_classes' in node]
    numbers = range(max((count for count in counts if isinstance(count, int)), default=0))
    # ImageNet's names are lists of synonyms.
    return [str(name).split(',')[0] for name in found or numbers]
