"""A learner's budget: one durable file that says what its data has given away.

The order of things is what protects: a charge is on disk before the data is touched,
and what is to be released is on disk before it is published. So a crash, wherever it
strikes, leaves nothing released that was not charged; and a restart finds what it
drew before and sends that again. Nothing is ever refunded.

The file is SQLite with a write-ahead log, synced at every commit, for its owner's eyes alone.
It is bound to the fingerprint of its data, and a `Witness` elsewhere notices an older copy
of it.
"""

from __future__ import annotations

import os
import secrets
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import RLock
from typing import Any, NamedTuple, Self

import msgspec

from colearn.errors import BudgetError, BudgetSpent
from colearn.privacy.accounting import Event, epsilon, total
from colearn.privacy.witness import Seen, Witness

TRAIN, VOTES = "train", "votes"
_VERSION = 1
_UNSPENT = 1  # writes of a budget that was made and never charged
_KEPT = 8  # trainings whose result is kept, to send it again; all votes are kept
_TABLES = """
CREATE TABLE budget (
    version INTEGER, name TEXT, fingerprint TEXT, secret BLOB, caps TEXT, writes INTEGER
);
CREATE TABLE charges (
    number INTEGER PRIMARY KEY, purse TEXT, key TEXT UNIQUE,
    noise_multiplier REAL, sampling_rate REAL, steps INTEGER, body BLOB
);
"""


class Cap(NamedTuple):
    """The most that may be spent from one purse."""

    epsilon: float
    delta: float


def _make_for_the_owner_alone(path: Path) -> None:
    """Make the file if it is not there; SQLite gives the files beside it the same mode."""
    with suppress(OSError):  # SQLite will say what is wrong
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))


class Budget:
    """What may be spent of the privacy of one data set, and what has been.

    Args:
        path: The file; it is made if it is not there. None keeps all in memory, which
            protects nobody beyond this process: for simulations.
        fingerprint: Tells this data set from every other.
        caps: By purse, such as ``"train"`` and ``"votes"``; fixed when the file is made.
        witness: Where to keep the witness's count; needed with a path.

    Raises:
        BudgetError: The file is of other data or other caps, an older copy, lost, or
            cannot be read.
    """

    def __init__(
        self,
        path: Path | None,
        *,
        fingerprint: str,
        caps: Mapping[str, Cap],
        witness: Path | None = None,
    ) -> None:
        self._path = path
        self._caps = dict(caps)
        self._lock = RLock()
        self._affordable: dict[str, tuple[Event, ...]] = {}
        if path is not None and witness is None:
            raise BudgetError(f"budget {path} has no witness: say where to keep its count")
        self._witness = None if witness is None else Witness(witness)
        if path is not None:
            _make_for_the_owner_alone(path)
        with self._readable():
            self._connection = sqlite3.connect(
                ":memory:" if path is None else path, isolation_level=None, check_same_thread=False
            )
            self._connection.execute("PRAGMA journal_mode=WAL")
            self._connection.execute("PRAGMA synchronous=FULL")
        with self._transaction():
            self._make_or_check(fingerprint)
        self._testify()

    def telling(self, what: str) -> str:
        """What is to be told of the data, with the file that accounts for it named first."""
        return what if self._path is None else f"budget {self._path}: {what}"

    @property
    def secret(self) -> bytes:
        """32 random bytes that only this budget knows, the same each time it is opened."""
        with self._readable():
            return bytes(self._one("SELECT secret FROM budget")[0])

    def foresee(self, purse: str, event: Event, times: int) -> bool:
        """Whether that many more charges fit; those that do are then charged without delay."""
        more = event._replace(steps=event.steps * times)
        with self._readable():
            events = total((*self._events(purse), more))
        return self._affords(purse, events)

    def charge(self, purse: str, key: str, event: Event) -> bytes | None:
        """Charge for what the key names, durably, before any data is touched.

        Returns:
            What was made under this key before and is to be sent again; None to go on
            and make it. A key is charged once, however often it is asked for.

        Raises:
            BudgetSpent: It would cost more than is left. Nothing is charged.
            BudgetError: The charge cannot be written.
        """
        with self._transaction():
            known = self._one("SELECT body FROM charges WHERE key = ?", key)
            if known is None:
                if not self._affords(purse, total((*self._events(purse), event))):
                    cap = self._caps[purse]
                    raise BudgetSpent(
                        f"the privacy budget for {purse} is spent: one more would cost more than "
                        f"epsilon {cap.epsilon:g} at delta {cap.delta:g}"
                    )
                self._execute(
                    "INSERT INTO charges (purse, key, noise_multiplier, sampling_rate, steps) "
                    "VALUES (?, ?, ?, ?, ?)",
                    *(purse, key, *event),
                )
                self._count_write()
        self._testify()
        return None if known is None else known[0]

    def release(self, key: str, body: bytes) -> bytes:
        """Keep what was made under a charged key, durably, and return what to publish.

        That is ``body``, or what another process kept under this key first.

        Raises:
            BudgetError: The key was not charged, or nothing can be written.
        """
        with self._transaction():
            charged = self._one("SELECT purse, body FROM charges WHERE key = ?", key)
            if charged is None:
                raise BudgetError("this was not charged: call charge before the data is touched")
            purse, kept = charged
            if kept is None:
                self._execute("UPDATE charges SET body = ? WHERE key = ?", body, key)
                if purse == TRAIN:
                    self._forget_old_trainings()
                self._count_write()
        self._testify()
        return body if kept is None else bytes(kept)

    def spent(self, purse: str) -> float:
        """The epsilon spent from a purse, at its delta."""
        with self._readable():
            return epsilon(self._events(purse), self._caps[purse].delta)

    def charges(self, purse: str) -> int:
        """How many charges there have been."""
        with self._readable():
            return int(self._one("SELECT count(*) FROM charges WHERE purse = ?", purse)[0])

    def close(self) -> None:
        """Let the files go."""
        with self._lock:
            self._connection.close()
            if self._witness is not None:
                self._witness.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _make_or_check(self, fingerprint: str) -> None:
        caps = msgspec.json.encode(self._caps, order="sorted").decode()
        if self._one("SELECT 1 FROM sqlite_master WHERE name = 'budget'") is None:
            self._refuse_if_lost()
            for statement in _TABLES.split(";")[:-1]:
                self._execute(statement)
            made = (_VERSION, secrets.token_hex(16), fingerprint, secrets.token_bytes(32), caps, 1)
            self._execute("INSERT INTO budget VALUES (?, ?, ?, ?, ?, ?)", *made)
            return
        version, of_data, had = self._one("SELECT version, fingerprint, caps FROM budget")
        if version != _VERSION:
            raise BudgetError(
                f"budget {self._path} has version {version}; this colearn reads {_VERSION}: "
                "use the release that wrote it"
            )
        if of_data != fingerprint:
            raise BudgetError(
                f"budget {self._path} belongs to other data: each data set has its own, "
                "and data that has changed is another data set"
            )
        if had != caps:
            raise BudgetError(
                f"budget {self._path} was made with the caps {had}, not {caps}: "
                "give the same as before"
            )
        self._refuse_if_older()

    def _refuse_if_lost(self) -> None:
        if self._witness is None or self._witness.seen is None:
            return
        if self._witness.seen.writes > _UNSPENT:
            raise BudgetError(
                f"there is no budget in {self._path}, but its witness {self._witness.path} has "
                f"seen {self._witness.seen.writes} writes of one for this data: give that file, "
                "for what has been spent cannot be spent again"
            )

    def _refuse_if_older(self) -> None:
        if self._witness is None:
            return
        own, seen = self._state(), self._witness.seen
        if seen is None:
            if own.writes > _UNSPENT:
                raise BudgetError(
                    f"witness {self._witness.path} of the budget {self._path} is gone: put it "
                    "back, for without it an older copy of the budget would not be noticed"
                )
        elif seen.budget != own.budget:
            raise BudgetError(
                f"witness {self._witness.path} belongs to another budget than {self._path}: "
                "one data set has one budget"
            )
        elif seen.writes > own.writes:
            raise BudgetError(
                f"budget {self._path} is an older copy: it has seen {own.writes} writes, its "
                f"witness {self._witness.path} {seen.writes}; put back the newest, for what has "
                "been spent since cannot be spent again"
            )

    def _affords(self, purse: str, events: tuple[Event, ...]) -> bool:
        """Whether these cost no more than the cap; fewer than what is known to fit do."""
        fits = {event[:2]: event.steps for event in self._affordable.get(purse, ())}
        if all(fits.get(event[:2], 0) >= event.steps for event in events):
            return True
        cap = self._caps[purse]
        if epsilon(events, cap.delta) > cap.epsilon:
            return False
        self._affordable[purse] = events
        return True

    def _events(self, purse: str) -> list[Event]:
        rows = self._connection.execute(
            "SELECT noise_multiplier, sampling_rate, sum(steps) FROM charges "
            "WHERE purse = ? GROUP BY 1, 2",
            (purse,),
        )
        return [Event(*row) for row in rows]

    def _forget_old_trainings(self) -> None:
        """Let go of what is too old to be sent again; its charge stays."""
        self._execute(
            "UPDATE charges SET key = NULL, body = NULL WHERE number IN (SELECT number "
            "FROM charges WHERE body IS NOT NULL AND purse = ? "
            "ORDER BY number DESC LIMIT -1 OFFSET ?)",
            *(TRAIN, _KEPT),
        )

    def _count_write(self) -> None:
        self._execute("UPDATE budget SET writes = writes + 1")

    def _state(self) -> Seen:
        return Seen(*self._one("SELECT writes, name FROM budget"))

    def _testify(self) -> None:
        """Tell the witness of all that is committed, before anyone acts on it."""
        if self._witness is not None:
            with self._readable():
                self._witness.write(self._state())

    def _execute(self, statement: str, *values: object) -> None:
        self._connection.execute(statement, values)

    def _one(self, query: str, *values: object) -> Any:
        """The first row, a tuple; None if there is none."""
        return self._connection.execute(query, values).fetchone()

    @contextmanager
    def _readable(self) -> Iterator[None]:
        """One thread at a time; what SQLite complains of becomes an error of ours."""
        with self._lock:
            try:
                yield
            except sqlite3.Error as reason:
                raise BudgetError(f"budget {self._path} cannot be used: {reason}") from None

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        """All that is done within is on disk afterwards, or none of it is."""
        with self._readable():
            self._execute("BEGIN IMMEDIATE")
            try:
                yield
                self._execute("COMMIT")
            except BaseException:
                if self._connection.in_transaction:
                    self._execute("ROLLBACK")
                raise
