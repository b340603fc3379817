"""The loop of one member: whatever the ledger, the store or the learner.

`Participant.due` says what a member has to do in a given state, and is pure.
`Participant.work` does the part that takes time (train, test, accept), and may run
in parallel with other members'. `step_together` does what is due for any number of
members of one ledger, and publishes it; `Participant.step` is that for one. All that
a member needs to go on after a crash is in the ledger and the store.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from enum import Enum
from typing import NamedTuple

from colearn.errors import (
    BlobCorrupt,
    LearnerError,
    NotFinite,
    RefusedEvent,
    StoreError,
    WeightsError,
)
from colearn.ml_interface import MachineLearningInterface, ProposedWeights, Weights
from colearn.protocols import Board, Ledger, Seeded
from colearn.records import Choice, Digest, Event, Pass, Propose, Scores, Vote, digest_of
from colearn.rules import State
from colearn.weights_store import WeightsStore


class Action(Enum):
    """What a member has to do next."""

    ACCEPT = "accept"
    PROPOSE = "propose"
    VOTE = "vote"


class Done(NamedTuple):
    """What came of a member's work: an event to submit, and scores it may show."""

    event: Event | None = None
    scores: Scores | None = None


class Participant:
    """Runs one learner as one member of an experiment.

    Args:
        member: Its name on the ledger.
        learner: Anything with the methods of the Machine Learning Interface.
        ledger: Where proposals and votes are ordered.
        weights: Where weights are put and found.
        seed: The run's seed; with the member and the round it gives the training's.
        board: Where to post the scores behind the votes. Without one they stay home.
    """

    def __init__(
        self,
        member: str,
        learner: MachineLearningInterface,
        *,
        ledger: Ledger,
        weights: WeightsStore,
        seed: int = 0,
        board: Board | None = None,
    ) -> None:
        self.member = member
        self.learner = learner
        self.ledger = ledger
        self.board = board
        self._weights = weights
        self._seed = seed
        self._seeded = learner if isinstance(learner, Seeded) else None
        self._holds: Digest | None = None

    def due(self, state: State) -> Action | None:
        """What is to be done in this state; None is to wait."""
        if self._holds != state.current:
            return Action.ACCEPT
        member = self.member
        proposing = state.proposer == member
        if state.proposal is None:
            return Action.PROPOSE if proposing else None
        if proposing and not state.rule.proposer_votes:
            return None
        if member not in state.members:
            return None
        voted = state.approve | state.reject | state.abstain
        return None if voted >> state.members.index(member) & 1 else Action.VOTE

    def work(self, state: State) -> Done:
        """Do what is due in this state; nothing is published yet.

        Raises:
            LearnerError: The learner returned something that is not weights of the
                experiment's schema, or no verdict on them.
        """
        action = self.due(state)
        if action is Action.ACCEPT:
            self.learner.mli_accept_weights(self._weights.get(state.current))
            self._holds = state.current
        elif action is Action.PROPOSE:
            return Done(self._propose(state))
        elif action is Action.VOTE and state.proposal is not None:
            return self._vote(state, state.proposal)
        return Done()

    def step(self) -> Action | None:
        """Do what is due and publish it; return what was due, None to wait."""
        action = self.due(self.ledger.view())
        step_together([self])
        return action

    def _propose(self, state: State) -> Event:
        if self._seeded is not None:
            self._seeded.set_seed(training_seed(self._seed, self.member, state.round))
        try:
            weights = self.learner.mli_propose_weights()
            if not isinstance(weights, Weights):
                raise LearnerError(
                    f"{self.member!r}: mli_propose_weights returned a {type(weights).__name__}; "
                    "return colearn.Weights({name: array, ...})"
                )
            summary = weights.training_summary
            if summary is not None and summary.error_code is not None:
                return Pass(state.round, self.member)
            digest = self._weights.put(
                weights, round_index=state.round, sender=self.member, base=state.current
            )
        except NotFinite:
            return Pass(state.round, self.member)
        except LearnerError as reason:
            raise type(reason)(f"{self.member!r} cannot propose: {reason}") from None
        return Propose(state.round, self.member, digest)

    def _vote(self, state: State, proposal: Digest) -> Done:
        choice, scores = Choice.REJECT, None
        try:
            self._weights.check_origin(
                proposal, round_index=state.round, sender=state.proposer, base=state.current
            )
            verdict = self.learner.mli_test_weights(self._weights.get(proposal))
        except (BlobCorrupt, WeightsError):
            pass
        except StoreError:
            choice = Choice.ABSTAIN
        else:
            if not isinstance(verdict, ProposedWeights):
                raise LearnerError(
                    f"{self.member!r}: mli_test_weights returned a {type(verdict).__name__}; "
                    "return colearn.ProposedWeights(weights.weights, vote=...)"
                )
            if verdict.vote is None:
                choice = Choice.ABSTAIN
            elif verdict.vote:
                choice = Choice.APPROVE
            if self.board is not None:
                scores = Scores(
                    state.round,
                    self.member,
                    _measured(verdict.vote_score),
                    _measured(verdict.test_score),
                )
        return Done(Vote(state.round, self.member, proposal, choice), scores)


Map = Callable[[Callable[[Participant], Done], Sequence[Participant]], Iterable[Done]]
"""What `map` does, or an executor's ``map``: the results in the order of the participants."""


def step_together(participants: Sequence[Participant], run: Map = map) -> bool:
    """Do what is due for these participants of one ledger, and publish it in their order.

    Idempotent: what is published is no longer due. Scores follow the votes they
    belong to, and decide nothing.

    Returns:
        Whether anything was due.

    Raises:
        RefusedEvent: The ledger refuses what the rules say is due; not if it only
            came too late.
    """
    ledger, board = participants[0].ledger, participants[0].board
    state = ledger.view()
    due = [each for each in participants if each.due(state) is not None]
    done = list(run(lambda participant: participant.work(state), due))
    events = [each.event for each in done if each.event is not None]
    if events:
        try:
            ledger.submit(*events)
        except RefusedEvent:
            now = ledger.view()
            if (now.round, now.proposal) == (state.round, state.proposal):
                raise
    if board is not None:
        board.post(*(each.scores for each in done if each.scores is not None))
    return bool(due)


def training_seed(seed: int, member: str, round_index: int) -> int:
    """The seed of one member's training in one round: 63 bits of a hash of the three."""
    return int(digest_of((f"{seed}/{round_index}/{member}".encode(),))[:16], 16) >> 1


def _measured(score: float) -> float | None:
    return float(score) if math.isfinite(score) else None
