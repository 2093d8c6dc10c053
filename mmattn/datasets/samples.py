"""Reading one sample after the other as a data set's pipeline does, to find what is wrong.

Only the transforms that load something run. libjpeg decodes what is damaged as well as it can and
says so on standard error only, which is therefore listened to, in processes of their own.
"""

import os
import re
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import cv2
import numpy as np
from mmengine.dataset import BaseDataset

from mmattn.datasets.boxes import CLIPPED, Box, clean_box
from mmattn.datasets.images import SUFFIXES
from mmattn.datasets.reading import IN_COLOUR, Fault, local_files, require_own, wrong_labels
from mmattn.datasets.soundness import fault_of
from mmattn.utils.errors import one_line
from mmattn.utils.paths import LEADS_OUT, LeadsOut

# What decoders say about pixels that are not those of the original. Some encoders leave a few
# bytes too many behind them; more is what damage inside has pushed out.
COMPLAINT = re.compile(r'Corrupt JPEG data: (?!\d extraneous).*|Premature end.*|libpng error.*')

_datasets: Sequence[BaseDataset] = ()
_stderr: int | None = None


def begin(datasets: Sequence[BaseDataset]) -> None:
    """Prepare a process that only reads: one thread, and standard error is a file from here on."""
    global _datasets, _stderr
    _datasets = datasets
    cv2.setNumThreads(0)
    _stderr = os.dup(2)
    with tempfile.TemporaryFile() as file:
        os.dup2(file.fileno(), 2)


def read(number: int, indices: Iterable[int]) -> list[Fault]:
    """What is wrong with some samples of the data set of a number."""
    dataset = _datasets[number]
    loading = [each for each in dataset.pipeline.transforms if _loads(each)]
    return [fault for index in indices for fault in _faults(dataset, index, loading)]


def _loads(transform: Any) -> bool:
    return type(transform).__name__.startswith('Load')


def _faults(dataset: BaseDataset, index: int, loading: Sequence[Any]) -> Iterator[Fault]:
    name, files = f'{dataset.ann_file}, sample {index}', []
    try:
        info = dataset.get_data_info(index)
        require_own(dataset, info)
        files = local_files(dataset, [info])
        name = next(iter(files), name)
        results = dict(info)
        for transform in loading:
            results = transform(results)
            if results is None:  # LoadImageFromFile(ignore_empty=True)
                break
    except LeadsOut as error:
        yield error.name, LEADS_OUT
        return
    except Exception as error:
        _complaints()
        found = [(path, what) for path in files if (what := _fault_of(path, decode=True))]
        yield from found or [(name, one_line(error))]
        return
    said = _complaints()
    decode = bool(said) or results is None or 'img' not in results
    found = [(path, what) for path in files if (what := _fault_of(path, decode))]
    yield from found
    if results is None or found:
        return
    yield from ((name, f'damaged: {what}') for what in said[:1])
    yield from ((name, what) for what in _look(dataset, info, results))


def _fault_of(path: str, decode: bool) -> str:
    """What is wrong with a file, and what its decoder says if it decodes it."""
    is_image = path.lower().endswith(SUFFIXES)
    what = fault_of(path, decode=decode and is_image) if is_image or decode else ''
    said = _complaints()
    return what or (f'damaged: {said[0]}' if said else '')


def _complaints() -> list[str]:
    """What decoders have said since the last call; anything else is passed on."""
    size = os.fstat(2).st_size
    if not size:
        return []
    text = os.pread(2, size, 0).decode(errors='replace')
    os.ftruncate(2, 0)
    os.lseek(2, 0, os.SEEK_SET)
    os.write(_stderr, COMPLAINT.sub('', text).strip().encode())
    return [match[0] for match in COMPLAINT.finditer(text)]


def _look(dataset: BaseDataset, info: dict, results: dict) -> Iterator[str]:
    """What is wrong with a sample that could be read."""
    image = results.get('img')
    size = image.shape[:2] if isinstance(image, np.ndarray) else None
    told = info.get('height'), info.get('width')
    if size and None not in told and told != size:
        yield f'{told[1]} x {told[0]} pixels in the annotation, {size[1]} x {size[0]} in the image'
    classes = dataset.metainfo.get('classes')
    yield from _look_at_map(results.get('gt_seg_map'), size, classes, dataset)
    height, width = size or told
    for instance in info.get('instances') or ():
        if width is None or 'bbox' not in instance:
            break
        corners, why = clean_box(Box('', tuple(instance['bbox'])), width, height, ('',))
        if corners is None or why not in ('', CLIPPED):
            yield f'box {[round(float(v), 2) for v in instance["bbox"]]}: {why}'
    labels = info.get('gt_label', ())
    wrong = [x for x in np.ravel(labels) if classes and not 0 <= x < len(classes)]
    if wrong:
        yield f'label {wrong[0]}, but there are {len(classes)} classes'


def _look_at_map(
    labels: np.ndarray | None, size: tuple | None, classes: Sequence | None, dataset: BaseDataset
) -> Iterator[str]:
    if labels is None:
        return
    if labels.ndim > 2 and hasattr(dataset, 'reduce_zero_label'):
        yield IN_COLOUR.format(labels.shape[2])
        return
    if size and labels.shape[:2] != size:
        high, wide = labels.shape[:2]
        yield f'the map of labels has {wide} x {high} pixels, the image {size[1]} x {size[0]}'
    # Panoptic maps are others.
    if classes and hasattr(dataset, 'reduce_zero_label'):
        wrong = wrong_labels(dataset, labels)
        if len(wrong):
            yield f'label {wrong[0]} in the map, but there are {len(classes)} classes'
