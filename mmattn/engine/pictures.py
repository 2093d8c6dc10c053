"""Pictures of predictions beside the ground truth, drawn by the toolboxes' own visualizers."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import mmcv
import numpy as np
import torch
from mmengine.config import Config
from mmengine.dist import is_main_process
from mmengine.hooks import Hook
from mmengine.registry import VISUALIZERS
from mmengine.runner import Runner
from mmengine.structures import BaseDataElement, InstanceData, PixelData

from mmattn.utils.errors import InvalidValue, UserError
from mmattn.utils.files import told, whole
from mmattn.utils.walk import type_name

VISUALIZERS_OF = {
    'mmdet': dict(type='DetLocalVisualizer'),
    'mmseg': dict(type='SegLocalVisualizer'),
    'mmpretrain': dict(type='UniversalVisualizer'),
}
# Detections below it are not drawn.
SCORE = 0.5
# Smaller images are enlarged to this long side in pixels: labels leave the objects visible.
SIDE = 640
# Pixels an inch of the visualizers' points; with their own, 100, letters and lines are thin.
DPI = 150
# Size of all letters in points; mmdet's own halves those on boxes of less than 30,000 pixels.
LETTERS = 9
# Height of the titles above a picture, in pixels.
STRIP = 32
IGNORED, GREY = 'ignored', (128, 128, 128)


class Pictures(Hook):
    """Draws test samples into a folder, one PNG each; as a hook, those of a whole test.

    Small images are enlarged. Boxes that are neither learnt nor evaluated are
    labelled 'ignored'. With several processes the first one draws its share.

    Args:
        cfg: Its ``visualizer`` draws, or its ``default_scope``'s own one where it
            has none; no vis_backend is served.
        out_dir: Folder for the files, created if absent.

    Attributes:
        paths: The files, in the order of the samples.

    Raises:
        InvalidValue: If the toolbox is none of the three.
        UserError: If the folder cannot be made.
    """

    def __init__(self, cfg: Config, out_dir: str) -> None:
        scope = cfg.get('default_scope')
        if scope not in VISUALIZERS_OF:
            raise InvalidValue(
                f'pictures are drawn for {", ".join(VISUALIZERS_OF)}, not for '
                f'default_scope={scope!r}.'
            )
        self.folder = Path(out_dir)
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UserError(
                f'pictures cannot be written to {out_dir}: {error.strerror}.'
            ) from error
        chosen = cfg.get('visualizer') or {}
        if type_name(chosen) in ('', 'Visualizer'):  # mmengine's own one draws no samples
            chosen = VISUALIZERS_OF[scope]
        with VISUALIZERS.switch_scope_and_registry(scope) as registry:
            # The name tells it from the run's visualizer, which has the backends.
            self.visualizer = registry.build(dict(chosen, vis_backends=[], name=out_dir))
        if hasattr(self.visualizer, '_get_center_loc'):
            self.visualizer._get_center_loc = _middle
        draw_texts = self.visualizer.draw_texts
        self.visualizer.draw_texts = lambda *args, **options: draw_texts(
            *args, **{**options, 'font_sizes': LETTERS}
        )
        self.visualizer.dpi = DPI
        self.visualizer.fig_save.set_dpi(DPI)
        self.paths: list[str] = []

    def describe(self, metainfo: dict) -> None:
        """Take over the classes and, where there is one, the palette of the data set."""
        # ImageNet's names are lists of synonyms. The last label is that of ignored boxes.
        self.classes = [name.split(',')[0] for name in metainfo.get('classes') or ()]
        palette = metainfo.get('palette')
        if isinstance(palette, (list, tuple)):
            palette = [*palette[: len(self.classes)], GREY]
        meta = dict(metainfo, classes=[*self.classes, IGNORED], palette=palette)
        self.visualizer.dataset_meta = meta

    def draw(self, inputs: Iterable[torch.Tensor], samples: Iterable[BaseDataElement]) -> None:
        """Draw the samples of a batch.

        Args:
            inputs: The images as the pipeline left them, of shape (3, H, W), RGB; drawn
                where a sample has no ``img_path``.
            samples: What the model's ``test_step`` returned; left as it is.
        """
        for pixels, sample in zip(inputs, samples, strict=True):
            path = sample.metainfo.get('img_path')
            if path:
                image, stem = mmcv.imread(path, channel_order='rgb'), Path(path).stem
            else:
                image, stem = pixels.permute(1, 2, 0).cpu().numpy().astype(np.uint8), 'image'
            factor = max(1.0, SIDE / max(image.shape[:2]))
            image = mmcv.imrescale(image, factor, interpolation='bicubic')
            # Images of different folders may share a name.
            self.paths.append(str(self.folder / f'{len(self.paths):05d}_{stem}.png'))
            sample = _enlarged(sample, factor, image.shape[:2])
            with told(self.paths[-1]), whole(self.paths[-1]) as part:
                self._draw(image, sample, str(part))

    def _draw(self, image: np.ndarray, sample: BaseDataElement, path: str) -> None:
        visualizer = self.visualizer
        if hasattr(visualizer, 'visualize_cls'):
            # A demo's data set knows fewer classes than the model.
            more = range(len(self.classes), len(sample.get('pred_score', ())))
            classes = [*self.classes, *(f'class {label}' for label in more)]
            text = dict(size=LETTERS)
            visualizer.visualize_cls(image, sample, classes, text_cfg=text, out_file=path)
            return
        titles, options = ['prediction'], {}
        if 'pred_instances' in sample:
            # The visualizer writes scores as per cent.
            titles, options = [f'prediction (score > {SCORE:.0%})'], dict(pred_score_thr=SCORE)
            # The surest one's label lies on top.
            order = sample.pred_instances.scores.argsort()
            sample.pred_instances = sample.pred_instances[order]
        truth = 'gt_sem_seg' in sample or 'labels' in sample.get('gt_instances', ())
        if truth:
            titles.insert(0, 'ground truth')
        ignored = sample.get('ignored_instances', ())
        if len(ignored):
            ignored.labels = torch.full_like(ignored.labels, len(self.classes))
            sample.gt_instances = InstanceData.cat([sample.gt_instances, ignored])
        visualizer.add_datasample('', image, sample, draw_gt=truth, out_file=path, **options)
        drawn = mmcv.imread(path, channel_order='rgb')
        visualizer.set_image(np.pad(drawn, ((STRIP, 0), (0, 0), (0, 0)), constant_values=255))
        places = [(8 + i * image.shape[1], 6) for i in range(len(titles))]
        visualizer.draw_texts(titles, np.array(places), colors='black')
        mmcv.imwrite(visualizer.get_image()[..., ::-1], path)

    def before_test(self, runner: Runner) -> None:
        """Ask the data set for its classes."""
        self.describe(runner.test_dataloader.dataset.metainfo)

    def after_test_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:
        """Draw the batch; the visualizers work in the first process only."""
        if is_main_process():
            self.draw(data_batch['inputs'], outputs)


def _middle(mask: np.ndarray) -> np.ndarray:
    """Where mmseg writes a label: x, y in the middle of a mask's fullest row.

    Its own function sorts all pixels as lists, which takes seconds a picture.
    """
    y = mask.sum(1).argmax()
    columns = mask[y].nonzero()[0]
    return np.array([columns[len(columns) // 2], y])


def _enlarged(sample: BaseDataElement, factor: float, size: tuple[int, int]) -> BaseDataElement:
    """A copy of a sample on the CPU whose boxes, masks and maps fit the enlarged image."""
    sample = sample.cpu()
    for name, value in list(sample.items()):
        if isinstance(value, InstanceData):
            if 'bboxes' in value:
                # The visualizer zooms out for a box that leaves the image.
                border = torch.tensor([size[1] - 1, size[0] - 1] * 2)
                value.bboxes = (value.bboxes * factor).clamp(min=0).minimum(border)
            if 'masks' in value:
                value.masks = _resized(value.masks, size)
        elif isinstance(value, PixelData) and name.startswith(('gt_', 'pred_')):
            maps = {key: _resized(data, size) for key, data in value.items()}
            setattr(sample, name, PixelData(metainfo=value.metainfo, **maps))
    return sample


def _resized(maps: Any, size: tuple[int, int]) -> torch.Tensor:
    """Masks or label maps of shape (N, H, W) at another height and width."""
    if hasattr(maps, 'to_ndarray'):  # mmdet's masks of the ground truth
        maps = maps.to_ndarray()
    maps = torch.as_tensor(maps)
    if not len(maps):
        return maps.new_zeros((0, *size))
    return torch.nn.functional.interpolate(maps[None].float(), size)[0].to(maps.dtype)
