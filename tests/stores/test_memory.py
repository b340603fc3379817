"""The store in memory."""

from __future__ import annotations

import numpy as np

from colearn.records import digest_of
from colearn.stores.memory import MemoryStore
from colearn.testing import check_store


def test_keeps_the_promises() -> None:
    """The conformance kit passes."""
    check_store(MemoryStore)


def test_nothing_is_copied() -> None:
    """What is opened is the very memory that was put, part by part, read-only."""
    array = np.arange(1000, dtype=np.uint8)
    parts = (b"header", memoryview(array))
    store = MemoryStore()
    opened = store.open(store.put(parts))
    assert len(opened) == 2
    assert opened[0].obj is parts[0]
    assert np.shares_memory(np.frombuffer(opened[1], np.uint8), array)
    assert all(part.readonly for part in opened)


def test_the_first_parts_stay() -> None:
    """Putting a blob again, cut otherwise, neither replaces nor adds anything."""
    store = MemoryStore()
    digest = store.put([b"ab", b"cd"])
    assert store.put([b"abcd"]) == digest == digest_of([b"abcd"])
    assert [bytes(part) for part in store.open(digest)] == [b"ab", b"cd"]
