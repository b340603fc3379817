"""Changes of members and rule: what a group is after them, and what endorsements then mean."""

from __future__ import annotations

import msgspec

from colearn.errors import ConfigError, InvalidChange
from colearn.records import (
    AddMember,
    Change,
    RemoveMember,
    ReplaceMember,
    Rotate,
    Rule,
    SetRule,
    check_members,
)

Members = tuple[str, ...]


def changed(members: Members, rule: Rule, *changes: Change | Rotate) -> tuple[Members, Rule]:
    """Members and rule once changes have taken effect, one after the other.

    Raises:
        InvalidChange: One of them makes no sense, or leaves no valid group.
    """
    for change in changes:
        if isinstance(change, SetRule):
            rule = change.rule
        else:
            members = _with(members, change)
    return members, rule


def renamed(endorsed: tuple[Change | None, ...], rotation: Rotate) -> tuple[Change | None, ...]:
    """What endorsements mean once a member's key is rotated: its new key, where they name it."""
    return tuple(
        msgspec.structs.replace(change, member=rotation.successor)
        if isinstance(change, RemoveMember | ReplaceMember) and change.member == rotation.sender
        else change
        for change in endorsed
    )


def _with(members: Members, change: AddMember | RemoveMember | ReplaceMember | Rotate) -> Members:
    if isinstance(change, AddMember):
        members = (*members, change.member)
    else:
        leaves = change.sender if isinstance(change, Rotate) else change.member
        comes = () if isinstance(change, RemoveMember) else (change.successor,)
        if leaves not in members:
            raise InvalidChange(f"{leaves!r} is not a member once what is scheduled has happened")
        if leaves in comes:
            raise InvalidChange(f"{leaves!r} cannot be replaced by itself: name another")
        place = members.index(leaves)
        members = (*members[:place], *comes, *members[place + 1 :])
    try:
        check_members(members)
    except ConfigError as reason:
        raise InvalidChange(f"after this change: {reason}") from None
    return members
