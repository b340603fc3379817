"""Noise: the right distribution, and never from a seed."""

from __future__ import annotations

import random
from fractions import Fraction

import numpy as np
import pytest
from scipy.stats import chisquare

from colearn.privacy.noise import discrete_gaussian, secret_generator

DRAWS = 20_000


@pytest.mark.parametrize("variance", [Fraction(1, 2), Fraction(4), Fraction(30)])
def test_discrete_gaussian_has_its_distribution(variance):
    """A chi-squared test against exp(-x²/2v), normalised (fails once in a million runs)."""
    reach = int(4 * float(variance) ** 0.5)
    values = np.arange(-50, 51)
    mass = np.exp(-(values**2) / (2 * float(variance)))
    mass /= mass.sum()
    drawn = np.array([discrete_gaussian(variance) for _ in range(DRAWS)])
    inner = abs(values) <= reach
    observed = [(drawn == value).sum() for value in values[inner]]
    observed.append(DRAWS - sum(observed))
    expected = [*mass[inner], 1 - mass[inner].sum()]
    assert chisquare(observed, DRAWS * np.array(expected)).pvalue > 1e-6


def test_a_large_variance_is_a_gaussian():
    """With fixed-point numbers of 2^-20 its spread is the one asked for."""
    scale = 20 * 2**20
    drawn = np.array([discrete_gaussian(Fraction(scale**2)) for _ in range(DRAWS)]) / 2**20
    assert drawn.std() == pytest.approx(20, rel=0.05)
    assert abs(drawn.mean()) < 1


def test_no_seed_governs_it():
    """Seeding Python's and numpy's generators changes nothing: draws still differ."""

    def draws():
        random.seed(1)
        np.random.seed(1)  # noqa: NPY002 - the point is that it has no effect
        noise = [discrete_gaussian(Fraction(10**12)) for _ in range(3)]
        return noise, secret_generator().standard_normal(3).tolist()

    assert draws()[0] != draws()[0]
    assert draws()[1] != draws()[1]
