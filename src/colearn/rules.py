"""The rules of a round, whole and pure: events and ledger time in, decisions out.

Integers only, so that a smart contract can agree bit for bit. Votes are bitmaps:
bit *i* stands for ``members[i]``. Who votes is all members but the proposer, or those of
them that `colearn.committee` draws for the round.

A round *r* belongs to the proposer ``members[r % n]`` and is in one of these phases:

- *proposing*, until the proposer proposes, passes, or its time runs out;
- *voting*, until the outcome is certain, or time runs out.

Where the rule says that votes are secret, two phases stand for the second:

- *committing*, until all who may vote have committed to their votes, or time runs out;
- *revealing*, until the outcome is certain, or time runs out.

Then the next round opens. Rounds whose proposer stays absent pass by without an
event: the state at any time is computed, not announced. An event at exactly its
deadline is too late.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import msgspec

from colearn.changes import changed, renamed
from colearn.committee import eligible
from colearn.errors import (
    AlreadyEndorsed,
    AlreadyProposed,
    AlreadyVoted,
    InvalidChange,
    NoProposal,
    NotAMember,
    NotDrawn,
    NothingToReveal,
    NotYourTurn,
    ProposerMayNotVote,
    RefusedEvent,
    TimeWentBack,
    WrongPhase,
    WrongProposal,
    WrongReveal,
    WrongRound,
)
from colearn.records import (
    Choice,
    Commit,
    CommitmentTo,
    Digest,
    Endorse,
    Entry,
    Event,
    Experiment,
    Pass,
    Propose,
    Reveal,
    Rotate,
    Rule,
    Vote,
    commitments_in,
)
from colearn.state import Decision, Outcome, Phase, Poll, State, start


def needed(rule: Rule, voters: int) -> int:
    """The least number of approvals, of ``voters`` eligible, that accepts."""
    num, den = rule.threshold.numerator, rule.threshold.denominator
    if rule.inclusive:
        return -(-num * voters // den)
    return num * voters // den + 1


def tally(state: State) -> Outcome:
    """Decide from the votes so far, as soon as no further vote can change the outcome."""
    rule = state.rule
    voters = eligible(rule, len(state.members))
    enough, quorum = needed(rule, voters), rule.quorum
    approvals, cast = state.approve.bit_count(), state.voted.bit_count()
    to_come = voters - cast if state.revealing is None else _hidden(state.commitments)
    if approvals >= enough and quorum.denominator * cast >= quorum.numerator * voters:
        return Outcome.ACCEPTED
    all_cast = quorum.denominator * (cast + to_come) >= quorum.numerator * voters
    if approvals + to_come < enough or not all_cast:
        return Outcome.REJECTED
    return Outcome.PENDING


def advance(state: State, now: int) -> tuple[State, tuple[Decision, ...]]:
    """Let ledger time pass: close what is past its deadline.

    Raises:
        TimeWentBack: ``now`` lies before the live round's beginning.
    """
    if now < max(state.opened, state.proposed, state.revealing or 0):
        raise TimeWentBack(f"ledger time {now} lies before the open round's: clocks never go back")
    decisions: list[Decision] = []
    while now >= state.deadline:
        if state.phase is Phase.COMMITTING:
            state = msgspec.structs.replace(state, revealing=state.deadline)
            continue
        through = state.round
        if state.proposal is None and not state.scheduled:
            through += (now - state.opened) // state.rule.propose_seconds - 1
        opened = state.deadline + (through - state.round) * state.rule.propose_seconds
        state, decision = _close(state, Outcome.EXPIRED, opened, through)
        decisions.append(decision)
    return state, tuple(decisions)


def apply(
    state: State, event: Event, now: int, commitment_to: CommitmentTo | None = None
) -> tuple[State, tuple[Decision, ...]]:
    """Apply one event at a ledger time; return the new state and the rounds that closed.

    Args:
        state: The state before.
        event: The event.
        now: The ledger time, in seconds.
        commitment_to: How votes are hidden on this ledger (`Ledger.commitment`);
            without it no vote can be revealed.

    Raises:
        RefusedEvent: One of its kinds, when the rules do not allow the event.
    """
    state, decisions = advance(state, now)
    more: tuple[Decision, ...] = ()
    if isinstance(event, Vote):
        state, more = _vote(state, event, now)
    elif isinstance(event, Propose):
        state = _propose(state, event, now)
    elif isinstance(event, Pass):
        _check_turn(state, event)
        state, decision = _close(state, Outcome.EXPIRED, now, state.round)
        more = (decision,)
    elif isinstance(event, Commit):
        state = _commit(state, event, now)
    elif isinstance(event, Reveal):
        state, more = _reveal(state, event, now, commitment_to)
    elif isinstance(event, Rotate):
        state = _rotate(state, event)
    else:
        state = _endorse(state, event)
    return state, decisions + more


def replay(experiment: Experiment, entries: Iterable[Entry]) -> Iterator[Decision]:
    """All decisions that follow from a local ledger's entries, of which the clock starts at 0.

    Raises:
        RefusedEvent: The rules do not allow an entry's event.
        TimeWentBack: An entry's time lies before the one's before.
    """
    now = 0
    state = start(experiment, now)
    commitment_to = commitments_in(experiment)
    for entry in entries:
        if entry.time < now:
            raise TimeWentBack(f"ledger time {entry.time} comes after {now}: clocks never go back")
        now = entry.time
        state, decisions = apply(state, entry.event, entry.time, commitment_to)
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
    secret = state.rule.reveal_seconds > 0
    return msgspec.structs.replace(
        state,
        proposal=event.proposal,
        proposed=now,
        commitments=(None,) * len(state.members) if secret else (),
    )


def _vote(state: State, event: Vote, now: int) -> tuple[State, tuple[Decision, ...]]:
    poll, late = _poll(state, event)
    index = _index(poll.members, event.sender)
    if poll.commitments:
        raise WrongPhase(
            f"{event.sender!r} votes in the open, but in this experiment votes are secret: "
            "commit first, then reveal"
        )
    if not late and poll.members[index] != state.proposer and not state.voters >> index & 1:
        raise NotDrawn(f"{event.sender!r} was not drawn to vote in round {event.round}")
    _check_ballot(poll, event, index)
    if late:  # by whoever did not propose: who was drawn nobody has to remember
        last = msgspec.structs.replace(poll, voted=poll.voted | 1 << index)
        return msgspec.structs.replace(state, last=last), ()
    return _counted(state, event.choice, index, now)


def _commit(state: State, event: Commit, now: int) -> State:
    poll, late = _poll(state, event)
    if late:
        raise WrongRound(f"round {event.round} is decided: it is too late to commit to a vote")
    index = _index(poll.members, event.sender)
    if state.phase is not Phase.COMMITTING:
        raise WrongPhase(
            f"{event.sender!r} commits to a vote in round {event.round}, where votes are open, "
            "or where it is too late to commit"
        )
    _check_ballot(poll, event, index)
    commitments = _put(state.commitments, index, event.commitment)
    everybody = _hidden(commitments) == eligible(state.rule, len(state.members))
    return msgspec.structs.replace(
        state, commitments=commitments, revealing=now if everybody else None
    )


def _reveal(
    state: State, event: Reveal, now: int, commitment_to: CommitmentTo | None
) -> tuple[State, tuple[Decision, ...]]:
    poll, late = _poll(state, event)
    index = _index(poll.members, event.sender)
    if not poll.commitments or (not late and state.revealing is None):
        raise WrongPhase(
            f"{event.sender!r} reveals a vote in round {event.round}, where votes are open, "
            "or where it is too early to reveal"
        )
    commitment = poll.commitments[index]
    if commitment is None:
        raise NothingToReveal(f"{event.sender!r} has nothing to reveal in round {event.round}")
    vote = Vote(event.round, event.sender, poll.proposal, event.choice)
    if commitment_to is None or commitment_to(vote, event.salt) != commitment:
        raise WrongReveal(f"{event.sender!r} committed to another vote, or with another salt")
    commitments = _put(poll.commitments, index, None)
    if late:
        last = msgspec.structs.replace(poll, voted=poll.voted | 1 << index, commitments=commitments)
        return msgspec.structs.replace(state, last=last), ()
    state = msgspec.structs.replace(state, commitments=commitments)
    return _counted(state, event.choice, index, now)


def _poll(state: State, event: Vote | Commit | Reveal) -> tuple[Poll, bool]:
    """What an event is about: the live proposal, or, late, the one decided last."""
    last = state.last
    if last is not None and event.round == last.round:
        return last, True
    if event.round != state.round:
        raise WrongRound(f"a vote for round {event.round}, but round {state.round} is open")
    if state.proposal is None:
        _index(state.members, event.sender)
        raise NoProposal(f"round {event.round} has no proposal to vote on yet")
    return _live(state, state.proposal), False


def _live(state: State, proposal: Digest) -> Poll:
    rule = state.rule
    return Poll(
        state.round, proposal, state.members, rule.proposer_votes, state.voted, state.commitments
    )


def _check_ballot(poll: Poll, event: Vote | Commit, index: int) -> None:
    sender, number = event.sender, event.round
    if event.proposal != poll.proposal:
        raise WrongProposal(
            f"{sender!r} votes on {event.proposal[:12]}, "
            f"but round {number} is about {poll.proposal[:12]}"
        )
    if index == number % len(poll.members) and not poll.proposer_votes:
        raise ProposerMayNotVote(f"{sender!r} proposed in round {number}: others judge")
    committed = bool(poll.commitments) and poll.commitments[index] is not None
    if committed or poll.voted >> index & 1:
        raise AlreadyVoted(f"{sender!r} has voted in round {number}: one vote each")


def _counted(
    state: State, choice: Choice, index: int, now: int
) -> tuple[State, tuple[Decision, ...]]:
    """Count a vote on the live proposal; end the round if the outcome is certain."""
    name = choice.value
    state = msgspec.structs.replace(state, **{name: getattr(state, name) | 1 << index})
    outcome = tally(state)
    if outcome is Outcome.PENDING:
        return state, ()
    state, decision = _close(state, outcome, now, state.round)
    return state, (decision,)


def _put(
    commitments: tuple[Digest | None, ...], index: int, commitment: Digest | None
) -> tuple[Digest | None, ...]:
    return (*commitments[:index], commitment, *commitments[index + 1 :])


def _hidden(commitments: tuple[Digest | None, ...]) -> int:
    return len(commitments) - commitments.count(None)


def _endorse(state: State, event: Endorse) -> State:
    index = _index(state.members, event.sender)
    change = event.change
    if change in state.scheduled or state.endorsed[index] == change:
        raise AlreadyEndorsed(f"{event.sender!r} or enough others have endorsed this change")
    changed(state.members, state.rule, *state.scheduled, change)
    endorsed = (*state.endorsed[:index], change, *state.endorsed[index + 1 :])
    scheduled = state.scheduled
    share = state.rule.governance
    if share.denominator * endorsed.count(change) > share.numerator * len(state.members):
        endorsed = tuple(None if other == change else other for other in endorsed)
        scheduled = (*scheduled, change)
    return msgspec.structs.replace(state, endorsed=endorsed, scheduled=scheduled)


def _rotate(state: State, event: Rotate) -> State:
    _index(state.members, event.sender)
    if _agreed(state):
        raise InvalidChange(
            f"{event.sender!r} cannot rotate its key while a change that members endorsed is "
            "about to take effect: try again in the next round"
        )
    scheduled = (*state.scheduled, event)
    changed(state.members, state.rule, *scheduled)
    return msgspec.structs.replace(
        state, endorsed=renamed(state.endorsed, event), scheduled=scheduled
    )


def _agreed(state: State) -> bool:
    """Whether a change that members endorsed takes effect when the next round opens."""
    return not all(isinstance(change, Rotate) for change in state.scheduled)


def _close(state: State, outcome: Outcome, opened: int, through: int) -> tuple[State, Decision]:
    """End the live round (and the empty ones through ``through``); open the next."""
    voters = eligible(state.rule, len(state.members))
    decision = Decision(
        round=state.round,
        through=through,
        outcome=outcome,
        proposal=state.proposal,
        members=state.members,
        rule=state.rule,
        current=state.current,
        approve=state.approve,
        reject=state.reject,
        abstain=state.abstain,
        needed=needed(state.rule, voters),
        eligible=voters,
    )
    last = state.last if state.proposal is None else _live(state, state.proposal)
    members, rule, endorsed = state.members, state.rule, state.endorsed
    if state.scheduled:
        members, rule = changed(members, rule, *state.scheduled)
        endorsed = (None,) * len(members) if _agreed(state) else endorsed
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
    "Outcome",
    "Phase",
    "Poll",
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
