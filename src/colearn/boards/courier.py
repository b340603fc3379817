"""Bringing one other member what is posted for it, until it has it."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from threading import Condition, Thread

from colearn.errors import ColearnError, PeerError
from colearn.peers.book import AddressBook
from colearn.records import Note, decode_note, encode

_FIRST_SECONDS = 0.1
_MAX_SECONDS = 5.0
_JOIN_SECONDS = 1.0
_FINAL = {204, 400, 403, 409}
"""Answers after which a note is not brought again: taken, or refused for good."""

_log = logging.getLogger(__name__)


class Courier:
    """Visits one member whenever there is something for it, from a thread of its own.

    On the first visit, and on the first after one that failed, it also brings back what
    it finds there.

    Args:
        member: Whom to visit.
        book: Where the member is reached.
        waiting: Gives all notes that the member should have by now.
        rounds: Gives the rounds whose notes to bring back.
        receive: Takes what is brought back.
    """

    def __init__(
        self,
        member: str,
        book: AddressBook,
        *,
        waiting: Callable[[str], list[Note]],
        rounds: Callable[[], Iterable[int]],
        receive: Callable[[Note], object],
    ) -> None:
        self._member = member
        self._book = book
        self._waiting = waiting
        self._rounds = rounds
        self._receive = receive
        self._changed = Condition()
        self._called = True
        self._closed = False
        self._has: set[bytes] = set()
        self._caught_up = False
        self._thread = Thread(target=self._run, name=f"courier to {member}", daemon=True)
        self._thread.start()

    def call(self) -> None:
        """Visit the member soon: there is something for it, or it is back."""
        with self._changed:
            self._called = True
            self._changed.notify()

    def close(self) -> None:
        """Visit nobody any more."""
        with self._changed:
            self._closed = True
            self._changed.notify()

    def join(self) -> None:
        """Wait a moment for the visit that is under way; one to who dawdles ends later."""
        self._thread.join(_JOIN_SECONDS)

    def _run(self) -> None:
        pause = _FIRST_SECONDS
        while True:
            with self._changed:
                self._changed.wait_for(
                    lambda: self._called or self._closed, None if self._caught_up else pause
                )
                if self._closed:
                    return
                self._called = False
            try:
                self._visit()
            except ColearnError as reason:
                _log.debug("no visit to %s: %s", self._member, reason)
                self._caught_up, pause = False, min(2 * pause, _MAX_SECONDS)
            else:
                pause = _FIRST_SECONDS

    def _visit(self) -> None:
        peer = self._book.peer(self._member)
        if peer is None:
            raise PeerError(f"the address of {self._member!r} is not known yet")
        if not self._caught_up:
            for round_index in self._rounds():
                answer = peer.ask("GET", f"/notes/{round_index}")
                if answer.status != 200:
                    raise PeerError(f"{peer.url} answers {answer.status} when asked for notes")
                for line in answer.body.splitlines():
                    self._bring_back(line)
            self._caught_up = True
        waiting = {encode(note): note for note in self._waiting(self._member)}
        self._has &= waiting.keys()
        for raw, note in waiting.items():
            if raw in self._has:
                continue
            status = peer.ask("POST", "/notes", raw).status
            if status not in _FINAL:
                raise PeerError(f"{peer.url} answers {status} to a note")
            if status != 204:
                _log.warning(
                    "%s refuses this member's %s of round %d: it answers %d",
                    self._member,
                    type(note).__name__.lower(),
                    note.round,
                    status,
                )
            self._has.add(raw)

    def _bring_back(self, line: bytes) -> None:
        try:
            self._receive(decode_note(line))
        except ColearnError as reason:
            _log.debug("a note from %s is refused: %s", self._member, reason)
