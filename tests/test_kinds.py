"""Kinds of tensors: what training moves, what describes data, what counts."""

from __future__ import annotations

import numpy as np
import pytest

from colearn import kinds

BASE = {
    "bn.num_batches_tracked": np.array(3, np.int64),
    "bn.running_var": np.ones(2, np.float32),
    "b": np.zeros(2, np.float32),
    "mask": np.array([True, False]),
    "a": np.zeros((2, 3), np.float64),
}


def test_tensors_are_told_apart():
    """Floating tensors are trained, named statistics averaged, the rest counted; sorted."""
    assert kinds.trained(BASE) == ["a", "b"]
    assert kinds.statistics(BASE) == ["bn.running_var"]
    assert kinds.counts(BASE) == ["bn.num_batches_tracked", "mask"]


@pytest.mark.parametrize(
    ("name", "statistic"),
    [
        ("running_mean", True),
        ("layers.0.running_var", True),
        ("batch_stats/bn/mean", True),
        ("norm/moving_variance", True),
        ("samples_seen", True),
        ("my_running_mean", False),
        ("running_mean.weight", False),
    ],
)
def test_statistics_are_known_by_name(name, statistic):
    """The names that frameworks give statistics, and none that merely contain them."""
    assert bool(kinds.statistics({name: np.ones(1)})) is statistic
