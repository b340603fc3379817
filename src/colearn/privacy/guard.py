"""What stands between a learner's data and everyone else: it charges, then lets through."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from colearn.errors import BudgetSpent, ConfigError, LearnerError
from colearn.ml_interface import DiffPrivBudget, DiffPrivConfig, ErrorCodes, TrainingSummary
from colearn.privacy.accounting import Event, noise_multiplier
from colearn.privacy.assignment import fingerprint, voting
from colearn.privacy.budget import TRAIN, VOTES, Budget, Cap
from colearn.privacy.config import Privacy, VotePrivacy, default_witness
from colearn.privacy.votes import noisy_vote

if TYPE_CHECKING:
    from numpy.typing import NDArray

_MOST_NOISE = 20  # times sigma that should fit into the vote set
_APPROVE, _REJECT = b"approve", b"reject"
_log = logging.getLogger(__name__)

Losses = tuple["NDArray[np.float64]", "NDArray[np.float64]"]
"""The same samples' losses under the current weights and under the proposal."""


@dataclass(frozen=True, slots=True)
class NoisySteps:
    """How to train privately: DP-SGD with Poisson sampling (arXiv 1607.00133).

    Attributes:
        max_grad_norm: The L2 norm a sample's gradient is clipped to.
        noise_multiplier: Standard deviation of the noise on the sum of the clipped
            gradients, in units of that norm.
        samples: How many there are to train on.
        batch_size: How many are in a step on average; what a sum of gradients is
            divided by where a mean is wanted.
        steps: How many.
    """

    max_grad_norm: float
    noise_multiplier: float
    samples: int
    batch_size: int
    steps: int

    @property
    def deviation(self) -> float:
        """Standard deviation of the noise on the sum of the clipped gradients."""
        return self.noise_multiplier * self.max_grad_norm

    @property
    def event(self) -> Event:
        """One training, as the accountant counts it."""
        return Event(self.noise_multiplier, self.batch_size / self.samples, self.steps)

    def batches(self, rng: np.random.Generator) -> Iterator[NDArray[np.intp]]:
        """Yield the rows of each step: every sample is in it by its own throw of a coin."""
        for _ in range(self.steps):
            yield np.flatnonzero(rng.random(self.samples) < self.batch_size / self.samples)


class Parts(NamedTuple):
    """Which of the records train, and which vote; row numbers."""

    train: NDArray[np.intp]
    vote: NDArray[np.intp]


class Guard:
    """Keeps the privacy of one learner's records.

    Args:
        privacy: What may be given away.
        digests: Of all records, to train or to vote, as `record_digests` makes them.
        steps: Training steps in a proposal.
        batch_size: Records in a step, on average.

    Attributes:
        parts: Which records train, and which vote.
        votes: Through which to vote; None where votes are not protected.
        training: Through which to train; None where training is not protected.

    Raises:
        ConfigError: The budget is too small for what is planned, or protects nothing.
        LearnerError: There are too few records.
        BudgetError: The budget's file cannot be used.
    """

    def __init__(
        self, privacy: Privacy, digests: list[bytes], *, steps: int, batch_size: int
    ) -> None:
        mark = fingerprint(digests)
        witness = privacy.witness
        if witness is None and privacy.budget is not None:
            witness = default_witness(mark)
        caps = _caps(privacy)
        budget = Budget(privacy.budget, fingerprint=mark, caps=caps, witness=witness)
        votes = voting(digests, budget.secret)
        self.parts = Parts(np.flatnonzero(~votes), np.flatnonzero(votes))
        if not all(map(len, self.parts)):
            raise LearnerError(
                f"{len(digests)} records are too few: some are needed to train and some to vote"
            )
        delta = max(cap.delta for cap in caps.values())
        if warning := large_delta(delta, len(digests)):
            _log.warning("%s", budget.telling(warning))
        self.votes: PrivateVotes | None = None
        if privacy.votes is not None:
            self.votes = PrivateVotes(budget, privacy.votes, records=len(self.parts.vote))
        self.training: PrivateTraining | None = None
        if privacy.train is not None:
            self.training = PrivateTraining(
                budget,
                privacy.train,
                releases=privacy.releases,
                samples=len(self.parts.train),
                steps=steps,
                batch_size=batch_size,
            )


class PrivateVotes:
    """Votes that are paid for, hide every record, and are never drawn twice."""

    def __init__(self, budget: Budget, config: VotePrivacy, *, records: int) -> None:
        self.sigma = noise_multiplier(config.epsilon, config.delta, steps=config.votes)
        self._budget, self._margin = budget, config.margin
        self._spent = False
        budget.foresee(VOTES, Event(self.sigma), max(1, config.votes - budget.charges(VOTES)))
        if warning := swamped(self.sigma, records):
            _log.warning("%s", budget.telling(warning))

    def vote(self, key: str, losses: Callable[[], Losses]) -> bool | None:
        """Vote, alike whenever asked for the same; abstain once the budget is spent.

        Args:
            key: Names current weights and proposal.
            losses: Measures the vote's records; called only once it is paid for.
        """
        try:
            kept = self._budget.charge(VOTES, f"vote/{key}", Event(self.sigma))
        except BudgetSpent as reason:
            told = self._budget.telling(f"abstaining from here on: {reason}")
            self._spent = _tell_once(self._spent, told)
            return None
        if kept is None:
            approved = noisy_vote(*losses(), sigma=self.sigma, margin=self._margin)
            kept = self._budget.release(f"vote/{key}", _APPROVE if approved else _REJECT)
        return kept == _APPROVE


class PrivateTraining:
    """Trainings that are paid for, and whose result is never drawn twice."""

    def __init__(
        self,
        budget: Budget,
        config: DiffPrivConfig,
        *,
        releases: int,
        samples: int,
        steps: int,
        batch_size: int,
    ) -> None:
        batch_size = min(batch_size, samples)
        noise = config.noise_multiplier
        if noise is None:
            noise = noise_multiplier(
                config.target_epsilon,
                config.target_delta,
                sampling_rate=batch_size / samples,
                steps=steps * releases,
            )
        self._budget, self._config, self._releases = budget, config, releases
        self._spent = False
        self.plan = NoisySteps(config.max_grad_norm, noise, samples, batch_size, steps)
        charged = budget.charges(TRAIN)
        fits = budget.foresee(TRAIN, self.plan.event, max(1, releases - charged)) or budget.foresee(
            TRAIN, self.plan.event, 1
        )
        if not fits and not charged:
            raise ConfigError(
                f"noise_multiplier {noise} is too little for a single training of {steps} steps "
                f"at epsilon {config.target_epsilon}: leave it out to have it worked out"
            )
        if not fits:
            told = f"trainings charged: {charged}, and no other fits: from here on it only votes"
            _log.warning("%s", budget.telling(told))

    def result(self, key: str, train: Callable[[NoisySteps], bytes]) -> bytes | None:
        """What training gives, the same bytes whenever asked for the same; None without budget.

        Args:
            key: Names the weights to begin from, and the round.
            train: Trains and returns the bytes to publish; called once it is paid for.
        """
        try:
            kept = self._budget.charge(TRAIN, f"train/{key}", self.plan.event)
        except BudgetSpent as reason:
            told = self._budget.telling(
                f"proposing no more: {reason}; trainings charged: {self._budget.charges(TRAIN)}, "
                f"planned: releases={self._releases}; Privacy(releases=...) takes how many there "
                "will be"
            )
            self._spent = _tell_once(self._spent, told)
            return None
        if kept is None:
            kept = self._budget.release(f"train/{key}", train(self.plan))
        return kept

    def summary(self, error_code: ErrorCodes | None = None) -> TrainingSummary:
        """What to say about the training behind a proposal."""
        spent, delta = self._budget.spent(TRAIN), self._config.target_delta
        consumed = DiffPrivBudget(
            self._config.target_epsilon, delta, spent, delta if spent else 0.0
        )
        return TrainingSummary(consumed, error_code)


def _tell_once(told: bool, what: str) -> bool:
    if not told:
        _log.warning("%s", what)
    return True


def swamped(sigma: float, samples: int) -> str | None:
    """What to tell the owner if the noise is above a twentieth of the vote set; else None."""
    if sigma * _MOST_NOISE <= samples:
        return None
    return (
        f"the noise of a private vote is {sigma:.0f} records and only {samples} vote: most votes "
        f"will be chance; hold {_MOST_NOISE * sigma:.0f} records or more, plan fewer votes, "
        "or spend more epsilon"
    )


def large_delta(delta: float, records: int) -> str | None:
    """What to tell the owner if delta is one in as many as there are records, or more; else None.

    To publish a record taken at random, and nothing else, costs epsilon 0 at that delta.
    """
    if delta < 1 / records:
        return None
    return (
        f"delta {delta:g} is much for {records} records: so large a one would let one of them be "
        f"published as it is; take {1 / (10 * records):.1g} or less"
    )


def _caps(privacy: Privacy) -> dict[str, Cap]:
    caps = {}
    if privacy.train is not None:
        caps[TRAIN] = Cap(privacy.train.target_epsilon, privacy.train.target_delta)
    if privacy.votes is not None:
        caps[VOTES] = Cap(privacy.votes.epsilon, privacy.votes.delta)
    if not caps:
        raise ConfigError("this privacy protects neither training nor votes: give train or votes")
    return caps
