"""Weights by the proposal that carries them."""

from __future__ import annotations

import threading
from threading import Barrier

import msgspec
import numpy as np
import pytest

from colearn import Weights
from colearn.errors import BlobMissing, NotFinite, WeightsError, WrongHeader
from colearn.records import Proposal, Update, encode
from colearn.stores.memory import MemoryStore
from colearn.weights import Schema
from colearn.weights_store import WeightsStore

SCHEMA = Schema.of({"w": np.zeros(4)})


@pytest.fixture
def bytes_store():
    """An empty store of bytes."""
    return MemoryStore()


@pytest.fixture
def store(bytes_store):
    """The typed view of it."""
    return WeightsStore(bytes_store, SCHEMA)


def put(store, value, round_index=0):
    """Put four equal numbers."""
    return store.put(
        Weights({"w": np.full(4, value)}), round_index=round_index, sender="a", base=""
    )


def test_what_is_put_is_had_without_a_copy(store):
    """The same arrays come back, read-only, though the owner's stay writable."""
    array = np.ones(4)
    digest = store.put(Weights({"w": array}), round_index=0, sender="a", base="")
    had = store.get(digest).weights["w"]
    assert np.shares_memory(had, array)
    assert not had.flags.writeable
    assert array.flags.writeable


def test_another_process_reads_the_same(store, bytes_store):
    """A view without memory of the put decodes the bytes, once for all its readers."""
    digest = put(store, 3.0)
    other = WeightsStore(bytes_store, SCHEMA)
    found = []
    threads = [threading.Thread(target=lambda: found.append(other.get(digest))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found[0].weights["w"].tolist() == [3.0] * 4
    assert all(each is found[0] for each in found)


def test_not_finite_is_never_stored(store, bytes_store):
    """NaN is refused before a byte is kept."""
    with pytest.raises(NotFinite):
        put(store, np.nan)
    assert bytes_store._blobs == {}


def test_a_missing_blob_is_missing(store):
    """An unknown digest is BlobMissing, for the record and for the weights."""
    with pytest.raises(BlobMissing):
        store.get("0" * 64)


@pytest.mark.parametrize(
    "record", [b"{}", b"x" * 100_000, b""], ids=["no-proposal", "too-long", "empty"]
)
def test_a_record_that_is_none_is_refused(store, bytes_store, record):
    """Whatever else the digest names is no proposal, however long it is."""
    with pytest.raises(WeightsError):
        store.get(bytes_store.put((record,)))


def test_an_announced_size_must_be_true(store, bytes_store):
    """A proposal that announces another size than its weights have is refused."""
    true = store.proposal(put(store, 1.0))
    lie = Proposal(
        round=0, sender="a", base="", weights=true.weights, size_bytes=true.size_bytes + 1
    )
    with pytest.raises(WrongHeader, match="announced with"):
        store.get(bytes_store.put((encode(lie),)))


def test_forgotten_weights_come_back_from_the_bytes(store):
    """Forgetting frees the arrays only."""
    digest = put(store, 2.0)
    first = store.get(digest)
    store.forget(digest)
    assert store.get(digest) is not first
    assert store.get(digest).weights["w"].tolist() == [2.0] * 4


def test_dropped_weights_are_gone(store, bytes_store):
    """Dropping frees the bytes too."""
    store.drop(put(store, 2.0))
    assert bytes_store._blobs == {}


def test_shared_bytes_outlive_one_of_their_proposals(store):
    """Two proposals with equal weights share a blob; dropping one leaves the other whole."""
    first, second = put(store, 2.0, round_index=1), put(store, 2.0, round_index=2)
    assert first != second
    store.drop(first)
    store.forget(second)
    with pytest.raises(BlobMissing):
        store.get(first)
    assert store.get(second).weights["w"].tolist() == [2.0] * 4


def put_update(store, base, value):
    """Put an update that moves four numbers from a base to this value."""
    template = Update(round=1, sender="a", base=base, weights="", size_bytes=0, steps=1, samples=1)
    return store.put_update(Weights({"w": np.full(4, value)}), template)


def get_update(store, update, base):
    """The weights of one update; raises why they cannot be had."""
    (found,) = store.get_updates([update], base)
    if not isinstance(found, Weights):
        raise found
    return found


def test_an_update_comes_back_the_same_everywhere(store, bytes_store):
    """Who published it and who decodes its bytes find the same weights, to the bit."""
    base = put(store, 1.0)
    update = put_update(store, base, 1.3)
    mine = get_update(store, update, base).weights["w"]
    theirs = get_update(WeightsStore(bytes_store, SCHEMA), update, base).weights["w"]
    assert np.array_equal(mine, theirs)
    assert mine == pytest.approx(np.full(4, 1.3), rel=0.01)


def test_the_same_bytes_mean_other_weights_from_another_base(store):
    """An update is a move: who repeats it from the next model ends elsewhere."""
    first, second = put(store, 1.0), put(store, 5.0)
    one, other = put_update(store, first, 1.0), put_update(store, second, 5.0)
    assert one.weights == other.weights
    assert get_update(store, one, first).weights["w"].tolist() == [1.0] * 4
    assert get_update(store, other, second).weights["w"].tolist() == [5.0] * 4


def test_an_update_must_announce_its_true_size(store):
    """The size follows from the schema; another one is refused before a byte is fetched."""
    update = put_update(store, put(store, 1.0), 2.0)
    with pytest.raises(WrongHeader, match="announced with"):
        get_update(
            store, msgspec.structs.replace(update, size_bytes=update.size_bytes + 1), update.base
        )


def test_forgotten_updates_come_back_and_dropped_ones_do_not(store):
    """Forgetting frees the arrays only, dropping the bytes too."""
    update = put_update(store, put(store, 1.0), 2.0)
    first = get_update(store, update, update.base)
    store.forget_updates([update])
    assert get_update(store, update, update.base) is not first
    store.drop_updates([update])
    with pytest.raises(BlobMissing):
        get_update(store, update, update.base)


class Slow(MemoryStore):
    """A store of which some blobs come only when others have been asked for, too."""

    def __init__(self, parties):
        super().__init__()
        self.all_asked = Barrier(parties)

    def open(self, digest, most_bytes=None):
        self.all_asked.wait(10)
        return super().open(digest, most_bytes)


def test_updates_are_fetched_side_by_side_and_one_that_fails_fails_alone(store, bytes_store):
    """Nobody's blob waits for another's; what cannot be had is told apart from what can."""
    base = put(store, 1.0)
    updates = [put_update(store, base, value) for value in (2.0, 3.0, 4.0)]
    gone = msgspec.structs.replace(updates[1], weights="0" * 64)
    false = msgspec.structs.replace(updates[0], sender="b", size_bytes=1)
    slow = Slow(3)
    slow._blobs = bytes_store._blobs
    theirs = WeightsStore(slow, SCHEMA)
    theirs._proposals[base] = store.proposal(base)
    theirs._tensors = store._tensors
    found = theirs.get_updates([updates[0], gone, updates[2], false], base)
    assert [type(each) for each in found] == [Weights, BlobMissing, Weights, WrongHeader]
    assert found[2].weights["w"].tolist() == pytest.approx([4.0] * 4, rel=0.01)
