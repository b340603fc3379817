"""What is due, from the ledger's state and the board's notes alone."""

from __future__ import annotations

import msgspec
import pytest

from colearn.committee import named
from colearn.duty import Action, Duty, ballots_of, came_early, patience
from colearn.records import Ballot, Candidate, Choice, Experiment, Propose, Rule, Update, Vote
from colearn.rules import apply, start

MEMBERS = ("a", "b", "c", "d")
DIGEST, OTHER = "1" * 64, "2" * 64
RULE = Rule(propose_seconds=300, vote_seconds=100)
STATE = start(Experiment(members=MEMBERS, initial="0" * 64, schema="3" * 64, rule=RULE), 1000)
SHOWN = Candidate(0, "a", DIGEST)


def update(sender):
    """A note that this member has trained."""
    return Update(
        round=0,
        sender=sender,
        base="0" * 64,
        weights=DIGEST,
        size_bytes=8,
        steps=1,
        samples=1,
    )


def ballots(*choices, proposal=DIGEST):
    """Ballots of b, c, d, in that order."""
    return [
        Ballot(0, sender, proposal, choice)
        for sender, choice in zip("bcd", choices, strict=False)
        if choice is not None
    ]


YES, NO = Choice.APPROVE, Choice.REJECT


def test_direct_votes_need_no_notes():
    """Under the plain method on a ledger of direct votes the state alone decides."""
    assert Duty("a").due(STATE) is Action.PROPOSE
    assert Duty("b").due(STATE) is None
    proposed, _ = apply(STATE, Propose(0, "a", DIGEST), 1001)
    assert Duty("a").due(proposed) is None
    assert Duty("b").due(proposed) is Action.VOTE
    voted, _ = apply(proposed, Vote(0, "b", DIGEST, YES), 1002)
    assert Duty("b").due(voted) is None
    assert Duty("z").due(proposed) is None


def test_all_train_before_the_proposer_merges():
    """Everybody trains once; the proposer goes on when all updates are there."""
    duties = [Duty(member, all_train=True) for member in MEMBERS]
    assert [duty.due(STATE, [], 1000) for duty in duties] == [Action.TRAIN] * 4
    some = [update("a"), update("b"), update("c")]
    assert [duty.due(STATE, some, 1000) for duty in duties] == [None, None, None, Action.TRAIN]
    every = [*some, update("d")]
    assert [duty.due(STATE, every, 1000) for duty in duties] == [Action.PROPOSE, None, None, None]


def test_a_member_that_is_away_does_not_stop_the_round():
    """At a third of its time, and not a second before, the proposer does without."""
    proposer, some = Duty("a", all_train=True), [update("a")]
    assert proposer.wakes(STATE, some) == 1100
    assert proposer.due(STATE, some, 1099) is None
    assert proposer.due(STATE, some, 1100) is Action.PROPOSE
    assert Duty("b", all_train=True).wakes(STATE, some) == STATE.deadline


def test_a_proposal_is_early_well_before_its_proposer_could_do_without_updates():
    """By the ledger's time of it, else by the voter's own, which may be some blocks behind."""
    assert (came_early(STATE, 1074), came_early(STATE, 1075)) == (True, False)
    assert patience(STATE, 1) == 1100
    direct, _ = apply(STATE, Propose(0, "a", DIGEST), 1074)
    assert came_early(direct, 1150)
    later, _ = apply(STATE, Propose(0, "a", DIGEST), 1075)
    assert not came_early(later, 1150)
    short = msgspec.structs.replace(STATE, rule=Rule(propose_seconds=30))
    assert (came_early(short, 1004), came_early(short, 1005)) == (True, False)
    shortest = msgspec.structs.replace(STATE, rule=Rule(propose_seconds=15))
    assert (came_early(shortest, 1002), came_early(shortest, 1003)) == (True, False)


def test_who_was_late_is_not_waited_for():
    """An update left over from the last round stands for its member's, if it still is one."""
    state = msgspec.structs.replace(STATE, round=4)
    left = msgspec.structs.replace(update("d"), round=3)
    gone = msgspec.structs.replace(update("z"), round=3)
    given = [msgspec.structs.replace(update(each), round=4) for each in "abc"]
    assert Duty("a", all_train=True).due(state, [*given, left], 1000) is Action.PROPOSE
    assert Duty("a", all_train=True).due(state, [*given, gone], 1000) is None
    assert Duty("d", all_train=True).due(state, [*given, left], 1000) is Action.TRAIN


def test_ballots_are_cast_on_what_the_proposer_shows():
    """Others vote once on the candidate; anybody else's candidate is nothing to vote on."""
    duty = Duty("b", collects=True)
    assert duty.due(STATE, [Candidate(0, "c", DIGEST)]) is None
    assert duty.due(STATE, [SHOWN]) is Action.VOTE
    assert duty.due(STATE, [SHOWN, *ballots(YES)]) is None


@pytest.mark.parametrize(
    ("cast", "patient", "expected"),
    [
        ([YES, YES], True, None),
        ([YES, YES], False, Action.COLLECT),
        ([YES], False, None),
        ([NO, NO], False, Action.COLLECT),
        ([YES, NO, YES], True, Action.COLLECT),
        ([], False, None),
    ],
)
def test_the_proposer_submits_when_the_outcome_is_certain(cast, patient, expected):
    """It waits for all while it is patient, then for certainty only."""
    duty = Duty("a", collects=True)
    assert duty.due(STATE, [SHOWN, *ballots(*cast)], 1000, patient=patient) is expected


def test_ballots_that_do_not_count_are_no_certainty():
    """Votes on another digest, of strangers and of the proposer itself decide nothing."""
    duty = Duty("a", collects=True)
    stray = [
        *ballots(YES, YES, YES, proposal=OTHER),
        *(Ballot(0, sender, DIGEST, YES) for sender in "axyz"),
    ]
    assert duty.due(STATE, [SHOWN, *stray], 1000) is None


def test_ballots_that_never_come_are_not_waited_for():
    """At two thirds of its time the proposer submits what it has."""
    duty = Duty("a", collects=True)
    assert duty.wakes(STATE, [SHOWN]) == 1200
    assert duty.due(STATE, [SHOWN], 1199) is None
    assert duty.due(STATE, [SHOWN], 1200) is Action.COLLECT


def test_a_vote_that_the_collector_dropped_goes_to_the_ledger():
    """Whoever finds the proposal on the ledger without its vote votes there."""
    proposed, _ = apply(STATE, Propose(0, "a", DIGEST), 1001)
    voted, _ = apply(proposed, Vote(0, "b", DIGEST, YES), 1001)
    notes = [SHOWN, *ballots(YES, NO)]
    assert Duty("b", collects=True).due(voted, notes) is None
    assert Duty("c", collects=True).due(voted, notes) is Action.VOTE


def test_with_proposer_votes_the_proposer_casts_a_ballot_first():
    """The option makes the proposer's own vote part of what is submitted."""
    state = msgspec.structs.replace(STATE, rule=msgspec.structs.replace(RULE, proposer_votes=True))
    duty = Duty("a", collects=True)
    assert duty.due(state, [SHOWN]) is Action.VOTE
    own = Ballot(0, "a", DIGEST, YES)
    assert duty.due(state, [SHOWN, own], 1000) is None
    assert duty.due(state, [SHOWN, own, *ballots(YES, YES)], 1000) is Action.COLLECT


def test_only_those_drawn_and_the_proposer_work():
    """They train, vote and are waited for; the others rest, whatever stands on the board."""
    rule = msgspec.structs.replace(RULE, committee=2)
    members = tuple("abcdef")
    agreed = Experiment(members=members, initial="0" * 64, schema="3" * 64, rule=rule)
    state = start(agreed, 1000)
    sitting = named(members, state.voters)
    resting = [each for each in members[1:] if each not in sitting]
    assert (len(sitting), len(resting)) == (2, 3)

    def due(notes, live=state, now=1000, **kind):
        duties = [Duty(each, **kind) for each in members]
        found = zip(members, (each.due(live, notes, now) for each in duties), strict=True)
        return {member: action for member, action in found if action is not None}

    merging = {"all_train": True, "collects": True}
    assert due([], **merging) == dict.fromkeys(["a", *sitting], Action.TRAIN)
    given = [update("a"), update(sitting[0]), *map(update, resting)]
    assert due(given, **merging) == {sitting[1]: Action.TRAIN}
    given += [update(sitting[1]), SHOWN]
    assert due(given, **merging) == dict.fromkeys(sitting, Action.VOTE)
    strange = Ballot(0, resting[0], DIGEST, YES)
    given += [strange, Ballot(0, sitting[0], DIGEST, YES)]
    assert due(given, **merging) == {sitting[1]: Action.VOTE}
    given += [Ballot(0, sitting[1], DIGEST, YES)]
    assert due(given, **merging) == {"a": Action.COLLECT}
    assert strange not in list(ballots_of(state, given))
    proposed, _ = apply(state, Propose(0, "a", DIGEST), 1001)
    assert due([], proposed) == dict.fromkeys(sitting, Action.VOTE)
