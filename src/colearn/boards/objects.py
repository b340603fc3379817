"""A board in an object store, for members that nobody can connect to."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from threading import Lock

from colearn.boards.local import LocalBoard
from colearn.errors import BoardError, ColearnError, Equivocation
from colearn.peers.bucket import FAILURES, AlreadyExistsError, Bucket, said
from colearn.protocols import Signer
from colearn.records import (
    Digest,
    Experiment,
    Note,
    Scores,
    decode_note,
    digest_of,
    encode,
)
from colearn.rules import State

_FIRST_SECONDS = 0.1
_MAX_SECONDS = 5.0
_MAX_NOTE_BYTES = 16_384
_log = logging.getLogger(__name__)


class ObjectBoard:
    """A `colearn.protocols.Board` of objects, one a note; thread-safe.

    An object is created only where there is none, so that a sender has one note of a
    kind in a round, for everybody the same. Object stores announce nothing: waiting
    looks again and again, ever more slowly. Scores bear no signature and stay home.

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
        self._seen: dict[int, set[str]] = {}
        self._lock = Lock()

    def post(self, *notes: Note) -> None:
        """Write each note as an object, and keep it here.

        Raises:
            Equivocation: Its sender has posted another one for this round and kind.
            BoardError: It cannot be written or kept.
        """
        for note in notes:
            if not isinstance(note, Scores):
                self._create(note)
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

    def _create(self, note: Note) -> None:
        path = self._path(note)
        try:
            self._bucket.put(path, encode(note), mode="create", use_multipart=False)
        except AlreadyExistsError:
            if self._get(path) != encode(note):
                raise Equivocation(
                    f"{note.sender!r} has posted another {type(note).__name__.lower()} "
                    f"for round {note.round}: one record of a kind each round"
                ) from None
        except FAILURES as reason:
            raise BoardError(f"{path} cannot be written: {said(reason)}") from None

    def _look(self, round_index: int) -> None:
        """Take what is new of a round."""
        try:
            listed = [each for page in self._bucket.list(self._round(round_index)) for each in page]
        except FAILURES as reason:
            raise BoardError(f"{self._folder} cannot be listed: {said(reason)}") from None
        seen = self._seen.setdefault(round_index, set())
        for each in sorted(listed, key=lambda each: (each["last_modified"], each["path"])):
            path = each["path"]
            if path in seen:
                continue
            try:
                if each["size"] <= _MAX_NOTE_BYTES:
                    self._take(path)
            except ColearnError as reason:
                _log.warning("%s is left out: %s", path, reason)
            seen.add(path)

    def _forget(self, before: int) -> None:
        """Drop what is kept here of earlier rounds; it can be found in the bucket again."""
        self._own.forget(before)
        with self._lock:
            for round_index in [each for each in self._seen if each < before]:
                del self._seen[round_index]

    def _take(self, path: str) -> None:
        note = decode_note(self._get(path))
        if self._path(note) != path or note.sender not in self._view().members:
            raise BoardError("it is not its sender's, or its sender is no member")
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
        sender: Digest = digest_of((note.sender.encode(),))
        return f"{self._round(note.round)}/{type(note).__name__.lower()}-{sender[:40]}"
