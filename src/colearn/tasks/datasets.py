"""What a task's data look like once loaded."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

_TEST_SHARE = 5  # one sample in five


@dataclass(frozen=True, slots=True, eq=False)
class Dataset:
    """Training samples to share out among learners, and a common test set.

    Features are scaled by constants written down in the code, or for trees, which only
    compare them, not at all; never by anything fitted on the samples.

    Attributes:
        x_train: Features, float32 or float64, of shape (train samples, features).
        y_train: Labels, in tasks of this package int64 0 … classes − 1; or float64 numbers;
            shape (train samples,).
        x_test: As ``x_train``, of shape (test samples, features).
        y_test: As ``y_train``, of shape (test samples,).
        classes: All labels, in ascending order; None where y are numbers.
    """

    x_train: NDArray[Any]
    y_train: NDArray[Any]
    x_test: NDArray[Any]
    y_test: NDArray[Any]
    classes: NDArray[Any] | None


def set_apart(x: NDArray[Any], y: NDArray[Any], classes: NDArray[Any] | None) -> Dataset:
    """Set a test set apart, the same in every run and with all targets in proportion."""
    shuffled = np.random.default_rng(0).permutation(len(y))
    by_target = shuffled[np.argsort(y[shuffled], kind="stable")]
    test = by_target[::_TEST_SHARE]
    train = np.setdiff1d(by_target, test)
    return Dataset(x[train], y[train], x[test], y[test], classes)
