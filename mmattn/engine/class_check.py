"""Whether class names, annotation files and the heads' num_classes belong together."""

import inspect
import sys
from collections.abc import Iterator, Sequence

from mmengine.config import Config
from mmengine.registry import DATASETS

from mmattn.datasets.folders import members
from mmattn.datasets.layouts import class_names, listed, nearest, paths_of
from mmattn.utils.errors import UserError
from mmattn.utils.walk import type_name

# The parts of a toolbox's model that learn the classes of the data set; '' is the whole model.
PARTS = {'mmdet': ('',), 'mmseg': ('decode_head', 'auxiliary_head'), 'mmpretrain': ('head',)}
# Parts with a num_classes of their own: a proposal is an object or background.
OTHER_PARTS = ('backbone', 'data_preprocessor', 'rpn_head', 'semantic_head')
# Heads that learn something else: STDCHead edges.
OTHER_HEADS = ('STDCHead',)
# Models with such a part take their classes as words.
WORDS = ('language_model', 'text_encoder')


def check_classes(cfg: Config, datasets: Sequence[dict]) -> list[str]:
    """Raise unless the heads fit the data sets' classes, and these fit their annotation files.

    Args:
        cfg: The config. That of a demo (``demo=True``) shows only some of the heads' classes.
        datasets: Configs of its data sets whose files are there.

    Returns:
        Notes on classes that never occur.

    Raises:
        UserError: Names the head, both numbers and the class names; or the names that do not
            occur, the nearest that do, and the file; or the file that cannot be read.
    """
    scope = cfg.get('default_scope')
    heads = dict(_heads(cfg, scope))
    notes = []
    for dataset in datasets:
        reader = reader_of(dataset, scope)
        layout = nearest(members('layout').values(), reader) if reader else None
        if layout is None:
            continue
        notes += layout.check(dataset, reader)
        fitting = layout.numbers(dataset, reader)
        if fitting is None:
            continue
        if cfg.get('demo'):
            fitting = range(fitting[0], sys.maxsize)
        wrong = {head: number for head, number in heads.items() if number not in fitting}
        if wrong:
            raise UserError(_message(wrong, fitting, dataset, reader))
    return list(dict.fromkeys(notes))


def reader_of(dataset: dict, scope: str | None) -> type | None:
    """The class of a data set; None if its type is not registered, which building it will say."""
    kind = dataset.get('type')
    if inspect.isclass(kind) or not kind:
        return kind
    with DATASETS.switch_scope_and_registry(scope) as registry:
        return registry.get(kind)


def _heads(cfg: Config, scope: str | None) -> Iterator[tuple[str, int]]:
    """Yield (where, num_classes) of the heads that learn the classes of the data set."""
    model = cfg.get('model') or {}
    for part in () if any(map(model.get, WORDS)) else PARTS.get(scope, ()):
        yield from _numbers(model.get(part), f'model.{part}') if part else _numbers(model, 'model')


def _numbers(node: object, where: str) -> Iterator[tuple[str, int]]:
    if isinstance(node, dict):
        if isinstance(node.get('num_classes'), int) and type_name(node) not in OTHER_HEADS:
            yield where, node['num_classes']
        for key, child in node.items():
            if key not in OTHER_PARTS:
                yield from _numbers(child, f'{where}.{key}')
    elif isinstance(node, (list, tuple)):
        for index, child in enumerate(node):
            yield from _numbers(child, f'{where}.{index}')


def _message(wrong: dict[str, int], fitting: range, dataset: dict, reader: type) -> str:
    names = class_names(dataset, reader)
    number = len(names) if names else fitting[0]
    heads = ', '.join(f'{head}.num_classes is {value}' for head, value in wrong.items())
    files = list(paths_of(dataset, reader.__name__))
    least = '' if names or len(fitting) == 1 else 'at least '
    classes = f': {listed(names)}' if names else ''
    options = ' '.join(f'{head}.num_classes={number}' for head in wrong)
    return (
        f'{heads}, but the data set {reader.__name__} ({files[0][0] if files else "no files"}) has '
        f'{least}{number} classes{classes}. Either --cfg-options {options}, or '
        'metainfo=dict(classes=(...)) of the data set.'
    )
