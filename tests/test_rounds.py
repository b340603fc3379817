"""How far an experiment is, by its ledger's decisions."""

from __future__ import annotations

import pytest

from colearn.ledgers.local import LocalLedger
from colearn.records import AddMember, Choice, Endorse, Experiment, Pass, Propose, Vote
from colearn.rounds import progress

EXPERIMENT = Experiment(members=("a", "b", "c"), initial="0" * 64, schema="f" * 64)


@pytest.fixture
def ledger():
    """Accepted, passed, rejected, accepted, accepted."""
    ledger = LocalLedger(EXPERIMENT)
    for number, choice in enumerate("ypnyy"):
        state = ledger.view()
        if choice == "p":
            ledger.submit(Pass(state.round, state.proposer))
            continue
        digest = str(number + 1) * 64
        ledger.submit(Propose(state.round, state.proposer, digest))
        approves = Choice.APPROVE if choice == "y" else Choice.REJECT
        for voter in (each for each in EXPERIMENT.members if each != state.proposer):
            ledger.submit(Vote(state.round, voter, digest, approves))
    return ledger


def found_in(ledger, rounds=9):
    """How far it is, by all that it holds."""
    return progress(EXPERIMENT, ledger.decisions(), ledger.events(), rounds)


@pytest.mark.parametrize(
    ("rounds", "expected"),
    [(1, (1, 1, "1", 0)), (2, (3, 2, "1", 0)), (3, (4, 3, "4", 0)), (9, (5, 4, "5", 5))],
)
def test_only_the_proposals_agreed_on_count(ledger, rounds, expected):
    """Whatever the ledger holds beyond them; rounds without a proposal are none of them."""
    found = found_in(ledger, rounds)
    assert (found.over, found.spent) == (rounds < 9, False)
    assert (len(found.counted), len(found.settled), found.model[0], found.left) == expected
    assert found.accepted[-1] == found.model


def test_before_the_first_decision_the_model_is_the_initial_one():
    """Nothing has been accepted yet."""
    found = found_in(LocalLedger(EXPERIMENT), 3)
    assert found == ((), (), EXPERIMENT.initial, 3, False)


def passes(ledger, times):
    """Let whoever is to propose pass, so many times; say whether it is over after each."""
    over = []
    for _ in range(times):
        state = ledger.view()
        ledger.submit(Pass(state.round, state.proposer))
        over.append(found_in(ledger).over)
    return over


def test_it_is_over_when_all_have_passed_twice_in_a_row(ledger):
    """Nobody can propose any more; the model is that of before, and what comes then is beyond."""
    assert passes(ledger, 6) == [False] * 5 + [True]
    found = found_in(ledger)
    assert (found.spent, found.left, found.model[0], len(found.counted)) == (True, 5, "5", 11)
    state = ledger.view()
    ledger.submit(Propose(state.round, state.proposer, "6" * 64))
    for voter in (each for each in EXPERIMENT.members if each != state.proposer):
        ledger.submit(Vote(state.round, voter, "6" * 64, Choice.APPROVE))
    assert len(ledger.decisions()) == 12
    assert found_in(ledger) == found


def test_who_is_away_has_not_passed(ledger):
    """A deadline that nobody kept is no pass: whoever was away may propose when it comes back."""
    assert not any(passes(ledger, 5))
    ledger.wait(10**6, ledger.view().deadline)
    assert passes(ledger, 6) == [False] * 5 + [True]


def test_a_member_that_is_new_has_its_turns(ledger):
    """Passes count for the members that were there."""
    for member in EXPERIMENT.members:
        ledger.submit(Endorse(member, AddMember("d")))
    assert passes(ledger, 9) == [False] * 8 + [True]
