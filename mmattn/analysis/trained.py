"""A config's model with its weights, and images as the config's test pipeline gives them."""

import copy
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import mmcv
import numpy as np
import torch
from mmengine.config import Config
from mmengine.dataset import Compose
from mmengine.registry import DATASETS, MODELS, DefaultScope
from PIL import Image, ImageOps
from torch import Tensor, nn

from mmattn.analysis.complexity import input_size
from mmattn.datasets.images import image_size, list_files
from mmattn.engine.data_check import check_data
from mmattn.engine.data_root import set_data_root
from mmattn.engine.machine import adapt_to_machine
from mmattn.engine.prepare import prepare
from mmattn.utils.checkpoints import load_weights, read_checkpoint, unwrap
from mmattn.utils.errors import UserError
from mmattn.utils.walk import iter_datasets, type_name


class Trained:
    """The model of a config in evaluation mode.

    Args:
        cfg: A config of mmdet, mmseg or mmpretrain; it is not changed.
        checkpoint: File with every weight of the model, or of its backbone; None leaves them
            random, each layer's as torch draws them: the toolboxes' ``init_cfg`` begins with
            residual branches at 0, through which no gradient would pass.
        device: Where it runs.
        seed: Of random weights.

    Raises:
        UserError: If the config is none of these, or the checkpoint does not fit it.
    """

    def __init__(
        self, cfg: Config, checkpoint: str | None = None, device: str = 'cpu', seed: int = 0
    ) -> None:
        input_size(cfg)  # refuses another scope
        if not isinstance(cfg.get('model'), Mapping) or 'backbone' not in cfg.model:
            raise UserError('the config has no model with a backbone.')
        self.cfg, self.device = copy.deepcopy(cfg), device
        adapt_to_machine(self.cfg)
        if self.cfg.get('data_preprocessor'):
            self.cfg.model.setdefault('data_preprocessor', self.cfg.data_preprocessor)
        torch.manual_seed(seed)
        with self.scope():
            self.model: nn.Module = MODELS.build(self.cfg.model)
        if checkpoint is not None:
            tensors = unwrap(read_checkpoint(checkpoint), checkpoint).tensors
            load_weights(self.model, tensors, checkpoint)
        self.model.to(device).eval().requires_grad_(False)

    def scope(self) -> Any:
        """The context in which names are those of the config's toolbox."""
        return DefaultScope.overwrite_default_scope(self.cfg.default_scope)

    def test_images(self, number: int, seed: int = 0) -> list[dict]:
        """Some of the config's test images, drawn by the seed, as the data set describes them.

        Raises:
            UserError: If the data is not there.
        """
        if not self.cfg.get('test_dataloader'):
            raise UserError('the config has no test_dataloader, and so no test images.')
        check_data(self.cfg, ('test',))
        with self.scope():
            dataset = DATASETS.build(self.cfg.test_dataloader.dataset)
        return [dataset.get_data_info(index) for index in choose(range(len(dataset)), number, seed)]

    def sample(self, image: Path | Mapping, size: tuple[int, int] | None = None) -> dict:
        """An image through the test pipeline, without the steps that read annotations.

        Args:
            image: A file, or what :meth:`test_images` has of it.
            size: Height and width; the image is resized to them instead of what the pipeline
                does between loading and packing it.

        Returns:
            ``inputs``, (3, H, W), and ``data_samples``, of this image.

        Raises:
            UserError: If the config has no test pipeline.
        """
        steps = self._pipeline()
        is_file = not isinstance(image, Mapping)
        results = dict(img_path=str(image), img_id=0) if is_file else dict(image)
        loading = [step for step in steps if 'LoadImage' in type_name(step)]
        if is_file and not loading:  # of a data set that holds its images: RGB
            with Image.open(image) as opened:
                results['img'] = np.array(ImageOps.exif_transpose(opened).convert('RGB'))
        if 'img' in results:
            results['img_shape'] = results['ori_shape'] = results['img'].shape[:2]
        if size is not None:
            packing = [step for step in steps if type_name(step).startswith('Pack')]
            steps = [*loading, partial(_resized, size=size), *packing]
        with self.scope():
            return Compose(steps)(results)

    def _pipeline(self) -> list[dict]:
        loader = self.cfg.get('test_dataloader') or {}
        dataset = next(iter_datasets(loader.get('dataset')), {})
        steps = dataset.get('pipeline')
        if not steps:
            raise UserError(
                'the config does not say how an image is made ready: test_dataloader.dataset has '
                'no pipeline.'
            )
        return [step for step in steps if 'Annotations' not in type_name(step)]

    def batch(self, sample: Mapping) -> tuple[Tensor, list]:
        """What the model takes of a sample: normalised and padded, (1, 3, H, W), and its data."""
        data = dict(inputs=[sample['inputs']], data_samples=[sample.get('data_samples')])
        with torch.no_grad():
            data = self.model.data_preprocessor(data, False)
        return data['inputs'], data['data_samples']

    def picture(self, sample: Mapping) -> np.ndarray:
        """A sample's image to look at: (H, W, 3), uint8, RGB."""
        pixels = sample['inputs'].permute(1, 2, 0).numpy()
        if pixels.dtype != np.uint8:  # normalised by the pipeline
            low, high = pixels.min(), pixels.max()
            pixels = ((pixels - low) / max(high - low, 1e-12) * 255).astype(np.uint8)
        loading = (step for step in self._pipeline() if 'LoadImage' in type_name(step))
        is_bgr = any(step.get('channel_order', 'bgr') == 'bgr' for step in loading)
        return np.ascontiguousarray(pixels[..., ::-1] if is_bgr else pixels)


class Described(NamedTuple):
    """A model as a command line gives it: a config, perhaps a checkpoint, perhaps options."""

    config: str
    checkpoint: str | None
    options: tuple[str, ...]

    @classmethod
    def of(cls, words: Sequence[str]) -> 'Described':
        """Sort the words ``CONFIG [CHECKPOINT] [KEY=VALUE ...]``.

        Raises:
            UserError: If they are others.
        """
        config, *rest = words
        options = [word for word in rest if '=' in word and not Path(word).is_file()]
        files = [word for word in rest if word not in options]
        if len(files) > 1:
            raise UserError(
                f'a model is CONFIG [CHECKPOINT] [KEY=VALUE ...]; given is {" ".join(words)!r}.'
            )
        return cls(config, next(iter(files), None), tuple(options))

    def open(
        self, device: str, seed: int = 0, data_root: str | None = None
    ) -> tuple[Trained, list[str]]:
        """Build the model; also returns notes for the user."""
        move = data_root and partial(set_data_root, data_root=data_root)
        cfg, notes = prepare(self.config, self.options, [move])
        if self.checkpoint is None:
            notes.append(f'{self.config}: no checkpoint was given, the weights are random.')
        return Trained(cfg, self.checkpoint, device, seed), notes


def names_of(models: Sequence[Described]) -> list[str]:
    """What to call models: by their configs, and by what differs where these are the same."""
    names = [Path(model.config).stem for model in models]
    for part in ('options', 'checkpoint'):
        same = [names.count(name) > 1 for name in names]
        for index, model in enumerate(models):
            if same[index] and part == 'options':
                options = (option.removeprefix('model.') for option in model.options)
                names[index] = ', '.join([names[index], *options])
            elif same[index]:
                names[index] += f', {Path(model.checkpoint or "random weights").stem}'
    return [
        name if names.count(name) == 1 else f'{name} ({names[: index + 1].count(name)})'
        for index, name in enumerate(names)
    ]


def choose(images: Sequence, number: int, seed: int = 0) -> list:
    """At most so many, drawn by the seed."""
    order = np.random.default_rng(seed).permutation(len(images))[:number]
    return [images[int(index)] for index in order]


def list_images(names: Iterable[str]) -> list[Path]:
    """The images of a list of files and folders, the folders' in alphabetical order.

    Raises:
        UserError: If one does not exist, is no image, or is a folder without any.
    """
    found: list[Path] = []
    for path in (Path(name).expanduser() for name in names):
        if path.is_dir():
            inside = sorted(list_files(path).by_name)
            if not inside:
                raise UserError(f'{path} holds no image.')
            found += [path / name for name in inside]
            continue
        try:
            image_size(path)
        except FileNotFoundError as error:
            raise UserError(f'image {str(path)!r} does not exist.') from error
        except OSError as error:
            raise UserError(f'image {error}.') from error
        found.append(path)
    return found


def _resized(results: dict, size: tuple[int, int]) -> dict:
    results['img'] = mmcv.imresize(results['img'], size[::-1], interpolation='bicubic')
    results['img_shape'] = size
    return results
