"""What the rules remember of an experiment, and what they say of a round that is over."""

from __future__ import annotations

from enum import Enum
from functools import cached_property

import msgspec

from colearn.committee import named, voters, workers
from colearn.records import Change, Digest, Experiment, Rotate, Rule


class Outcome(Enum):
    """What became of a round."""

    PENDING = "pending"
    ACCEPTED = "accepted"
    REJECTED = "rejected"
    EXPIRED = "expired"


class Phase(Enum):
    """What a round waits for."""

    PROPOSING = "proposing"
    VOTING = "voting"
    COMMITTING = "committing"
    REVEALING = "revealing"


class Turn(msgspec.Struct, frozen=True, kw_only=True, dict=True):
    """A round, and who works in it.

    Attributes:
        round: Its number.
        members: In join order.
        rule: The rule of this round.
        current: Digest of the proposal accepted last before it: everyone's model M.
    """

    round: int
    members: tuple[str, ...]
    rule: Rule
    current: Digest

    @property
    def proposer(self) -> str:
        """Whose turn it is."""
        return self.members[self.round % len(self.members)]

    @cached_property
    def voters(self) -> int:
        """Bitmap of the members that may vote."""
        return voters(self.rule, self.current, self.round, len(self.members))

    @cached_property
    def workers(self) -> int:
        """Bitmap of these and the proposer."""
        return workers(self.rule, self.current, self.round, len(self.members))

    @cached_property
    def places(self) -> dict[str, int]:
        """Each member's place among them."""
        return {member: index for index, member in enumerate(self.members)}

    @cached_property
    def at_work(self) -> frozenset[str]:
        """The names of these."""
        return frozenset(named(self.members, self.workers))


class Decision(Turn, frozen=True, kw_only=True):
    """How a round ended.

    Attributes:
        through: The last round covered: above ``round`` only for a run of rounds
            in which nobody proposed.
        outcome: Accepted, rejected or expired.
        proposal: Digest of the proposal; None if there was none.
        approve: Bitmap of approvals that counted; likewise ``reject``, ``abstain``.
        needed: Approvals that were needed.
        eligible: Members that could vote.
    """

    through: int
    outcome: Outcome
    proposal: Digest | None
    approve: int = 0
    reject: int = 0
    abstain: int = 0
    needed: int
    eligible: int

    @property
    def approvals(self) -> int:
        """How many approvals counted."""
        return self.approve.bit_count()


class Poll(msgspec.Struct, frozen=True):
    """A proposal and who has voted on it.

    Attributes:
        round: Its round.
        proposal: Its digest.
        members: The members of that round, in order.
        proposer_votes: Whether its proposer may vote.
        voted: Bitmap of the members that have voted, or revealed their votes.
        commitments: Each member's commitment that is not revealed yet, by position;
            empty where votes are open.
    """

    round: int
    proposal: Digest
    members: tuple[str, ...]
    proposer_votes: bool
    voted: int
    commitments: tuple[Digest | None, ...]


class State(Turn, frozen=True, kw_only=True):
    """All that the rules remember.

    Attributes:
        opened: Ledger time at which it opened, in seconds.
        proposal: Digest of its proposal, once there is one.
        proposed: Ledger time of the proposal.
        approve: Bitmap of approvals; likewise ``reject``, ``abstain``.
        commitments: Each member's commitment that is not revealed yet, by position;
            empty where there is no proposal, or votes are open.
        revealing: Ledger time from which on votes are revealed; None before.
        last: The last proposal decided, to record late votes.
        endorsed: Each member's endorsement that stands, by position.
        scheduled: Changes that take effect when the next round opens.
    """

    opened: int
    proposal: Digest | None = None
    proposed: int = 0
    approve: int = 0
    reject: int = 0
    abstain: int = 0
    commitments: tuple[Digest | None, ...] = ()
    revealing: int | None = None
    last: Poll | None = None
    endorsed: tuple[Change | None, ...]
    scheduled: tuple[Change | Rotate, ...] = ()

    @property
    def phase(self) -> Phase:
        """What the round waits for."""
        if self.proposal is None:
            return Phase.PROPOSING
        if not self.commitments:
            return Phase.VOTING
        return Phase.COMMITTING if self.revealing is None else Phase.REVEALING

    @property
    def voted(self) -> int:
        """Bitmap of the members whose votes are known."""
        return self.approve | self.reject | self.abstain

    @property
    def deadline(self) -> int:
        """Ledger time at which the phase ends: from then on it is too late."""
        if self.proposal is None:
            return self.opened + self.rule.propose_seconds
        if self.revealing is not None:
            return self.revealing + self.rule.reveal_seconds
        return self.proposed + self.rule.vote_seconds


def start(experiment: Experiment, now: int) -> State:
    """The state before the first event: round 0 is open, M is M₀."""
    return State(
        members=experiment.members,
        rule=experiment.rule,
        current=experiment.initial,
        round=0,
        opened=now,
        endorsed=(None,) * len(experiment.members),
    )
