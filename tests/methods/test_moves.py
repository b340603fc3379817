"""Arithmetic that gives the same bits everywhere."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from colearn.errors import NotFinite, SchemaMismatch
from colearn.methods import moves

BASE = {
    "bn.num_batches_tracked": np.array(3, np.int64),
    "bn.running_var": np.ones(2, np.float32),
    "b": np.zeros(2, np.float32),
    "mask": np.array([True, False]),
    "a": np.zeros((2, 3), np.float64),
}


@given(st.lists(st.floats(-1e6, 1e6), max_size=70))
def test_sum_by_halves_is_the_sum(numbers):
    """Every element is added once, whatever their number."""
    assert moves.added(np.array(numbers)) == pytest.approx(math.fsum(numbers), rel=1e-9, abs=1e-6)


def test_sum_leaves_its_argument():
    """Adding up changes no element."""
    array = np.arange(5.0)
    moves.added(array)
    assert array.tolist() == [0, 1, 2, 3, 4]


def test_distance_overflows_to_infinity():
    """Moves too far apart for a float are infinitely far, and warn nobody."""
    far = {"a": np.array([1e300])}
    assert moves.distance(far, {"a": np.array([-1e300])}) == math.inf
    assert moves.distance(far, far) == 0


def test_missing_and_misshapen_tensors_are_refused():
    """An update of another model is named, not broadcast."""
    with pytest.raises(SchemaMismatch, match="'b' of an update is missing"):
        moves.move(BASE, {"a": BASE["a"]})
    with pytest.raises(
        SchemaMismatch, match=r"'b' of an update has shape \(1,\), expected shape \(2,\).*plain"
    ):
        moves.move(BASE, BASE | {"b": np.zeros(1, np.float32)})


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_not_finite_updates_are_refused(bad):
    """NaN and infinity never pass."""
    with pytest.raises(NotFinite, match="'b' holds NaN"):
        moves.move(BASE, BASE | {"b": np.array([0, bad], np.float32)})


def test_result_that_overflows_is_refused():
    """A move that its dtype cannot hold is no weights."""
    with pytest.raises(NotFinite, match="'b'"):
        moves.moved(BASE, {"a": np.zeros((2, 3)), "b": np.full(2, 1e39)})


def test_result_keeps_dtypes():
    """What is computed in float64 is given back as it came."""
    result = moves.moved(BASE, {"a": np.ones((2, 3)), "b": np.ones(2)})
    assert {name: array.dtype for name, array in result.items()} == {"a": "f8", "b": "f4"}


def test_bfloat16_is_trained(optional):
    """A dtype that numpy does not count among its floats is one here."""
    kind = optional("ml_dtypes").bfloat16
    base, after = {"w": np.zeros(2, kind)}, {"w": np.ones(2, kind)}
    found = moves.move(base, after)
    assert found["w"].dtype == np.float64
    assert moves.moved(base, found)["w"].dtype == kind


def test_signs_of_zero_do_not_matter():
    """0.0 and -0.0 differ by 0.0, not by -0.0."""
    found = moves.move({"w": np.array([0.0, -0.0])}, {"w": np.array([-0.0, 0.0])})
    assert not np.signbit(found["w"]).any()
