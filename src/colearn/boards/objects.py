"""A board in an object store, for members that nobody can connect to."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from datetime import datetime
from threading import Lock

from colearn.boards.local import LocalBoard
from colearn.errors import BadSignature, BoardError, ConfigError, Equivocation
from colearn.peers.bucket import FAILURES, Bucket, said
from colearn.protocols import Signer
from colearn.records import Experiment, Note, Scores, decode_note, digest_of, encode
from colearn.rules import State

_FIRST_SECONDS = 0.1
_MAX_SECONDS = 5.0
_MAX_NOTE_BYTES = 16_384
_Version = tuple[str, str | None, datetime]
"""An object as it is now: its name, its tag and when it was written."""

_log = logging.getLogger(__name__)


class ObjectBoard:
    """A `colearn.protocols.Board` of objects, one a note; thread-safe.

    An object is named by round, kind, sender and its own digest, so that nobody can take
    the place of another's note; what does not bear its sender's signature is passed over.
    Where a sender signed two notes of a kind for one round, the older object counts. Who
    may write there can still delete notes, or flood it. Object stores announce nothing:
    waiting looks again and again, ever more slowly. Scores bear no signature and stay home.

    Args:
        bucket: As `colearn.peers.bucket.bucket` opens it; shared by all members.
        own: Where notes are kept here.
        experiment: Whose notes these are; one bucket may serve several.
        view: Gives the ledger's state.
        signer: Checks the notes of others.
    """

    def __init__(
        self,
        bucket: Bucket,
        own: LocalBoard,
        *,
        experiment: Experiment,
        view: Callable[[], State],
        signer: Signer,
    ) -> None:
        self._bucket = bucket
        self._own = own
        self._folder = f"notes/{digest_of((encode(experiment),))}"
        self._view = view
        self._signer = signer
        self._seen: dict[int, set[_Version]] = {}
        self._lock = Lock()

    def post(self, *notes: Note) -> None:
        """Write each note as an object, and keep it here.

        Raises:
            Equivocation: Its sender has posted another one for this round and kind.
            BoardError: It cannot be written or kept, or the bucket cannot be read.
        """
        for note in notes:
            if not isinstance(note, Scores):
                self._write(note)
        self._own.post(*notes)
        self._forget(self._view().round - 1)

    def read(self, round_index: int) -> list[Note]:
        """All records posted for a round, in the order they were found."""
        with self._lock:
            self._look(round_index)
        return list(self._own.read(round_index))

    def wait(self, round_index: int, seen: int, timeout_seconds: float) -> bool:
        """Return True once the round has more than ``seen`` records, False at the time-out."""
        end, pause = time.monotonic() + timeout_seconds, _FIRST_SECONDS
        while len(self.read(round_index)) <= seen:
            left = end - time.monotonic()
            if left <= 0:
                return False
            self._own.wait(round_index, seen, min(pause, left))
            pause = min(2 * pause, _MAX_SECONDS)
        return True

    def _write(self, note: Note) -> None:
        for held in self.read(note.round):
            if _place(held) == _place(note) and encode(held) != encode(note):
                raise Equivocation(
                    f"{note.sender!r} has posted another {type(note).__name__.lower()} "
                    f"for round {note.round}: one record of a kind each round"
                )
        path = self._path(note)
        try:
            self._bucket.put(path, encode(note), use_multipart=False)
        except FAILURES as reason:
            raise BoardError(f"{path} cannot be written: {said(reason)}") from None

    def _look(self, round_index: int) -> None:
        """Take what is new of a round.

        An object is done with once it is taken, or can never be: what cannot be read just
        now, or is of a sender that may yet become a member, is looked at again.
        """
        try:
            listed = [each for page in self._bucket.list(self._round(round_index)) for each in page]
        except FAILURES as reason:
            raise BoardError(f"{self._folder} cannot be listed: {said(reason)}") from None
        senders = {_short(member) for member in self._view().members}
        seen = self._seen.setdefault(round_index, set())
        for each in sorted(listed, key=lambda each: (each["last_modified"], each["path"])):
            path = each["path"]
            version = path, each["e_tag"], each["last_modified"]
            if version in seen or not senders.intersection(path.split("-")[1:2]):
                continue
            try:
                if each["size"] <= _MAX_NOTE_BYTES:
                    self._take(path)
            except (BadSignature, ConfigError, Equivocation) as reason:
                _log.warning("%s is left out: %s", path, reason)
            except BoardError as reason:
                _log.warning("%s is left for later: %s", path, reason)
                continue
            seen.add(version)

    def _forget(self, before: int) -> None:
        """Drop what is kept here of earlier rounds; it can be found in the bucket again."""
        self._own.forget(before)
        with self._lock:
            for round_index in [each for each in self._seen if each < before]:
                del self._seen[round_index]

    def _take(self, path: str) -> None:
        note = decode_note(self._get(path))
        if self._path(note) != path:
            raise BadSignature("its name is another note's")
        self._signer.check(note)
        self._own.post(note)

    def _get(self, path: str) -> bytes:
        try:
            return bytes(self._bucket.get(path).bytes())
        except FAILURES as reason:
            raise BoardError(f"{path} cannot be read: {said(reason)}") from None

    def _round(self, round_index: int) -> str:
        return f"{self._folder}/{round_index:016d}"

    def _path(self, note: Note) -> str:
        kind, digest = type(note).__name__.lower(), digest_of((encode(note),))
        return f"{self._round(note.round)}/{kind}-{_short(note.sender)}-{digest[:40]}"


def _short(sender: str) -> str:
    """A sender as part of a name: 40 hex digits."""
    return digest_of((sender.encode(),))[:40]


def _place(note: Note) -> tuple[str, type[Note]]:
    """Where a round has one note at most."""
    return note.sender, type(note)
