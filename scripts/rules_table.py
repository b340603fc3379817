"""Write the state table of docs/rules.md: every situation, tried on the rules themselves.

Five members; round 0 is decided, round 1 is open. The rule is the default one: more
than half of the four who do not propose, so three approvals. A test fails when the
page differs from what this writes.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from colearn.errors import RefusedEvent
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
    Vote,
)
from colearn.rules import State, advance, apply, start

PAGE = Path(__file__).parents[1] / "docs" / "rules.md"
BEGIN, END = "<!-- state table -->\n", "<!-- end of state table -->\n"

_MEMBERS = ("ann", "ben", "cid", "dot", "eve")
_FIRST, _SECOND, _OTHER = "0" * 64, "1" * 64, "2" * 64
_NEWCOMER = AddMember("fay")
_NOW = 100

Situation = Callable[[State], Event]


def _reach(*events: Event) -> State:
    experiment = Experiment(members=_MEMBERS, initial=_OTHER, schema=_OTHER, rule=Rule())
    state = start(experiment, _NOW)
    for event in events:
        state, _ = apply(state, event, _NOW)
    return state


def _vote(sender: str, choice: Choice = Choice.APPROVE) -> Situation:
    return lambda _: Vote(1, sender, _SECOND, choice)


_OPEN: tuple[Event, ...] = (
    Propose(0, "ann", _FIRST),
    *(Vote(0, sender, _FIRST, Choice.REJECT) for sender in ("ben", "cid")),
    *(Endorse(sender, _NEWCOMER) for sender in ("cid", "dot", "eve")),
)
_PROPOSED: tuple[Event, ...] = (
    *_OPEN,
    Propose(1, "ben", _SECOND),
    Vote(1, "cid", _SECOND, Choice.APPROVE),
)
_LAST_VOTE: tuple[Event, ...] = (
    *_PROPOSED,
    Vote(1, "dot", _SECOND, Choice.APPROVE),
    Vote(1, "eve", _SECOND, Choice.REJECT),
)

PHASES = {
    "proposing": _reach(*_OPEN),
    "voting, 1 approval of 3": _reach(*_PROPOSED),
    "voting, 2 of 3, one vote to come": _reach(*_LAST_VOTE),
}

SITUATIONS: dict[str, Situation] = {
    "the proposer proposes": lambda _: Propose(1, "ben", _SECOND),
    "another member proposes": lambda _: Propose(1, "cid", _SECOND),
    "a stranger proposes": lambda _: Propose(1, "zoe", _SECOND),
    "the proposer proposes for a later round": lambda _: Propose(6, "ben", _SECOND),
    "the proposer passes": lambda _: Pass(1, "ben"),
    "another member passes": lambda _: Pass(1, "cid"),
    "a member approves": _vote("ann"),
    "a member rejects": _vote("ann", Choice.REJECT),
    "a member abstains": _vote("ann", Choice.ABSTAIN),
    "a member votes a second time": _vote("cid"),
    "the proposer votes": _vote("ben"),
    "a stranger votes": _vote("zoe"),
    "a vote on another proposal": lambda _: Vote(1, "ann", _OTHER, Choice.APPROVE),
    "a first vote on the last proposal decided": lambda _: Vote(0, "dot", _FIRST, Choice.APPROVE),
    "a second vote on it": lambda _: Vote(0, "cid", _FIRST, Choice.APPROVE),
    "a vote in a round to come": lambda _: Vote(2, "ann", _SECOND, Choice.APPROVE),
    "a member endorses a change, the fourth of five": lambda _: Endorse("ann", _NEWCOMER),
    "a member endorses another change": lambda _: Endorse("ann", RemoveMember("eve")),
    "a member endorses the same change twice": lambda _: Endorse("cid", _NEWCOMER),
    "a member endorses the removal of a stranger": lambda _: Endorse("ann", RemoveMember("zoe")),
}


def _difference(before: State, after: State) -> str:
    if after.proposal != before.proposal:
        return "voting begins"
    if after.scheduled != before.scheduled:
        return "change takes effect next round"
    if after.last != before.last:
        return "recorded, without effect"
    return "counted"


def outcome(state: State, situation: Situation) -> str:
    """What the rules make of one event, in the words of the table."""
    try:
        after, decisions = apply(state, situation(state), _NOW)
    except RefusedEvent as refused:
        return f"`{type(refused).__name__}`"
    if decisions:
        return f"**{decisions[-1].outcome.value}**, next round"
    return _difference(state, after)


def _row(*cells: str) -> str:
    return "| " + " | ".join(cells) + " |\n"


def table() -> str:
    """The whole table, as markdown."""
    text = _row("", *PHASES) + _row(*["---"] * (1 + len(PHASES)))
    for name, situation in SITUATIONS.items():
        text += _row(name, *(outcome(state, situation) for state in PHASES.values()))
    expired = [advance(state, state.deadline)[1][0].outcome.value for state in PHASES.values()]
    return text + _row("the deadline comes", *(f"**{each}**, next round" for each in expired))


def refreshed(page: str) -> str:
    """The page with its table written anew."""
    head, rest = page.split(BEGIN)
    return head + BEGIN + "\n" + table() + "\n" + END + rest.split(END)[1]


if __name__ == "__main__":
    PAGE.write_text(refreshed(PAGE.read_text("utf-8")), "utf-8")
