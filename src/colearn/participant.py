"""The loop of one member: whatever the ledger, the store or the learner.

`Participant.due` says what a member has to do in a given state, and is pure.
`Participant.work` does the part that takes time (train, test, accept), and may run
in parallel with other members'. What it returns is then submitted. All that a
member needs to go on after a crash is in the ledger and the store.
"""

from __future__ import annotations

import math
from enum import Enum
from typing import Any

from colearn.errors import (
    BlobMissing,
    LearnerError,
    NotFinite,
    StoreError,
    WeightsError,
    WrongRound,
)
from colearn.ml_interface import MachineLearningInterface, ProposedWeights, Weights
from colearn.protocols import Board, Ledger
from colearn.records import Choice, Digest, Event, Pass, Propose, Scores, Vote, digest_of
from colearn.rules import State
from colearn.weights_store import WeightsStore


class Action(Enum):
    """What a member has to do next."""

    ACCEPT = "accept"
    PROPOSE = "propose"
    VOTE = "vote"


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
        self._ledger = ledger
        self._weights = weights
        self._seed = seed
        self._board = board
        self._set_seed: Any = getattr(learner, "set_seed", None)
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

    def work(self, action: Action, state: State) -> Event | None:
        """Do it, and return the event to submit, if there is one.

        Raises:
            LearnerError: The learner returned something that is not weights of the
                experiment's schema, or no verdict on them.
        """
        if action is Action.ACCEPT:
            self.learner.mli_accept_weights(self._weights.get(state.current))
            self._holds = state.current
            return None
        if state.proposal is None:
            return self._propose(state)
        return self._vote(state, state.proposal)

    def step(self) -> Action | None:
        """Do what is due now and submit it; return what was done, None if nothing was due."""
        state = self._ledger.view()
        action = self.due(state)
        if action is not None:
            event = self.work(action, state)
            if event is not None:
                try:
                    self._ledger.submit(event)
                except WrongRound:
                    return action
        return action

    def _propose(self, state: State) -> Event:
        if self._set_seed is not None:
            self._set_seed(training_seed(self._seed, self.member, state.round))
        weights = self.learner.mli_propose_weights()
        if not isinstance(weights, Weights):
            raise LearnerError(
                f"{self.member!r}: mli_propose_weights returned a {type(weights).__name__}; "
                "return colearn.Weights({name: array, ...})"
            )
        summary = weights.training_summary
        if summary is not None and summary.error_code is not None:
            return Pass(state.round, self.member)
        try:
            digest = self._weights.put(
                weights, round_index=state.round, sender=self.member, base=state.current
            )
        except NotFinite:
            return Pass(state.round, self.member)
        except LearnerError as reason:
            raise type(reason)(
                f"{self.member!r} proposes what the others cannot load: {reason}"
            ) from None
        return Propose(state.round, self.member, digest)

    def _vote(self, state: State, proposal: Digest) -> Event:
        choice = Choice.REJECT
        try:
            weights = self._weights.get(proposal)
        except BlobMissing:
            choice = Choice.ABSTAIN
        except (StoreError, WeightsError):
            pass
        else:
            verdict = self.learner.mli_test_weights(weights)
            if not isinstance(verdict, ProposedWeights):
                raise LearnerError(
                    f"{self.member!r}: mli_test_weights returned a {type(verdict).__name__}; "
                    "return colearn.ProposedWeights(weights.weights, vote=...)"
                )
            if verdict.vote is None:
                choice = Choice.ABSTAIN
            elif verdict.vote:
                choice = Choice.APPROVE
            if self._board is not None:
                self._board.post(
                    Scores(
                        state.round,
                        self.member,
                        _measured(verdict.vote_score),
                        _measured(verdict.test_score),
                    )
                )
        return Vote(state.round, self.member, proposal, choice)


def training_seed(seed: int, member: str, round_index: int) -> int:
    """The seed of one member's training in one round: 63 bits of a hash of the three."""
    return int(digest_of((f"{seed}/{round_index}/{member}".encode(),))[:16], 16) >> 1


def _measured(score: float) -> float | None:
    return float(score) if math.isfinite(score) else None
