"""How long blobs stay: what was accepted always, the rest while there is room."""

from __future__ import annotations

from collections.abc import Collection
from typing import NamedTuple, Protocol

from colearn.records import Digest


class Held(NamedTuple):
    """One blob that a store holds."""

    digest: Digest
    size_bytes: int


class Tidied(Protocol):
    """A store that tells what it holds, and so can be tidied up."""

    def held(self) -> list[Held]:
        """All blobs, the oldest first."""
        ...

    def drop(self, digest: Digest) -> None:
        """Hold a blob no longer."""
        ...

    def __contains__(self, digest: object) -> bool: ...


def collect(store: Tidied, keep: Collection[Digest], most_bytes: int) -> list[Digest]:
    """Drop the oldest blobs that need not be kept, until the rest of them fits.

    Args:
        store: Where the blobs are.
        keep: Digests of blobs that stay whatever they take: accepted proposals and
            their weights, the live round's, the schema.
        most_bytes: What all other blobs may take together.

    Returns:
        The digests of the blobs that were dropped, the oldest first.

    Raises:
        StoreError: A blob cannot be dropped.
    """
    others = [blob for blob in store.held() if blob.digest not in keep]
    excess = sum(blob.size_bytes for blob in others) - most_bytes
    dropped = []
    for blob in others:
        if excess <= 0:
            break
        store.drop(blob.digest)
        dropped.append(blob.digest)
        excess -= blob.size_bytes
    return dropped
