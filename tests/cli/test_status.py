"""``colearn status`` as a user meets it, of a ledger in this process."""

from __future__ import annotations

import json
from typing import ClassVar

import pytest

from colearn import drivers, experiment
from colearn.cli import main
from colearn.committee import named
from colearn.ledgers.local import LocalLedger
from colearn.records import (
    AddMember,
    Choice,
    Commit,
    Endorse,
    Experiment,
    Pass,
    Propose,
    RemoveMember,
    Reveal,
    Rule,
    Vote,
)

ADA, BOB, CYD, DAN = GROUP = ("ada", "bob", "cyd", "dan")
DIGEST, SALT = "2" * 64, "3" * 64
SECRET = Rule(vote_seconds=50, reveal_seconds=30)


class Agreed:
    """What the command asks of an agreement."""

    experiment_digest = DIGEST
    rounds = 1
    method = "plain"
    reach: ClassVar = {}


class Ledger(LocalLedger):
    """A ledger with an address and a time."""

    address = "0x1"
    chain_id = 1

    waited = 0

    def now(self):
        return self.view().opened + self.waited


@pytest.fixture
def said(capsys, monkeypatch):
    """Run the command on a new ledger under a rule; give what it prints."""

    def begin(rule, method="plain"):
        ledger = Ledger(Experiment(members=GROUP, initial=DIGEST, schema=DIGEST, rule=rule))
        monkeypatch.setattr(drivers, "open_ledger", lambda *_: ledger)
        monkeypatch.setattr(Agreed, "method", method)
        monkeypatch.setattr(experiment, "read", lambda _: Agreed)

        def run(*options):
            main(["status", *options])
            return capsys.readouterr().out

        run.ledger = ledger
        return run

    return begin


def hidden(said, member, choice):
    """Let a member commit to a vote."""
    vote = Vote(0, member, DIGEST, choice)
    said.ledger.submit(Commit(0, member, DIGEST, said.ledger.commitment(vote, SALT)))


def line_of(text, member):
    """What is said of one member."""
    (line,) = (line for line in text.splitlines() if line.startswith(f"  {member}  "))
    return line


def test_commitments_count(said):
    """Who has committed is not missing; then it is, until it reveals, and the others are not."""
    run = said(SECRET)
    run.ledger.submit(Propose(0, ADA, DIGEST))
    hidden(run, BOB, Choice.APPROVE)
    text = run()
    assert "waiting for commitments to votes" in text
    assert "reveal_seconds=30" in text
    assert "has committed to a vote; last heard" in line_of(text, BOB)
    assert "is to commit, missing for" in line_of(text, CYD)
    assert "missing" not in line_of(text, ADA)
    hidden(run, CYD, Choice.APPROVE)
    hidden(run, DAN, Choice.REJECT)
    run.ledger.submit(Reveal(0, CYD, Choice.APPROVE, SALT))
    text = run()
    assert "waiting for votes to be revealed" in text
    assert "has committed to a vote and is to reveal, missing for" in line_of(text, BOB)
    assert "voted: approve" in line_of(text, CYD)
    found = json.loads(run("--json"))
    assert (found["phase"], found["rule"]["threshold"]) == ("revealing", "1/2")
    assert [each["committed"] for each in found["members"]] == [False, True, False, True]


def test_nobody_is_waited_for_who_can_do_nothing(said):
    """Who has not committed in time has nothing to reveal."""
    run = said(SECRET)
    run.ledger.submit(Propose(0, ADA, DIGEST))
    hidden(run, BOB, Choice.APPROVE)
    run.ledger.wait(2, run.ledger.view().deadline)
    assert "missing" in line_of(run(), BOB)
    assert "missing" not in line_of(run(), CYD)


def test_open_votes(said):
    """Where votes are open, those that have not voted are missing, but not the proposer."""
    run = said(Rule())
    run.ledger.submit(Propose(0, ADA, DIGEST), Vote(0, BOB, DIGEST, Choice.REJECT))
    text = run()
    assert "waiting for votes" in text
    assert "voted: reject" in line_of(text, BOB)
    assert "is to vote, missing for" in line_of(text, CYD)
    assert "missing" not in line_of(text, ADA)


def test_changes_of_the_group_are_told(said):
    """What takes effect with the next round, and that more is wanted, for people and machines."""
    run = said(Rule(governance="1/2"))
    assert "from round" not in run()
    assert "wanted" not in run()
    change = RemoveMember(DAN)
    run.ledger.submit(*(Endorse(member, change) for member in (ADA, BOB, CYD)))
    run.ledger.submit(Endorse(DAN, AddMember("eve")))
    text = run()
    assert "from round 1 on: remove dan\n" in text
    assert "1 change(s) wanted: see colearn members list" in text
    found = json.loads(run("--json"))
    assert found["scheduled"] == [{"kind": "remove-member", "member": "dan"}]
    assert found["endorsed"] == {"dan": {"kind": "add-member", "member": "eve"}}


@pytest.mark.parametrize(
    ("method", "rule", "collected", "seconds"),
    [
        ("plain", Rule(propose_seconds=30), "votes", 20),
        ("fast", Rule(propose_seconds=30), "updates and votes", 20),
        ("fast", Rule(propose_seconds=30, reveal_seconds=9), "updates", 10),
        ("plain", Rule(propose_seconds=30, reveal_seconds=9), "", 0),
    ],
)
def test_a_proposer_is_not_blamed_while_it_may_collect(said, method, rule, collected, seconds):
    """What it collects no chain shows: it is missing once its time for that is over."""
    run = said(rule, method)
    if collected:
        run.ledger.waited = seconds - 1
        text = run()
        assert f"{collected} may be under way, which no chain shows" in text
        assert f"is to propose; {collected} are collected off the chain" in line_of(text, ADA)
        assert "missing" not in text
        (first, *_) = json.loads(run("--json"))["members"]
        assert (first["role"], first["missing_since"]) == ("propose", None)
    run.ledger.waited = seconds + 5
    assert "is to propose, missing for 5 s" in line_of(run(), ADA)
    run.ledger.submit(Propose(0, ADA, DIGEST))
    assert "off chain" not in run()


def test_after_the_last_round_nobody_is_missing(said):
    """Once all rounds are settled no member has anything to do, and nothing has a deadline."""
    run = said(Rule(threshold="1/4"))
    run.ledger.submit(Propose(0, ADA, DIGEST), Vote(0, BOB, DIGEST, Choice.APPROVE))
    text = run()
    assert "all rounds are over" in text
    assert not [word for word in ("is to", "missing", "until") if word in text]


def test_when_all_passed_again_and_again_it_is_over(said):
    """Nobody is waited for: none of them can propose."""
    run = said(Rule())
    for number in range(2 * len(GROUP)):
        assert "waiting for a proposal" in run()
        run.ledger.submit(Pass(number, GROUP[number % len(GROUP)]))
    text = run()
    assert "round       none: all members passed, turn after turn" in text
    assert not [word for word in ("is to", "missing", "until") if word in text]
    assert json.loads(run("--json"))["phase"] == "over"


def test_a_committee(said):
    """Of four members the two that are drawn are waited for; the third is said not to be drawn."""
    run = said(Rule(committee=2))
    run.ledger.submit(Propose(0, ADA, DIGEST))
    sitting = named(GROUP, run.ledger.view().voters)
    (resting,) = set(GROUP) - {ADA, *sitting}
    text = run()
    assert "committee=2" in text
    assert all("is to vote, missing for" in line_of(text, each) for each in sitting)
    assert line_of(text, resting) == f"  {resting}  not drawn; never heard of"
    assert "not drawn" not in line_of(text, ADA)
    found = json.loads(run("--json"))
    assert [each["member"] for each in found["members"] if not each["drawn"]] == [resting]
