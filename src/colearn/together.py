"""Steps of any number of members of one ledger: what is due is done, then published.

What takes time (training, testing) may run in parallel; events and notes are published in
the members' order, so that one thread or many give the same ledger.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple, Protocol, TypeVar

from colearn.course import Course
from colearn.duty import Action, Duty
from colearn.errors import RefusedEvent
from colearn.protocols import Board, Collector, Ledger
from colearn.records import Ballot, Event, Note, Propose, Update
from colearn.rules import State


class Done(NamedTuple):
    """What came of a member's work.

    Attributes:
        event: To submit to the ledger.
        ballots: Signed votes to submit together with it.
        notes: To post on the board.
    """

    event: Event | None = None
    ballots: Sequence[Ballot] = ()
    notes: Sequence[Note] = ()


class Member(Protocol):
    """What takes steps: a `colearn.participant.Participant`."""

    ledger: Ledger
    board: Board | None
    course: Course | None
    duty: Duty

    def due(self, state: State, notes: Sequence[Note] = (), now: int = 0) -> Action | None:
        """What is to be done in this state; None is to wait."""
        ...

    def work(self, action: Action, state: State, notes: Sequence[Note] = ()) -> Done:
        """Do what is due in this state; nothing is published yet."""
        ...


MemberT = TypeVar("MemberT", bound=Member)

Map = Callable[[Callable[[MemberT], Done], Sequence[MemberT]], Iterable[Done]]
"""What `map` does, or an executor's ``map``: the results in the order of the members."""


def step_together(members: Sequence[MemberT], run: Map[MemberT] = map) -> list[Action]:
    """Do what is due for these members of one ledger, and publish it in their order.

    Idempotent: what is published is no longer due. Scores follow the votes they
    belong to, and decide nothing.

    Returns:
        What was due, in the members' order; empty if all have to wait.

    Raises:
        RefusedEvent: The ledger refuses what the rules say is due; not if it only
            came too late.
    """
    first = members[0]
    ledger, board = first.ledger, first.board
    state, notes, now = seen(first)
    asked = members
    if state.rule.committee:  # of a thousand members few have anything to do
        asked = [each for each in members if each.duty.member in state.at_work]
    due = {each: action for each in asked if (action := each.due(state, notes, now)) is not None}
    done = list(run(lambda member: member.work(due[member], state, notes), list(due)))
    try:
        _submit(ledger, done)
    except RefusedEvent:
        then = ledger.view()
        if (then.round, then.proposal) == (state.round, state.proposal):
            raise
    posted = [note for each in done for note in each.notes]
    if board is not None and posted:
        board.post(*posted)
    return list(due.values())


def seen(member: Member) -> tuple[State, Sequence[Note], int]:
    """What a member goes by: the ledger's state, the live round's notes, ledger time.

    Updates that came too late for the last round are among the notes of this one.
    """
    state = member.ledger.view()
    if member.course is not None:
        member.course.follow()
    if member.board is None or not member.duty.reads_notes:
        return state, (), 0
    notes = list(member.board.read(state.round))
    if member.course is not None and member.duty.all_train and state.round:
        before = member.board.read(state.round - 1)
        notes += (
            note
            for note in before
            if isinstance(note, Update) and member.course.late(note, state.round)
        )
    return state, notes, member.ledger.now()


def _submit(ledger: Ledger, done: Sequence[Done]) -> None:
    together = [each for each in done if each.ballots]
    events = [each.event for each in done if each.event is not None and not each.ballots]
    if events:
        ledger.submit(*events)
    for each in together:
        if isinstance(ledger, Collector) and isinstance(each.event, Propose):
            ledger.submit_together(each.event, each.ballots)
