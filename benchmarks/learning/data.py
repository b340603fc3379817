"""The samples of a cell: pooled images, shared out, split into training and voting."""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from sklearn.datasets import load_digits

from benchmarks.learning.cells import Cell
from colearn.tasks import splits
from colearn.tasks.idx import read_images

SAMPLES = 5_000
_FOLDERS = {
    "mnist": ("COLEARN_MNIST", "package"),
    "fashion-mnist": ("COLEARN_FASHION_MNIST", "/usr/share/datasets/fashion-mnist"),
}
_VOTE_SHARE = 5


@dataclass(frozen=True)
class Shares:
    """Who holds what.

    Attributes:
        x: All learners' samples, float32 of shape (samples, features).
        y: Their classes.
        train: For each learner the rows it trains on.
        vote: For each learner the rows it votes by.
        x_test: The common test samples; ``y_test`` their classes.
    """

    x: NDArray[np.float32]
    y: NDArray[np.int64]
    train: list[NDArray[np.intp]]
    vote: list[NDArray[np.intp]]
    x_test: NDArray[np.float32]
    y_test: NDArray[np.int64]


def shares(cell: Cell, seed: int) -> Shares:
    """Draw the samples of a cell and share them out; the same seed gives the same."""
    rng = np.random.default_rng((seed, 1))
    x, y, x_test, y_test = _load(cell.data)
    rows = rng.permutation(len(x))[: max(SAMPLES, 50 * cell.learners)]
    x, y = x[rows], y[rows]
    parts = [rng.permutation(part) for part in splits.parse(cell.split)(y, cell.learners, rng)]
    held = [max(1, len(part) // _VOTE_SHARE) for part in parts]
    return Shares(
        x=x,
        y=y,
        train=[part[count:] for part, count in zip(parts, held, strict=True)],
        vote=[part[:count] for part, count in zip(parts, held, strict=True)],
        x_test=x_test,
        y_test=y_test,
    )


@cache
def _load(name: str) -> tuple[NDArray[np.float32], NDArray[np.int64], ...]:
    if name == "digits":
        return _digits()
    variable, usual = _FOLDERS[name]
    folder = Path(os.environ.get(variable, usual))
    train, test = read_images(folder, "train"), read_images(folder, "t10k")
    return (
        *(_pooled(train[0]), train[1].astype(np.int64)),
        *(_pooled(test[0]), test[1].astype(np.int64)),
    )


def _pooled(images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Means of 2 × 2 pixels: 28 × 28 become 196 numbers from 0 to 1."""
    small = images.reshape(-1, 14, 2, 14, 2).mean(axis=(2, 4), dtype=np.float32) / 255
    return small.reshape(-1, 196)


def _digits() -> tuple[NDArray[np.float32], NDArray[np.int64], ...]:
    digits = load_digits()
    order = np.random.default_rng(0).permutation(len(digits.data))
    x, y = digits.data[order].astype(np.float32) / 16, digits.target[order].astype(np.int64)
    return x[:1437], y[:1437], x[1437:], y[1437:]
