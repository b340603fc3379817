"""A member's journal: durable before anything is published, and never two of a kind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from colearn.errors import LedgerError
from colearn.journal import Journal
from colearn.records import Choice, Experiment, Pass, Propose, Vote

EXPERIMENT = Experiment(members=("a", "b"), initial="0" * 64, schema="1" * 64)
VOTE = Vote(3, "a", "2" * 64, Choice.REJECT)


def opened(path, member="a", experiment=EXPERIMENT, silent_through=-1):
    """Open a journal."""
    return Journal(path, experiment, member, silent_through=silent_through)


def test_what_was_written_is_recalled_after_reopening(tmp_path):
    """Another process finds the same record, and none where none was written."""
    path = tmp_path / "journal.db"
    journal = opened(path)
    journal.write(VOTE)
    journal.close()
    again = opened(path)
    assert again.recall(3, Vote) == VOTE
    assert again.recall(3, Propose) is None
    assert again.recall(2, Vote) is None


def test_a_second_record_of_a_kind_is_refused(tmp_path):
    """There is one vote a round, and a turn is either proposed in or passed."""
    journal = opened(tmp_path / "journal.db")
    journal.write(VOTE)
    journal.write(Propose(3, "a", "4" * 64))
    with pytest.raises(LedgerError):
        journal.write(Vote(3, "a", "2" * 64, Choice.APPROVE))
    with pytest.raises(LedgerError):
        journal.write(Pass(3, "a"))
    assert journal.recall(3, Vote) == VOTE
    assert journal.recall(3, Pass) == Propose(3, "a", "4" * 64)


@pytest.mark.parametrize(
    ("member", "experiment"),
    [("b", EXPERIMENT), ("a", Experiment(members=("a", "c"), initial="0" * 64, schema="1" * 64))],
    ids=["another-member", "another-experiment"],
)
def test_a_journal_of_somebody_else_is_refused(tmp_path, member, experiment):
    """A journal belongs to one member of one experiment, and says so in one line."""
    path = tmp_path / "journal.db"
    opened(path).close()
    with pytest.raises(LedgerError, match="is the journal of 'a'"):
        opened(path, member, experiment)


def test_two_processes_cannot_use_one_journal(tmp_path):
    """A second process of the same member is refused while the first one lives."""
    path = tmp_path / "journal.db"
    journal = opened(path)
    journal.write(VOTE)
    code = (
        "from pathlib import Path; from colearn.journal import Journal;"
        "from colearn.records import Experiment\n"
        "experiment = Experiment(members=('a', 'b'), initial='0' * 64, schema='1' * 64)\n"
        f"Journal(Path({str(path)!r}), experiment, 'a', silent_through=-1)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "LedgerError" in done.stderr
    assert "end any other process" in done.stderr


def test_where_it_stays_silent_is_kept(tmp_path):
    """What a new journal was told about the past outlives a restart that says otherwise."""
    path = tmp_path / "journal.db"
    opened(path, silent_through=5).close()
    assert opened(path, silent_through=-1).silent_through == 5


def test_what_was_said_to_be_written_outlives_a_kill(tmp_path):
    """A process killed right after `write` returned has its record on disk, each of 10 times."""
    path = tmp_path / "journal.db"
    code = (
        "import sys; from pathlib import Path; from colearn.journal import Journal;"
        "from colearn.records import Choice, Experiment, Vote\n"
        "experiment = Experiment(members=('a', 'b'), initial='0' * 64, schema='1' * 64)\n"
        "journal = Journal(Path(sys.argv[1]), experiment, 'a', silent_through=-1)\n"
        "first = int(sys.argv[2])\n"
        "for index in range(first, first + 10**6):\n"
        "    journal.write(Vote(index, 'a', '2' * 64, Choice.REJECT))\n"
        "    print(index, flush=True)\n"
    )
    for attempt in range(10):
        first = attempt * 1_000_000
        with subprocess.Popen(
            [sys.executable, "-c", code, str(path), str(first)], stdout=subprocess.PIPE, text=True
        ) as process:
            for line in process.stdout:
                last = int(line)
                if last >= first + 3:
                    break
            os.kill(process.pid, signal.SIGKILL)
        journal = opened(path)
        assert all(journal.recall(index, Vote) is not None for index in range(first, last + 1))
        journal.close()


def test_a_file_that_is_no_journal_is_refused(tmp_path: Path):
    """Any other file is left as it is, and the error says what to do."""
    path = tmp_path / "journal.db"
    path.write_bytes(b"not a database, by any means" * 100)
    with pytest.raises(LedgerError, match="cannot be used"):
        opened(path)
    assert path.read_bytes().startswith(b"not a database")
