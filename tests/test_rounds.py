"""How far an experiment is, by its ledger's decisions."""

from __future__ import annotations

import pytest

from colearn.ledgers.local import LocalLedger
from colearn.records import Choice, Experiment, Pass, Propose, Vote
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


@pytest.mark.parametrize(
    ("rounds", "expected"),
    [(1, (1, 1, "1", 0)), (2, (3, 2, "1", 0)), (3, (4, 3, "4", 0)), (9, (5, 4, "5", 5))],
)
def test_only_the_proposals_agreed_on_count(ledger, rounds, expected):
    """Whatever the ledger holds beyond them; rounds without a proposal are none of them."""
    found = progress(EXPERIMENT, ledger.decisions(), rounds)
    assert (len(found.counted), len(found.settled), found.model[0], found.left) == expected
    assert found.accepted[-1] == found.model


def test_before_the_first_decision_the_model_is_the_initial_one():
    """Nothing has been accepted yet."""
    found = progress(EXPERIMENT, (), 3)
    assert found == ((), (), EXPERIMENT.initial, 3)
