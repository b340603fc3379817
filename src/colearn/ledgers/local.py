"""A ledger in one process: in memory, and with a path also an append-only file.

Time is logical: it stands still while events come, and when a participant waits
it jumps, since in one process all others are idle then.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from threading import Lock
from typing import NamedTuple, Self

from colearn import rules
from colearn.errors import LedgerError, RefusedEvent, TimeWentBack
from colearn.log import Log, read_log
from colearn.protocols import Signer
from colearn.records import Digest, Entry, Event, Experiment, Vote, commitments_in, decode, encode
from colearn.rules import Decision, State


class Recorded(NamedTuple):
    """What a ledger file says, all of it checked.

    Attributes:
        experiment: What the members agreed on.
        entries: Every event, in order.
        state: The state after the last entry, at its time.
        decisions: Every round that had ended by then.
        head: The file's last hash, which stands for the whole file.
        signatures: How many votes came signed, each checked.
        signer: Checks what else members signed; None where nothing is signed.
    """

    experiment: Experiment
    entries: tuple[Entry, ...]
    state: State
    decisions: tuple[Decision, ...]
    head: Digest
    signatures: int = 0
    signer: Signer | None = None


def read_ledger(path: Path) -> Recorded:
    """Read and check a ledger file, without changing it.

    Raises:
        CorruptLedger: The first record that does not hold, by its number from 1.
        LedgerError: The file cannot be read, or holds no record.
    """
    reader = _Reader()
    head = read_log(path, reader.take)
    ledger = reader.ledger
    if ledger is None:
        raise _empty(path)
    return Recorded(
        ledger.experiment, tuple(ledger.events()), ledger.view(), tuple(ledger.decisions()), head
    )


class LocalLedger:
    """A `colearn.protocols.Ledger` for participants in one process; thread-safe.

    Args:
        experiment: What the members agreed on.
        path: A file that does not hold a ledger yet; None to stay in memory.

    Raises:
        LedgerError: The file cannot be written, or holds a ledger already.
    """

    def __init__(self, experiment: Experiment, path: Path | None = None) -> None:
        self._experiment = experiment
        self._commitment_to = commitments_in(experiment)
        self._lock = Lock()
        self._now = 0
        self._entries: list[Entry] = []
        self._decisions: list[Decision] = []
        self._state = rules.start(experiment, self._now)
        self._deadline = self._state.deadline
        self._log: Log | None = None
        if path is not None:
            self._log = Log(path, partial(_refuse_to_start_over, path))
            self._log.append(encode(experiment))

    @classmethod
    def open(cls, path: Path) -> LocalLedger:
        """Go on with the ledger in a file, at the ledger time of its last entry.

        Raises:
            CorruptLedger: The first record that does not hold, by its number from 1.
            LedgerError: There is no such file, or another owner has it open.
        """
        if not path.exists():
            raise LedgerError(f"{path} is not there: no ledger to go on with")
        reader = _Reader()
        log = Log(path, reader.take)
        if reader.ledger is None:
            log.close()
            raise _empty(path)
        reader.ledger._log = log  # noqa: SLF001 - a constructor of this class
        return reader.ledger

    @property
    def experiment(self) -> Experiment:
        """What the members agreed on."""
        return self._experiment

    @property
    def head(self) -> Digest | None:
        """The file's last hash, which stands for the whole file; None in memory."""
        return None if self._log is None else self._log.head

    def decisions(self, since: int = 0) -> list[Decision]:
        """Every round that has ended by now, in order, from position ``since`` on."""
        self.view()
        return self._decisions[since:]

    def now(self) -> int:
        """Ledger time, in whole seconds from 0."""
        return self._now

    def view(self) -> State:
        """The fold of all entries, at the present ledger time."""
        if self._now >= self._deadline:
            with self._lock:
                self._keep(*rules.advance(self._state, self._now))
        return self._state

    def events(self, since: int = 0) -> list[Entry]:
        """All entries from position ``since`` on, in order."""
        return self._entries[since:]

    def submit(self, *events: Event) -> Entry:
        """Append events; they are on disk, where there is a file, before this returns.

        Raises:
            RefusedEvent: The rules do not allow one of them now; those before it stand.
            LedgerError: The file cannot be written.
        """
        with self._lock:
            state = self._state
            entries: list[Entry] = []
            closed: tuple[Decision, ...] = ()
            refusal: RefusedEvent | None = None
            for event in events:
                try:
                    state, more = rules.apply(state, event, self._now, self._commitment_to)
                except RefusedEvent as reason:
                    refusal = reason
                    break
                entries.append(Entry(self._now, event))
                closed += more
            if entries:
                self._record(entries, state, closed)
            if refusal is not None:
                raise refusal
            return entries[-1]

    def commitment(self, vote: Vote, salt: str) -> Digest:
        """What hides a vote until it is revealed with the salt; bound to this experiment."""
        return self._commitment_to(vote, salt)

    def wait(self, seen: int, until: int) -> None:
        """Let time jump to ``until``, unless there are more than ``seen`` entries."""
        with self._lock:
            if len(self._entries) <= seen:
                self._now = max(self._now, until)

    def close(self) -> None:
        """Let the file go; reading stays possible, and closing again changes nothing."""
        with self._lock:
            if self._log is not None:
                self._log.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _record(self, entries: list[Entry], state: State, closed: tuple[Decision, ...]) -> None:
        if self._log is not None:
            self._log.append(*map(encode, entries))
        try:
            self._entries += entries
            self._keep(state, closed)
        except BaseException:  # an interrupt here would leave the file ahead of the memory
            if self._log is not None:
                self._log.close()
            raise

    def _repeat(self, entry: Entry) -> None:
        if entry.time < self._now:
            raise TimeWentBack(f"ledger time {entry.time} comes after {self._now}")
        self._now = entry.time
        self._keep(*rules.apply(self._state, entry.event, entry.time, self._commitment_to))
        self._entries.append(entry)

    def _keep(self, state: State, decisions: tuple[Decision, ...]) -> None:
        self._state = state
        self._deadline = state.deadline
        self._decisions += decisions


class _Reader:
    """Makes a ledger of a file's records: the experiment, then entries."""

    ledger: LocalLedger | None = None

    def take(self, record: bytes) -> None:
        if self.ledger is None:
            self.ledger = LocalLedger(decode(record, Experiment))
        else:
            self.ledger._repeat(decode(record, Entry))  # noqa: SLF001 - of this module


def _refuse_to_start_over(path: Path, _: bytes) -> None:
    raise LedgerError(
        f"{path} holds a ledger already: go on with it by LocalLedger.open, or name another file"
    )


def _empty(path: Path) -> LedgerError:
    return LedgerError(f"{path} holds no record: a ledger begins with its experiment")
