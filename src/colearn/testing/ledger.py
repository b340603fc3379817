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
    NotYourTurn,
    ProposerMayNotVote,
    RefusedEvent,
    WrongProposal,
    WrongRound,
)
from colearn.protocols import Ledger
from colearn.records import (
    AddMember,
    Choice,
    Endorse,
    Event,
    Experiment,
    Pass,
    Propose,
    RemoveMember,
    Rule,
    SetRule,
    Vote,
    digest_of,
)
from colearn.testing.promises import require, require_error

_INITIAL = digest_of([b"initial"])
_FIRST = digest_of([b"first"])
_SECOND = digest_of([b"second"])
_SECONDS = 100
_RULE = Rule(propose_seconds=_SECONDS, vote_seconds=_SECONDS)
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
    for seed in range(3):
        ledger, rng = make(_experiment(members[: 3 + seed])), random.Random(seed)  # noqa: S311
        _check_against_rules(ledger, _walk(ledger, rng, stranger, newcomer))


def _experiment(members: Sequence[str]) -> Experiment:
    return Experiment(
        members=tuple(members),
        initial=_INITIAL,
        schema=digest_of([b"schema"]),
        rule=_RULE,
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
            expected, _ = rules.apply(state, event, before)
        except RefusedEvent as refusal:
            require_error(
                type(refusal),
                partial(ledger.submit, event),
                f"submit() refuses what the rules refuse: {event}",
            )
        else:
            entry = ledger.submit(event)
            if entry.time != before:
                expected, _ = rules.apply(state, event, entry.time)
            state = expected
        state, _ = rules.advance(state, ledger.now())
        require(
            ledger.view() == state,
            "view() is the rules' fold of all entries at the present ledger time",
        )


def _walk(ledger: Ledger, rng: random.Random, stranger: str, newcomer: str) -> Iterator[Event]:
    """Events that a round may need, some of them wrong, and now and then a wait."""
    for step in range(_STEPS):
        state = ledger.view()
        round_index = state.round - (rng.random() < 0.2)
        member = rng.choice((*state.members, stranger, state.proposer))
        proposal = state.proposal or digest_of([str(step).encode()])
        if rng.random() < 0.05:
            ledger.wait(len(ledger.events()), ledger.now() + rng.randrange(2 * _SECONDS))
        elif rng.random() < 0.05:
            yield Endorse(member, rng.choice((AddMember(newcomer), SetRule(_STRICTER))))
        elif state.proposal is None and rng.random() < 0.8:
            yield Propose(round_index, state.proposer, proposal)
        elif rng.random() < 0.1:
            yield Pass(round_index, member)
        elif state.last is not None and rng.random() < 0.1:
            yield Vote(state.last.round, member, state.last.proposal, rng.choice(list(Choice)))
        else:
            yield Vote(round_index, member, proposal, rng.choice(list(Choice)))


_STRICTER = Rule(threshold=Fraction(2, 3), quorum=Fraction(1, 3), vote_seconds=_SECONDS // 2)
