"""Segmentation data: class names and numbers of classes that mmseg can work with."""

from collections.abc import Iterator

from mmattn.datasets.layouts import Layout, class_names, describe_unknown, listed
from mmattn.utils.errors import UserError
from mmattn.utils.walk import iter_dicts


def check(dataset: dict, reader: type) -> Iterator[str]:
    """Refuse class names that the data set does not have."""
    known = reader.METAINFO.get('classes')
    missing = [name for name in class_names(dataset, reader) or () if known and name not in known]
    if missing:
        raise UserError(
            f'{reader.__name__} has no class {listed(missing)}. {describe_unknown(missing, known)}'
        )
    return iter(())


def numbers(dataset: dict, reader: type) -> range | None:
    """As many as there are class names; one output may tell two classes apart, and with
    reduce_zero_label the first name may be that of the label 0, which is not learnt."""
    names = class_names(dataset, reader)
    if not names:
        return None
    own = not reader.METAINFO.get('classes')
    reduced = any(node.get('reduce_zero_label') is True for node in iter_dicts(dataset))
    fewer = len(names) == 2 or (own and reduced)
    return range(len(names) - fewer, len(names) + 1)


LAYOUT = Layout(
    ('BaseSegDataset',),
    unlike=('DSDLSegDataset', 'DecathlonDataset', 'HSIDrive20Dataset', 'OneDLDataset'),
    check=check,
    numbers=numbers,
)
