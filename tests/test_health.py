"""Health tells whoever operates a member when it has stopped reading its ledger."""

from __future__ import annotations

import json
import math
from urllib.error import HTTPError
from urllib.request import urlopen

import pytest

from colearn import health as healths
from colearn.errors import LedgerError
from colearn.health import Health, serving
from colearn.records import Choice, Entry, Experiment, Propose, Reveal, Vote
from colearn.state import start

DIGEST = "2" * 64
STATE = start(Experiment(members=("ada", "bob"), initial=DIGEST, schema=DIGEST), 0)


def test_a_member_that_reads_nothing_is_stale(tmp_path, monkeypatch):
    """503 and the reason once the ledger was not read for too long; 200 once it is again."""
    health = Health("bob", tmp_path, lambda: 0)
    health.failed(LedgerError("no node\nanswers"))
    with serving(health, "127.0.0.1", 0) as port:
        url = f"http://127.0.0.1:{port}/health"
        monkeypatch.setattr(healths, "STALE_SECONDS", 0.0)
        with pytest.raises(HTTPError) as refused:
            urlopen(url)
        said = json.loads(refused.value.read())
        assert refused.value.code == 503
        assert (said["status"], said["problem"]) == ("stale", "no node answers")
        monkeypatch.undo()
        health.read(STATE)
        with urlopen(url) as answer:
            said = json.loads(answer.read())
        assert (answer.status, said["status"], said["problem"]) == (200, "ok", "")


def test_a_chain_that_stands_still_is_seen(tmp_path, monkeypatch):
    """Read again and again, its newest block grows old; without a reading there is no age."""
    clock, newest = 1_000_000.0, [999_990, 999_990, 1_000_060]
    health = Health("bob", tmp_path, lambda: newest.pop(0))
    monkeypatch.setattr(healths.time, "time", lambda: clock)

    def told():
        """The age, by metrics and by /health, which are the same."""
        said = json.loads(health.status()[1])["ledger_age_seconds"]
        value = health.registry.get_sample_value("colearn_ledger_age_seconds")
        assert math.isnan(value) if said is None else value == said
        return said

    assert told() is None
    for after, age in ((0.0, 10), (60.0, 70), (5.0, 5)):
        clock += after
        health.read(STATE)
        assert told() == age
        assert health.lag_seconds < 60, "it is read all right"
    clock += 7
    assert told() == 12, "it grows between two readings, too"


def test_open_and_secret_votes_count(tmp_path):
    """A vote of this member counts once it is known, whether cast or revealed; others' never."""
    health = Health("bob", tmp_path, lambda: 0)
    for event in (
        Vote(0, "bob", DIGEST, Choice.APPROVE),
        Reveal(1, "bob", Choice.APPROVE, DIGEST),
        Reveal(1, "ada", Choice.APPROVE, DIGEST),
        Propose(2, "bob", DIGEST),
    ):
        health.ordered(Entry(0, event))
    value = health.registry.get_sample_value
    assert value("colearn_votes_total", {"choice": "approve"}) == 2
    assert value("colearn_proposals_total") == 1
