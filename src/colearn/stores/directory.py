"""A store in a directory, which survives crashes: a blob is whole or not there.

The blob ``abcdef...`` is the file ``ab/abcdef...``. It is written under another
name, made durable and only then named by its digest. Several processes may share
a directory.
"""

from __future__ import annotations

import contextlib
import fcntl
import mmap
import os
import secrets
from collections.abc import Iterable, Iterator
from pathlib import Path

from colearn.errors import BlobCorrupt, BlobMissing, StoreError
from colearn.log import sync_directory
from colearn.protocols import Blob
from colearn.records import Buffer, Digest, digest_of, is_digest
from colearn.stores.retention import Held
from colearn.stores.sizes import check_size

_UNFINISHED = "unfinished-"


class DirectoryStore:
    """A `colearn.protocols.Store` of files named by their content; thread-safe.

    Args:
        path: The directory; created if it is not there.

    Raises:
        StoreError: The directory cannot be made or read.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        with self._explained("be opened"):
            _make(path)
            self._clean()

    def put(self, parts: Iterable[Buffer], digest: Digest | None = None) -> Digest:
        """Write consecutive parts as one durable blob; one that is held is not written again.

        Raises:
            StoreError: It cannot be written, for instance because the disk is full.
        """
        parts = tuple(parts)
        digest = digest or digest_of(parts)
        if digest not in self:
            with self._explained(f"hold blob {digest[:12]}"), _locked(self._path, fcntl.LOCK_SH):
                self._write(parts, self._file(digest))
        return digest

    def open(self, digest: Digest, most_bytes: int | None = None) -> Blob:
        """Map the blob into memory, read-only and as one part, once it is checked.

        Raises:
            BlobMissing: No such blob is held.
            BlobCorrupt: The file's bytes are not those that were put, or too many.
            StoreError: The file cannot be read.
        """
        if digest not in self:
            raise BlobMissing(f"no blob {digest[:12]} is held in {self._path}: put it first")
        with self._explained(f"give blob {digest[:12]}"):
            blob = _map(self._file(digest))
        found = digest_of((blob,))
        if found != digest:
            raise BlobCorrupt(
                f"{self._file(digest)} hashes to {found[:12]}, not to its name: "
                "drop the blob and put it again"
            )
        return check_size(digest, (blob,), most_bytes)

    def drop(self, digest: Digest) -> None:
        """Delete the blob; one that is not held is no error. What is open stays readable.

        Raises:
            StoreError: The file cannot be deleted.
        """
        if digest in self:
            with self._explained(f"drop blob {digest[:12]}"):
                self._file(digest).unlink(missing_ok=True)

    def held(self) -> list[Held]:
        """All blobs, the oldest first.

        Raises:
            StoreError: The directory cannot be read.
        """
        found = []
        with self._explained("be listed"):
            for file in self._path.glob("??/*"):
                with contextlib.suppress(FileNotFoundError):  # dropped just now
                    status = file.stat()
                    found.append((status.st_mtime_ns, Held(file.name, status.st_size)))
        return [blob for _, blob in sorted(found)]

    def __contains__(self, digest: object) -> bool:
        return (
            isinstance(digest, str)
            and is_digest(digest) is not None
            and self._file(digest).exists()
        )

    def _file(self, digest: Digest) -> Path:
        return self._path / digest[:2] / digest

    def _write(self, parts: Iterable[Buffer], target: Path) -> None:
        if not target.parent.exists():
            _make(target.parent)
        unfinished = self._path / f"{_UNFINISHED}{secrets.token_hex(8)}"
        try:
            with unfinished.open("xb") as file:
                for part in parts:
                    file.write(part)
                file.flush()
                os.fsync(file.fileno())
            unfinished.replace(target)
        except BaseException:
            unfinished.unlink(missing_ok=True)
            raise
        sync_directory(target.parent)

    def _clean(self) -> None:
        """Delete what a crash left unfinished, unless somebody is writing just now."""
        with (
            contextlib.suppress(BlockingIOError),
            _locked(self._path, fcntl.LOCK_EX | fcntl.LOCK_NB),
        ):
            for left in self._path.glob(f"{_UNFINISHED}*"):
                left.unlink(missing_ok=True)

    @contextlib.contextmanager
    def _explained(self, what: str) -> Iterator[None]:
        try:
            yield
        except OSError as reason:
            raise StoreError(f"{self._path} cannot {what}: {reason.strerror}") from None


def _make(directory: Path) -> None:
    """Make a directory and those above it, whose names outlive a power cut."""
    if not directory.parent.is_dir():
        _make(directory.parent)
    directory.mkdir(exist_ok=True)
    sync_directory(directory.parent)


def _map(path: Path) -> memoryview:
    with path.open("rb") as file:
        if os.fstat(file.fileno()).st_size == 0:
            return memoryview(b"")
        return memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))


@contextlib.contextmanager
def _locked(directory: Path, operation: int) -> Iterator[None]:
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, operation)
        yield
    finally:
        os.close(descriptor)
