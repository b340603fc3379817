"""A member at work: its participant, step after step, until the experiment's last round.

Whatever may pass, such as a node that is down or a blob that nobody gives just now, is
told and tried again. All that a member decides is in its journal before it is
published, so that it may be stopped at any moment.
"""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Sequence
from typing import Protocol

from colearn.errors import (
    BoardError,
    ColearnError,
    CorruptLedger,
    LedgerError,
    RefusedEvent,
    StoreError,
)
from colearn.participant import Participant
from colearn.records import Digest, Entry
from colearn.rounds import TURNS, progress
from colearn.rules import Decision, Outcome, State
from colearn.weights_store import WeightsStore

SHORTEST_PAUSE_SECONDS = 0.02
LONGEST_PAUSE_SECONDS = 1.0
LONGEST_RETRY_SECONDS = 30.0
_MAY_PASS = (BoardError, LedgerError, RefusedEvent, StoreError)
_log = logging.getLogger(__name__)


class Watcher(Protocol):
    """Is told what happens, and decides nothing."""

    def ordered(self, entry: Entry) -> None:
        """The ledger has a new entry."""

    def decided(self, decision: Decision) -> None:
        """A round has ended, or a run of rounds in which nobody proposed."""

    def read(self, state: State) -> None:
        """The ledger was read, and all is well."""

    def failed(self, reason: ColearnError) -> None:
        """Something failed that may pass; it will be tried again."""


def take_part(
    participant: Participant,
    weights: WeightsStore,
    *,
    rounds: int,
    watchers: Sequence[Watcher] = (),
    ahead: bool = False,
) -> Digest:
    """Do what is due until so many proposals are decided, and hold the model of the end.

    It is over, too, once all members have passed turn after turn: see `progress`.

    Args:
        participant: The member.
        weights: Its weights; those that lost are let go of in memory.
        rounds: How many proposals the experiment takes; rounds without one do not count.
        watchers: Are told what happens.
        ahead: Train on a proposal while the vote on it runs, but for the last.

    Returns:
        Digest of the proposal whose model it ended with, the same for all members.

    Raises:
        CorruptLedger: The ledger does not follow the rules.
        LearnerError: The learner breaks its interface.
    """
    standing = _Progress(participant, weights, rounds, watchers)
    pause, troubles = SHORTEST_PAUSE_SECONDS, 0
    while True:
        try:
            over = standing.follow()
            if over:
                participant.hold(standing.model)
                if standing.left:
                    _log.warning(
                        "all members passed, %d times each, as with spent budgets: nobody can "
                        "propose any more, and it is over with %d of %d proposals decided",
                        TURNS,
                        rounds - standing.left,
                        rounds,
                    )
                return standing.model
            participant.goes_ahead = ahead and standing.left > 1
            busy = participant.step() is not None
        except CorruptLedger:
            raise
        except _MAY_PASS as reason:
            for watcher in watchers:
                watcher.failed(reason)
            time.sleep(_retry_seconds(troubles))
            troubles += 1
            continue
        troubles = 0
        if busy:
            pause = SHORTEST_PAUSE_SECONDS
        else:
            time.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE_SECONDS)


def _retry_seconds(troubles: int) -> float:
    """Twice as long each time, and not in step with others that wait for the same."""
    longest = min(LONGEST_RETRY_SECONDS, 0.5 * (1 << min(troubles, 10)))
    return longest * random.uniform(0.5, 1)  # noqa: S311 - no secret


class _Progress:
    """How far an experiment is, as its ledger tells."""

    def __init__(
        self,
        participant: Participant,
        weights: WeightsStore,
        rounds: int,
        watchers: Sequence[Watcher],
    ) -> None:
        self.model = participant.ledger.experiment.initial
        self.left = rounds
        self._ledger = participant.ledger
        self._weights = weights
        self._rounds = rounds
        self._watchers = watchers
        self._entries = self._decisions = 0

    def follow(self) -> bool:
        """Tell what is new, in order, and take the model; return whether the end is reached."""
        state = self._ledger.view()
        entries, decisions = self._ledger.events(), self._ledger.decisions()
        self._tell(entries, decisions)
        for watcher in self._watchers:
            watcher.read(state)
        found = progress(self._ledger.experiment, decisions, entries, self._rounds)
        before, self.model, self.left = self.model, found.model, found.left
        if before != self.model:
            self._weights.forget(before)
        return found.over

    def _tell(self, entries: Sequence[Entry], decisions: Sequence[Decision]) -> None:
        """Tell the watchers; what a chain took back and orders again is told again."""
        fresh = list(decisions[min(self._decisions, len(decisions)) :])
        for entry in entries[min(self._entries, len(entries)) :]:
            current = getattr(entry.event, "round", 0)
            while fresh and fresh[0].through < current:
                self._close(fresh.pop(0))
            for watcher in self._watchers:
                watcher.ordered(entry)
        for decision in fresh:
            self._close(decision)
        self._entries, self._decisions = len(entries), len(decisions)

    def _close(self, decision: Decision) -> None:
        if decision.proposal is not None and decision.outcome is not Outcome.ACCEPTED:
            self._weights.forget(decision.proposal)
        for watcher in self._watchers:
            watcher.decided(decision)
