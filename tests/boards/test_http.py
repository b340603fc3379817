"""The board among peers: who is brought what, also after an absence."""

from __future__ import annotations

import time
from contextlib import ExitStack

import pytest
from members import (
    EXPERIMENT,
    MEMBERS,
    PROPOSAL,
    KeyedSigner,
    ballot,
    eventually,
    join,
    joined,
)

from colearn.errors import BoardError, Equivocation, LedgerError
from colearn.ledgers.local import LocalLedger
from colearn.records import Candidate, Choice, Pass, Scores, Update, decode_note
from colearn.testing import check_board


def candidate(sender="ada", round_index=0):
    """A signed candidate."""
    return KeyedSigner(sender).sign(Candidate(round_index, sender, PROPOSAL))


def update(sender, round_index=0):
    """A signed update."""
    return KeyedSigner(sender).sign(
        Update(
            round=round_index,
            sender=sender,
            base="0" * 64,
            weights="2" * 64,
            size_bytes=8,
            steps=1,
            samples=1,
        )
    )


def test_keeps_the_promises():
    """The conformance kit passes on a member's own board."""
    with ExitStack() as stack:
        check_board(
            lambda experiment: stack.enter_context(join("ada", LocalLedger(experiment))).board
        )


def test_ballots_go_to_the_proposer_and_all_else_to_all():
    """Everybody has what it needs for the round, and knows whom to ask for an update."""
    with joined() as (ada, bob, cid):
        ada.board.post(candidate())
        for other in (bob, cid):
            assert other.board.wait(0, 0, 10)
            assert other.board.read(0) == [candidate()]
        for other in (bob, cid):
            name = other.book.member
            other.board.post(update(name), ballot(name))
        shown = {candidate(), update("bob"), update("cid")}
        assert ada.board.wait(0, 4, 10)
        assert set(ada.board.read(0)) == {*shown, ballot("bob"), ballot("cid")}
        for other in (bob, cid):
            assert other.board.wait(0, 3, 10)
            assert set(other.board.read(0)) == {*shown, ballot(other.book.member)}
            assert other.board.holder("2" * 64) in ("bob", "cid")


def test_a_note_arrives_by_event():
    """Who waits is woken by the note: far sooner than any polling would be."""
    with joined("ada", "bob") as (ada, bob):
        assert ada.board.wait(0, 0, 0) is False
        bob.board.post(ballot("bob"))
        began = time.monotonic()
        assert ada.board.wait(0, 0, 10)
        assert time.monotonic() - began < 2


def test_what_is_posted_while_the_ledger_is_away_arrives(monkeypatch):
    """A node that is down for a moment costs a note no more than that moment."""
    with joined("ada", "bob") as (ada, bob):

        def away():
            raise LedgerError("none of the chain's nodes answers")

        with monkeypatch.context() as meanwhile:
            meanwhile.setattr(ada.board, "_view", away)
            with pytest.raises(LedgerError):
                ada.board.post(candidate())
            assert ada.board.read(0) == [candidate()]
            assert not bob.board.wait(0, 0, 0.3)
        assert bob.board.wait(0, 0, 10)
        assert bob.board.read(0) == [candidate()]


def test_scores_stay_home():
    """Scores that a member posts for itself leave it on no way."""
    with joined("ada", "bob") as (ada, bob):
        bob.board.post(Scores(0, "bob", 0.5, 0.5), ballot("bob"))
        assert ada.board.wait(0, 0, 10)
        assert ada.board.read(0) == [ballot("bob")]
        assert bob.board.read(0)[0] == Scores(0, "bob", 0.5, 0.5)


def test_who_was_away_is_brought_what_it_missed():
    """A note posted while its reader is down arrives once that is back, at another address."""
    ledger = LocalLedger(EXPERIMENT)
    with join("bob", ledger) as bob:
        with join("ada", ledger, seeds=[bob.url]) as ada:
            assert bob.book.wait(2, 10)
            assert ada.book.wait(2, 10)
        bob.board.post(ballot("bob"))
        time.sleep(0.3)
        with join("ada", ledger, seeds=[bob.url]) as ada:
            assert ada.board.wait(0, 0, 10)
            assert ada.board.read(0) == [ballot("bob")]
            assert bob.book.peers()["ada"].url == ada.url


def test_who_joins_late_brings_itself_up_to_date():
    """A newcomer has the live round's notes of everybody it reaches, and they its own."""
    with joined("ada", "bob") as (ada, bob):
        ada.board.post(candidate())
        bob.board.post(ballot("bob"))
        assert ada.board.wait(0, 1, 10)
        with join("cid", seeds=[bob.url]) as cid:
            assert cid.board.wait(0, 1, 10)
            assert set(cid.board.read(0)) == {candidate(), ballot("bob")}


def test_a_restart_brings_again_what_was_not_brought(tmp_path):
    """A member that died between posting and sending sends after its restart."""
    ledger = LocalLedger(EXPERIMENT)
    with join("bob", ledger, folder=tmp_path) as bob:
        bob.board.post(ballot("bob"))
    with join("ada", ledger) as ada, join("bob", ledger, folder=tmp_path, seeds=[ada.url]) as bob:
        assert bob.board.read(0) == [ballot("bob")]
        assert ada.board.wait(0, 0, 10)
        assert ada.board.read(0) == [ballot("bob")]


def test_rounds_that_are_over_are_not_kept():
    """Only the live round's notes and the last one's stay, one's own and the others'."""
    ledger = LocalLedger(EXPERIMENT)
    with join("ada", ledger) as ada:
        for round_index in range(5):
            ada.board.post(candidate(round_index=round_index))
            ada.board.receive(update("bob", round_index))
            ledger.submit(Pass(round_index, ledger.view().proposer))
        ada.board.post(candidate(round_index=5))
        assert [len(ada.board.read(each)) for each in range(6)] == [0, 0, 0, 0, 2, 1]


def test_a_member_that_lost_its_notes_is_told_them(tmp_path):
    """Its own ballot comes back to it from the others, so that it does not vote twice."""
    ledger = LocalLedger(EXPERIMENT)
    with join("ada", ledger) as ada:
        with join("bob", ledger, seeds=[ada.url]) as bob:
            bob.board.post(ballot("bob"))
            assert ada.board.wait(0, 0, 10)
        with join("bob", ledger, seeds=[ada.url]) as bob:
            assert bob.board.wait(0, 0, 10)
            with pytest.raises(Equivocation):
                bob.board.post(ballot("bob", Choice.REJECT))


def test_who_lags_behind_gets_notes_when_it_has_caught_up():
    """A note of a round that its reader has not reached is brought again until it has."""
    ahead, behind = LocalLedger(EXPERIMENT), LocalLedger(EXPERIMENT)
    for round_index in range(3):
        ahead.submit(Pass(round_index, MEMBERS[round_index]))
    note = candidate("ada", 3)
    with join("bob", behind) as bob, join("ada", ahead, seeds=[bob.url]) as ada:
        assert bob.book.wait(2, 10)
        ada.board.post(note)
        assert not bob.board.wait(3, 0, 0.3)
        for round_index in range(3):
            behind.submit(Pass(round_index, MEMBERS[round_index]))
        assert bob.board.wait(3, 0, 15)
        assert bob.board.read(3) == [note]


def test_evidence_of_contradictions_is_kept_on_disk(tmp_path):
    """A sender that shows each half another note is found out when they compare, and kept."""
    ledger = LocalLedger(EXPERIMENT)
    first, second = candidate(), KeyedSigner("ada").sign(Candidate(0, "ada", "3" * 64))
    with join("bob", ledger, folder=tmp_path) as bob, join("cid", ledger) as cid:
        assert bob.board.receive(first) is None
        assert cid.board.receive(second) is None
        bob.book.receive(cid.book.endpoints()[0])
        bob.board.post(ballot("bob"))
        assert eventually(lambda: bob.board.contradictions)
        assert bob.board.contradictions == [(first, second)]
        assert bob.board.read(0)[0] == first
    lines = (tmp_path / "contradictions.log").read_bytes().splitlines()
    assert [decode_note(line.partition(b" ")[2]) for line in lines] == [first, second]


def test_a_note_signed_twice_is_no_contradiction():
    """Who can make another valid signature of a note cannot make its sender look dishonest."""
    with join("ada") as ada:
        note = ballot("bob")
        ada.board.receive(note)
        assert ada.board.receive(note) is None
        twin = note.__class__(note.round, note.sender, note.proposal, note.choice, "else")
        assert ada.board.receive(twin) is None
        assert ada.board.contradictions == []
        assert ada.board.read(0) == [note]


def test_a_folder_that_cannot_be_used_is_a_clear_error(tmp_path):
    """Two members cannot share a folder of notes, and nothing keeps listening."""
    with (
        join("ada", folder=tmp_path),
        pytest.raises(BoardError, match="open for writing elsewhere"),
    ):
        join("bob", folder=tmp_path)
