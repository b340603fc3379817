"""What stays and what goes when a disk has so much room."""

from __future__ import annotations

import os

from colearn.stores.directory import DirectoryStore
from colearn.stores.retention import collect


def test_the_oldest_others_go_and_what_is_kept_stays(tmp_path):
    """Accepted blobs stay whatever they take; of the rest the newest, as many as fit."""
    store = DirectoryStore(tmp_path)
    digests = [store.put([bytes([number]) * 100]) for number in range(6)]
    for age, digest in enumerate(digests):
        os.utime(tmp_path / digest[:2] / digest, (age, age))
    assert [blob.digest for blob in store.held()] == digests
    assert {blob.size_bytes for blob in store.held()} == {100}
    keep = {digests[0], digests[3]}
    assert collect(store, keep, 400) == []
    assert collect(store, keep, 399) == [digests[1]]
    assert collect(store, keep, 150) == [digests[2], digests[4]]
    assert collect(store, keep, 0) == [digests[5]]
    assert {blob.digest for blob in store.held()} == keep
