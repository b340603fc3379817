"""The private vote: what one record can change, and what the noise does."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.stats import binomtest, norm

from colearn.privacy.assignment import fingerprint, record_digests, voting
from colearn.privacy.guard import swamped
from colearn.privacy.votes import gain, noisy_vote

ONE = 2**20
ANY_LOSSES = arrays(np.float64, 12, elements=st.floats(allow_nan=True, allow_infinity=True))
SECRET = bytes(range(32))


@given(before=ANY_LOSSES, after=ANY_LOSSES, margin=st.floats(0, 2))
def test_one_record_changes_the_gain_by_at_most_one(before, after, margin):
    """For any losses, NaN and infinities included: this is the sensitivity the noise is for."""
    whole = gain(before, after, margin)
    for left_out in range(12):
        rest = np.arange(12) != left_out
        assert abs(whole - gain(before[rest], after[rest], margin)) <= ONE


def test_gain_by_hand():
    """Falls are clipped to ±1, margins taken off first, infinite losses compared as such."""
    assert gain(np.array([1.0, 5.0, 0.0]), np.array([0.5, 0.0, 9.0]), 0.0) == ONE // 2
    assert gain(np.array([1.0]), np.array([0.5]), 0.25) == ONE // 4
    assert gain(np.array([np.nan, np.inf, 1.0]), np.array([np.inf, 0.0, np.nan]), 0.0) == 0
    assert gain(np.zeros(0), np.zeros(0), 0.0) == 0


@pytest.mark.parametrize(("lead", "sigma"), [(0.0, 5.0), (5.0, 5.0), (-20.0, 20.0)])
def test_votes_follow_the_gaussian(lead, sigma):
    """How often it approves is what the normal distribution gives (fails once in a million)."""
    losses = np.full(20, lead / 20)
    draws = 4_000
    approved = sum(noisy_vote(losses, np.zeros(20), sigma=sigma) for _ in range(draws))
    assert binomtest(approved, draws, norm.cdf(lead / sigma)).pvalue > 1e-6


def test_a_clear_case_is_decided_clearly():
    """Where the lead is ten times the noise, the vote is what it would be without."""
    losses = np.ones(200)
    assert noisy_vote(losses, np.zeros(200), sigma=20.0)
    assert not noisy_vote(np.zeros(200), losses, sigma=20.0)


def test_noise_that_swamps_the_vote_is_told():
    """Above a twentieth of the vote set there is a warning with what to do; below none."""
    assert swamped(20.0, 400) is None
    assert "the noise of a private vote is 20 records and only 399 vote" in swamped(20.0, 399)


def test_assignment_is_keyed_and_follows_the_record():
    """A fifth votes; another key picks others; order, and whoever else is there, do not matter."""
    x, y = np.random.default_rng(0).normal(size=(2_000, 3)), np.arange(2_000)
    digests = record_digests(x, y)
    votes = voting(digests, SECRET)
    assert 320 <= votes.sum() <= 480
    assert (votes != voting(digests, SECRET[::-1])).any()
    order = np.random.default_rng(1).permutation(2_000)[:700]
    assert np.array_equal(voting(record_digests(x[order], y[order]), SECRET), votes[order])


def test_fingerprint_tells_data_apart():
    """Any order of the same records has one fingerprint; a changed value or label another."""
    x, y = np.arange(12.0).reshape(4, 3), np.arange(4)
    mark = fingerprint(record_digests(x, y))
    assert fingerprint(record_digests(x[::-1], y[::-1])) == mark
    assert fingerprint(record_digests(x + (x == 0), y)) != mark
    assert fingerprint(record_digests(x, y[::-1])) != mark
    assert fingerprint(record_digests(x[:3], y[:3])) != mark
