"""Presets, refusals and what owners of data are told."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import binom

from colearn.committee import voters, workers
from colearn.errors import BudgetError, ConfigError
from colearn.ml_interface import DiffPrivConfig
from colearn.privacy.accounting import Event, epsilon
from colearn.privacy.assignment import record_digests
from colearn.privacy.config import (
    Privacy,
    VotePrivacy,
    default_witness,
    planned_releases,
    planned_votes,
    preset,
    unprotected,
)
from colearn.privacy.guard import Guard
from colearn.records import Rule

X, Y = np.random.default_rng(0).normal(size=(1_000, 3)), np.zeros(1_000)
DIGESTS = record_digests(X, Y)


@pytest.mark.parametrize(("name", "train", "votes"), [("standard", 8, 2), ("strict", 3, 1)])
def test_presets(name, train, votes):
    """The presets are what the documentation says, with delta by the number of samples."""
    made = preset(name, samples=100, releases=12)
    assert (made.train.target_epsilon, made.votes.epsilon, made.votes.votes) == (train, votes, 100)
    assert made.train.target_delta == made.votes.delta == 1e-5
    assert preset(name, samples=100_000, releases=1).votes.delta == 1e-6
    with pytest.raises(ConfigError, match=r"'loose'; choose standard or strict"):
        preset("loose", samples=100, releases=1)


@pytest.mark.parametrize("name", ["standard", "strict"])
def test_a_preset_keeps_its_budget_to_the_last_release(name):
    """All planned votes and trainings together cost no more than the preset says."""
    config = preset(name, samples=1_000, releases=7)
    guard = Guard(config, DIGESTS, steps=30, batch_size=32)
    delta = config.votes.delta
    votes = Event(guard.votes.sigma, steps=100)
    assert config.votes.epsilon * 0.99 < epsilon([votes], delta) <= config.votes.epsilon
    event = guard.training.plan.event
    trainings = event._replace(steps=event.steps * 7)
    assert config.train.target_epsilon * 0.98 < epsilon([trainings], delta)
    assert epsilon([trainings], delta) <= config.train.target_epsilon


def test_noise_that_is_given_is_used():
    """A given noise multiplier stands; too little for even one training is refused."""
    config = Privacy(train=DiffPrivConfig(8.0, 1e-5, noise_multiplier=4.0))
    assert Guard(config, DIGESTS, steps=3, batch_size=32).training.plan.noise_multiplier == 4.0
    config = Privacy(train=DiffPrivConfig(1.0, 1e-5, noise_multiplier=0.5))
    with pytest.raises(ConfigError, match=r"noise_multiplier 0\.5 is too little for a single"):
        Guard(config, DIGESTS, steps=30, batch_size=32)


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda: VotePrivacy(epsilon=0, delta=1e-5), "epsilon 0 is refused"),
        (lambda: VotePrivacy(epsilon=1, delta=1), "delta 1 is refused"),
        (lambda: VotePrivacy(epsilon=1, delta=1e-5, votes=0), "votes 0 is refused"),
        (lambda: VotePrivacy(epsilon=1, delta=1e-5, margin=-1), "margin -1 is refused"),
        (lambda: Privacy(releases=0), "releases 0 is refused"),
        (lambda: Privacy(train=DiffPrivConfig(-1, 1e-5)), "epsilon -1 is refused"),
        (lambda: Privacy(train=DiffPrivConfig(1, 1e-5, 0)), "max_grad_norm 0 is refused"),
        (lambda: Privacy(train=DiffPrivConfig(1, 1e-5, 1, 0)), "noise_multiplier 0 is refused"),
        (lambda: preset("strict", samples=0, releases=1), "samples 0 is refused"),
        (lambda: Guard(Privacy(), DIGESTS, steps=1, batch_size=1), "protects neither"),
    ],
)
def test_refusals(make, reason):
    """A number that protects nothing is refused in one line."""
    with pytest.raises(ConfigError, match=reason):
        make()


def test_planned_releases():
    """One turn in as many rounds as there are members, or an update in each round."""
    assert planned_releases(60, 5, all_train=False) == 12
    assert planned_releases(61, 5, all_train=False) == 13
    assert planned_releases(61, 5, all_train=True) == 61
    assert planned_releases(61, 5, all_train=False, committee=2) == 13
    assert [planned_votes(rounds, 5) for rounds in (1, 60, 61)] == [1, 48, 49]
    assert planned_votes(61, 5, proposer_votes=True) == 61


@pytest.mark.parametrize(("rounds", "members", "committee"), [(40, 20, 5), (900, 9, 2), (7, 4, 2)])
def test_a_committee_is_planned_for_by_the_quantile(rounds, members, committee):
    """The least number of draws that chance exceeds once in 1,000, as scipy has it, and turns."""
    chance, turns = committee / (members - 1), -(-rounds // members)
    releases = planned_releases(rounds, members, all_train=True, committee=committee)
    assert releases == turns + binom.ppf(0.999, rounds - turns, chance)
    most = rounds - rounds // members
    assert planned_votes(rounds, members, committee) == binom.ppf(0.999, most, chance) <= most


@pytest.mark.parametrize("committee", [0, 4, 9])
def test_a_committee_of_all_is_planned_for_as_all(committee):
    """Who is drawn for certain works in every round."""
    assert planned_releases(61, 5, all_train=True, committee=committee) == 61
    assert planned_votes(61, 5, committee) == 49


def test_members_of_a_committee_stay_within_the_plan():
    """Over real draws, what is planned suffices for all but a few in a thousand members."""
    rounds, members, rule = 60, 20, Rule(committee=5)
    releases = planned_releases(rounds, members, all_train=True, committee=rule.committee)
    votes = planned_votes(rounds, members, rule.committee)
    trained, voted = [], []
    for run in range(100):
        seed = f"{run:064x}"
        for counts, asked in ((trained, workers), (voted, voters)):
            drawn = [asked(rule, seed, number, members) for number in range(rounds)]
            counts += [sum(bits >> place & 1 for bits in drawn) for place in range(members)]
    for counts, planned in ((trained, releases), (voted, votes)):
        assert sum(count > planned for count in counts) <= 0.003 * len(counts)
        assert max(counts) >= planned - 2, "no more noise than is needed"


def test_unprotected_says_what_is_open(tmp_path):
    """The owner is told when privacy is off, off in part, or forgotten at a restart."""
    full = preset("standard", samples=10, releases=1)
    assert "privacy is off" in unprotected(None)
    assert "off for votes" in unprotected(Privacy(train=full.train))
    assert "in memory only" in unprotected(full)
    assert unprotected(preset("strict", samples=9, releases=1, budget=tmp_path / "b")) is None


@pytest.mark.parametrize("delta", [1e-3, 0.9e-3])
@pytest.mark.parametrize("part", ["train", "votes"])
def test_a_delta_too_large_for_the_records_is_told(caplog, part, delta):
    """From one in as many as there are records on, once, with what to take; below, nothing."""
    train, votes = DiffPrivConfig(8.0, 1e-5), VotePrivacy(epsilon=2.0, delta=1e-5)
    large = {
        "train": Privacy(train=DiffPrivConfig(8.0, delta), votes=votes),
        "votes": Privacy(train=train, votes=VotePrivacy(epsilon=2.0, delta=delta)),
    }
    Guard(large[part], DIGESTS, steps=3, batch_size=32)
    told = [each.message for each in caplog.records if "delta" in each.message]
    expected = "delta 0.001 is much for 1000 records: .*; take 0.0001 or less"
    assert len(told) == (delta == 1e-3)
    assert all(re.fullmatch(expected, line) for line in told)


def test_default_witness_is_in_the_state_folder(monkeypatch):
    """One file for each data set, apart from the budget."""
    monkeypatch.setenv("XDG_STATE_HOME", "/state")
    assert default_witness("ab" * 32) == Path("/state/colearn/budgets") / f"{'ab' * 16}.witness"


def test_a_guard_uses_the_default_witness(monkeypatch, tmp_path):
    """A second budget for data that has one is refused, wherever it is put."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    votes = VotePrivacy(epsilon=2.0, delta=1e-5)
    guard = Guard(Privacy(votes=votes, budget=tmp_path / "one"), DIGESTS, steps=1, batch_size=1)
    guard.votes.vote("key", lambda: (Y, Y))
    with pytest.raises(BudgetError, match="has seen 3 writes of one for this data"):
        Guard(Privacy(votes=votes, budget=tmp_path / "two"), DIGESTS, steps=1, batch_size=1)
