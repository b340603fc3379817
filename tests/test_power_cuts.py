"""What was said to be kept is there after a power cut, whatever of the rest is lost or torn."""

from __future__ import annotations

import random
import shutil
from pathlib import Path

import pytest
from power import disks

from colearn.boards.local import LocalBoard
from colearn.errors import BlobCorrupt
from colearn.journal import Journal
from colearn.ledgers.local import LocalLedger
from colearn.records import Choice, Experiment, Scores, Vote
from colearn.stores.directory import DirectoryStore

CUTS = 150
EXPERIMENT = Experiment(members=("a", "b"), initial="0" * 64, schema="1" * 64)

pytestmark = pytest.mark.skipif(shutil.which("strace") is None, reason="needs strace")

MAKE = """
import sys
from pathlib import Path
from colearn.records import Choice, Experiment, Pass, Vote
experiment = Experiment(members=("a", "b"), initial="0" * 64, schema="1" * 64)
"""
JOURNAL = f"""{MAKE}
from colearn.journal import Journal
journal = Journal(Path("journal.sqlite"), experiment, "a", silent_through=-1)
print("open", flush=True)
for number in range(150):
    journal.write(Vote(number, "a", "2" * 64, Choice.REJECT))
    print(number, flush=True)
"""
LEDGER = f"""{MAKE}
from colearn.ledgers.local import LocalLedger
ledger = LocalLedger(experiment, Path("ledger.log"))
print("open", flush=True)
for number in range(40):
    state = ledger.view()
    ledger.submit(Pass(state.round, state.proposer))
    print(number, flush=True)
"""
STORE = f"""{MAKE}
from colearn.stores.directory import DirectoryStore
store = DirectoryStore(Path("deep/store"))
print("open", flush=True)
for number in range(40):
    print(store.put([bytes([number]) * 3000, b"end"]), flush=True)
"""

BOARD = f"""{MAKE}
from colearn.boards import local
from colearn.records import Scores
local._MOST_FORGOTTEN = 7
board = local.LocalBoard(experiment, Path("notes.log"))
print("open", flush=True)
for number in range(40):
    board.post(Scores(number, "a", 0.5, None))
    print(number, flush=True)
    board.forget(number - 1)
"""


def found_after_cuts(code, tmp_path):
    """Cut the power at many moments; give what was said by then, and a folder as it is then."""
    chance = random.Random(7)
    moments = sum(1 for _ in disks(code, tmp_path / "dry"))
    cuts = set(chance.sample(range(moments), min(CUTS, moments)))
    for number, disk in enumerate(disks(code, tmp_path / "run")):
        if number in cuts:
            folder = tmp_path / f"after-{number}"
            folder.mkdir()
            disk.after_a_cut(folder, chance)
            yield list(disk.said), folder


def test_a_journal(tmp_path: Path) -> None:
    """Every vote that was said to be written is recalled, and the journal goes on."""
    checked = 0
    for said, folder in found_after_cuts(JOURNAL, tmp_path):
        if not said:
            continue
        journal = Journal(folder / "journal.sqlite", EXPERIMENT, "a", silent_through=-1)
        for number in map(int, said[1:]):
            assert journal.recall(number, Vote) == Vote(number, "a", "2" * 64, Choice.REJECT)
        journal.write(Vote(999, "a", "3" * 64, Choice.APPROVE))
        journal.close()
        checked += 1
    assert checked > CUTS / 2


def test_a_ledger(tmp_path: Path) -> None:
    """Every event that was said to be submitted stands, in order, and the ledger goes on."""
    checked = 0
    for said, folder in found_after_cuts(LEDGER, tmp_path):
        if not said:
            continue
        with LocalLedger.open(folder / "ledger.log") as ledger:
            events = [entry.event.round for entry in ledger.events()]
            assert events == list(range(len(events)))
            assert len(events) >= len(said) - 1
        checked += 1
    assert checked > CUTS / 4


def test_a_store(tmp_path: Path) -> None:
    """Every blob that was said to be held is, and no other is taken for whole that is not."""
    checked = 0
    for said, folder in found_after_cuts(STORE, tmp_path):
        store = DirectoryStore(folder / "deep" / "store")
        for digest in said[1:]:
            assert len(store.open(digest)[0]) == 3003
        for held in store.held():
            try:
                assert len(store.open(held.digest)[0]) == 3003
            except BlobCorrupt:
                assert held.digest not in said
        checked += 1
    assert checked > CUTS / 2


def test_a_board(tmp_path: Path) -> None:
    """The last round's record and the live one's are there, however often the file was replaced."""
    checked = 0
    for said, folder in found_after_cuts(BOARD, tmp_path):
        if not said:
            continue
        with LocalBoard(EXPERIMENT, folder / "notes.log") as board:
            for number in list(map(int, said[1:]))[-2:]:
                assert board.read(number) == [Scores(number, "a", 0.5, None)]
        checked += 1
    assert checked > CUTS / 2
