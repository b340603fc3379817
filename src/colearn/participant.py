"""The loop of one member: whatever the ledger, the store or the learner.

`Participant.due` says what a member has to do in a given state, and is pure.
`Participant.work` does the part that takes time (train, test, accept), and may run
in parallel with other members'. `step_together` does what is due for any number of
members of one ledger, and publishes it; `Participant.step` is that for one. All that
a member needs to go on after a crash is in the ledger and the store.
"""

from __future__ import annotations

import logging
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
from colearn.weights import equal
from colearn.weights_store import WeightsStore


class Action(Enum):
    """What a member has to do next."""

    ACCEPT = "accept"
    PROPOSE = "propose"
    VOTE = "vote"


_METHODS = {
    Action.ACCEPT: "mli_accept_weights",
    Action.PROPOSE: "mli_propose_weights",
    Action.VOTE: "mli_test_weights",
}
_log = logging.getLogger(__name__)


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
        self._checked: set[Action] = set()

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
        if action is None:
            return Done()
        try:
            done = self._do(action, state)
            if action not in self._checked:
                self._check_current(action, state)
                self._checked.add(action)
        except Exception as reason:
            reason.add_note(f"while {self.member!r} was to {action.value}, round {state.round}")
            raise
        return done

    def _do(self, action: Action, state: State) -> Done:
        if action is Action.ACCEPT:
            self.learner.mli_accept_weights(self._weights.get(state.current))
            self._holds = state.current
            return Done()
        if state.proposal is None:
            return Done(self._propose(state))
        return self._vote(state, state.proposal)

    def _check_current(self, action: Action, state: State) -> None:
        """Check, the first time it does each, that the learner holds everyone's model after it."""
        held = self.learner.mli_get_current_weights().weights
        for name, tensor in self._weights.get(state.current).weights.items():
            if not equal(held.get(name), tensor):
                raise LearnerError(
                    f"{self.member!r}: after {_METHODS[action]} its current weights are not "
                    f"everyone's, by tensor {name!r}: only mli_accept_weights changes them, "
                    "to what it is given"
                )

    def step(self) -> Action | None:
        """Do what is due and publish it; return what was due, None to wait."""
        done = step_together([self])
        return done[0] if done else None

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
        except NotFinite as reason:
            _log.warning("%s passes round %d: %s", self.member, state.round, reason)
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
            choice = self._choice(verdict.vote)
            if self.board is not None:
                scores = Scores(
                    state.round,
                    self.member,
                    _measured(verdict.vote_score),
                    _measured(verdict.test_score),
                )
        return Done(Vote(state.round, self.member, proposal, choice), scores)

    def _choice(self, vote: object) -> Choice:
        if vote is None:
            return Choice.ABSTAIN
        if type(vote).__name__ in ("bool", "bool_"):  # numpy's too
            return Choice.APPROVE if vote else Choice.REJECT
        raise LearnerError(
            f"{self.member!r}: mli_test_weights voted {vote!r:.40}; "
            "a vote is True to approve, False to reject, None to abstain"
        )


Map = Callable[[Callable[[Participant], Done], Sequence[Participant]], Iterable[Done]]
"""What `map` does, or an executor's ``map``: the results in the order of the participants."""


def step_together(participants: Sequence[Participant], run: Map = map) -> list[Action]:
    """Do what is due for these participants of one ledger, and publish it in their order.

    Idempotent: what is published is no longer due. Scores follow the votes they
    belong to, and decide nothing.

    Returns:
        What was due, in the participants' order; empty if all have to wait.

    Raises:
        RefusedEvent: The ledger refuses what the rules say is due; not if it only
            came too late.
    """
    ledger, board = participants[0].ledger, participants[0].board
    state = ledger.view()
    actions = {each: each.due(state) for each in participants}
    due = [each for each, action in actions.items() if action is not None]
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
    return [action for action in actions.values() if action is not None]


def training_seed(seed: int, member: str, round_index: int) -> int:
    """The seed of one member's training in one round: 63 bits of a hash of the three."""
    return int(digest_of((f"{seed}/{round_index}/{member}".encode(),))[:16], 16) >> 1


def _measured(score: float) -> float | None:
    return float(score) if math.isfinite(score) else None
