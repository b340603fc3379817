"""Changes of members and rule in words: those that are wanted, and those to come."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import msgspec

from colearn.changes import changed
from colearn.cli.feed import change_text
from colearn.records import (
    AddMember,
    Change,
    RemoveMember,
    ReplaceMember,
    Rotate,
    Rule,
    SetRule,
)
from colearn.rules import State


def wanted(state: State) -> Counter[Change]:
    """Changes that stand endorsed, with the number of members that want them."""
    return Counter(change for change in state.endorsed if change is not None)


def rule_to_come(state: State) -> Rule:
    """The rule once all that is scheduled has happened."""
    return changed(state.members, state.rule, *state.scheduled)[1]


def to_come(state: State) -> Iterator[str]:
    """What takes effect when the next round opens, in order."""
    members, rule = state.members, state.rule
    for change in state.scheduled:
        if isinstance(change, Rotate):
            yield f"{change.sender} gives its place to its new key {change.successor}"
        else:
            yield text_of(change, rule)
        members, rule = changed(members, rule, change)


def text_of(change: Change, before: Rule) -> str:
    """A change in words; of a rule, what it changes of the one before."""
    if not isinstance(change, SetRule):
        return change_text(change)
    old, new = map(msgspec.structs.asdict, (before, change.rule))
    terms = [
        f"{name} from {old[name]} to {value}" for name, value in new.items() if value != old[name]
    ]
    return f"change {', '.join(terms)}" if terms else "leave the rule as it is"


def has_happened(change: Change, state: State) -> bool:
    """Whether members and rule are as a change makes them."""
    if isinstance(change, SetRule):
        return state.rule == change.rule
    comes = change.successor if isinstance(change, ReplaceMember) else change.member
    if isinstance(change, AddMember | ReplaceMember) and comes not in state.members:
        return False
    leaves = isinstance(change, RemoveMember | ReplaceMember)
    return not (leaves and change.member in state.members)
