"""A store over another that must not be changed, such as an auditor's."""

from __future__ import annotations

from collections.abc import Iterable

from colearn.protocols import Blob, Store
from colearn.records import Buffer, Digest
from colearn.stores.memory import MemoryStore


class Overlay:
    """A `colearn.protocols.Store` that reads from another one, and keeps in memory what is put.

    Args:
        under: The store to read from; it is never written to.
    """

    def __init__(self, under: Store) -> None:
        self._own = MemoryStore()
        self._under = under

    def put(self, parts: Iterable[Buffer], digest: Digest | None = None) -> Digest:
        """Hold a blob in memory."""
        return self._own.put(parts, digest)

    def open(self, digest: Digest, most_bytes: int | None = None) -> Blob:
        """Give a blob, from memory or from the store below; raises as that does."""
        return (self._own if digest in self._own else self._under).open(digest, most_bytes)

    def drop(self, digest: Digest) -> None:
        """Hold a blob in memory no longer; one in the store below stays."""
        self._own.drop(digest)

    def __contains__(self, digest: object) -> bool:
        return digest in self._own or digest in self._under
