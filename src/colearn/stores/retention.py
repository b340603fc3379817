"""How long blobs stay: what was accepted always, the rest while there is room."""

from __future__ import annotations

from collections.abc import Collection

from colearn.records import Digest
from colearn.stores.directory import DirectoryStore


def collect(store: DirectoryStore, keep: Collection[Digest], most_bytes: int) -> list[Digest]:
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
