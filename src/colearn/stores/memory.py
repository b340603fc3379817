"""A store in memory, which copies nothing."""

from __future__ import annotations

from collections.abc import Iterable

from colearn.errors import BlobMissing
from colearn.protocols import Blob
from colearn.records import Buffer, Digest, digest_of
from colearn.stores.sizes import check_size


class MemoryStore:
    """A `colearn.protocols.Store` that keeps what is put by reference; thread-safe."""

    def __init__(self) -> None:
        self._blobs: dict[Digest, Blob] = {}

    def put(self, parts: Iterable[Buffer], digest: Digest | None = None) -> Digest:
        """Hold consecutive parts as one blob, without copying them."""
        blob = tuple(memoryview(part).toreadonly() for part in parts)
        digest = digest or digest_of(blob)
        self._blobs.setdefault(digest, blob)
        return digest

    def open(self, digest: Digest, most_bytes: int | None = None) -> Blob:
        """Give the parts as they were put.

        They were hashed then, and whoever put them gave them away: they are not
        hashed again.

        Raises:
            BlobMissing: No such blob is held.
            BlobCorrupt: It has more bytes than it may have.
        """
        blob = self._blobs.get(digest)
        if blob is None:
            raise BlobMissing(f"no blob {digest[:12]} is held in memory: put it first")
        return check_size(digest, blob, most_bytes)

    def drop(self, digest: Digest) -> None:
        """Hold the blob no longer; a blob that is not held is no error."""
        self._blobs.pop(digest, None)

    def __contains__(self, digest: object) -> bool:
        return digest in self._blobs
