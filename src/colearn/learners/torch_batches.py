"""Samples for torch learners: arrays, datasets and loaders, as batches of tensors.

What is no pair of arrays is kept behind a `DataLoader`, whose dataset, collate
function and workers are used. Which rows make up a batch, and in what order, is
the learner's choice alone: training must follow from its seed.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from colearn.errors import LearnerError, MissingExtra
from colearn.learners.base import checked_samples

try:
    import torch
    from torch.utils.data import DataLoader, Dataset, IterableDataset, Subset
except ModuleNotFoundError:
    raise MissingExtra("TorchLearner", "torch", "torch") from None

if TYPE_CHECKING:
    from numpy.typing import NDArray

TorchSamples = tuple[Any, Any] | Dataset[Any] | DataLoader[Any]
"""x (n, ...) and y (n, ...), as arrays or tensors; or a dataset of such pairs, or its loader."""


class Rows:
    """Samples of a dataset, read only when they are needed."""

    def __init__(self, loader: DataLoader[Any]) -> None:
        self._loader = loader
        self._dataset: Any = loader.dataset

    def __len__(self) -> int:
        """How many there are."""
        return len(self._dataset)

    def take(self, rows: NDArray[np.intp]) -> Rows:
        """Return some of them."""
        return Rows(self._reading(Subset(self._dataset, rows.tolist())))

    def batches(self, rows: Iterable[NDArray[np.intp]]) -> Iterator[tuple[Any, Any]]:
        """Yield these rows, batch by batch; workers draw their seeds from torch."""
        sampler = [part.tolist() for part in rows]
        for batch in self._reading(self._dataset, batch_sampler=sampler):
            if not isinstance(batch, tuple | list) or len(batch) != 2:
                raise LearnerError(
                    f"a batch of the dataset is a {type(batch).__name__}: expected a pair, inputs "
                    "and targets; give a DataLoader whose collate_fn makes one"
                )
            yield batch[0], batch[1]

    def _reading(self, dataset: Any, **how: Any) -> DataLoader[Any]:
        """Return a loader that reads like the one given."""
        given = self._loader
        return DataLoader(
            dataset,
            collate_fn=given.collate_fn,
            num_workers=given.num_workers,
            pin_memory=given.pin_memory,
            worker_init_fn=given.worker_init_fn,
            multiprocessing_context=given.multiprocessing_context,
            **how,
        )


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


def batches_in_order(x: Any, y: Any, size: int) -> Iterator[tuple[Any, Any]]:
    """Yield all samples, batch by batch."""
    places = [
        np.arange(start, min(start + size, len(x)), dtype=np.intp)
        for start in range(0, len(x), size)
    ]
    if isinstance(x, Rows):
        yield from x.batches(places)
    else:
        for rows in places:
            yield x[rows], y[rows]


def moved(value: Any, device: torch.device, dtype: torch.dtype) -> Any:
    """Return arrays and tensors as tensors on a device, floats in ``dtype``."""
    if isinstance(value, Mapping):
        return {name: moved(part, device, dtype) for name, part in value.items()}
    if isinstance(value, tuple | list):
        return type(value)(moved(part, device, dtype) for part in value)
    tensor = value if isinstance(value, torch.Tensor) else torch.from_numpy(value)
    return tensor.to(device, dtype if tensor.is_floating_point() else None, non_blocking=True)
