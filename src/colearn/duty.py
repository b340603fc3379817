"""What a member has to do next, from what everybody can see: pure.

Members that vote on the ledger directly, under the plain method, need the ledger's
state alone. Methods in which all train, and proposers that collect votes before they
submit them, need what stands on the board for the live round as well::

    all train:   update, by each  →  proposal, of the updates
    collected:   candidate  →  ballot, by each  →  proposal and ballots on the ledger

Where a committee is drawn, all this is asked of those drawn and of the proposer. The
others rest, and nobody waits for them.

Nobody waits for ever: a proposer goes on without updates and ballots that do not come,
and whoever finds a proposal on the ledger without its own vote votes there directly.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from enum import Enum
from typing import NamedTuple

import msgspec

from colearn.committee import named, workers
from colearn.records import Ballot, Candidate, Choice, Digest, Note, Update
from colearn.rules import eligible, tally
from colearn.state import Outcome, Phase, State

_BEHIND_SECONDS = 5


class Action(Enum):
    """What a member has to do next."""

    ACCEPT = "accept"
    TRAIN = "train"
    PROPOSE = "propose"
    COLLECT = "collect"
    VOTE = "vote"
    COMMIT = "commit"
    REVEAL = "reveal"


class Duty(NamedTuple):
    """What decides a member's duties.

    Attributes:
        member: Its name.
        all_train: Whether the method merges everybody's updates.
        collects: Whether proposers collect ballots.
    """

    member: str
    all_train: bool = False
    collects: bool = False

    @property
    def reads_notes(self) -> bool:
        """Whether what stands on the board matters."""
        return self.all_train or self.collects

    def due(
        self, state: State, notes: Sequence[Note] = (), now: int = 0, *, patient: bool = False
    ) -> Action | None:
        """What is to be done, once the member holds everyone's model; None is to wait.

        Args:
            state: The ledger's.
            notes: What stands on the board for the live round, and updates left over from
                the last: whoever was late then is not waited for now.
            now: Ledger time, in seconds.
            patient: Go on waiting for ballots though the outcome is certain.
        """
        if self.member not in state.at_work:
            return None
        proposing = state.proposer == self.member
        if state.proposal is not None:
            return _due_vote(state, state.places[self.member])
        collects = self.collecting(state)
        if not (self.all_train or collects):
            return Action.PROPOSE if proposing else None
        mine = {
            type(note) for note in notes if note.sender == self.member and note.round == state.round
        }
        if self.all_train and Update not in mine:
            return Action.TRAIN
        if not proposing:
            shown = collects and candidate(state, notes) is not None
            return Action.VOTE if shown and Ballot not in mine else None
        if Candidate not in mine:
            return Action.PROPOSE if self._updates_enough(state, notes, now) else None
        if state.rule.proposer_votes and Ballot not in mine:
            return Action.VOTE
        return Action.COLLECT if _ballots_enough(state, notes, now, patient=patient) else None

    def trains_next(self, state: State, expected: Digest) -> bool:
        """Whether the member trains in the next round, if this proposal is accepted in this one."""
        if state.scheduled or self.member not in state.members:
            return False
        following = state.round + 1
        if not self.all_train:
            return self.member == state.members[following % len(state.members)]
        asked = workers(state.rule, expected, following, len(state.members))
        return self.member in named(state.members, asked)

    def rests(self, state: State) -> bool:
        """Whether it was not drawn, so that the live round asks nothing of it."""
        return bool(state.rule.committee) and self.member not in state.at_work

    def collecting(self, state: State) -> bool:
        """Whether votes of this round are collected: not where they are secret."""
        return self.collects and not state.rule.reveal_seconds

    def wakes(self, state: State, notes: Sequence[Note] = ()) -> int:
        """Ledger time by which something becomes due though nobody does anything."""
        if state.proposal is None and self.reads_notes and state.proposer == self.member:
            shown = any(isinstance(note, Candidate) for note in notes)
            return patience(state, 2 if shown else 1)
        return state.deadline

    def _updates_enough(self, state: State, notes: Sequence[Note], now: int) -> bool:
        if not self.all_train or now >= patience(state, 1):
            return True
        given = {note.sender for note in notes if isinstance(note, Update)}
        return given >= state.at_work


def candidate(state: State, notes: Sequence[Note]) -> Digest | None:
    """The proposal that the live round's proposer shows."""
    shown = (
        note.proposal
        for note in notes
        if isinstance(note, Candidate) and note.sender == state.proposer
    )
    return next(shown, None)


def ballots_of(state: State, notes: Sequence[Note]) -> Iterator[Ballot]:
    """Ballots on the proposal shown, of those who may vote on it."""
    shown, voters = candidate(state, notes), frozenset(named(state.members, state.voters))
    for note in notes:
        if isinstance(note, Ballot) and note.proposal == shown and note.sender in voters:
            yield note


def _ballots_enough(state: State, notes: Sequence[Note], now: int, *, patient: bool) -> bool:
    bitmaps = dict.fromkeys(Choice, 0)
    for ballot in ballots_of(state, notes):
        bitmaps[ballot.choice] |= 1 << state.places[ballot.sender]
    counted = msgspec.structs.replace(
        state,
        approve=bitmaps[Choice.APPROVE],
        reject=bitmaps[Choice.REJECT],
        abstain=bitmaps[Choice.ABSTAIN],
    )
    voters = eligible(state.rule, len(state.members))
    if now >= patience(state, 2) or counted.voted.bit_count() >= voters:
        return True
    return not patient and tally(counted) is not Outcome.PENDING


def _due_vote(state: State, index: int) -> Action | None:
    """What the member at a position has to do about the proposal."""
    if not state.voters >> index & 1:
        return None
    if state.phase is Phase.VOTING:
        return None if state.voted >> index & 1 else Action.VOTE
    hidden = state.commitments[index] is not None
    if state.phase is Phase.COMMITTING:
        return None if hidden else Action.COMMIT
    return Action.REVEAL if hidden else None


def patience(state: State, phase: int) -> int:
    """Ledger time up to which a proposer waits: for updates (1), then for ballots (2)."""
    return state.opened + -(-phase * state.rule.propose_seconds // 3)


def came_early(state: State, now: int) -> bool:
    """Whether the proposal that is here now was made while updates were still waited for.

    A proposer waits for them a third of its time. A voter's node may be behind the proposer's
    by a twelfth of it, or by some seconds (of a wait of few, by half of them): then that is over
    on no node.
    """
    came = now if state.proposal is None else state.proposed
    wait = patience(state, 1) - state.opened
    behind = max(state.rule.propose_seconds // 12, min(_BEHIND_SECONDS, wait // 2))
    return came - state.opened < wait - behind
