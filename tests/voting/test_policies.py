"""How losses become a vote."""

from __future__ import annotations

import numpy as np
import pytest

from colearn.errors import ConfigError
from colearn.voting import POLICIES, ClassVeto, NotWorse, policy

CLASSES = np.array([0, 0, 0, 0, 1, 1, 1, 1])
NOISE = np.array([0.3, -0.3, 0.2, -0.2, 0.3, -0.3, 0.2, -0.2])


def losses(gain):
    """Losses under M and M′ whose paired gains have this mean, and noise around it."""
    before = np.linspace(1, 2, 8)
    return before, before - gain - NOISE


@pytest.mark.parametrize("name", POLICIES)
def test_much_better_is_approved_and_much_worse_rejected(name):
    """Every policy sees a difference that is beyond doubt."""
    one = policy(name)
    assert one.vote(*losses(1.0), CLASSES) is True
    assert one.vote(*losses(-1.0), CLASSES) is False


@pytest.mark.parametrize("name", POLICIES)
def test_nothing_to_compare_abstains(name):
    """Without a single sample no policy has an opinion."""
    none = np.zeros(0)
    assert policy(name).vote(none, none, none.astype(int)) is None


@pytest.mark.parametrize("name", POLICIES)
@pytest.mark.parametrize("broken", [np.nan, np.inf])
def test_loss_that_is_no_number_is_rejected(name, broken):
    """One NaN or infinity under M′ is a no, and under M alone it is a yes."""
    good = np.ones(8)
    bad = good.copy()
    bad[3] = broken
    assert policy(name).vote(good, bad, CLASSES) is False
    assert policy(name).vote(bad, good, CLASSES) is True


def test_strict_and_lenient_differ_in_doubt():
    """A small loss that chance explains is rejected by the strict rule alone."""
    before, after = losses(-0.02)
    assert policy("loss").vote(before, after, CLASSES) is False
    assert policy("not-worse").vote(before, after, CLASSES) is True


def test_no_change_is_not_worse():
    """M itself passes as not worse, and not as better."""
    same = np.ones(8)
    assert policy("not-worse").vote(same, same, CLASSES) is True
    assert policy("loss").vote(same, same, CLASSES) is False


def test_z_sets_how_clearly_worse_is_rejected():
    """The same loss passes at one z and fails at another: the bound is −z standard errors."""
    before, after = losses(0.0)
    after = after + 1.5 * (before - after).std(ddof=1) / np.sqrt(8)
    assert NotWorse(z=1.4).vote(before, after, CLASSES) is False
    assert NotWorse(z=1.6).vote(before, after, CLASSES) is True


@pytest.mark.parametrize("name", ["not-worse", "class-veto"])
@pytest.mark.parametrize(("errors", "approves"), [(1.9, True), (2.1, False)])
def test_not_worse_allows_two_standard_errors(name, errors, approves):
    """Where they are more than the margin, a loss of less than two standard errors passes."""
    before, after = losses(0.0)
    after = after + errors * (before - after).std(ddof=1) / np.sqrt(8)
    one_class = np.zeros(8, int)
    assert policy(name).vote(before, after, one_class) is approves


@pytest.mark.parametrize("name", ["not-worse", "class-veto"])
@pytest.mark.parametrize(("rise", "approves"), [(0.049, True), (0.051, False)])
def test_not_worse_allows_a_twentieth_of_the_loss(name, rise, approves):
    """However many samples say so, a loss that rose by less than its twentieth passes."""
    before = np.linspace(1, 3, 10_000)
    after = before + 2 * rise
    assert policy(name).vote(before, after, np.zeros(10_000, int)) is approves


def test_a_loss_below_zero_has_no_margin():
    """Where the mean loss is negative, as of densities, standard errors alone decide."""
    before = np.full(8, -1.0)
    assert policy("not-worse").vote(before, before + 1e-9, CLASSES) is False


def test_class_vetoes_a_gain_at_its_cost():
    """A proposal that helps one class more than it hurts another passes only without the veto."""
    before = np.ones(8)
    after = before - np.where(CLASSES == 0, 0.9, -0.3) - 0.01 * NOISE
    assert policy("not-worse").vote(before, after, CLASSES) is True
    assert policy("class-veto").vote(before, after, CLASSES) is False


def test_numbers_have_no_classes():
    """Measured targets do not each become a class of one sample."""
    before, after = losses(0.1)
    assert ClassVeto().vote(before, after, np.linspace(0, 1, 8)) is True
    assert ClassVeto().vote(before, after, np.arange(8)) is False


def test_unknown_name_lists_the_names():
    """A policy that does not exist is refused with those that do."""
    with pytest.raises(ConfigError, match=r"'best'.*loss, accuracy, not-worse, class-veto"):
        policy("best")
