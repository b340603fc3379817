"""What a member has decided to publish, durable before it is published.

After a crash the member repeats it, and never says anything else in its place: one
update, one proposal and one vote a round.
"""

from __future__ import annotations

import sqlite3
from pathlib import Path
from threading import Lock
from typing import cast

from colearn.errors import LedgerError
from colearn.records import (
    Commit,
    Experiment,
    Pass,
    Propose,
    Reveal,
    Update,
    Vote,
    decode,
    digest_of,
    encode,
)

Published = Pass | Propose | Update | Vote | Commit | Reveal
"""What a journal keeps."""

_TABLES = """
CREATE TABLE IF NOT EXISTS owner (experiment TEXT NOT NULL, member TEXT NOT NULL,
    silent_through INTEGER);
CREATE TABLE IF NOT EXISTS published (round INTEGER NOT NULL, kind TEXT NOT NULL,
    record BLOB NOT NULL, PRIMARY KEY (round, kind));
"""
_KINDS: dict[type[Published], str] = {
    Pass: "turn",
    Propose: "turn",
    Update: "update",
    Vote: "vote",
    Commit: "vote",
    Reveal: "reveal",
}


class Journal:
    """One member's journal of one experiment: a SQLite file, one process at a time.

    Args:
        path: The file; made if there is none.
        experiment: What the members agreed on.
        member: Whose journal it is.
        silent_through: Where the file is made, the last round in which the member may
            have spoken already; in rounds up to this one it stays silent. -1 for a
            member that has never taken part; None where that has to be found out.

    Attributes:
        silent_through: As it stands in the file.

    Raises:
        LedgerError: The file cannot be used, is another's, or is open elsewhere.
    """

    def __init__(
        self, path: Path, experiment: Experiment, member: str, *, silent_through: int | None
    ) -> None:
        self._path = path
        self._lock = Lock()
        owner = digest_of((encode(experiment),)), member
        try:
            self._file = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
            self._file.execute("PRAGMA locking_mode = EXCLUSIVE")
            self._file.execute("PRAGMA journal_mode = WAL")
            self._file.execute("PRAGMA synchronous = FULL")
            self._file.execute("PRAGMA wal_autocheckpoint = 100")
            self._file.executescript(_TABLES)
            found = self._file.execute("SELECT * FROM owner").fetchone()
            if found is None:
                found = (*owner, silent_through)
                self._file.execute("INSERT INTO owner VALUES (?, ?, ?)", found)
        except sqlite3.Error as reason:
            raise self._unusable(reason) from None
        if found[:2] != owner:
            self.close()
            raise LedgerError(
                f"{path} is the journal of {found[1]!r} in experiment {found[0][:12]}, "
                f"expected {member!r} in {owner[0][:12]}: name another file"
            )
        self.silent_through: int | None = found[2]

    def settle(self, silent_through: int) -> None:
        """Keep what was found out: the last round to be silent in.

        Raises:
            LedgerError: The file cannot be written.
        """
        with self._lock:
            try:
                self._file.execute("UPDATE owner SET silent_through = ?", (silent_through,))
            except sqlite3.Error as reason:
                raise self._unusable(reason) from None
        self.silent_through = silent_through

    def recall(self, round_index: int, kind: type[Published]) -> Published | None:
        """What was to be published in a round; a turn is proposed in or passed, not both.

        Raises:
            LedgerError: The file cannot be read.
        """
        with self._lock:
            return self._recall(round_index, _KINDS[kind])

    def write(self, *records: Published) -> None:
        """Keep records, all or none: each the only one of its kind in its round.

        Raises:
            LedgerError: There is one already, or the file cannot be written.
        """
        rows = [(record.round, _KINDS[type(record)], encode(record)) for record in records]
        with self._lock:
            try:
                self._file.execute("BEGIN")
                try:
                    self._file.executemany("INSERT INTO published VALUES (?, ?, ?)", rows)
                except sqlite3.Error:
                    self._file.execute("ROLLBACK")
                    raise
                self._file.execute("COMMIT")
            except sqlite3.Error as reason:
                raise self._unusable(reason) from None

    def close(self) -> None:
        """Let the file go."""
        self._file.close()

    def _recall(self, round_index: int, kind: str) -> Published | None:
        try:
            row = self._file.execute(
                "SELECT record FROM published WHERE round = ? AND kind = ?", (round_index, kind)
            ).fetchone()
        except sqlite3.Error as reason:
            raise self._unusable(reason) from None
        return None if row is None else decode(row[0], cast("type[Published]", Published))

    def _unusable(self, reason: sqlite3.Error) -> LedgerError:
        return LedgerError(
            f"the journal {self._path} cannot be used: {reason}; "
            "end any other process of this member, or make room on the disk"
        )
