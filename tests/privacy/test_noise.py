"""Noise: the right distribution, and never from a seed."""

from __future__ import annotations

import random
from fractions import Fraction

import numpy as np
import pytest
from scipy.stats import chisquare, kstest, norm

from colearn.privacy.noise import (
    _box_muller,
    discrete_gaussian,
    gaussian,
    random_bits,
    secret_generator,
)

DRAWS = 20_000
RAREST = np.array([[0, -1, 0, 1, -(2**31)], [0, -1, 2**30, 2**31 - 1, -(2**31)]], np.int32)


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


@pytest.fixture
def by_jax(optional):
    """What JAX makes of bits, compiled as its training steps are."""
    optional("jax_privacy")
    import jax  # noqa: PLC0415 - may be missing

    from colearn.learners.jax_private import normal  # noqa: PLC0415

    return jax.jit(normal, static_argnums=1)


def by_numpy(bits, numbers):
    """What numpy makes of bits."""

    class Bits:
        def integers(self, *_, **__):
            return bits.reshape(-1).view(np.int64)

    drawn = np.empty(numbers, np.float32)
    _box_muller(drawn, Bits())
    return drawn


def test_fast_noise_is_normal():
    """By Kolmogorov and Smirnov's test, in the far tail, and with nothing shared by a pair."""
    looks_normal(gaussian(np.random.default_rng(1), (2_000_000,), np.float32))


def test_noise_made_by_jax_is_normal(by_jax):
    """By the same tests."""
    numbers = 2_000_000
    looks_normal(np.asarray(by_jax(random_bits(np.random.default_rng(1), numbers), numbers)))


@pytest.mark.parametrize("numbers", [1, 9, 10])
def test_jax_makes_of_bits_what_numpy_does(by_jax, numbers):
    """Of common bits and of the rarest, for odd numbers too; the radius is never infinite."""
    common = random_bits(np.random.default_rng(2), 100_000)
    own, ours = by_jax(common, 100_000), by_numpy(common, 100_000)
    assert np.abs(own - ours).max() < 1e-4
    half = -(-numbers // 2)
    own, ours = by_jax(RAREST[:, :half], numbers), by_numpy(RAREST[:, :half].copy(), numbers)
    assert own.shape == ours.shape == (numbers,)
    np.testing.assert_allclose(own, ours, atol=1e-5)
    assert 6.6 < np.abs(own).max() < 6.7


def looks_normal(drawn):
    """Check two million numbers of float32; those at the same place of both halves are a pair."""
    assert drawn.dtype == np.float32
    drawn = drawn.astype(np.float64)
    assert kstest(drawn, "norm").pvalue > 1e-3
    assert (drawn**4).mean() == pytest.approx(3, abs=0.03)
    beyond = 2 * norm.sf(4.5) * len(drawn)
    assert (abs(drawn) > 4.5).sum() == pytest.approx(beyond, abs=5 * beyond**0.5)
    one, other = drawn.reshape(2, -1)
    for first, second in ((one, other), (one**2, other**2), (one[1:], one[:-1])):
        assert abs(np.corrcoef(first, second)[0, 1]) < 5e-3


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("shape", [(), (0,), (1,), (3, 7)])
def test_noise_is_as_fine_as_what_it_hides(shape, dtype):
    """Of any shape, finite, and in float64 with all bits of it."""
    drawn = gaussian(secret_generator(), shape, dtype)
    assert (drawn.shape, drawn.dtype) == (shape, dtype)
    assert np.isfinite(drawn).all()
    if drawn.size and dtype is np.float64:
        assert (drawn != drawn.astype(np.float32)).any()


def test_the_rarest_bits_give_finite_noise():
    """A radius of zero bits is the largest there is, and no infinity."""

    class Bits:
        def integers(self, *_, **__):
            return np.array([0, -1, 2**62], np.int64)

    drawn = gaussian(Bits(), (6,), np.float32)
    assert np.isfinite(drawn).all()
    assert 6.6 < abs(drawn).max() < 6.7


def test_no_seed_governs_it():
    """Seeding Python's and numpy's generators changes nothing: draws still differ."""

    def draws():
        random.seed(1)
        np.random.seed(1)  # noqa: NPY002 - the point is that it has no effect
        noise = [discrete_gaussian(Fraction(10**12)) for _ in range(3)]
        return noise, secret_generator().standard_normal(3).tolist()

    assert draws()[0] != draws()[0]
    assert draws()[1] != draws()[1]
