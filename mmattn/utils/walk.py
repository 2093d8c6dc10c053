"""Walking through nested configs."""

from collections.abc import Iterator
from typing import Any


def iter_dicts(node: Any) -> Iterator[dict]:
    """Yield every dict inside ``node``, itself included, outermost first."""
    if isinstance(node, dict):
        yield node
        node = list(node.values())
    if isinstance(node, (list, tuple)):
        for child in node:
            yield from iter_dicts(child)


def iter_datasets(node: Any) -> Iterator[dict]:
    """Yield the configs of data sets that read files, below wrappers such as RepeatDataset."""
    if isinstance(node, (list, tuple)):
        for child in node:
            yield from iter_datasets(child)
    elif isinstance(node, dict):
        inner = node.get('dataset', node.get('datasets'))
        if inner is None:
            yield node
        else:
            yield from iter_datasets(inner)


def type_name(node: dict) -> str:
    """Class name a config dict asks for, without scope; '' if it has no type."""
    kind = node.get('type') or ''
    name = kind if isinstance(kind, str) else kind.__name__
    return name.rsplit('.', 1)[-1]
