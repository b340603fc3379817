"""Experiment tracking: a run's numbers, round by round, where others of its kind are kept.

A `Tracker` takes named numbers of a round. Whoever plays a `Collective` has each `Round`
in hand and logs `numbers_of` it; a member of a real network adds a `Follower` to its
watchers, which knows how rounds ended, and the member's own scores, but nobody else's.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Protocol

from colearn.errors import ColearnError, ConfigError
from colearn.ml_interface import MachineLearningInterface, ProposedWeights, Weights
from colearn.records import Choice, Entry, Vote
from colearn.report.result import Comparison, Round
from colearn.rules import Decision, Outcome, State

__all__ = ["Follower", "Tracker", "comparison_numbers", "numbers_of", "tracker"]


class Tracker(Protocol):
    """Keeps the numbers of one run. Any object with these two methods will do."""

    def log(self, round_index: int, numbers: Mapping[str, float]) -> None:
        """Keep finite numbers of a round, by name."""

    def close(self) -> None:
        """The run is over, or stopped: let all be on disk."""


def tracker(where: str, name: str, settings: Mapping[str, object]) -> Tracker:
    """Open a tracker for a run.

    Args:
        where: ``mlflow:runs.db``, an SQLite file; ``mlflow:http://…``, a tracking server;
            or ``tensorboard:FOLDER``.
        name: What to call the run.
        settings: What makes the run this one; None is left out.

    Raises:
        ConfigError: There is no such tracker, or it cannot write there.
        MissingExtra: Its package is not installed.
    """
    kind, _, place = where.partition(":")
    if kind not in _OPENERS or not place:
        raise ConfigError(
            f"--track {where!r} is refused: write mlflow:FILE, mlflow:URL or tensorboard:FOLDER"
        )
    said = {key: value for key, value in settings.items() if value is not None}
    return _OPENERS[kind](place, name, said)


def numbers_of(each: Round) -> dict[str, float]:
    """What a simulation knows of a round, members' own scores included; only what is finite."""
    decision = each.decision
    numbers: dict[str, float | None] = {
        "score": each.score,
        **_outcome(decision),
        "seconds": each.seconds,
        **{f"vote_score/{name}": found.vote_score for name, found in each.scores.items()},
    }
    return _finite(numbers)


def comparison_numbers(comparison: Comparison) -> dict[str, float]:
    """Final scores of the collective and of other ways to learn; only what is finite."""
    solo = {f"compared/solo/{name}": score for name, score in comparison.solo.items()}
    others = {
        f"compared/{name.lower().replace(' ', '-')}": score
        for name, score in comparison.others.items()
    }
    return _finite({"compared/collective": comparison.collective, **solo, **others})


class Follower:
    """A `colearn.member.Watcher` that tracks how rounds end, and one member's own scores.

    Args:
        tracker: Where to.
        member: The member's name on the ledger.
        learner: Its learner, to hear the scores of what it tests; they stay with the
            tracker, which is the member's own.
    """

    def __init__(self, tracker: Tracker, member: str, learner: MachineLearningInterface) -> None:
        self._tracker = tracker
        self._member = member
        self._own: dict[str, float] = {}
        test = learner.mli_test_weights

        def heard(weights: Weights) -> ProposedWeights:
            verdict = test(weights)
            self._own = {"vote_score": verdict.vote_score, "test_score": verdict.test_score}
            return verdict

        # A wrapper would hide which optional methods the learner has.
        learner.mli_test_weights = heard  # type: ignore[method-assign]

    def ordered(self, entry: Entry) -> None:
        """The ledger has a new entry."""
        event = entry.event
        if isinstance(event, Vote) and event.sender == self._member:
            self._own["own_approval"] = float(event.choice is Choice.APPROVE)

    def decided(self, decision: Decision) -> None:
        """A round has ended, or a run of rounds in which nobody proposed."""
        own, self._own = self._own, {}
        if decision.proposal is not None:
            self._tracker.log(decision.round, _finite(_outcome(decision) | own))

    def read(self, state: State) -> None:
        """The ledger was read, and all is well."""

    def failed(self, reason: ColearnError) -> None:
        """Something failed that may pass; it will be tried again."""


def _outcome(decision: Decision) -> dict[str, float]:
    return {
        "accepted": float(decision.outcome is Outcome.ACCEPTED),
        "approvals": float(decision.approvals),
        "needed": float(decision.needed),
    }


def _finite(numbers: Mapping[str, float | None]) -> dict[str, float]:
    return {
        name: value for name, value in numbers.items() if value is not None and math.isfinite(value)
    }


def _mlflow(place: str, name: str, settings: Mapping[str, object]) -> Tracker:
    from colearn.tracking.mlflow import MlflowTracker  # noqa: PLC0415 - an extra of its own

    return MlflowTracker(place if "://" in place else Path(place), name, settings)


def _tensorboard(place: str, name: str, settings: Mapping[str, object]) -> Tracker:
    from colearn.tracking.tensorboard import TensorBoardTracker  # noqa: PLC0415 - likewise

    return TensorBoardTracker(Path(place), name, settings)


_OPENERS: dict[str, Callable[[str, str, Mapping[str, object]], Tracker]] = {
    "mlflow": _mlflow,
    "tensorboard": _tensorboard,
}
