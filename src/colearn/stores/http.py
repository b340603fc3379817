"""A store among members' machines: each holds its own blobs, and fetches the others'."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from http.client import IncompleteRead
from threading import Lock

import numpy as np
from blake3 import blake3

from colearn.errors import BlobCorrupt, BlobMissing, PeerError, StoreError
from colearn.peers.book import AddressBook
from colearn.peers.client import BlobStream, Peer
from colearn.protocols import Blob, Store
from colearn.records import MAX_RECORD_BYTES, Buffer, Digest, is_digest
from colearn.stores.sizes import check_size

_PIECE_BYTES = 262_144
"""Hashed at once, few enough to be still in the processor's cache."""

_TRIES = 3
"""How often in a row a peer may end a transfer that goes on from where it was."""

_log = logging.getLogger(__name__)


class PeerStore:
    """A `colearn.protocols.Store` over peers; thread-safe.

    A blob that is not held, or is damaged where it is held, is fetched from who announced
    it, else from any other member, and then held. Whoever gives other bytes than those of
    the digest is left for the next. Several threads that want one blob fetch it once.

    Args:
        own: Where this member's blobs are held.
        book: Where the other members are reached.
        holder: Tells who announced a blob.
    """

    def __init__(self, own: Store, book: AddressBook, *, holder: Callable[[Digest], str]) -> None:
        self._own = own
        self._book = book
        self._holder = holder
        self._lock = Lock()
        self._fetching: dict[Digest, Future[Blob]] = {}

    def put(self, parts: Iterable[Buffer], digest: Digest | None = None) -> Digest:
        """Hold consecutive parts as one blob, for oneself and the others."""
        return self._own.put(parts, digest)

    def open(self, digest: Digest, most_bytes: int | None = None) -> Blob:
        """Give the bytes, fetched from another member where they are not held.

        Raises:
            BlobMissing: No member that can be reached gives it.
            BlobCorrupt: Nor does who announced it, but gives other bytes, or too many; or
                the blob that is held has too many.
        """
        held = self._held(digest)
        if held is not None:
            return check_size(digest, held, most_bytes)
        with self._lock:
            coming = self._fetching.get(digest)
            mine = Future[Blob]() if coming is None else None
            if mine is not None:
                self._fetching[digest] = mine
        if mine is None:
            assert coming is not None  # noqa: S101
            coming.exception()
            return self._own.open(digest, most_bytes) if digest in self._own else coming.result()
        try:
            blob = self._held(digest)  # another thread may have fetched it by now
            if blob is None:
                self._drop_damaged(digest)
                blob = self._fetch(digest, MAX_RECORD_BYTES if most_bytes is None else most_bytes)
            mine.set_result(blob)
        except BaseException as reason:
            mine.set_exception(reason)
            raise
        finally:
            with self._lock:
                del self._fetching[digest]
        return blob

    def drop(self, digest: Digest) -> None:
        """Hold the blob no longer; a blob that is not held is no error."""
        self._own.drop(digest)

    def __contains__(self, digest: object) -> bool:
        """Whether the blob is held here."""
        return digest in self._own

    def _held(self, digest: Digest) -> Blob | None:
        """The blob, where it is held and whole."""
        if is_digest(digest) and digest not in self._own:
            return None
        try:
            return self._own.open(digest)
        except BlobCorrupt:
            return None

    def _drop_damaged(self, digest: Digest) -> None:
        if digest in self._own:
            _log.warning("blob %s is damaged here: it is fetched from others", digest[:12])
            self._own.drop(digest)

    def _fetch(self, digest: Digest, most_bytes: int) -> Blob:
        peers = self._book.peers()
        first = peers.pop(self._holder(digest), None)
        transfer = _Transfer(digest, most_bytes, first.url if first else "")
        for peer in ([first] if first else []) + list(peers.values()):
            whole = transfer.ask(peer)
            if whole is not None:
                self._own.put((whole,), digest)
                return (whole.toreadonly(),)
        raise transfer.failure()


class _Transfer:
    """One blob on its way: what has come of it, and what went wrong with whom.

    Only who announced it, at ``announcer``, can make it corrupt: what others give in its
    place, when it is away, says nothing against it.
    """

    def __init__(self, digest: Digest, most_bytes: int, announcer: str) -> None:
        self._digest = digest
        self._most_bytes = most_bytes
        self._announcer = announcer
        self._wrong: dict[str, str] = {}
        self._silent: list[str] = []
        self._empty_handed = 0
        self._begin()

    def _begin(self) -> None:
        self._buffer = memoryview(b"")
        self._come = 0
        self._hasher = blake3()
        self._givers: list[str] = []

    def ask(self, peer: Peer) -> memoryview | None:
        """Take the rest from a peer; return the whole if it is right.

        If the first part was another's and the whole is wrong, all is asked of this one.
        """
        if self._take(peer):
            if self._hasher.hexdigest() == self._digest:
                return self._buffer
            shared = len(self._givers) > 1
            self._begin()
            if shared and self._take(peer) and self._hasher.hexdigest() == self._digest:
                return self._buffer
            self._begin()
            self._wrong[peer.url] = f"{peer.url} gives other bytes"
        return None

    def failure(self) -> StoreError:
        """What to raise when nobody is left to ask."""
        name = f"blob {self._digest[:12]}"
        wrong = list(self._wrong.values())
        if self._announcer in self._wrong:
            return BlobCorrupt(f"{name} is not to be had: {'; '.join(wrong)}; refuse it")
        silent = "".join(f"; {each}" for each in wrong + self._silent)
        return BlobMissing(
            f"{name} is held neither here nor by {self._empty_handed} other member(s) "
            f"that answer{silent}: try again later"
        )

    def _take(self, peer: Peer) -> bool:
        """Take what this peer gives; whether all is there then."""
        for _ in range(_TRIES):
            before = self._come
            try:
                with peer.blob(self._digest, self._come, self._most_bytes) as stream:
                    if stream is None:
                        self._empty_handed += 1
                        return False
                    if not self._fits(stream):
                        self._wrong[peer.url] = f"{peer.url} announces {stream.size_bytes} bytes"
                        return False
                    if peer.url not in self._givers:
                        self._givers.append(peer.url)
                    self._read(stream)
                    return True
            except PeerError as reason:
                if self._come == before:
                    self._silent.append(str(reason))
                    return False
                _log.debug("%s; %d bytes have come", reason, self._come)
        self._silent.append(f"{peer.url} ended the transfer {_TRIES} times")
        return False

    def _fits(self, stream: BlobStream) -> bool:
        if self._come:
            return stream.size_bytes == len(self._buffer)
        if stream.size_bytes > self._most_bytes:
            return False
        self._buffer = np.empty(stream.size_bytes, np.uint8).data
        return True

    def _read(self, stream: BlobStream) -> None:
        while self._come < len(self._buffer):
            piece = self._buffer[self._come : self._come + _PIECE_BYTES]
            count = stream.response.readinto(piece)
            if not count:
                raise IncompleteRead(b"", len(self._buffer) - self._come)
            self._hasher.update(piece[:count])
            self._come += count
        stream.response.read()  # nothing, but the connection may then be used again
