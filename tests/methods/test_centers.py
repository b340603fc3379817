"""What stands for many moves."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest

from colearn.methods import centers
from colearn.methods.moves import distance

EQUAL = [1 / 7] * 7
HONEST = [
    {"w": np.array([1.0, 2.0]), "b": np.array([[0.5]])},
    {"w": np.array([1.1, 1.9]), "b": np.array([[0.4]])},
    {"w": np.array([0.9, 2.1]), "b": np.array([[0.6]])},
    {"w": np.array([1.0, 2.1]), "b": np.array([[0.5]])},
    {"w": np.array([1.1, 2.0]), "b": np.array([[0.6]])},
]
LIE = {"w": np.array([-1e9, 1e9]), "b": np.array([[1e9]])}
ROBUST = {
    "median": centers.median,
    "trimmed": partial(centers.trimmed_mean, trim=0.3),
    "geometric": centers.geometric_median,
    "krum": partial(centers.multi_krum, liars=0.3),
    "nearby": partial(centers.nearby_mean, trust=2.0, reach=2.0),
    "drawn in": partial(centers.nearby_mean, trust=1.0, reach=2.5),
}


@pytest.mark.parametrize("center", ROBUST.values(), ids=ROBUST)
@pytest.mark.parametrize("places", [(0, 1), (2, 4), (5, 6)])
def test_two_liars_of_seven_cannot_drag_it_away(center, places):
    """Wherever liars stand in the order, a robust centre stays among the honest."""
    moves = iter(HONEST)
    mixed = [LIE if place in places else next(moves) for place in range(7)]
    found = center(mixed, EQUAL)
    assert distance(found, HONEST[0]) < 1
    assert distance(centers.mean(mixed, EQUAL), HONEST[0]) > 1e8


@pytest.mark.parametrize("center", [centers.mean, *ROBUST.values()], ids=["mean", *ROBUST])
def test_centre_of_equal_moves_is_that_move(center):
    """Where all agree there is nothing to decide."""
    found = center([HONEST[0]] * 7, EQUAL)
    assert distance(found, HONEST[0]) < 1e-12


@pytest.mark.parametrize("center", [centers.mean, *ROBUST.values()], ids=["mean", *ROBUST])
def test_single_move_is_its_own_centre(center):
    """One member alone decides."""
    assert distance(center(HONEST[:1], [1.0]), HONEST[0]) < 1e-12


@pytest.mark.parametrize("center", ROBUST.values(), ids=ROBUST)
def test_robust_centres_heed_no_declared_share(center):
    """Who declares a thousand times the samples gains nothing."""
    skewed = [0.994, *[0.001] * 6]
    moves = [LIE, LIE, *HONEST]
    assert distance(center(moves, skewed), center(moves, EQUAL)) == 0


def test_mean_heeds_shares():
    """The mean is weighted."""
    found = centers.mean(HONEST[:2], [0.75, 0.25])
    assert found["w"].tolist() == pytest.approx([1.025, 1.975])


def test_median_of_even_number_is_between_the_middle_two():
    """Coordinate by coordinate."""
    four = [{"w": np.array([number, -number])} for number in (1.0, 2.0, 4.0, 100.0)]
    assert centers.median(four, [0.25] * 4)["w"].tolist() == [3.0, -3.0]


def test_trimmed_mean_leaves_out_both_ends():
    """One of five at either end, and the mean of the rest."""
    five = [{"w": np.array([number])} for number in (1.0, 2.0, 3.0, 7.0, 100.0)]
    assert centers.trimmed_mean(five, [0.2] * 5, trim=0.2)["w"].tolist() == [4.0]


def test_geometric_median_has_the_least_sum_of_distances():
    """No point nearby is closer to all moves together."""
    rng = np.random.default_rng(0)
    moves = [{"w": rng.normal(size=4)} for _ in range(7)]
    found = centers.geometric_median(moves, [1 / 7] * 7)
    least = sum(distance(found, each) for each in moves)
    for _ in range(50):
        other = {"w": found["w"] + 0.01 * rng.normal(size=4)}
        assert sum(distance(other, each) for each in moves) > least


def test_krum_keeps_the_closest():
    """Of five close moves and two far ones, the mean is that of the five."""
    far = {"w": np.array([9.0, 9.0]), "b": np.array([[9.0]])}
    other = {"w": np.array([-9.0, 9.0]), "b": np.array([[9.0]])}
    found = centers.multi_krum([far, *HONEST, other], EQUAL, liars=0.3)
    assert distance(found, centers.equal_mean(HONEST)) == 0


def test_nearby_mean_draws_in_what_lies_between_trust_and_reach():
    """Of seven around 0 the one at 2 counts as if at 1, and the one at 9 not at all."""
    moves = [{"w": np.array([number])} for number in (-1.0, -1.0, -1.0, 0.0, 1.0, 2.0, 9.0)]
    drawn_in = centers.nearby_mean(moves, EQUAL, trust=1.0, reach=2.5)
    assert drawn_in["w"] == pytest.approx(-1 / 6, abs=1e-5)
    as_they_are = centers.nearby_mean(moves, EQUAL, trust=2.5, reach=2.5)
    assert as_they_are["w"] == pytest.approx(0.0, abs=1e-5)
