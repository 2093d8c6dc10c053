"""Reading samples of which some are broken: noted, and another one read in their place.

A worker has no policy. The notes travel in the batch, out of which the main process takes them
before the iteration: the same with any number of workers, and what was read ahead and lost with
its run is not counted.
"""

import math
import os
from collections.abc import Callable, Iterator, Sequence
from traceback import walk_tb
from typing import Any

import numpy as np
from mmcv.transforms import BaseTransform
from mmengine.dataset import BaseDataset
from torch.utils.data import DataLoader

from mmattn.datasets.images import SUFFIXES
from mmattn.datasets.soundness import fault_of, is_cut_off
from mmattn.utils.errors import UserError, one_line
from mmattn.utils.paths import LEADS_OUT, LeadsOut, require_inside

# What is wrong with a sample: its file, and what.
Fault = tuple[str, str]

# In a batch.
KEY = 'mmattn_bad_data'
# So many samples in a row that cannot be used are not single files any more.
ATTEMPTS = 50
# A bug of a transform fails for any sample, a bad sample by itself.
OTHERS = 3
NO_LABEL = 255
# mmseg's, whose ignore_index is NO_LABEL by default.
SEGMENTATION_HEADS = ('decode_head', 'auxiliary_head')

HOW_TO_LOOK = 'python -m mmattn data --verify CONFIG lists every such file.'
NOT_FINITE = 'the annotation has a box that is not finite'
# Pictures of the colours of labels look like maps of labels.
IN_COLOUR = 'the map of labels has {} channels; it has to have one, with the label of each pixel'


class BadData(UserError):
    """A run that cannot go on with its data; says which file and how to go on."""

    def __init__(self, message: str) -> None:
        # A loader raises what a worker has raised with the worker's traceback before the message.
        super().__init__(message.rsplit(f'{type(self).__name__}: ', 1)[-1].strip(), 1)


def guard(loader: DataLoader) -> DataLoader:
    """Guard what a loader reads, unless it is guarded already; returns the loader."""
    if isinstance(loader.collate_fn, _Collate):
        return loader
    notes: list[Fault] = []
    for dataset in readers(loader.dataset):
        _Guard(dataset, notes)
    # DataLoader lets this be set, unlike the sampler.
    loader.collate_fn = _Collate(loader.collate_fn, notes)
    return loader


def readers(dataset: Any) -> Iterator[BaseDataset]:
    """The data sets that read files, below any wrappers."""
    inner = getattr(dataset, 'datasets', None) or [getattr(dataset, 'dataset', None)]
    if isinstance(dataset, BaseDataset):
        yield dataset
    elif isinstance(inner, (list, tuple)):
        for each in filter(None, inner):
            yield from readers(each)


def ignore(dataset: Any, model: Any) -> None:
    """Tell the data sets below any wrappers which labels the heads of a model's config ignore."""
    parts = [(model or {}).get(part) for part in SEGMENTATION_HEADS]
    heads = [head for part in parts for head in (part if isinstance(part, list) else [part])]
    ignored = [{head.get('ignore_index', NO_LABEL)} for head in heads if head]
    for each in readers(dataset):
        # What one of the heads does not ignore, is out of bounds for its loss.
        each.ignored_by_model = set.intersection(*ignored) if ignored else None


def wrong_labels(dataset: BaseDataset, labels: Any) -> Any:
    """Those of a map of labels that are no class and that nothing ignores."""
    wrong = labels >= len(dataset.metainfo['classes'])
    ignored = getattr(dataset, 'ignored_by_model', None)
    for label in {NO_LABEL, dataset.ignore_index} if ignored is None else ignored:
        wrong = wrong & (labels != label)
    return labels[wrong]


class _Guard:
    """Reads the samples of one data set, in its place."""

    def __init__(self, dataset: BaseDataset, notes: list[Fault]) -> None:
        self.dataset, self.notes = dataset, notes
        self.infos: list[dict[str, Any]] | None = None
        # On the object, so that its class, and what wrappers see of it, stay as they are.
        dataset.prepare_data, dataset.get_data_info = self.prepare_data, self.get_data_info

    def get_data_info(self, index: int) -> dict:
        info = type(self.dataset).get_data_info(self.dataset, index)
        # Samplers ask for it as well.
        if self.infos is not None:
            # The pipeline writes into the dict.
            self.infos.append(dict(info))
            require_own(self.dataset, info)
        return info

    def prepare_data(self, index: Any) -> Any:
        """The sample of an index, or of another in its place, which is then noted."""
        faults: list[Fault] = []
        unexplained: list[Exception] = []
        while len(faults) < ATTEMPTS:
            data, fault, error = self._read(index)
            if fault is None:
                self.notes += dict.fromkeys(faults)
                return data
            faults.append(fault)
            unexplained += [error] if error else []
            if len(unexplained) == OTHERS:
                raise unexplained[0]
            index = self._another(index)
        path, what = faults[0]
        raise BadData(
            f'{ATTEMPTS} samples one after the other cannot be used, the first: {path}: {what}. '
            f'{HOW_TO_LOOK}'
        )

    def _another(self, index: Any) -> int:
        size = len(self.dataset)
        if isinstance(index, tuple):  # a frame of a video
            return int(np.random.randint(size))
        if self.dataset.test_mode:
            return (index + 1) % size
        # From the random numbers of the batch, which follow from seed, epoch and position.
        return int(index + 1 + np.random.randint(max(size - 1, 1))) % size

    def _read(self, index: Any) -> tuple[Any, Fault | None, Exception | None]:
        """The sample, or what is wrong with it, and the error if it explains nothing."""
        self.infos = []
        try:
            data = type(self.dataset).prepare_data(self.dataset, index)
            return data, self._look(data), None
        except LeadsOut as error:
            return None, (error.name, LEADS_OUT), None
        except Exception as error:
            files = local_files(self.dataset, self.infos)
            found = ((path, _fault_of(path)) for path in files)
            fault = next((each for each in found if each[1]), None)
            if fault is not None:
                return None, fault, None
            name = next(iter(files), f'{self.dataset.ann_file}, sample {index}')
            return None, (name, f'{one_line(error)}{_where(error)}'), error
        finally:
            self.infos = None

    def _look(self, data: Any) -> Fault | None:
        """What is wrong with a sample that was read without an error."""
        files = local_files(self.dataset, self.infos)
        for path in files:
            if os.path.isfile(path):
                if is_cut_off(path):
                    return path, _fault_of(path)
            elif data is None:  # LoadImageFromFile(ignore_empty=True)
                return path, _fault_of(path)
        for info in self.infos:
            boxes = (each.get('bbox') or () for each in info.get('instances') or ())
            if not all(math.isfinite(value) for box in boxes for value in box):
                return next(iter(files), self.dataset.ann_file), NOT_FINITE
        return self._look_at_labels(data, files)

    def _look_at_labels(self, data: Any, files: Sequence[str]) -> Fault | None:
        """What is wrong with the map of labels that mmseg's pipelines give."""
        sample = data.get('data_samples') if isinstance(data, dict) else None
        classes = self.dataset.metainfo.get('classes')
        if not hasattr(sample, 'gt_sem_seg') or not hasattr(self.dataset, 'reduce_zero_label'):
            return None
        name = files[-1] if files else self.dataset.ann_file
        labels = sample.gt_sem_seg.data
        if len(labels) != 1:  # PackSegInputs leaves a map with channels as it is
            return name, IN_COLOUR.format(labels.shape[-1])
        sizes = [tuple(data['inputs'].shape[-2:]), tuple(sample.metainfo.get('ori_shape', ()))]
        size = tuple(labels.shape[-2:])
        if size not in sizes:
            return name, f'the map of labels is {size}, the image {sizes[0]} high and wide'
        if classes and int(labels.max()) >= len(classes):
            wrong = wrong_labels(self.dataset, labels)
            if len(wrong):
                return name, f'label {int(wrong[0])}, but there are {len(classes)} classes'
        return None


def local_files(dataset: BaseDataset, infos: Sequence[dict[str, Any]]) -> list[str]:
    """The files, on this machine's disks, that these entries of a data set name."""
    backend = getattr(dataset, 'backend_args', None) or {}
    if backend.get('backend', 'local') != 'local':
        return []
    paths = (value for info in infos for key, value in info.items() if key.endswith('path'))
    return [path for path in paths if isinstance(path, str) and '://' not in path]


def require_own(dataset: BaseDataset, info: dict[str, Any]) -> None:
    """Raise :class:`LeadsOut` if an entry names files outside of the folders of its data set.

    One that has neither ``data_root`` nor ``data_prefix`` has no folders.
    """
    prefixes = dataset.data_prefix.values()
    folders = [dataset.data_root, *(each for each in prefixes if isinstance(each, str))]
    folders = [folder for folder in folders if folder]
    for key, path in info.items() if folders else ():
        if key.endswith('path') and path is not None:
            require_inside(path, folders)


def _fault_of(path: str) -> str:
    return fault_of(path, decode=path.lower().endswith(SUFFIXES))


def _where(error: Exception) -> str:
    """The transform in which an error occurred, and the line, in parentheses."""
    for frame, line in walk_tb(error.__traceback__):
        if isinstance(transform := frame.f_locals.get('self'), BaseTransform):
            file = os.path.basename(frame.f_code.co_filename)
            return f' ({type(transform).__name__}, line {line} of {file})'
    return ''


class _Collate:
    """A loader's collate function, which adds to a batch what was wrong with its samples."""

    def __init__(self, collate: Callable, notes: list[Fault]) -> None:
        self.collate, self.notes = collate, notes

    def __call__(self, samples: Sequence[Any]) -> Any:
        batch = self.collate(samples)
        if self.notes:
            faults, self.notes[:] = list(self.notes), []
            if not isinstance(batch, dict):
                raise BadData('{}: {}. '.format(*faults[0]) + HOW_TO_LOOK)
            batch[KEY] = faults
        return batch
