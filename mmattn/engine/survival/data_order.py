"""Which samples come when, and with which random numbers, as a function of seed and position.

mmengine seeds a loader's workers when they start, so that what a sample looks like depends on
when that was, on their number, and on what a worker has read before. Here each batch brings
its own seed, made of the run's seed, the rank, the epoch, and its position in the epoch.
"""

from collections.abc import Iterator, Sequence
from itertools import count, islice
from typing import Any

from mmengine.dataset import InfiniteSampler
from torch.utils.data import DataLoader, IterableDataset

from mmattn.engine.survival.random_state import RandomStream

# Batches of indices that are drawn at once: putting random states in and out takes as long as
# drawing many of them.
CHUNK = 64


class Batch(list):
    """The indices of a batch, and its place: (epoch, position in it)."""

    place: tuple[int, int] = (0, 0)


class OrderedBatches:
    """A batch sampler, whose batches know their places, and which can begin at any of them.

    Args:
        inner: Any batch sampler; its other attributes are to be had here as well.
        seed: Of the run.

    Attributes:
        epoch: The pass over the data that each ``iter`` from now on is of.
        begin: How many batches it leaves out: their indices are drawn, nothing is read.
    """

    def __init__(self, inner: Any, seed: int) -> None:
        self.inner, self.seed = inner, seed
        self.epoch = self.begin = 0

    def __getattr__(self, name: str) -> Any:
        if name == 'inner':  # while it is unpickled
            raise AttributeError(name)
        return getattr(self.inner, name)

    def __len__(self) -> int:
        return len(self.inner)

    def __iter__(self) -> Iterator[Batch]:
        return self._from(self.epoch, self.begin)

    def _from(self, epoch: int, begin: int) -> Iterator[Batch]:
        self._start_anew()
        batches, position = iter(self.inner), count()
        # Samplers may draw from the global generators: torch's own RandomSampler does.
        stream = RandomStream(self.seed, 'order', epoch)
        while True:
            with stream:
                chunk = list(islice(batches, CHUNK))
            if not chunk:
                return
            for indices, number in zip(chunk, position):  # noqa: B905  (position never ends)
                if number >= begin:
                    batch = Batch(indices)
                    batch.place = (epoch, number)
                    yield batch

    def _start_anew(self) -> None:
        """Forget what a pass that was broken off has left in the samplers."""
        for sampler in samplers(self.inner):
            if isinstance(sampler, InfiniteSampler):
                sampler.indices = sampler._indices_of_rank()
            for name, groups in vars(sampler).items():
                if name.endswith('_buckets'):  # mmdet's groups of one aspect ratio
                    for group in groups:
                        group.clear()


class SeededReading:
    """Reads batches of a data set, each with the random numbers of its place.

    torch's loader calls it as the data set's ``__getitems__``.
    """

    def __init__(self, dataset: Any, seed: int, rank: int) -> None:
        self.dataset, self.seed, self.rank = dataset, seed, rank

    def __call__(self, indices: Sequence[Any]) -> list[Any]:
        with RandomStream(self.seed, self.rank, *getattr(indices, 'place', ())):
            own = getattr(type(self.dataset), '__getitems__', None)
            if own is not None:
                return own(self.dataset, indices)
            return [self.dataset[index] for index in indices]


def order(loader: DataLoader, seed: int, rank: int) -> OrderedBatches | None:
    """Make a loader's batches follow from seed, rank, epoch and position.

    Args:
        loader: Changed in place; its type, workers and collate function stay.

    Returns:
        Its new batch sampler; None, with nothing changed, if it has no batch sampler, or its
        data set can only be iterated or is a plain list.
    """
    dataset = loader.dataset
    # A plain list takes no attribute.
    if isinstance(dataset, IterableDataset) or not hasattr(dataset, '__dict__'):
        return None
    if loader.batch_sampler is None:
        return None
    if not isinstance(loader.batch_sampler, OrderedBatches):
        # DataLoader's own refuses to set this once it is made.
        object.__setattr__(loader, 'batch_sampler', OrderedBatches(loader.batch_sampler, seed))
        dataset.__getitems__ = SeededReading(dataset, seed, rank)
    return loader.batch_sampler


def samplers(sampler: Any) -> Iterator[Any]:
    """A batch sampler, and the samplers it draws from, one after the other."""
    while sampler is not None and hasattr(sampler, '__dict__'):
        yield sampler
        sampler = vars(sampler).get('inner') or vars(sampler).get('sampler')


def keeps_images(dataset: Any) -> list[str]:
    """Names of transforms that keep images between samples, as mmdet's CachedMosaic does.

    A run that is resumed begins with none, so that its first mosaics differ.
    """
    inner = [getattr(dataset, 'dataset', None), *(getattr(dataset, 'datasets', None) or ())]
    found = [name for each in inner if each is not None for name in keeps_images(each)]
    pipeline = getattr(dataset, 'pipeline', None)
    transforms = getattr(pipeline, 'transforms', pipeline) or ()
    caching = [type(each).__name__ for each in transforms if hasattr(each, 'results_cache')]
    return list(dict.fromkeys(found + caching))
