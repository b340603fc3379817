"""What a member's process says: one event a line, warnings and scores too, trouble once."""

from __future__ import annotations

import json
import logging

import pytest

from colearn.cli.feed import Feed
from colearn.errors import BlobMissing, LedgerError
from colearn.ledgers.local import LocalLedger
from colearn.ml_interface import ProposedWeights
from colearn.records import Choice, Experiment, Propose, Vote
from colearn.tracking import Follower

DIGEST = "2" * 64
LEDGER = LocalLedger(Experiment(members=("ada", "bob"), initial=DIGEST, schema=DIGEST))


@pytest.fixture
def feed():
    """For machines."""
    return Feed("bob", 4, as_json=True)


@pytest.fixture
def said(capsys):
    """All events since it was asked last; nothing else may be printed."""

    def read():
        out, err = capsys.readouterr()
        assert err == ""
        return [json.loads(line) for line in out.splitlines()]

    return read


def test_warnings_are_events(feed, said):
    """What any part of the package warns of is one event, not a line beside them."""
    with feed.warned():
        logging.getLogger("colearn.participant").warning("%s abstains:\nno blob", "bob")
    (event,) = said()
    assert (event["event"], event["source"]) == ("warning", "colearn.participant")
    assert event["reason"] == "bob abstains: no blob"


def test_warnings_are_lines_for_people(capsys):
    """So it is in plain text, and nobody is told after the member's end."""
    feed = Feed("bob", 4, as_json=False)
    with feed.warned():
        logging.getLogger("colearn.silence").warning("bob is silent there")
    assert capsys.readouterr().out.endswith("  warning: bob is silent there\n")
    assert not logging.getLogger("colearn").handlers


def test_trouble_that_stays_is_told_once(feed, said):
    """Each retry reads the ledger and fails again: one event, until all was well in between."""
    for _ in range(3):
        feed.read(LEDGER.view())
        feed.failed(BlobMissing("no blob"))
    feed.failed(LedgerError("no node"))
    assert [each["event"] for each in said()] == ["joined", "failed", "failed"]
    feed.read(LEDGER.view())
    feed.read(LEDGER.view())
    feed.failed(LedgerError("no node"))
    assert [each["reason"] for each in said()] == ["no node"]


class Learner:
    """Finds every proposal good."""

    def mli_test_weights(self, weights):
        return ProposedWeights(weights, vote=True, vote_score=0.75, test_score=float("nan"))


def test_own_scores_are_events(feed, said):
    """Once a round is decided, its own member is told what it measured, as far as it did."""
    learner, ledger = Learner(), LocalLedger(LEDGER.experiment)
    follower = Follower(feed, "bob", learner)
    feed.read(ledger.view())
    learner.mli_test_weights({})
    ledger.submit(Propose(0, "ada", DIGEST), Vote(0, "bob", DIGEST, Choice.APPROVE))
    (decision,) = ledger.decisions()
    follower.decided(decision)
    event = said()[-1]
    assert (event["event"], event["round"], event["vote_score"]) == ("scores", 0, 0.75)
    assert "test_score" not in event
