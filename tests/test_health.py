"""Health tells whoever operates a member when it has stopped reading its ledger."""

from __future__ import annotations

import json
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
    health = Health("bob", tmp_path)
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


def test_open_and_secret_votes_count(tmp_path):
    """A vote of this member counts once it is known, whether cast or revealed; others' never."""
    health = Health("bob", tmp_path)
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
