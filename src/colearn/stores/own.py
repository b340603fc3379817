"""One member's part of a bucket that all share: what it wrote there, it may delete again."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Self

import msgspec

from colearn.errors import ConfigError, LedgerError, StoreError
from colearn.log import Log
from colearn.protocols import Blob
from colearn.records import Buffer, Digest, digest_of
from colearn.stores.retention import Held

if TYPE_CHECKING:
    from colearn.stores.objects import ObjectStore

_MOST_DROPPED = 1_000


class OwnObjects:
    """A `colearn.protocols.Store` in a shared bucket that deletes what it put; thread-safe.

    Others, and members of other experiments, may have their objects in the same bucket.
    So a file on this member's disk lists its own: each stands there before it is written,
    and no crash leaves an object that nobody knows to delete.

    Args:
        objects: The bucket's objects.
        path: The list.

    Raises:
        StoreError: The list cannot be used.
    """

    def __init__(self, objects: ObjectStore, path: Path) -> None:
        self._objects = objects
        self._own: dict[Digest, Held] = {}
        self._dropped = 0
        self._lock = Lock()
        with _explained():
            self._log = Log(path, self._take)

    def put(self, parts: Iterable[Buffer], digest: Digest | None = None) -> Digest:
        """Write consecutive parts as one object; one that is there is not written again.

        Raises:
            StoreError: It cannot be written.
        """
        views = [memoryview(part).cast("B") for part in parts if len(part)]
        digest = digest or digest_of(views)
        with self._lock:
            if digest not in self._own and digest not in self._objects:
                blob = Held(digest, sum(view.nbytes for view in views))
                with _explained():
                    self._log.append(msgspec.json.encode(blob))
                self._own[digest] = blob
        return self._objects.put(views, digest)

    def open(self, digest: Digest, most_bytes: int | None = None) -> Blob:
        """Fetch an object, whoever put it; raises as `ObjectStore.open` does."""
        return self._objects.open(digest, most_bytes)

    def drop(self, digest: Digest) -> None:
        """Delete an object of one's own; others' stay.

        Raises:
            StoreError: It cannot be deleted.
        """
        with self._lock:
            if digest not in self._own:
                return
            self._objects.drop(digest)
            del self._own[digest]
            self._dropped += 1
            if self._dropped >= _MOST_DROPPED:
                with _explained():
                    self._log.replace(*map(msgspec.json.encode, self._own.values()))
                self._dropped = 0

    def held(self) -> list[Held]:
        """All objects of one's own, the oldest first."""
        with self._lock:
            return list(self._own.values())

    def close(self) -> None:
        """Let the list go."""
        self._log.close()

    def __contains__(self, digest: object) -> bool:
        return digest in self._objects

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _take(self, record: bytes) -> None:
        try:
            blob = msgspec.json.decode(record, type=Held)
        except msgspec.MsgspecError as reason:
            raise ConfigError(f"it is no blob's digest and size: {reason}") from None
        self._own[blob.digest] = blob


@contextmanager
def _explained() -> Iterator[None]:
    try:
        yield
    except LedgerError as reason:
        raise StoreError(str(reason)) from None
