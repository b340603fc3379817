"""A member that may have spoken already, and has lost what it said, is silent in that round."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from colearn.journal import Journal
from colearn.ledgers.local import LocalLedger
from colearn.records import (
    Ballot,
    Candidate,
    Choice,
    Commit,
    Experiment,
    Pass,
    Propose,
    Rule,
    Update,
    Vote,
)
from colearn.silence import Silence, newcomer, unseen_through

DIGEST = "2" * 64
OPEN = Experiment(members=("a", "b", "c"), initial="0" * 64, schema="1" * 64)
SECRET = Experiment(
    members=OPEN.members, initial="0" * 64, schema="1" * 64, rule=Rule(reveal_seconds=9)
)
NOTES = [
    Update(
        round=0,
        sender="b",
        base=DIGEST,
        state="",
        weights="",
        size_bytes=0,
        steps=1,
        samples=1,
    ),
    Candidate(0, "b", DIGEST),
    Ballot(0, "b", DIGEST, Choice.REJECT),
]


class Life:
    """A member's process, with its journal."""

    def __init__(self, folder, ledger, met_before=newcomer, silent_through=None):
        self.journal = Journal(
            folder / "b.db", ledger.experiment, "b", silent_through=silent_through
        )
        self.ledger = ledger
        self.silence = Silence("b", ledger, self.journal, met_before)

    def silent(self, *notes):
        """Whether it is silent now."""
        return self.silence.holds(self.ledger.view(), notes)

    def end(self):
        """End the process."""
        self.journal.close()


def next_round(ledger):
    """Let the live round's proposer pass."""
    state = ledger.view()
    ledger.submit(Pass(state.round, state.proposer))


def test_a_newcomer_speaks_once_it_is_known_to_be_one(tmp_path):
    """As long as nobody can say it waits; then it is new for good, and asks no more."""
    answers = [False, None, None]
    life = Life(tmp_path, LocalLedger(OPEN), answers.pop)
    assert [life.silent() for _ in range(4)] == [True, True, False, False]
    life.end()
    assert not Life(tmp_path, life.ledger, answers.pop).silent()


def test_who_is_known_is_silent_in_the_live_round_only(tmp_path):
    """Others knew it before: so it may have voted; in the next round it has not."""
    ledger = LocalLedger(OPEN)
    life = Life(tmp_path, ledger, lambda: True)
    assert life.silent()
    life.end()
    again = Life(tmp_path, ledger, newcomer)
    assert again.silent(), "that it is silent outlives a restart"
    next_round(ledger)
    assert not again.silent()
    again.end()
    assert not Life(tmp_path, ledger, lambda: True).silent(), "its journal is whole from here on"


def test_what_nobody_could_say_does_not_matter_in_later_rounds(tmp_path, caplog):
    """Round after round without an answer: in those that began after it came, it may speak."""
    ledger = LocalLedger(OPEN)
    life = Life(tmp_path, ledger, lambda: None)
    assert life.silent()
    next_round(ledger)
    assert not life.silent()
    (said,) = caplog.messages
    assert said.endswith("in round 0: whether it is new could not be told there")


@pytest.mark.parametrize("note", NOTES, ids=lambda note: type(note).__name__)
def test_a_note_of_its_own_that_it_does_not_know(tmp_path, note):
    """Somebody brings a note that it signed in a life it has forgotten: it says no more."""
    ledger = LocalLedger(OPEN)
    life = Life(tmp_path, ledger)
    others = replace(note, sender="c")
    assert not life.silent(others)
    assert life.silent(others, note)
    assert life.silent()
    next_round(ledger)
    assert not life.silent(note)


def test_notes_that_it_knows_silence_nobody(tmp_path):
    """What the journal has may come back as often as it likes."""
    life = Life(tmp_path, LocalLedger(OPEN))
    update, _, ballot = NOTES
    life.journal.write(update, Vote(0, "b", DIGEST, ballot.choice))
    assert not life.silent(update, ballot)
    life.journal.write(Propose(0, "b", DIGEST))
    assert not life.silent(*NOTES)


@pytest.mark.parametrize(
    ("experiment", "event"),
    [
        (OPEN, Vote(0, "b", DIGEST, Choice.APPROVE)),
        (SECRET, Commit(0, "b", DIGEST, "3" * 64)),
    ],
    ids=["vote", "commitment"],
)
def test_an_event_of_its_own_that_it_does_not_know(tmp_path, experiment, event):
    """The ledger knows more of it than its journal: silent in the live round, if it was there."""
    ledger = LocalLedger(experiment)
    ledger.submit(Propose(0, "a", DIGEST), event)
    life = Life(tmp_path, ledger)
    assert life.silent()
    life.end()
    ledger.wait(len(ledger.events()), ledger.view().deadline)
    while ledger.view().round == 0:
        ledger.wait(len(ledger.events()), ledger.view().deadline)
    again = Life(tmp_path, ledger)
    assert not again.silent(), "once is enough"


def test_a_commitment_that_does_not_count_yet(tmp_path):
    """Its folder gone, a member cannot see that it has committed: once it could have, it is silent.

    Before there is a proposal it cannot have, so that a group's first round is not lost.
    """
    counted, newest = LocalLedger(SECRET), LocalLedger(SECRET)
    assert unseen_through(counted.view(), newest.view()) is None
    newest.submit(Propose(0, "a", DIGEST))
    newest.submit(Commit(0, "b", DIGEST, "3" * 64))
    through = unseen_through(counted.view(), newest.view())
    assert through == 0
    life = Life(tmp_path, counted, silent_through=through)
    assert life.silent()
    life.end()
    counted.submit(Propose(0, "a", DIGEST))
    assert unseen_through(counted.view(), counted.view()) == 0
    again = Life(tmp_path, counted)
    assert again.silent()
    while counted.view().round == 0:
        counted.wait(len(counted.events()), counted.view().deadline)
    assert not again.silent()


def test_a_round_that_is_over_where_blocks_do_not_count_yet(tmp_path):
    """By newer blocks the next round has begun: it may have spoken in both, once that proposes."""
    counted, newest = LocalLedger(OPEN), LocalLedger(OPEN)
    next_round(newest)
    assert unseen_through(counted.view(), newest.view()) == 0
    newest.submit(Propose(1, "b", DIGEST))
    through = unseen_through(counted.view(), newest.view())
    assert through == 1
    life = Life(tmp_path, counted, silent_through=through)
    assert life.silent()
    next_round(counted)
    assert life.silent()
    next_round(counted)
    assert not life.silent()
