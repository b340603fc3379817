"""A board in one process: in memory, and with a path also an append-only file."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Condition
from typing import Self

from colearn.errors import BoardError, Equivocation, LedgerError
from colearn.log import Log
from colearn.records import Experiment, Note, decode, decode_note, encode

_MOST_FORGOTTEN = 1_000


class LocalBoard:
    """A `colearn.protocols.Board` for participants in one process; thread-safe.

    Args:
        experiment: What the members agreed on; the first thing its file holds.
        path: A file to keep the records in; what it holds already is read first.
            None to stay in memory.

    Raises:
        BoardError: The file cannot be written, belongs to another experiment, or
            holds a record that does not hold.
    """

    def __init__(self, experiment: Experiment, path: Path | None = None) -> None:
        self._experiment = experiment
        self._named = False
        self._changed = Condition()
        self._notes: dict[int, dict[tuple[str, type[Note]], Note]] = {}
        self._forgotten = 0
        self._log: Log | None = None
        if path is not None:
            with _explained():
                self._log = Log(path, self._take)
            if not self._named:
                self._append(experiment)
                self._named = True

    def post(self, *notes: Note) -> None:
        """Make records readable; they are on disk, where there is a file, before this returns.

        Raises:
            Equivocation: A sender has posted another one for this round and kind; none
                of the records is posted then.
            BoardError: The file cannot be written.
        """
        with self._changed:
            new = [note for note in notes if self._is_new(note)]
            if not new:
                return
            self._append(*new)
            for note in new:
                self._keep(note)
            self._changed.notify_all()

    def read(self, round_index: int) -> list[Note]:
        """All records posted for a round, in the order they came."""
        with self._changed:
            return list(self._notes.get(round_index, {}).values())

    def wait(self, round_index: int, seen: int, timeout_seconds: float) -> bool:
        """Return True once the round has more than ``seen`` records, False at the time-out."""
        with self._changed:
            return self._changed.wait_for(
                lambda: len(self._notes.get(round_index, {})) > seen, timeout_seconds
            )

    def forget(self, before: int) -> None:
        """Drop the records of all rounds before one; the file follows now and then.

        Raises:
            BoardError: The file cannot be written.
        """
        with self._changed:
            for round_index in [each for each in self._notes if each < before]:
                self._forgotten += len(self._notes.pop(round_index))
            if self._log is not None and self._forgotten >= _MOST_FORGOTTEN:
                left = (note for notes in self._notes.values() for note in notes.values())
                with _explained():
                    self._log.replace(*map(encode, (self._experiment, *left)))
                self._forgotten = 0

    def close(self) -> None:
        """Let the file go; reading stays possible, and closing again changes nothing."""
        with self._changed:
            if self._log is not None:
                self._log.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _is_new(self, note: Note) -> bool:
        held = self._notes.get(note.round, {}).get((note.sender, type(note)))
        if held is None:
            return True
        # By canonical bytes, for a NaN score is written as "not measured".
        if held != note and encode(held) != encode(note):
            raise Equivocation(
                f"{note.sender!r} has posted other {type(note).__name__.lower()} "
                f"for round {note.round}: one record of a kind each round"
            )
        return False

    def _keep(self, note: Note) -> None:
        self._notes.setdefault(note.round, {})[note.sender, type(note)] = note

    def _append(self, *records: Experiment | Note) -> None:
        if self._log is not None:
            with _explained():
                self._log.append(*map(encode, records))

    def _take(self, record: bytes) -> None:
        if not self._named:
            if decode(record, Experiment) != self._experiment:
                raise BoardError("it belongs to another experiment: choose another folder")
            self._named = True
            return
        note = decode_note(record)
        if not self._is_new(note):
            raise BoardError(f"{note.sender!r} stands twice for round {note.round}")
        self._keep(note)


@contextmanager
def _explained() -> Iterator[None]:
    try:
        yield
    except LedgerError as reason:
        raise BoardError(str(reason)) from None
