"""What every store promises."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial

from colearn.errors import BlobCorrupt, BlobMissing
from colearn.protocols import Blob, Store
from colearn.records import Buffer, digest_of
from colearn.testing.promises import require, require_error, require_quiet

_BYTES = bytes(range(256)) * 4096
_MANY = 40


def check_store(make: Callable[[], Store]) -> None:
    """Check that a store keeps the promises of `colearn.protocols.Store`.

    Args:
        make: Makes a store that holds nothing, independent of the ones before.

    Raises:
        AssertionError: A promise is broken; the message names it.
    """
    _check_put_and_open(make())
    _check_missing(make())
    _check_drop(make())
    _check_many(make())
    _check_announced(make())


def _joined(blob: Blob) -> bytes:
    return b"".join(blob)


def _check_put_and_open(store: Store) -> None:
    half = len(_BYTES) // 2
    forms: dict[str, Callable[[bytes], Iterable[Buffer]]] = {
        "one part": lambda whole: [whole],
        "two parts": lambda whole: [whole[:half], whole[half:]],
        "an iterator": lambda whole: iter([whole[:half], whole[half:]]),
        "a bytearray": lambda whole: [bytearray(whole)],
        "a memoryview and an empty part": lambda whole: [memoryview(whole), b""],
    }
    for name, parts in forms.items():
        whole = _BYTES + name.encode()
        digest = store.put(parts(whole))
        require(
            digest == digest_of([whole]),
            f"put() returns the blake3 digest of all the bytes: not of {name}",
        )
        require(digest in store, f"a blob is held once put() has returned: not {name}")
        blob = store.open(digest)
        require(_joined(blob) == whole, f"open() gives the bytes that were put: not {name}")
        require(
            all(getattr(part, "readonly", False) for part in blob),
            "open() gives read-only memoryviews: what is put is never changed",
        )
    nothing: tuple[list[Buffer], ...] = ([], [b""])
    for none in nothing:
        empty = store.put(none)
        require(empty in store, "a blob may be empty, and is held like any other")
        require(_joined(store.open(empty)) == b"", "an empty blob opens as no bytes")


def _check_missing(store: Store) -> None:
    never = digest_of([b"never put"])
    malformed = ("", "ab", never.upper(), never + "0", f"../{never[3:]}", "/" + never[1:])
    for digest in (never, *malformed):
        require(digest not in store, f"a blob that was never put is not held: {digest!r} is")
        require_error(
            BlobMissing,
            partial(store.open, digest),
            f"open({digest!r}) raises BlobMissing when no such blob is held",
        )
        _check_drop_is_quiet(store, digest)
    for thing in (None, 7, b"ab"):
        require(thing not in store, "what is not a digest is not held, and asking is no error")


def _check_drop_is_quiet(store: Store, digest: str) -> None:
    require_quiet(
        partial(store.drop, digest), f"drop({digest!r}) of a blob that is not held is no error"
    )


def _check_drop(store: Store) -> None:
    dropped, kept = store.put([_BYTES]), store.put([b"kept"])
    before = store.open(dropped)
    store.drop(dropped)
    require(dropped not in store, "a blob is not held once it is dropped")
    require_error(
        BlobMissing, lambda: store.open(dropped), "open() of a dropped blob raises BlobMissing"
    )
    require(_joined(before) == _BYTES, "a blob opened before it is dropped stays readable")
    require(
        kept in store and _joined(store.open(kept)) == b"kept", "drop() leaves other blobs alone"
    )
    _check_drop_is_quiet(store, dropped)
    require(
        _joined(store.open(store.put([_BYTES]))) == _BYTES,
        "a blob that was dropped may be put again",
    )


def _check_many(store: Store) -> None:
    blobs = {store.put([bytes([number]) * number]): number for number in range(_MANY)}
    for digest, number in blobs.items():
        again = partial(store.put, [bytes([number]) * number])
        promise = "putting a blob again gives the same digest and is no error"
        require(require_quiet(again, promise) == digest, promise)
        require(
            _joined(store.open(digest)) == bytes([number]) * number,
            "open() gives the blob asked for, of many",
        )


def _check_announced(store: Store) -> None:
    digest = digest_of([_BYTES])
    require(
        store.put([_BYTES], digest) == digest and _joined(store.open(digest)) == _BYTES,
        "put() with the digest of the parts holds them as without",
    )
    for most in (len(_BYTES), 2 * len(_BYTES)):
        require(
            _joined(store.open(digest, most)) == _BYTES,
            "open() gives a blob that has no more bytes than it may have",
        )
    for fewer in (0, len(_BYTES) - 1):
        require_error(
            BlobCorrupt,
            partial(store.open, digest, fewer),
            "open() raises BlobCorrupt when a blob is more than was announced",
        )
