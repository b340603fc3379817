"""The rules of a round, whole and pure: events and ledger time in, decisions out.

Integers only, so that a smart contract can agree bit for bit. Votes are bitmaps:
bit *i* stands for ``members[i]``.

A round *r* belongs to the proposer ``members[r % n]`` and is in one of two
phases:

- *proposing*, until the proposer proposes, passes, or its time runs out;
- *voting*, until the outcome is certain, or time runs out.

Then the next round opens. Rounds whose proposer stays absent pass by without an
event: the state at any time is computed, not announced. An event at exactly its
deadline is too late.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from enum import Enum

import msgspec

from colearn.errors import (
    AlreadyEndorsed,
    AlreadyProposed,
    AlreadyVoted,
    ConfigError,
    InvalidChange,
    NoProposal,
    NotAMember,
    NotYourTurn,
    ProposerMayNotVote,
    RefusedEvent,
    TimeWentBack,
    WrongProposal,
    WrongRound,
)
from colearn.records import (
    AddMember,
    Change,
    Choice,
    Digest,
    Endorse,
    Entry,
    Event,
    Experiment,
    Pass,
    Propose,
    RemoveMember,
    ReplaceMember,
    Rule,
    SetRule,
    Vote,
    check_members,
)


class Outcome(Enum):
    """What became of a round."""

    PENDING = "pending"
    ACCEPTED = "accepted"
    REJECTED = "rejected"
    EXPIRED = "expired"


class Decision(msgspec.Struct, frozen=True, kw_only=True):
    """How a round ended.

    Attributes:
        round: The round.
        through: The last round covered: above ``round`` only for a run of rounds
            in which nobody proposed.
        outcome: Accepted, rejected or expired.
        proposal: Digest of the proposal; None if there was none.
        members: The members of this round, in order.
        approve: Bitmap of approvals that counted; likewise ``reject``, ``abstain``.
        needed: Approvals that were needed.
        eligible: Members that could vote.
    """

    round: int
    through: int
    outcome: Outcome
    proposal: Digest | None
    members: tuple[str, ...]
    approve: int = 0
    reject: int = 0
    abstain: int = 0
    needed: int
    eligible: int

    @property
    def proposer(self) -> str:
        """Whose turn it was."""
        return self.members[self.round % len(self.members)]

    @property
    def approvals(self) -> int:
        """How many approvals counted."""
        return self.approve.bit_count()


class LastVote(msgspec.Struct, frozen=True):
    """What must be remembered of the last proposal that was decided, to record late votes."""

    round: int
    proposal: Digest
    members: tuple[str, ...]
    proposer_votes: bool
    voted: int


class State(msgspec.Struct, frozen=True, kw_only=True):
    """All that the rules remember.

    Attributes:
        members: In join order.
        rule: The rule of this round.
        current: Digest of the proposal accepted last: everyone's model M.
        round: Number of the live round.
        opened: Ledger time at which it opened, in seconds.
        proposal: Digest of its proposal, once there is one.
        proposed: Ledger time of the proposal.
        approve: Bitmap of approvals; likewise ``reject``, ``abstain``.
        last: The last proposal decided.
        endorsed: Each member's endorsement that stands, by position.
        scheduled: Changes that take effect when the next round opens.
    """

    members: tuple[str, ...]
    rule: Rule
    current: Digest
    round: int
    opened: int
    proposal: Digest | None = None
    proposed: int = 0
    approve: int = 0
    reject: int = 0
    abstain: int = 0
    last: LastVote | None = None
    endorsed: tuple[Change | None, ...]
    scheduled: tuple[Change, ...] = ()

    @property
    def proposer(self) -> str:
        """Whose turn it is."""
        return self.members[self.round % len(self.members)]

    @property
    def deadline(self) -> int:
        """Ledger time at which the phase ends: from then on it is too late."""
        if self.proposal is None:
            return self.opened + self.rule.propose_seconds
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


def eligible(rule: Rule, members: int) -> int:
    """How many members may vote in a round."""
    return members if rule.proposer_votes else members - 1


def needed(rule: Rule, voters: int) -> int:
    """The least number of approvals, of ``voters`` eligible, that accepts."""
    num, den = rule.threshold.numerator, rule.threshold.denominator
    if rule.inclusive:
        return -(-num * voters // den)
    return num * voters // den + 1


def tally(rule: Rule, members: int, approve: int, reject: int, abstain: int) -> Outcome:
    """Decide from the votes so far, as soon as no further vote can change the outcome."""
    voters = eligible(rule, members)
    approvals = approve.bit_count()
    cast = (approve | reject | abstain).bit_count()
    enough = needed(rule, voters)
    quorum = rule.quorum
    if approvals >= enough and quorum.denominator * cast >= quorum.numerator * voters:
        return Outcome.ACCEPTED
    if approvals + voters - cast < enough:
        return Outcome.REJECTED
    return Outcome.PENDING


def advance(state: State, now: int) -> tuple[State, tuple[Decision, ...]]:
    """Let ledger time pass: close what is past its deadline.

    Raises:
        TimeWentBack: ``now`` lies before the live round's beginning.
    """
    if now < state.opened or (state.proposal is not None and now < state.proposed):
        raise TimeWentBack(f"ledger time {now} lies before the open round's: clocks never go back")
    decisions: list[Decision] = []
    while now >= state.deadline:
        through = state.round
        if state.proposal is None and not state.scheduled:
            through += (now - state.opened) // state.rule.propose_seconds - 1
        opened = state.deadline + (through - state.round) * state.rule.propose_seconds
        state, decision = _close(state, Outcome.EXPIRED, opened, through)
        decisions.append(decision)
    return state, tuple(decisions)


def apply(state: State, event: Event, now: int) -> tuple[State, tuple[Decision, ...]]:
    """Apply one event at a ledger time; return the new state and the rounds that closed.

    Raises:
        RefusedEvent: One of its kinds, when the rules do not allow the event.
    """
    state, decisions = advance(state, now)
    if isinstance(event, Vote):
        state, more = _vote(state, event, now)
    elif isinstance(event, Propose):
        state, more = _propose(state, event, now), ()
    elif isinstance(event, Pass):
        _check_turn(state, event)
        state, decision = _close(state, Outcome.EXPIRED, now, state.round)
        more = (decision,)
    else:
        state, more = _endorse(state, event), ()
    return state, decisions + more


def replay(experiment: Experiment, entries: Iterable[Entry]) -> Iterator[Decision]:
    """All decisions that follow from a ledger's entries, of which the clock starts at 0.

    Raises:
        RefusedEvent: The rules do not allow an entry's event.
        TimeWentBack: An entry's time lies before the one's before.
    """
    now = 0
    state = start(experiment, now)
    for entry in entries:
        if entry.time < now:
            raise TimeWentBack(f"ledger time {entry.time} comes after {now}: clocks never go back")
        now = entry.time
        state, decisions = apply(state, entry.event, entry.time)
        yield from decisions


def _index(members: tuple[str, ...], sender: str) -> int:
    try:
        return members.index(sender)
    except ValueError:
        raise NotAMember(f"{sender!r} is not a member: only members take part") from None


def _check_turn(state: State, event: Propose | Pass) -> None:
    _index(state.members, event.sender)
    if event.round != state.round:
        raise WrongRound(
            f"{event.sender!r} acts in round {event.round}, but round {state.round} is open"
        )
    if event.sender != state.proposer:
        raise NotYourTurn(
            f"round {state.round} is the turn of {state.proposer!r}, not of {event.sender!r}"
        )
    if state.proposal is not None:
        raise AlreadyProposed(f"round {state.round} already has a proposal")


def _propose(state: State, event: Propose, now: int) -> State:
    _check_turn(state, event)
    return State(
        members=state.members,
        rule=state.rule,
        current=state.current,
        round=state.round,
        opened=state.opened,
        proposal=event.proposal,
        proposed=now,
        last=state.last,
        endorsed=state.endorsed,
        scheduled=state.scheduled,
    )


def _vote(state: State, event: Vote, now: int) -> tuple[State, tuple[Decision, ...]]:
    last = state.last
    if last is not None and event.round == last.round:
        bit = _ballot(event, last.members, last.proposal, last.voted, last.proposer_votes)
        last = LastVote(
            last.round, last.proposal, last.members, last.proposer_votes, last.voted | bit
        )
        return msgspec.structs.replace(state, last=last), ()
    if event.round != state.round:
        raise WrongRound(f"a vote for round {event.round}, but round {state.round} is open")
    voted = state.approve | state.reject | state.abstain
    bit = _ballot(event, state.members, state.proposal, voted, state.rule.proposer_votes)
    choice = event.choice
    state = State(
        members=state.members,
        rule=state.rule,
        current=state.current,
        round=state.round,
        opened=state.opened,
        proposal=state.proposal,
        proposed=state.proposed,
        approve=state.approve | bit if choice is Choice.APPROVE else state.approve,
        reject=state.reject | bit if choice is Choice.REJECT else state.reject,
        abstain=state.abstain | bit if choice is Choice.ABSTAIN else state.abstain,
        last=last,
        endorsed=state.endorsed,
        scheduled=state.scheduled,
    )
    outcome = tally(state.rule, len(state.members), state.approve, state.reject, state.abstain)
    if outcome is Outcome.PENDING:
        return state, ()
    state, decision = _close(state, outcome, now, state.round)
    return state, (decision,)


def _ballot(
    event: Vote,
    members: tuple[str, ...],
    proposal: Digest | None,
    voted: int,
    proposer_votes: bool,
) -> int:
    index = _index(members, event.sender)
    if proposal is None:
        raise NoProposal(f"round {event.round} has no proposal to vote on yet")
    if event.proposal != proposal:
        raise WrongProposal(
            f"{event.sender!r} votes on {event.proposal[:12]}, "
            f"but round {event.round} is about {proposal[:12]}"
        )
    if index == event.round % len(members) and not proposer_votes:
        raise ProposerMayNotVote(f"{event.sender!r} proposed in round {event.round}: others judge")
    if voted >> index & 1:
        raise AlreadyVoted(f"{event.sender!r} has voted in round {event.round}: one vote each")
    return 1 << index


def _endorse(state: State, event: Endorse) -> State:
    index = _index(state.members, event.sender)
    change = event.change
    if change in state.scheduled or state.endorsed[index] == change:
        raise AlreadyEndorsed(f"{event.sender!r} or enough others have endorsed this change")
    _change(*_after(state), change)
    endorsed = (*state.endorsed[:index], change, *state.endorsed[index + 1 :])
    scheduled = state.scheduled
    share = state.rule.governance
    if share.denominator * endorsed.count(change) > share.numerator * len(state.members):
        endorsed = tuple(None if other == change else other for other in endorsed)
        scheduled = (*scheduled, change)
    return msgspec.structs.replace(state, endorsed=endorsed, scheduled=scheduled)


def _after(state: State) -> tuple[tuple[str, ...], Rule]:
    """Members and rule once all that is scheduled has taken effect."""
    members, rule = state.members, state.rule
    for change in state.scheduled:
        members, rule = _change(members, rule, change)
    return members, rule


def _change(members: tuple[str, ...], rule: Rule, change: Change) -> tuple[tuple[str, ...], Rule]:
    if isinstance(change, SetRule):
        return members, change.rule
    if not isinstance(change, AddMember) and change.member not in members:
        raise InvalidChange(f"{change.member!r} is not a member")
    if isinstance(change, AddMember):
        members = (*members, change.member)
    elif isinstance(change, RemoveMember):
        members = tuple(member for member in members if member != change.member)
    elif isinstance(change, ReplaceMember):
        members = tuple(
            change.successor if member == change.member else member for member in members
        )
    try:
        check_members(members)
    except ConfigError as reason:
        raise InvalidChange(f"after this change: {reason}") from None
    return members, rule


def _close(state: State, outcome: Outcome, opened: int, through: int) -> tuple[State, Decision]:
    """End the live round (and the empty ones through ``through``); open the next."""
    voters = eligible(state.rule, len(state.members))
    decision = Decision(
        round=state.round,
        through=through,
        outcome=outcome,
        proposal=state.proposal,
        members=state.members,
        approve=state.approve,
        reject=state.reject,
        abstain=state.abstain,
        needed=needed(state.rule, voters),
        eligible=voters,
    )
    last = state.last
    if state.proposal is not None:
        last = LastVote(
            state.round,
            state.proposal,
            state.members,
            state.rule.proposer_votes,
            state.approve | state.reject | state.abstain,
        )
    members, rule, endorsed = state.members, state.rule, state.endorsed
    if state.scheduled:
        members, rule = _after(state)
        endorsed = (None,) * len(members)
    accepted = state.proposal if outcome is Outcome.ACCEPTED else None
    return (
        State(
            members=members,
            rule=rule,
            current=state.current if accepted is None else accepted,
            round=through + 1,
            opened=opened,
            last=last,
            endorsed=endorsed,
        ),
        decision,
    )


__all__ = [
    "Decision",
    "LastVote",
    "Outcome",
    "RefusedEvent",
    "State",
    "advance",
    "apply",
    "eligible",
    "needed",
    "replay",
    "start",
    "tally",
]
