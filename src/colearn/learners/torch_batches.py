"""Samples for torch learners: arrays, datasets and loaders, as batches of tensors.

What is no pair of arrays is kept behind a `DataLoader`, whose dataset, collate
function and workers are used. Which rows make up a batch, and in what order, is
the learner's choice alone: training must follow from its seed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from operator import itemgetter
from typing import TYPE_CHECKING, Any

import numpy as np
from blake3 import blake3

from colearn.errors import LearnerError, MissingExtra, UnsupportedModel
from colearn.learners.base import FrameworkLearner
from colearn.learners.samples import Samples, checked_samples

try:
    import torch
    from torch.utils.data import ConcatDataset, DataLoader, Dataset, IterableDataset, Subset
except ModuleNotFoundError:
    raise MissingExtra("TorchLearner", "torch", "torch") from None

from colearn.learners.torch_tensors import view

if TYPE_CHECKING:
    from numpy.typing import NDArray

TorchSamples = tuple[Any, Any] | Dataset[Any] | DataLoader[Any]
"""x (n, ...) and y (n, ...), as arrays or tensors; or a dataset of such pairs, or its loader."""


class Rows:
    """Samples of a dataset, read only when they are needed."""

    def __init__(self, loader: DataLoader[Any]) -> None:
        self._loader = loader
        self.dataset: Any = loader.dataset

    def __len__(self) -> int:
        """How many there are."""
        return len(self.dataset)

    def take(self, rows: NDArray[np.intp]) -> Rows:
        """Return some of them."""
        return Rows(self._reading(Subset(self.dataset, rows.tolist())))

    def batches(self, rows: Iterable[NDArray[np.intp]]) -> Iterator[tuple[Any, Any]]:
        """Yield these rows, batch by batch; workers draw their seeds from torch."""
        sampler = [part.tolist() for part in rows]
        for batch in self._reading(self.dataset, batch_sampler=sampler):
            if not isinstance(batch, tuple | list) or len(batch) != 2:
                raise LearnerError(
                    f"a batch of the dataset is a {type(batch).__name__}: expected a pair, inputs "
                    "and targets; give a DataLoader whose collate_fn makes one"
                )
            yield batch[0], batch[1]

    def apart(self, others: Sequence[Rows]) -> Rows:
        """Return these and others' rows as one, each collated by itself: none sees another."""
        joined: Any = ConcatDataset([each.dataset for each in (self, *others)])
        collate = partial(_collated_apart, self._loader.collate_fn)
        return Rows(self._reading(joined, collate_fn=collate))

    def _reading(self, dataset: Any, **how: Any) -> DataLoader[Any]:
        """Return a loader that reads like the one given."""
        given = self._loader
        how.setdefault("collate_fn", given.collate_fn)
        return DataLoader(
            dataset,
            num_workers=given.num_workers,
            pin_memory=given.pin_memory,
            worker_init_fn=given.worker_init_fn,
            multiprocessing_context=given.multiprocessing_context,
            **how,
        )


def _collated_apart(collate: Callable[[list[Any]], Any], rows: list[Any]) -> Any:
    """A batch of rows that have been collated one by one."""
    batches = [collate([row]) for row in rows]
    if not all(isinstance(batch, tuple | list) and len(batch) == 2 for batch in batches):
        return batches[0]  # whoever reads it says what is wrong
    return tuple(_stacked([batch[part] for batch in batches]) for part in (0, 1))


def _stacked(parts: list[Any]) -> Any:
    if isinstance(parts[0], Mapping):
        return {name: _stacked([part[name] for part in parts]) for name in parts[0]}
    shapes = {tuple(part.shape) for part in parts if isinstance(part, torch.Tensor)}
    if len(shapes) != 1 or not all(isinstance(part, torch.Tensor) for part in parts):
        raise LearnerError(
            f"records read one by one have shapes {sorted(shapes)}: expected tensors of one shape, "
            "so that none shows by what it is padded with; fill them up to one length"
        )
    return torch.cat(parts)


def digests(rows: Rows, size: int) -> list[bytes]:
    """The hash of each record, read in batches of a size; as of the same records in arrays."""
    found = []
    for x, y in batches_in_order(rows, None, size):
        named = sorted(x.items()) if isinstance(x, Mapping) else [("", x)]
        for row in range(len(y)):
            mark = blake3()
            for name, tensor in named:
                mark.update(name.encode()).update(_bytes(tensor[row]))
            found.append(mark.update(_bytes(y[row])).digest())
    return found


def _bytes(tensor: torch.Tensor) -> bytes:
    return np.ascontiguousarray(view(tensor.detach().cpu())).tobytes()


def checked(name: str, samples: TorchSamples, *, like: tuple[Any, Any] | None) -> tuple[Any, Any]:
    """Return arrays, with labels in int64; or `Rows` and None for what is read from a dataset.

    Raises:
        LearnerError: Nothing can be learned from the samples.
    """
    if isinstance(samples, tuple | list):
        if like is not None and isinstance(like[0], Rows):
            like = None
        x, y = checked_samples(name, (samples[0], samples[1]), like=like, many_targets=True)
        if y.dtype.kind not in "biuf":
            raise LearnerError(f"y of the {name} samples is {y.dtype}: expected numbers")
        return x, y if y.dtype.kind == "f" else y.astype(np.int64)
    loader = samples if isinstance(samples, DataLoader) else DataLoader(samples)
    if isinstance(loader.dataset, IterableDataset) or not hasattr(loader.dataset, "__len__"):
        raise LearnerError(
            f"the {name} samples come as a stream: training could not be repeated from its seed; "
            "give a dataset with __len__ and __getitem__"
        )
    rows = Rows(loader)
    if not len(rows):
        raise LearnerError(f"there are no {name} samples: at least one is needed")
    return rows, None


class DatasetLearner(FrameworkLearner):
    """Learns from arrays, datasets or loaders, and can tell records apart in all of them."""

    def checked(self, name: str, samples: Any, *, like: Samples | None = None) -> Samples:
        """Return arrays, or the rows of a dataset."""
        return checked(name, samples, like=like)

    def take(self, samples: Samples, rows: NDArray[np.intp]) -> Samples:
        """Return some of the samples."""
        x: Any = samples[0]
        if isinstance(x, Rows):
            return x.take(rows), None  # type: ignore[return-value]
        return _each(x, itemgetter(rows)), samples[1][rows]

    def few(self, count: int) -> Samples:
        """Return some train samples in memory, each read by itself."""
        few: Samples = next(batches_in_order(*super().few(count), count))
        return few

    def marked(self, samples: Samples, rows: NDArray[np.intp], value: float) -> Samples:
        """Return samples whose inputs in some rows are all this value."""
        x: Any = samples[0]
        if not any(map(_fractional, x.values() if isinstance(x, Mapping) else [x])):
            return samples
        return _each(x, partial(_marked, rows=rows, value=value)), samples[1]

    def joined(self, parts: Sequence[Samples]) -> Samples:
        """Return samples of several parts as one, in which records can be told apart."""
        rows: list[Any] = [part[0] for part in parts]
        if not any(isinstance(each, Rows) for each in rows):
            return super().joined(parts)
        if not all(isinstance(each, Rows) for each in rows):
            raise UnsupportedModel(
                "some samples are arrays and some come from a dataset: "
                "give all in one form to keep them private"
            )
        return rows[0].apart(rows[1:]), None  # type: ignore[return-value]

    def digests(self, samples: Samples) -> list[bytes]:
        """Return the hash of each record; what is read from a dataset is read twice."""
        x: Any = samples[0]
        if not isinstance(x, Rows):
            return super().digests(samples)
        with torch.random.fork_rng([]):
            found, again = (digests(x, self.batch_size) for _ in range(2))
        if found != again:
            raise UnsupportedModel(
                "the dataset gives other values each time it is read, so that its records cannot "
                "be told apart: take what is random out of it, and into the module"
            )
        return found

    def drawn(self, batches: Iterator[NDArray[np.intp]]) -> Iterator[Samples]:
        """Yield the train samples of these rows, of which there may be none."""
        x: Any = self.train_samples[0]
        if not isinstance(x, Rows):
            yield from super().drawn(batches)
            return
        rows = list(batches)
        read = x.batches(each for each in rows if len(each))
        for each in rows:
            yield next(read) if len(each) else (np.empty(0), np.empty(0))

    def mini_batches(self, rng: np.random.Generator) -> Iterator[Samples]:
        """Yield what each `step` trains on."""
        x: Any = self.train_samples[0]
        return x.batches(self.batches(rng)) if isinstance(x, Rows) else super().mini_batches(rng)


def batches_in_order(x: Any, y: Any, size: int) -> Iterator[tuple[Any, Any]]:
    """Yield all samples, batch by batch."""
    count = len(x if isinstance(x, Rows) else y)
    places = [
        np.arange(start, min(start + size, count), dtype=np.intp) for start in range(0, count, size)
    ]
    if isinstance(x, Rows):
        yield from x.batches(places)
    else:
        for rows in places:
            yield _each(x, itemgetter(rows)), y[rows]


def _each(x: Any, change: Callable[[Any], Any]) -> Any:
    """Return inputs of which each array or tensor has been changed."""
    if isinstance(x, Mapping):
        return {name: change(part) for name, part in x.items()}
    return change(x)


def _fractional(part: Any) -> bool:
    tensor = torch.as_tensor(part)
    return tensor.is_floating_point() and not tensor.equal(tensor.round())


def _marked(part: Any, rows: NDArray[np.intp], value: float) -> Any:
    if not _fractional(part):
        return part
    tensor = torch.as_tensor(part)
    return tensor.index_fill(0, torch.from_numpy(rows).to(tensor.device), value)


def moved(value: Any, device: torch.device, dtype: torch.dtype) -> Any:
    """Return arrays and tensors as tensors on a device, floats in ``dtype``."""
    if isinstance(value, Mapping):
        return {name: moved(part, device, dtype) for name, part in value.items()}
    if isinstance(value, tuple | list):
        return type(value)(moved(part, device, dtype) for part in value)
    tensor = value if isinstance(value, torch.Tensor) else torch.from_numpy(value)
    return tensor.to(device, dtype if tensor.is_floating_point() else None, non_blocking=True)
