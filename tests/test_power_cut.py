"""What was said to be written outlives a power cut, which kill -9 cannot show.

A killed process leaves all that it wrote to the kernel; a machine without power leaves
only what was synced, and of the rest any part.
"""

from __future__ import annotations

import random
import shutil
from itertools import count
from pathlib import Path

import pytest
from power import SECTOR_BYTES, Disk

from colearn.boards.local import LocalBoard
from colearn.journal import Journal
from colearn.ledgers.local import LocalLedger
from colearn.log import Log
from colearn.records import Ballot, Choice, Experiment, Pass, Vote
from colearn.stores.directory import DirectoryStore

EXPERIMENT = Experiment(members=("ada", "bob"), initial="0" * 64, schema="1" * 64)
CUTS = 4


class Cuts:
    """Cuts the power around each sync: once with all lost, and a few times by chance."""

    def __init__(self, tmp_path, monkeypatch):
        self.folder = tmp_path / "disk"
        self.folder.mkdir()
        self._left = tmp_path / "left"
        self._left.mkdir()
        self._disk = Disk(self.folder, monkeypatch)
        self._numbers, self._rng = count(), random.Random(0)
        self.moments = 0

    def check(self, holds):
        """From now on, look at what each cut leaves."""

        def look():
            self._disk.before_sync = lambda: None  # what looks syncs as well
            for rng in (None, *[self._rng] * CUTS):
                holds(self._disk.lose_power(self._left / str(next(self._numbers)), rng))
            self._disk.before_sync = look
            self.moments += 1

        self._disk.before_sync = look
        self.now = look


@pytest.fixture
def cuts(tmp_path, monkeypatch):
    """A folder, and power cuts whenever it is written to."""
    return Cuts(tmp_path, monkeypatch)


def test_a_log_keeps_what_it_took(cuts):
    """All records of which append() returned are there, in order, and more can follow."""
    taken = []

    def holds(left):
        found = []
        log = Log(left / "log", found.append)
        log.append(b"more")
        log.close()
        assert found[: len(taken)] == taken

    cuts.check(holds)
    log = Log(cuts.folder / "log", lambda record: None)
    for number in range(12):
        records = [b'"%d"' % number * (1 + 300 * (number % 3))] * (1 + number % 2)
        log.append(*records)
        taken += records
        cuts.now()
    log.close()
    assert cuts.moments > 24


def test_a_ledger_keeps_what_was_submitted(cuts):
    """Each event of which submit() returned stands after the cut, and rounds go on."""
    submitted = []

    def holds(left):
        with LocalLedger.open(left / "ledger") as ledger:
            assert [entry.event for entry in ledger.events()][: len(submitted)] == submitted
            ledger.submit(Pass(ledger.view().round, ledger.view().proposer))

    with LocalLedger(EXPERIMENT, cuts.folder / "ledger") as ledger:
        cuts.check(holds)
        for _ in range(6):
            event = Pass(ledger.view().round, ledger.view().proposer)
            ledger.submit(event)
            submitted.append(event)
            cuts.now()
    assert cuts.moments > 6


def test_a_board_keeps_what_was_posted(cuts):
    """A ballot that may have reached others is known after the cut, so that none differs."""
    posted = []

    def holds(left):
        board = LocalBoard(EXPERIMENT, left / "notes")
        assert [note for each in range(6) for note in board.read(each)][: len(posted)] == posted
        board.close()

    board = LocalBoard(EXPERIMENT, cuts.folder / "notes")
    cuts.check(holds)
    for number in range(6):
        note = Ballot(number, "ada", "2" * 64, Choice.APPROVE, "signed")
        board.post(note)
        posted.append(note)
        cuts.now()
    board.close()
    assert cuts.moments > 6


def test_a_directory_keeps_blobs_whole(cuts):
    """Each blob of which put() returned is there; whatever has a digest for a name is whole."""
    held = []

    def holds(left):
        store = DirectoryStore(left / "deep" / "store")
        assert set(held) <= {each.digest for each in store.held()}
        for each in store.held():
            store.open(each.digest)

    cuts.check(holds)
    store = DirectoryStore(cuts.folder / "deep" / "store")
    for number in range(8):
        held.append(store.put([b"%d" % number * 700, bytes(number)]))
        cuts.now()
    assert cuts.moments > 16


def files_of(journal: Path) -> dict[str, bytes]:
    """The journal's files."""
    return {each.name: each.read_bytes() for each in journal.parent.iterdir()}


@pytest.mark.parametrize("before", [1, 40])
def test_a_journal_torn_in_its_last_record_has_all_before(tmp_path, before):
    """Whatever sectors of the record being written arrive, earlier ones stand; it whole or not.

    That a record is synced before `write` returns is what SQLite promises when told FULL.
    """
    path = tmp_path / "own" / "journal"
    path.parent.mkdir()
    journal = Journal(path, EXPERIMENT, "ada", silent_through=-1)
    assert journal._file.execute("PRAGMA synchronous").fetchone() == (2,)
    votes = [Vote(number, "ada", "2" * 64, Choice.REJECT) for number in range(before + 1)]
    for vote in votes[:-1]:
        journal.write(vote)
    old = files_of(path)
    journal.write(votes[-1])
    new = files_of(path)
    assert old[path.name] == new[path.name], "a checkpoint came between: choose another number"
    rng, seen = random.Random(0), set()
    for number in range(40):
        left = tmp_path / str(number)
        shutil.copytree(path.parent, left)
        (left / f"{path.name}-shm").unlink(missing_ok=True)
        wal = f"{path.name}-wal"
        (left / wal).write_bytes(mixed(old[wal], new[wal], rng, [0.5, 0.9, 1][number % 3]))
        again = Journal(left / path.name, EXPERIMENT, "ada", silent_through=-1)
        assert [again.recall(vote.round, Vote) for vote in votes[:-1]] == votes[:-1]
        last = again.recall(before, Vote)
        assert last in (None, votes[-1])
        if last is None:
            again.write(votes[-1])
        seen.add(last is None)
        again.close()
    journal.close()
    assert seen == {True, False}


def mixed(old: bytes, new: bytes, rng: random.Random, arrived: float) -> bytes:
    """The new bytes of some sectors and the old ones, or zeros, of the others."""
    old = old.ljust(len(new), b"\0")
    return b"".join(
        (new if rng.random() < arrived else old)[start : start + SECTOR_BYTES]
        for start in range(0, len(new), SECTOR_BYTES)
    )
