"""What a member's process says: one event a line, warnings too, trouble once."""

from __future__ import annotations

import json
import logging

import pytest

from colearn.cli.feed import Feed
from colearn.errors import BlobMissing, LedgerError
from colearn.ledgers.local import LocalLedger
from colearn.records import Experiment

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
