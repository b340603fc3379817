"""``colearn members`` as a user meets it, on a chain in this process."""

from __future__ import annotations

from fractions import Fraction

import pytest
from evm import KEYS, NAMES, begin_again, chain

from colearn import experiment as files
from colearn.cli import main, members
from colearn.ledgers.ethereum import EthereumLedger
from colearn.records import AddMember, Endorse, Experiment, Pass, Rule, SetRule, digest_of

ADA, BOB, CYD = GROUP = NAMES[:3]
DIGEST = digest_of([b"p"])
RULE = Rule(threshold="1/2", propose_seconds=60, vote_seconds=60)


class Agreed:
    """What the commands ask of an agreement."""

    task = "digits"
    members = GROUP
    privacy = "standard"


@pytest.fixture
def said(capsys, monkeypatch):
    """Run a command as one of the members; give its exit status and what it printed."""
    begin_again()
    experiment = Experiment(members=GROUP, initial=DIGEST, schema=DIGEST, rule=RULE)
    ledger = EthereumLedger.found(experiment, KEYS, chain=chain())
    monkeypatch.setattr(files, "read", lambda _: Agreed)
    monkeypatch.setattr(members, "open_ledger", lambda *_: ledger)

    def run(member, *arguments):
        monkeypatch.setenv("COLEARN_KEY", KEYS[member].hex())
        status = 0
        try:
            main(["members", arguments[0], "experiment.toml", *arguments[1:]])
        except SystemExit as end:
            status = end.code
        out, err = capsys.readouterr()
        return status, out or err

    run.ledger = ledger
    return run


def test_members_change_the_rule(said):
    """One asks for other deadlines and secret votes, all others vote for it by its number."""
    asked = ["--vote-seconds", "90", "--reveal-seconds", "30", "--governance", "1/2"]
    status, text = said(ADA, "rule", *asked)
    assert status == 0, text
    assert "1 of 3 members want it" in text
    changes = "change vote_seconds from 60 to 90, reveal_seconds from 0 to 30, governance from 2/3"
    assert changes in text
    assert f"1  {changes} to 1/2  (1 of 3)" in said(BOB, "list")[1]
    assert "2 of 3 members want it" in said(BOB, "vote", "1")[1]
    status, text = said(CYD, "vote", "1")
    assert (status, "enough members want it: change vote_seconds from 60" in text) == (0, True)
    (change,) = said.ledger.view().scheduled
    assert change == SetRule(
        Rule(
            propose_seconds=60, vote_seconds=90, reveal_seconds=30, governance="1/2", threshold=0.5
        )
    )


def test_members_have_a_committee_vote(said):
    """Once enough want it, so many are drawn from the next round on."""
    for member in GROUP:
        status, text = said(member, "rule", "--committee", "2")
        assert status == 0, text
    assert "enough members want it: change committee from 0 to 2, from the next round on" in text
    said.ledger.submit(Pass(0, ADA))
    assert said.ledger.view().rule.committee == 2


def test_the_list_tells_who_wants_what_and_what_is_to_come(said):
    """Each change with the members that voted for it; what is decided, with its round."""
    said(ADA, "rule", "--threshold", "2/3")
    said(CYD, "vote", "1")
    said(BOB, "remove", CYD)
    text = said(ADA, "list")[1]
    assert text.split()[:3] == list(GROUP)
    assert f"1  change threshold from 1/2 to 2/3  (2 of 3)\n       {ADA}\n       {CYD}" in text
    assert f"2  remove {CYD}  (1 of 3)\n       {BOB}" in text
    assert "from round" not in text
    said(BOB, "vote", "1")
    said(ADA, "rule", "--quorum", "1/2", "--threshold", "5/8")
    said.ledger.submit(Endorse(CYD, AddMember(NAMES[7])))
    text = said(ADA, "list")[1]
    assert "from round 1 on:\n  change threshold from 1/2 to 2/3\n" in text
    assert "1  change threshold from 2/3 to 5/8, quorum from 0 to 1/2  (1 of 3)" in text
    assert f"2  add {NAMES[7]}  (1 of 3)\n       {CYD}" in text
    said.ledger.submit(Pass(0, ADA))
    assert said(ADA, "list")[1].split() == list(GROUP)


def test_a_rotation_to_come_is_listed(said):
    """A member's new key takes its place with the next round, and that is told."""
    said(BOB, "rotate", NAMES[5])
    assert f"{BOB} gives its place to its new key {NAMES[5]}" in said(ADA, "list")[1]


def test_a_round_that_ends_at_once_is_no_failure(said, monkeypatch):
    """The last vote, and the round that ends before it is looked at: the change is made."""
    for member in (ADA, BOB):
        assert said(member, "remove", CYD)[0] == 0
    at_once(said.ledger, monkeypatch, Pass(0, ADA))
    status, text = said(CYD, "remove", CYD)
    assert status == 0, text
    assert text == f"enough members wanted it, and a new round has begun: remove {CYD}\n"
    assert said.ledger.view().members == (ADA, BOB)


def test_a_vote_that_another_change_voids_is_told(said, monkeypatch):
    """It is not said that 0 members want it: all votes for changes are void, and why."""
    for member in GROUP:
        said(member, "rule", "--threshold", "2/3")
    at_once(said.ledger, monkeypatch, Pass(0, ADA))
    status, text = said(BOB, "remove", CYD)
    assert status == 0, text
    assert "your vote is void: another change took effect with round 1" in text
    assert "0 of" not in text


def at_once(ledger, monkeypatch, event):
    """Have an event follow what is submitted next, before anybody looks."""
    submit = ledger.submit

    def both(*events):
        monkeypatch.setattr(ledger, "submit", submit)
        entry = submit(*events)
        submit(event)
        return entry

    monkeypatch.setattr(ledger, "submit", both)


def test_what_is_asked_for_comes_on_top_of_what_is_scheduled(said):
    """A second change of the rule undoes nothing of the first, which is not yet in force."""
    for member in GROUP:
        assert said(member, "rule", "--threshold", "2/3")[0] == 0
    assert said(ADA, "rule", "--quorum", "1", "--inclusive")[0] == 0
    wanted = said.ledger.view().endorsed[0].rule
    assert (wanted.threshold, wanted.quorum, wanted.inclusive) == (Fraction(2, 3), 1, True)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ([], "say what, such as --threshold 2/3"),
        (["--threshold", "0.5"], "the rule says so already: threshold 0.5"),
        (["--threshold", "half"], "'half' is not a fraction"),
        (["--vote-seconds", "0"], "vote_seconds 0 is refused"),
        (["--committee", "1"], "committee 1 is refused"),
        (["--vote-seconds", "4294967297"], "at most 67,108,863 (two years)"),
        (["--threshold", "3/4"], "governance 2/3 is refused: expected at least the threshold, 3/4"),
        (["--threshold", "3/5", "--governance", "1/2"], "governance 1/2 is refused"),
    ],
)
def test_what_changes_no_rule_is_one_line(said, options, says):
    """Nothing to change, or what no group should run under, is refused and sends nothing."""
    status, text = said(ADA, "rule", *options)
    assert (status, text.count("\n")) == (1, 1)
    assert says in text
    assert not said.ledger.events()


def test_rotate_says_how_to_join(said):
    """With the new key, on the old one's share of the data and account of its privacy."""
    status, text = said(BOB, "rotate", NAMES[5])
    assert status == 0, text
    assert "It needs funds" in text
    line = text.splitlines()[1]
    assert line.startswith(
        "  colearn join experiment.toml --key NEW_KEY --rpc http://127.0.0.1:8545"
    )
    assert line.endswith(f"--share 2/3 --budget state-{BOB[:10]}/budget.sqlite")
