"""What every ledger promises."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction
from functools import partial
from threading import Thread

from colearn import rules
from colearn.errors import (
    AlreadyProposed,
    AlreadyVoted,
    InvalidChange,
    NoProposal,
    NotAMember,
    NothingToReveal,
    NotYourTurn,
    ProposerMayNotVote,
    RefusedEvent,
    WrongPhase,
    WrongProposal,
    WrongReveal,
    WrongRound,
)
from colearn.protocols import Ledger
from colearn.records import (
    AddMember,
    Choice,
    Commit,
    Endorse,
    Event,
    Experiment,
    Pass,
    Propose,
    RemoveMember,
    Reveal,
    Rotate,
    Rule,
    SetRule,
    Vote,
    digest_of,
)
from colearn.rules import Phase, State
from colearn.testing.promises import require, require_error

_INITIAL = digest_of([b"initial"])
_FIRST = digest_of([b"first"])
_SECOND = digest_of([b"second"])
_SECONDS = 100
_RULE = Rule(propose_seconds=_SECONDS, vote_seconds=_SECONDS)
_SECRET = Rule(propose_seconds=_SECONDS, vote_seconds=_SECONDS, reveal_seconds=_SECONDS)
_DRAWN = Rule(propose_seconds=_SECONDS, vote_seconds=_SECONDS, committee=2)
_SALT = digest_of([b"salt"])
_STEPS = 150
_NAMES = (*(f"member-{index}" for index in range(24)), "stranger", "newcomer")


def check_ledger(make: Callable[[Experiment], Ledger], names: Sequence[str] = _NAMES) -> None:
    """Check that a ledger keeps the promises of `colearn.protocols.Ledger`.

    Args:
        make: Makes a ledger without entries for an experiment, independent of the
            ones before, on which everybody in ``names`` may submit.
        names: 26 names that the ledger can give to members; the last two are those
            of a stranger and of a newcomer.

    Raises:
        AssertionError: A promise is broken; the message names it.
    """
    *members, stranger, newcomer = names
    three = _experiment(members[:3])
    _check_fresh(make, _experiment(members[:2]))
    _check_entries(make(three), newcomer)
    _check_round(make(three))
    _check_refusals(make(three), stranger)
    _check_time(make(three))
    _check_threads(make(_experiment(members)))
    _check_rotation(make(three), newcomer)
    secret = _experiment(members[:3], _SECRET)
    _check_commitments(make(secret), make(three))
    _check_secret_round(make(secret))
    for seed, rule in enumerate((_RULE, _SECRET, _SECRET, _DRAWN)):
        rng = random.Random(seed)  # noqa: S311 - the same events each time
        ledger = make(_experiment(members[: 3 + seed], rule))
        _check_against_rules(ledger, _walk(ledger, rng, stranger, newcomer))


def _experiment(members: Sequence[str], rule: Rule = _RULE) -> Experiment:
    return Experiment(
        members=tuple(members),
        initial=_INITIAL,
        schema=digest_of([b"schema"]),
        rule=rule,
    )


def _check_fresh(make: Callable[[Experiment], Ledger], experiment: Experiment) -> None:
    ledger = make(experiment)
    require(ledger.experiment == experiment, "a ledger holds the experiment it was made with")
    require(len(ledger.events()) == 0, "a fresh ledger has no entries")
    state = ledger.view()
    require(
        state == rules.start(experiment, state.opened),
        "a fresh ledger's view is the rules' start: round 0 is open, M is M₀",
    )


def _check_entries(ledger: Ledger, newcomer: str) -> None:
    first, second, *_ = ledger.experiment.members
    before = ledger.events()
    began = ledger.now()
    events: list[Event] = [
        Propose(0, first, _FIRST),
        Vote(0, second, _FIRST, Choice.ABSTAIN),
        Endorse(first, AddMember(newcomer)),
    ]
    entries = [ledger.submit(event) for event in events]
    require(
        [entry.event for entry in entries] == events, "submit() returns the event as it was ordered"
    )
    require(len(before) == 0, "what events() gave does not change when more is submitted")
    require(
        list(ledger.events()) == entries, "events() gives every entry once, in the order submitted"
    )
    require(
        all(list(ledger.events(since)) == entries[since:] for since in range(5)),
        "events(since) gives the entries from that position on",
    )
    times = [began, *(entry.time for entry in entries), ledger.now()]
    require(
        times == sorted(times) and all(type(time) is int for time in times),
        "ledger time is a whole number of seconds and never goes back from entry to entry",
    )


def _check_round(ledger: Ledger) -> None:
    first, second, third = ledger.experiment.members
    ledger.submit(Propose(0, first, _FIRST))
    ledger.submit(Vote(0, second, _FIRST, Choice.APPROVE))
    require(
        ledger.view().round == 0 and ledger.view().approve == 0b010,
        "view() counts a vote at once, and a round stays open while its outcome is uncertain",
    )
    ledger.submit(Vote(0, third, _FIRST, Choice.APPROVE))
    require(
        ledger.view().round == 1 and ledger.view().current == _FIRST,
        "a round closes with the vote that decides it, and what was accepted is everyone's model",
    )
    ledger.submit(Propose(1, second, _SECOND))
    for member in (first, third):
        ledger.submit(Vote(1, member, _SECOND, Choice.REJECT))
    require(
        ledger.view().round == 2 and ledger.view().current == _FIRST,
        "a rejected proposal leaves everyone's model as it is",
    )


def _check_refusals(ledger: Ledger, stranger: str) -> None:
    first, second, third = ledger.experiment.members
    early = (
        (NoProposal, Vote(0, second, _FIRST, Choice.APPROVE)),
        (NotYourTurn, Propose(0, second, _FIRST)),
        (NotYourTurn, Pass(0, third)),
        (NotAMember, Propose(0, stranger, _FIRST)),
        (WrongRound, Propose(1, second, _FIRST)),
        (InvalidChange, Endorse(first, RemoveMember(stranger))),
    )
    late = (
        (NotAMember, Vote(0, stranger, _FIRST, Choice.APPROVE)),
        (WrongProposal, Vote(0, third, _SECOND, Choice.APPROVE)),
        (ProposerMayNotVote, Vote(0, first, _FIRST, Choice.APPROVE)),
        (AlreadyVoted, Vote(0, second, _FIRST, Choice.REJECT)),
        (AlreadyProposed, Propose(0, first, _SECOND)),
        (AlreadyProposed, Pass(0, first)),
        (WrongRound, Vote(7, third, _FIRST, Choice.APPROVE)),
    )
    _refuse_each(ledger, early)
    ledger.submit(Propose(0, first, _FIRST))
    ledger.submit(Vote(0, second, _FIRST, Choice.APPROVE))
    _refuse_each(ledger, late)


def _refuse_each(ledger: Ledger, refusals: tuple[tuple[type[RefusedEvent], Event], ...]) -> None:
    for kind, event in refusals:
        state, entries = ledger.view(), list(ledger.events())
        require_error(
            kind,
            partial(ledger.submit, event),
            f"submit() raises {kind.__name__} where the rules do, for {event}",
        )
        require(
            ledger.view() == state and list(ledger.events()) == entries,
            f"a refused event leaves no trace, whatever it is: {event}",
        )


def _check_time(ledger: Ledger) -> None:
    first, second, _ = ledger.experiment.members
    deadline = ledger.view().deadline
    ledger.wait(0, deadline - 1)
    require(ledger.now() >= deadline - 1, "wait() returns no sooner than its time, without entries")
    require(ledger.view().round == 0, "a round stays open until its deadline, to the second")
    ledger.wait(0, deadline)
    require(
        ledger.view().round == 1 and ledger.view().opened == deadline,
        "view() passes over an absent proposer at its deadline, without an event",
    )
    now = ledger.now()
    ledger.wait(0, now - 50)
    require(
        ledger.now() >= now, "ledger time never goes back, even when asked to wait for the past"
    )
    require_error(
        WrongRound,
        lambda: ledger.submit(Propose(0, first, _FIRST)),
        "submit() knows that a deadline has passed, and refuses what comes after it",
    )
    entry = ledger.submit(Propose(1, second, _FIRST))
    now = ledger.now()
    ledger.wait(0, now + 10 * _SECONDS)
    require(
        ledger.now() < now + _SECONDS,
        "wait() returns at once when there are more entries than were seen",
    )
    ledger.wait(1, entry.time + _SECONDS)
    require(
        ledger.view().round == 2 and ledger.view().current == _INITIAL,
        "a proposal that too few approved by its deadline has expired",
    )


def _check_rotation(ledger: Ledger, newcomer: str) -> None:
    first, second, third = ledger.experiment.members
    ledger.submit(Endorse(second, RemoveMember(third)), Rotate(third, newcomer))
    require(
        ledger.view().members == (first, second, third),
        "a member whose key is rotated goes on with the old one to the end of the round",
    )
    ledger.submit(Pass(0, first))
    require(
        ledger.view().members == (first, second, newcomer),
        "from the next round on, a key that was rotated stands in the place of the old one",
    )
    require(
        ledger.view().endorsed == (None, RemoveMember(newcomer), None),
        "endorsements follow a member to its new key: nobody flees from a removal",
    )
    require_error(
        InvalidChange,
        lambda: ledger.submit(Rotate(second, newcomer)),
        "no key becomes that of two members",
    )


def _check_commitments(ledger: Ledger, another: Ledger) -> None:
    first, second, _ = ledger.experiment.members
    vote = Vote(0, first, _FIRST, Choice.APPROVE)
    others = (
        Vote(1, first, _FIRST, Choice.APPROVE),
        Vote(0, second, _FIRST, Choice.APPROVE),
        Vote(0, first, _SECOND, Choice.APPROVE),
        Vote(0, first, _FIRST, Choice.REJECT),
    )
    commitments = {
        ledger.commitment(vote, _SALT),
        ledger.commitment(vote, _FIRST),
        another.commitment(vote, _SALT),
        *(ledger.commitment(other, _SALT) for other in others),
    }
    require(
        len(commitments) == 3 + len(others)
        and ledger.commitment(vote, _SALT) == ledger.commitment(vote, _SALT),
        "a commitment is bound to ledger, round, voter, proposal, choice and salt, and no more",
    )


def _check_secret_round(ledger: Ledger) -> None:
    first, second, third = ledger.experiment.members
    votes = [Vote(0, member, _FIRST, Choice.APPROVE) for member in (second, third)]
    commits = [Commit(0, vote.sender, _FIRST, ledger.commitment(vote, _SALT)) for vote in votes]
    reveals = [Reveal(0, vote.sender, Choice.APPROVE, _SALT) for vote in votes]
    ledger.submit(Propose(0, first, _FIRST), commits[0])
    _refuse_each(
        ledger,
        (
            (WrongPhase, votes[1]),
            (WrongPhase, reveals[0]),
            (AlreadyVoted, commits[0]),
            (ProposerMayNotVote, Commit(0, first, _FIRST, _SALT)),
        ),
    )
    ledger.submit(commits[1])
    require(
        ledger.view().phase is Phase.REVEALING,
        "votes are revealed as soon as all who may vote have committed to theirs",
    )
    _refuse_each(
        ledger,
        (
            (WrongReveal, Reveal(0, second, Choice.REJECT, _SALT)),
            (WrongReveal, Reveal(0, second, Choice.APPROVE, _FIRST)),
            (NothingToReveal, Reveal(0, first, Choice.APPROVE, _SALT)),
        ),
    )
    ledger.submit(*reveals)
    require(
        ledger.view().round == 1 and ledger.view().current == _FIRST,
        "votes that are revealed count, and the one that decides closes the round",
    )
    ledger.submit(Propose(1, second, _SECOND))
    deadline = ledger.view().deadline
    ledger.wait(len(ledger.events()), deadline)
    require(
        ledger.view().phase is Phase.REVEALING
        and ledger.view().deadline == deadline + _SECRET.reveal_seconds,
        "at the deadline for commitments begins the time in which to reveal",
    )


def _check_threads(ledger: Ledger) -> None:
    first, *voters = ledger.experiment.members
    ledger.submit(Propose(0, first, _FIRST))
    threads = [
        Thread(target=ledger.submit, args=(Vote(0, member, _FIRST, Choice.APPROVE),))
        for member in voters
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    events = [entry.event for entry in ledger.events()]
    require(
        sorted(event.sender for event in events[1:]) == sorted(voters)
        and ledger.view().current == _FIRST,
        "what several threads submit at once is all there, once each, votes after the decision too",
    )


def _check_against_rules(ledger: Ledger, events: Iterator[Event]) -> None:
    """Submit events, the rules beside the ledger."""
    state = ledger.view()
    for event in events:
        before = ledger.now()
        try:
            expected, _ = rules.apply(state, event, before, ledger.commitment)
        except RefusedEvent as refusal:
            require_error(
                type(refusal),
                partial(ledger.submit, event),
                f"submit() refuses what the rules refuse: {event}",
            )
        else:
            entry = ledger.submit(event)
            if entry.time != before:
                expected, _ = rules.apply(state, event, entry.time, ledger.commitment)
            state = expected
        state, _ = rules.advance(state, ledger.now())
        require(
            ledger.view() == state,
            "view() is the rules' fold of all entries at the present ledger time",
        )


def _walk(ledger: Ledger, rng: random.Random, stranger: str, newcomer: str) -> Iterator[Event]:
    """Events that a round may need, some of them wrong, and now and then a wait."""
    everybody = (*ledger.experiment.members, stranger, newcomer)
    chosen = {name: rng.choice(list(Choice)) for name in everybody}
    for step in range(_STEPS):
        state = ledger.view()
        round_index = state.round - (rng.random() < 0.2)
        member = rng.choice((*state.members, stranger, state.proposer))
        proposal = state.proposal or digest_of([str(step).encode()])
        if rng.random() < 0.05:
            ledger.wait(len(ledger.events()), ledger.now() + rng.randrange(2 * _SECONDS))
        elif rng.random() < 0.05:
            yield Endorse(member, rng.choice((AddMember(newcomer), SetRule(_STRICTER))))
        elif rng.random() < 0.03:
            yield Rotate(member, newcomer)
        elif state.proposal is None and rng.random() < 0.8:
            yield Propose(round_index, state.proposer, proposal)
        elif rng.random() < 0.1:
            yield Pass(round_index, member)
        elif state.last is not None and rng.random() < 0.1:
            yield Vote(state.last.round, member, state.last.proposal, rng.choice(list(Choice)))
        elif state.rule.reveal_seconds > 0 and rng.random() < 0.9:
            vote = Vote(max(round_index, 0), member, proposal, chosen[member])
            yield _secretly(ledger, state, vote)
        else:
            yield Vote(round_index, member, proposal, rng.choice(list(Choice)))


def _secretly(ledger: Ledger, state: State, vote: Vote) -> Event:
    """A vote, in the form that the phase asks for where votes are secret."""
    if state.phase is Phase.REVEALING:
        return Reveal(vote.round, vote.sender, vote.choice, _SALT)
    return Commit(vote.round, vote.sender, vote.proposal, ledger.commitment(vote, _SALT))


_STRICTER = Rule(threshold=Fraction(2, 3), quorum=Fraction(1, 3), vote_seconds=_SECONDS // 2)
