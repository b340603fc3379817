r"""An append-only file of records, each hash-linked to the one before.

One line a record::

    <64 hex digits> <canonical JSON>\n

The digits are the blake3 hash of the line before's digits, a space and the JSON;
the first line's "line before" is 64 zeros. So the last line's digits, the *head*,
stand for the whole file: whoever knows the head notices any change.

A record is on disk before `Log.append` returns. A crash can only leave a last line
without its end; the owner cuts it off when opening the file again, a reader
reports it.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Iterable
from pathlib import Path

from colearn.errors import ConfigError, CorruptLedger, LedgerError, RefusedEvent
from colearn.records import Digest, digest_of

FIRST: Digest = "0" * 64
"""The head of a file without records."""

Take = Callable[[bytes], None]
"""Takes one record's JSON; may refuse it with a `ConfigError` or a `RefusedEvent`."""


class Log:
    """One log file, open for its only owner to append to.

    Args:
        path: The file; created if there is none.
        take: Called with each record that the file holds already, in order.

    Raises:
        CorruptLedger: A record does not hold; the file is left as it is.
        LedgerError: The file cannot be opened, or another owner has it open.
    """

    def __init__(self, path: Path, take: Take) -> None:
        self._path = path
        try:
            self._file = path.open("a+b")
        except OSError as reason:
            raise _unusable(path, "opened", reason) from None
        try:
            self._lock()
            self._file.seek(0)
            whole = _WholeLines(self._file)
            self.head = _check(path, whole, take)
            os.ftruncate(self._file.fileno(), whole.size_bytes)
            os.fsync(self._file.fileno())
            sync_directory(path.parent)
        except OSError as reason:
            self.close()
            raise _unusable(path, "opened", reason) from None
        except BaseException:
            self.close()
            raise

    def _lock(self) -> None:
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise LedgerError(
                f"{self._path} is open for writing elsewhere: "
                "end the other run first, for two owners cannot append to one file"
            ) from None

    def append(self, *records: bytes) -> None:
        """Put records' canonical JSON on disk, by one write.

        Whatever interrupts it closes the log, for what is on disk is uncertain then;
        opening it again repairs it.

        Raises:
            LedgerError: They could not be written, or the log is closed.
        """
        if self._file.closed:
            raise LedgerError(f"{self._path} is closed: open it again to append")
        head, lines = self.head, b""
        for record in records:
            head = _link(head, record)
            lines += b"%s %s\n" % (head.encode(), record)
        try:
            written = os.write(self._file.fileno(), lines)
            os.fsync(self._file.fileno())
            if written < len(lines):
                raise LedgerError(f"{self._path} took only a part: make room on the disk")
            self.head = head
        except OSError as reason:
            self.close()
            raise _unusable(self._path, "written", reason) from None
        except BaseException:
            self.close()
            raise

    def replace(self, *records: bytes) -> None:
        """Put other records in the place of all: a crash leaves those or these.

        Raises:
            LedgerError: They could not be written; those stay then.
        """
        coming = self._path.with_name(f"{self._path.name}.new")
        try:
            coming.unlink(missing_ok=True)
            other = Log(coming, lambda record: None)
            other.append(*records)
            coming.replace(self._path)
        except OSError as reason:
            raise _unusable(self._path, "written", reason) from None
        self.close()
        self._file, self.head = other._file, other.head
        try:
            sync_directory(self._path.parent)
        except OSError as reason:
            self.close()
            raise _unusable(self._path, "written", reason) from None

    def close(self) -> None:
        """Let the file go; closing again changes nothing."""
        self._file.close()


def read_log(path: Path, take: Take) -> Digest:
    """Check a log file without changing it; return its head.

    Args:
        path: The file.
        take: Called with each record, in order.

    Raises:
        CorruptLedger: A record does not hold, or the last line has no end.
        LedgerError: The file cannot be read.
    """
    try:
        with path.open("rb") as file:
            return _check(path, file, take)
    except OSError as reason:
        raise _unusable(path, "read", reason) from None


def sync_directory(path: Path) -> None:
    """Make the names in a directory durable: a new file's own fsync does not."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def holds_records(path: Path) -> bool:
    """Whether there is a log file with a whole line in it."""
    try:
        with path.open("rb") as file:
            return file.readline().endswith(b"\n")
    except FileNotFoundError:
        return False
    except OSError as reason:
        raise _unusable(path, "read", reason) from None


class _WholeLines:
    """The lines that have an end, and how many bytes they are together."""

    def __init__(self, lines: Iterable[bytes]) -> None:
        self._lines = iter(lines)
        self.size_bytes = 0

    def __iter__(self) -> _WholeLines:
        return self

    def __next__(self) -> bytes:
        line = next(self._lines)
        if not line.endswith(b"\n"):
            raise StopIteration
        self.size_bytes += len(line)
        return line


def _check(path: Path, lines: Iterable[bytes], take: Take) -> Digest:
    head = FIRST
    for number, line in enumerate(lines, start=1):
        if not line.endswith(b"\n"):
            raise _corrupt(path, number, "its line has no end, as after a write cut short")
        digits, _, record = line[:-1].partition(b" ")
        head = _link(head, record)
        if digits != head.encode():
            raise _corrupt(path, number, "its hash does not match")
        try:
            take(record)
        except ConfigError as reason:
            raise _corrupt(path, number, str(reason)) from None
        except RefusedEvent as reason:
            raise _corrupt(path, number, f"refused by the rules: {reason}") from None
    return head


def _link(head: Digest, record: bytes) -> Digest:
    return digest_of((head.encode(), b" ", record))


def _corrupt(path: Path, number: int, why: str) -> CorruptLedger:
    return CorruptLedger(f"{path}: record {number} does not hold: {why}")


def _unusable(path: Path, what: str, reason: OSError) -> LedgerError:
    return LedgerError(f"{path} cannot be {what}: {reason.strerror}")
