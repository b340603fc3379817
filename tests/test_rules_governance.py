"""Changes of members and rule: who must endorse them, and when they take effect."""

from __future__ import annotations

from fractions import Fraction

import pytest
from elections import (
    ADD,
    NO,
    YES,
    begin,
    play,
)

from colearn import rules
from colearn.errors import (
    AlreadyEndorsed,
    AlreadyVoted,
    InvalidChange,
    NotAMember,
)
from colearn.records import (
    Change,
    Endorse,
    Event,
    Pass,
    Propose,
    RemoveMember,
    ReplaceMember,
    Rotate,
    Rule,
    SetRule,
    Vote,
)
from colearn.rules import State


def endorse(state: State, change: Change, count: int) -> State:
    """Let the first so many members endorse a change."""
    return play(state, *(Endorse(member, change) for member in state.members[:count]))[0]


@pytest.mark.parametrize("members", [2, 3, 4, 6, 9])
@pytest.mark.parametrize("governance", [Fraction(1, 2), Fraction(2, 3), Fraction(3, 4)])
def test_a_change_needs_more_than_its_share_of_all_members(
    members: int, governance: Fraction
) -> None:
    """One endorsement less than needed changes nothing; with it, the change is scheduled."""
    state = begin(members, Rule(governance=governance))
    least = next(k for k in range(members + 1) if Fraction(k, members) > governance)
    assert endorse(state, ADD, least - 1).scheduled == ()
    assert endorse(state, ADD, least).scheduled == (ADD,)


@pytest.mark.parametrize(
    ("change", "members"),
    [
        (ADD, ("m0", "m1", "m2", "m3", "new")),
        (RemoveMember("m0"), ("m1", "m2", "m3")),
        (ReplaceMember("m1", "new"), ("m0", "new", "m2", "m3")),
        (SetRule(Rule(threshold=Fraction(3, 4))), ("m0", "m1", "m2", "m3")),
    ],
)
def test_a_change_takes_effect_when_the_next_round_opens(
    change: Change, members: tuple[str, ...]
) -> None:
    """The open round ends as it began, under its members and rule; then the change is there."""
    before = endorse(begin(4), change, 3)
    state, decisions = play(before, Propose(0, "m0", "p"), Vote(0, "m1", "p", YES))
    assert state.members == before.members
    assert not decisions
    state, (decision,) = play(state, Vote(0, "m2", "p", YES))
    assert (decision.members, decision.needed) == (before.members, 2)
    assert state.members == members
    assert state.rule == (change.rule if isinstance(change, SetRule) else before.rule)
    assert state.scheduled == ()
    assert state.endorsed == (None,) * len(members)
    late, _ = play(state, Vote(0, "m3", "p", NO))
    assert late.last is not None
    assert late.last.voted == 0b1110


def test_a_change_takes_effect_where_a_proposer_stays_absent() -> None:
    """Of a row of absent proposers, only the first is passed over under the old members."""
    state = endorse(begin(3, Rule(propose_seconds=10)), SetRule(Rule(propose_seconds=4)), 3)
    state, decisions = rules.advance(state, 10 + 4 * 5)
    assert [(each.round, each.through) for each in decisions] == [(0, 0), (1, 5)]
    assert (state.round, state.opened) == (6, 30)


def test_endorsements_are_void_once_a_change_has_happened() -> None:
    """What was endorsed for the old group is not endorsed for the new one; otherwise it stands."""
    state, _ = play(begin(4), Endorse("m3", RemoveMember("m2")))
    state, _ = play(state, Pass(0, "m0"))
    assert state.endorsed == (None, None, None, RemoveMember("m2"))
    state, _ = play(endorse(state, ADD, 3), Pass(1, "m1"))
    assert state.endorsed == (None,) * 5


def test_a_member_endorses_one_change_at_a_time() -> None:
    """A second endorsement withdraws the first."""
    state, _ = play(begin(4), Endorse("m0", ADD), Endorse("m0", RemoveMember("m1")))
    assert state.endorsed[0] == RemoveMember("m1")
    assert play(state, Endorse("m1", ADD), Endorse("m2", ADD))[0].scheduled == ()


def test_changes_must_make_sense_together() -> None:
    """A change is judged by the group as it will be: two cannot both remove the same member."""
    state = endorse(begin(4), RemoveMember("m3"), 3)
    for change in (RemoveMember("m3"), ReplaceMember("m3", "x")):
        with pytest.raises((InvalidChange, AlreadyEndorsed)):
            rules.apply(state, Endorse("m0", change), 0)
    state = endorse(state, RemoveMember("m2"), 3)
    with pytest.raises(InvalidChange, match="an experiment needs 2"):
        rules.apply(state, Endorse("m0", RemoveMember("m1")), 0)
    state, _ = play(state, Pass(0, "m0"))
    assert state.members == ("m0", "m1")


def test_a_member_rotates_its_key_alone_from_the_next_round_on() -> None:
    """The old key votes to the end of the round; then the new one has place and turn."""
    state, _ = play(begin(3), Rotate("m1", "new"), Propose(0, "m0", "p"))
    with pytest.raises(NotAMember):
        rules.apply(state, Vote(0, "new", "p", YES), 0)
    state, _ = play(state, Vote(0, "m1", "p", YES), Vote(0, "m2", "p", YES))
    assert (state.members, state.proposer) == (("m0", "new", "m2"), "new")
    with pytest.raises(NotAMember):
        rules.apply(state, Pass(1, "m1"), 0)


def test_a_late_vote_is_by_the_key_of_its_round() -> None:
    """After a rotation, the last round's votes are still the old key's, and so only one each."""
    state, _ = play(begin(3), Rotate("m1", "new"), Propose(0, "m0", "p"))
    state, _ = play(state, *(Vote(0, member, "p", YES) for member in ("m1", "m2")))
    with pytest.raises(NotAMember):
        rules.apply(state, Vote(0, "new", "p", NO), 0)
    with pytest.raises(AlreadyVoted):
        rules.apply(state, Vote(0, "m1", "p", NO), 0)


def test_nobody_flees_from_a_removal_by_a_rotation() -> None:
    """Endorsements follow a member to its new key, within the round and beyond it."""
    flees = (endorse(begin(4), RemoveMember("m3"), 2), Rotate("m3", "new"))
    before, _ = play(*flees)
    after, _ = play(before, Pass(0, "m0"))
    for state in (before, after):
        assert state.endorsed == (RemoveMember("new"),) * 2 + (None, None)
        removed, _ = play(state, Endorse("m2", RemoveMember("new")))
        removed, _ = play(removed, Pass(removed.round, removed.proposer))
        assert removed.members == ("m0", "m1", "m2")


def test_a_rotation_voids_no_endorsement() -> None:
    """Nobody can keep others from agreeing by rotating its key again and again."""
    state = endorse(begin(4), ADD, 2)
    for number in range(3):
        state, _ = play(state, Rotate(state.members[3], f"key{number}"))
        state, _ = play(state, Pass(state.round, state.proposer))
    state, _ = play(state, Endorse("m2", ADD), Pass(3, "key2"))
    assert state.members == ("m0", "m1", "m2", "key2", "new")


def test_keys_are_handed_on_in_one_round() -> None:
    """What one member gives up another may take up, in the order of the events."""
    state, _ = play(
        begin(3), Endorse("m2", ADD), Rotate("m2", "x"), Rotate("m1", "m2"), Pass(0, "m0")
    )
    assert state.members == ("m0", "m2", "x")
    assert state.endorsed == (None, None, ADD)


@pytest.mark.parametrize(
    ("before", "rotation"),
    [
        ((), Rotate("m1", "m1")),
        ((), Rotate("m1", "m2")),
        ((), Rotate("m1", "")),
        ((Rotate("m1", "x"),), Rotate("m1", "y")),
        ((Rotate("m1", "x"),), Rotate("m1", "x")),
        ((Rotate("m2", "x"),), Rotate("m1", "x")),
        (tuple(Endorse(f"m{i}", RemoveMember("m1")) for i in range(3)), Rotate("m1", "x")),
        (tuple(Endorse(f"m{i}", ADD) for i in range(3)), Rotate("m1", "x")),
        (tuple(Endorse(f"m{i}", ADD) for i in range(3)), Rotate("m1", "new")),
    ],
)
def test_rotations_that_are_refused(before: tuple[Event, ...], rotation: Rotate) -> None:
    """To a member, twice in a round, or against what members have agreed on for the next one."""
    state, _ = play(begin(4), *before)
    with pytest.raises(InvalidChange):
        rules.apply(state, rotation, 0)


def test_members_agree_on_changes_after_a_rotation() -> None:
    """A change that is scheduled after a rotation names the new key, and both take effect."""
    state, _ = play(begin(4), Rotate("m1", "x"))
    with pytest.raises(InvalidChange):
        rules.apply(state, Endorse("m0", RemoveMember("m1")), 0)
    state, _ = play(endorse(state, ReplaceMember("x", "y"), 3), Pass(0, "m0"))
    assert state.members == ("m0", "y", "m2", "m3")
