"""A store in an object store: S3, Google Cloud, Azure, a folder, memory."""

from __future__ import annotations

from collections.abc import Iterable

from colearn.errors import BlobCorrupt, BlobMissing, StoreError
from colearn.peers.bucket import FAILURES, Bucket, said
from colearn.protocols import Blob
from colearn.records import MAX_RECORD_BYTES, Buffer, Digest, digest_of, is_digest


class ObjectStore:
    """A `colearn.protocols.Store` of objects named by their content; thread-safe.

    Args:
        bucket: As `colearn.peers.bucket.bucket` opens it. Who may write there can
            withhold blobs from the others, but not change them unnoticed.
    """

    def __init__(self, bucket: Bucket) -> None:
        self._bucket = bucket

    def put(self, parts: Iterable[Buffer], digest: Digest | None = None) -> Digest:
        """Write consecutive parts as one object; one that is held is not written again.

        Raises:
            StoreError: It cannot be written.
        """
        views = [memoryview(part).cast("B") for part in parts if len(part)]
        digest = digest or digest_of(views)
        try:
            if digest not in self:
                self._bucket.put(_path(digest), iter(views) if views else b"")
        except FAILURES as reason:
            raise StoreError(f"blob {digest[:12]} cannot be written: {said(reason)}") from None
        return digest

    def open(self, digest: Digest, most_bytes: int | None = None) -> Blob:
        """Fetch the bytes, after a look at how many they are.

        Raises:
            BlobMissing: There is no such object.
            BlobCorrupt: Its bytes are not those that were put, or too many.
            StoreError: It cannot be read.
        """
        if not is_digest(digest):
            raise BlobMissing(f"no blob {digest[:12]!r} is held: that is no digest")
        most_bytes = MAX_RECORD_BYTES if most_bytes is None else most_bytes
        try:
            answer = self._bucket.get(_path(digest))
            size = answer.meta["size"]
            if size > most_bytes:
                raise BlobCorrupt(
                    f"blob {digest[:12]} has {size} bytes, expected at most {most_bytes}: refuse it"
                )
            blob = memoryview(answer.bytes()).toreadonly()
        except FileNotFoundError:
            raise BlobMissing(f"no blob {digest[:12]} is held: put it first") from None
        except FAILURES as reason:
            raise StoreError(f"blob {digest[:12]} cannot be read: {said(reason)}") from None
        found = digest_of((blob,))
        if found != digest:
            raise BlobCorrupt(
                f"blob {digest[:12]} hashes to {found[:12]}: drop it and put it again"
            )
        return (blob,)

    def drop(self, digest: Digest) -> None:
        """Delete the object; one that is not there is no error.

        Raises:
            StoreError: It cannot be deleted.
        """
        try:
            if digest in self:
                self._bucket.delete(_path(digest))
        except FileNotFoundError:
            return
        except FAILURES as reason:
            raise StoreError(f"blob {digest[:12]} cannot be dropped: {said(reason)}") from None

    def __contains__(self, digest: object) -> bool:
        """Whether there is such an object."""
        if not isinstance(digest, str) or not is_digest(digest):
            return False
        try:
            self._bucket.head(_path(digest))
        except FileNotFoundError:
            return False
        except FAILURES as reason:
            raise StoreError(f"blob {digest[:12]} cannot be found: {said(reason)}") from None
        return True


def _path(digest: Digest) -> str:
    return f"blobs/{digest}"
