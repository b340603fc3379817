"""The budget: charged first, never refunded, never drawn twice, never set back."""

from __future__ import annotations

import os
import re
import shutil
import sqlite3
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from colearn.errors import BudgetError, BudgetSpent
from colearn.privacy.accounting import Event, epsilon
from colearn.privacy.budget import TRAIN, VOTES, Budget, Cap

BENCHMARK = Path(__file__).parents[2] / "benchmarks" / "budget.py"
VOTE = Event(21.6)


@pytest.fixture
def make(tmp_path):
    """Open a budget, as often as asked, in one folder."""
    opened = []

    def open_budget(name="budget.sqlite", fingerprint="data", most=1.0, witness="witness"):
        caps = {TRAIN: Cap(8.0, 1e-5), VOTES: Cap(most, 1e-5)}
        path, counted = (None, None) if name is None else (tmp_path / name, tmp_path / witness)
        budget = Budget(path, fingerprint=fingerprint, caps=caps, witness=counted)
        opened.append(budget)
        return budget

    yield open_budget
    for budget in opened:
        budget.close()


def spend(budget, *keys):
    """Charge and keep a vote under each key."""
    for key in keys:
        assert budget.charge(VOTES, key, VOTE) is None
        budget.release(key, b"approve")


def test_a_charge_adds_up(make):
    """What has been spent is what the accountant says of all charges, per purse."""
    budget = make()
    spend(budget, "a", "b", "c")
    assert budget.spent(VOTES) == epsilon([VOTE._replace(steps=3)], 1e-5) > 0
    assert budget.spent(TRAIN) == 0
    assert (budget.charges(VOTES), budget.charges(TRAIN)) == (3, 0)


def test_a_key_is_charged_once_and_repeated(make):
    """The same question again costs nothing and gets the same answer, after a restart too."""
    with make() as budget:
        spend(budget, "a")
        spent = budget.spent(VOTES)
        assert budget.charge(VOTES, "a", VOTE) == b"approve"
        assert budget.release("a", b"reject") == b"approve"
    again = make()
    assert again.charge(VOTES, "a", VOTE) == b"approve"
    assert again.spent(VOTES) == spent


def test_a_crash_before_the_release_is_not_charged_again(make):
    """What was charged but never kept is made anew, under the same charge."""
    with make() as budget:
        budget.charge(VOTES, "a", VOTE)
    again = make()
    assert again.charge(VOTES, "a", VOTE) is None
    assert again.release("a", b"reject") == b"reject"
    assert again.charges(VOTES) == 1


def test_spent_means_spent(make):
    """Charges stop before the cap is passed, nothing is charged then, and repeats go on."""
    budget = make(most=0.5)
    with pytest.raises(BudgetSpent, match=r"for votes is spent.*epsilon 0\.5 at delta 1e-05"):
        spend(budget, *map(str, range(1_000)))
    had = budget.charges(VOTES)
    assert had > 1
    assert budget.spent(VOTES) <= 0.5 < epsilon([VOTE._replace(steps=had + 1)], 1e-5)
    assert budget.charge(VOTES, "0", VOTE) == b"approve"
    assert budget.charge(TRAIN, "t", Event(2.0, 0.1, 10)) is None


def test_foresee_tells_what_fits(make):
    """Foreseen charges fit, one more than fits does not, and foreseeing charges nothing."""
    budget = make()
    most = next(n for n in range(1, 1_000) if epsilon([VOTE._replace(steps=n + 1)], 1e-5) > 1.0)
    assert budget.foresee(VOTES, VOTE, most)
    assert not budget.foresee(VOTES, VOTE, most + 1)
    assert budget.charges(VOTES) == 0
    spend(budget, *map(str, range(most)))
    with pytest.raises(BudgetSpent):
        budget.charge(VOTES, "more", VOTE)


def test_unlike_events_are_added_up(make):
    """A budget spent with one noise counts against charges with another."""
    budget = make()
    budget.charge(VOTES, "little noise", Event(5.5))
    with pytest.raises(BudgetSpent):
        spend(budget, *map(str, range(30)))
    assert budget.spent(VOTES) <= 1.0


def test_release_needs_a_charge(make):
    """Nothing can be kept for release that was not charged first."""
    with pytest.raises(BudgetError, match="not charged"):
        make().release("a", b"approve")


def test_bound_to_its_data(make):
    """A budget refuses other data, and other caps."""
    make().close()
    with pytest.raises(BudgetError, match="belongs to other data"):
        make(fingerprint="others")
    with pytest.raises(BudgetError, match="was made with the caps"):
        make(most=2.0)


def test_an_older_copy_is_refused(make, tmp_path):
    """A restored backup is noticed, whether it lacks a charge or only what was released."""
    path, backup = tmp_path / "budget.sqlite", tmp_path / "backup.sqlite"
    with make() as budget:
        budget.charge(VOTES, "a", VOTE)
    shutil.copy(path, backup)
    with make() as budget:
        budget.release("a", b"approve")
    shutil.copy(backup, path)
    with pytest.raises(BudgetError, match="is an older copy: it has seen 2 writes"):
        make()


def test_a_lost_budget_is_not_begun_anew(make, tmp_path):
    """Without its file, or with a second file for the same witness, there is no new budget."""
    with make() as budget:
        spend(budget, "a")
    with pytest.raises(BudgetError, match="no budget in.*has seen 3 writes"):
        make(name="other.sqlite")
    (tmp_path / "other.sqlite").unlink()
    with make(name="other.sqlite", witness="another") as other:
        spend(other, "a")
    with pytest.raises(BudgetError, match="belongs to another budget"):
        make(name="other.sqlite")


def test_a_lost_witness_is_noticed(make, tmp_path):
    """Once anything was charged, a budget does not open without its witness."""
    make().close()
    (tmp_path / "witness").unlink()
    with make() as budget:
        spend(budget, "a")
    (tmp_path / "witness").write_bytes(b"")
    with pytest.raises(BudgetError, match="holds no count"):
        make()
    (tmp_path / "witness").unlink()
    with pytest.raises(BudgetError, match="is gone"):
        make()


def test_a_torn_witness_still_counts(make, tmp_path):
    """A write of the witness that was cut off leaves the count before it, and the budget opens."""
    with make() as budget:
        spend(budget, "a")
    witness = tmp_path / "witness"
    raw = bytearray(witness.read_bytes())
    raw[512 + 5 : 512 + 40] = bytes(35)  # the newest, odd write stands in the second slot
    witness.write_bytes(raw)
    with make() as budget:
        assert budget.charge(VOTES, "a", VOTE) == b"approve"
    assert b"00000000000000000003" in witness.read_bytes()


def test_files_that_cannot_be_used(make, tmp_path):
    """A witness or a budget that cannot be read is told in one line."""
    budget = make()
    budget.close()
    (tmp_path / "witness").unlink()
    (tmp_path / "witness").mkdir()
    with pytest.raises(BudgetError, match="witness .* cannot be read: Is a directory"):
        make()
    with pytest.raises(BudgetError, match="cannot be used: unable to open"):
        make(name="no/such/folder.sqlite", witness="fresh")
    (tmp_path / "garbage.sqlite").write_bytes(b"no database" * 100)
    with pytest.raises(BudgetError, match="cannot be used: file is not a database"):
        make(name="garbage.sqlite", witness="fresh")


def test_nobody_else_can_read_it(make, tmp_path):
    """The secret that assigns records is in it, or in the files that SQLite keeps beside it."""
    before = os.umask(0)
    try:
        spend(make(), "a")
    finally:
        os.umask(before)
    modes = {each.name: stat.S_IMODE(each.stat().st_mode) for each in tmp_path.iterdir()}
    names = ["budget.sqlite", "budget.sqlite-shm", "budget.sqlite-wal", "witness"]
    assert modes == dict.fromkeys(names, 0o600)


def test_needs_a_witness(tmp_path):
    """A file without a witness would let an older copy pass."""
    with pytest.raises(BudgetError, match="has no witness"):
        Budget(tmp_path / "budget.sqlite", fingerprint="data", caps={})


def test_only_the_newest_trainings_are_kept(make):
    """Old weights do not pile up; every vote stays, and so does every charge."""
    budget = make(most=8.0)
    spend(budget, *map(str, range(12)))
    for number in range(12):
        budget.charge(TRAIN, f"t{number}", Event(20.0, 0.1, 10))
        budget.release(f"t{number}", b"weights")
    assert budget.charge(TRAIN, "t4", Event(20.0, 0.1, 10)) == b"weights"
    assert budget.charge(TRAIN, "t3", Event(20.0, 0.1, 10)) is None
    assert budget.charges(TRAIN) == 13
    assert budget.charge(VOTES, "0", VOTE) == b"approve"


def test_every_commit_is_synced(make):
    """SQLite is told to sync at each commit (2 is FULL)."""
    assert make()._one("PRAGMA synchronous") == (2,)


def test_in_memory(make):
    """Without a path all works, and nothing is left."""
    budget = make(name=None)
    spend(budget, "a")
    assert budget.charge(VOTES, "a", VOTE) == b"approve"


def test_two_processes_agree(make):
    """Of two that drew under one key, the first that kept its draw is published by both."""
    one, two = make(), make()
    assert one.charge(VOTES, "a", VOTE) is None
    assert two.charge(VOTES, "a", VOTE) is None
    assert two.release("a", b"reject") == b"reject"
    assert one.release("a", b"approve") == b"reject"


def test_secret_is_kept(make):
    """The key that assigns records is drawn once, and is no other budget's."""
    with make() as budget:
        secret = budget.secret
    assert make().secret == secret != make(name=None).secret


def test_another_version_is_refused(make, tmp_path):
    """A file of another version is refused in one line."""
    make().close()
    with sqlite3.connect(tmp_path / "budget.sqlite") as connection:
        connection.execute("UPDATE budget SET version = 9")
    connection.close()
    with pytest.raises(BudgetError, match="has version 9"):
        make()


def test_kill_minus_nine():
    """Killed at any moment: no contradictory release, none uncharged, no charge lost."""
    command = [sys.executable, str(BENCHMARK), "--kills", "15"]
    output = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    rows = dict(
        re.findall(r"^(\D+?) +(\d+)", output.split("\n\n")[1].replace("-9", ""), re.MULTILINE)
    )
    assert int(rows.pop("kill")) == 15
    assert int(rows.pop("releases published")) > 0
    assert rows == {
        "contradictory releases": "0",
        "uncharged releases": "0",
        "data touched uncharged": "0",
        "times the charges fell": "0",
    }
