"""The store among peers: fetching, resuming, and whom it believes."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import pytest
from members import EXPERIMENT, MEMBERS, KeyedSigner, join, joined, rogue

from colearn.errors import BlobCorrupt, BlobMissing
from colearn.ledgers.local import LocalLedger
from colearn.records import MAX_RECORD_BYTES, Endpoint, digest_of
from colearn.stores.directory import DirectoryStore
from colearn.testing import check_store

BLOB = bytes(range(256)) * 8_000
DIGEST = digest_of([BLOB])


def test_keeps_the_promises():
    """The conformance kit passes, with another member there to be asked."""
    with ExitStack() as stack:
        networks = []

        def make():
            networks.append(stack.enter_context(joined("ada", "bob")))
            return networks[-1][0].store

        check_store(make)


def test_a_blob_is_fetched_once_and_then_held_and_served(tmp_path):
    """Who fetched a blob gives it to the next, without the first."""
    ledger = LocalLedger(EXPERIMENT)
    held = DirectoryStore(tmp_path)
    with join("bob", ledger, held) as bob, join("cid", ledger, seeds=[bob.url]) as cid:
        with join("ada", ledger, seeds=[bob.url]) as ada:
            ada.store.put([BLOB])
            assert bob.book.wait(3, 10)
            assert b"".join(bob.store.open(DIGEST, len(BLOB))) == BLOB
        assert DIGEST in held
        assert cid.book.wait(2, 10)
        assert b"".join(cid.store.open(DIGEST, len(BLOB))) == BLOB


def test_a_blob_that_is_damaged_on_disk_is_fetched_again(tmp_path, caplog):
    """A flipped bit costs a transfer; where nobody else has the blob, it is missing."""
    ledger = LocalLedger(EXPERIMENT)
    with (
        join("bob", ledger, DirectoryStore(tmp_path)) as bob,
        join("ada", ledger, seeds=[bob.url]) as ada,
    ):
        ada.store.put([BLOB])
        bob.store.put([BLOB])
        assert bob.book.wait(2, 10)
        file = tmp_path / DIGEST[:2] / DIGEST
        for _ in range(2):
            file.write_bytes(BLOB[:-1] + b"\x00")
            with ThreadPoolExecutor(4) as pool:
                blobs = list(pool.map(lambda _: bob.store.open(DIGEST, len(BLOB)), range(4)))
            assert all(b"".join(blob) == BLOB for blob in blobs)
            assert file.read_bytes() == BLOB
            assert caplog.text.count(f"{DIGEST[:12]} is damaged here") == 1
            caplog.clear()
        ada.store.drop(DIGEST)
        with pytest.raises(BlobCorrupt, match="expected at most 10"):
            bob.store.open(DIGEST, 10)
        assert file.exists(), "it is larger than was announced, not damaged"
        file.write_bytes(BLOB[:-1] + b"\x00")
        for _ in range(2):
            with pytest.raises(BlobMissing, match="held neither here nor by 1 other member"):
                bob.store.open(DIGEST, len(BLOB))


def test_threads_that_want_one_blob_fetch_it_once():
    """Eight threads at once: one request for it reaches the holder."""
    with joined("ada", "bob") as (ada, bob):
        ada.store.put([BLOB])
        asked = []
        fetch = bob.store._fetch
        bob.store._fetch = lambda *each: asked.append(each) or fetch(*each)
        with ThreadPoolExecutor(8) as pool:
            blobs = list(pool.map(lambda _: bob.store.open(DIGEST, len(BLOB)), range(8)))
        assert len(asked) == 1
        assert all(b"".join(blob) == BLOB for blob in blobs)


def test_a_failure_is_everybodys_and_is_not_remembered():
    """A blob that nobody has is missing, and found once somebody has it."""
    with joined("ada", "bob") as (ada, bob):
        with pytest.raises(BlobMissing, match="nor by 1 other member.*try again later"):
            bob.store.open(DIGEST, len(BLOB))
        ada.store.put([BLOB])
        assert b"".join(bob.store.open(DIGEST, len(BLOB))) == BLOB


def test_no_more_is_fetched_than_was_announced():
    """A larger blob is refused before it comes; a record needs no announcement."""
    with joined("ada", "bob") as (ada, bob):
        ada.store.put([BLOB])
        for most in (len(BLOB) - 1, 0, None):
            with pytest.raises(BlobCorrupt, match=f"announces {len(BLOB)} bytes"):
                bob.store.open(DIGEST, most)
        assert DIGEST not in bob.store
        record = ada.store.put([bytes(MAX_RECORD_BYTES)])
        assert len(bob.store.open(record)[0]) == MAX_RECORD_BYTES


HEAD = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n"


def corrupt(connection, request):
    """Other bytes of the right length."""
    connection.sendall(HEAD % len(BLOB) + bytes(len(BLOB)))


def short(connection, request):
    """Fewer bytes, announced as such."""
    connection.sendall(HEAD % 10 + BLOB[:10])


def long(connection, request):
    """More bytes than there are."""
    connection.sendall(HEAD % 10**14 + BLOB)


def endless(connection, request):
    """A body without an announced end."""
    connection.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    while True:
        connection.sendall(b"10000\r\n" + bytes(65_536) + b"\r\n")


def unending(connection, request):
    """A body that goes on until the connection ends."""
    connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n" + BLOB)


def redirects(connection, request):
    """Somewhere else, where the right bytes would be."""
    connection.sendall(b"HTTP/1.1 302 Found\r\nLocation: %s\r\nContent-Length: 0\r\n\r\n" % REAL[0])


def babbles(connection, request):
    """No HTTP at all."""
    connection.sendall(b"\x00\xff" * 1000)


def endless_head(connection, request):
    """Headers for ever."""
    connection.sendall(b"HTTP/1.1 200 OK\r\n")
    while True:
        connection.sendall(b"A: b\r\n" * 100)


def another_range(connection, request):
    """A part that nobody asked for."""
    connection.sendall(
        b"HTTP/1.1 206 Partial\r\nContent-Range: bytes 5-9/%d\r\nContent-Length: 5\r\n\r\nxxxxx"
        % len(BLOB)
    )


def half_and_gone(connection, request):
    """Half garbage, then an end: to spoil what others give."""
    if b"Range" not in request:
        connection.sendall(HEAD % len(BLOB) + bytes(len(BLOB) // 2))


REAL = [b""]
HOSTILE = {
    corrupt: "gives other bytes",
    short: "gives other bytes",
    long: "announces 100000000000000 bytes",
    endless: "answers 200",
    unending: "answers 200",
    redirects: "answers 302",
    babbles: "does not answer",
    endless_head: "does not answer",
    another_range: "answers 206",
    half_and_gone: "does not answer",
}


@pytest.mark.parametrize("behave", HOSTILE, ids=lambda each: each.__name__)
def test_a_hostile_holder_is_left_for_an_honest_one(behave):
    """Whatever the proposer answers, the bytes come from elsewhere; alone, it is named."""
    ledger = LocalLedger(EXPERIMENT)  # in round 0 ada proposes: she is asked first
    with rogue(behave) as url, join("cid", ledger) as cid, join("bob", ledger) as bob:
        lie = Endpoint(sender="ada", counter=1, url=url)
        bob.book.receive(KeyedSigner("ada").sign(lie))
        with pytest.raises((BlobCorrupt, BlobMissing), match=HOSTILE[behave]):
            bob.store.open(DIGEST, len(BLOB))
        assert DIGEST not in bob.store
        cid.store.put([BLOB])
        REAL[0] = f"{cid.url}/blobs/{DIGEST}".encode()
        bob.book.receive(cid.book.endpoints()[0])
        assert b"".join(bob.store.open(DIGEST, len(BLOB))) == BLOB


def test_wrong_bytes_are_corrupt_and_silence_is_missing():
    """A voter rejects the one and abstains from the other."""
    for behave, kind in ((corrupt, BlobCorrupt), (long, BlobCorrupt), (babbles, BlobMissing)):
        with rogue(behave) as url, join("bob") as bob:
            bob.book.receive(KeyedSigner("ada").sign(Endpoint(sender="ada", counter=1, url=url)))
            with pytest.raises(kind):
                bob.store.open(DIGEST, len(BLOB))


@pytest.mark.parametrize("behave", [corrupt, long], ids=lambda each: each.__name__)
@pytest.mark.parametrize("reachable", [True, False])
def test_what_a_third_member_gives_is_not_held_against_who_announced_it(behave, reachable):
    """The proposer is away, cid lies in its place: the blob is missing, so bob abstains."""
    with rogue(behave) as url, rogue(babbles) as away, join("bob") as bob:
        for name, at in (("ada", away), ("cid", url))[not reachable :]:
            bob.book.receive(KeyedSigner(name).sign(Endpoint(sender=name, counter=1, url=at)))
        with pytest.raises(BlobMissing, match=HOSTILE[behave]):
            bob.store.open(DIGEST, len(BLOB))


def test_a_broken_transfer_goes_on_where_it_was():
    """Two ends of the connection later the blob is whole, and no byte came twice."""
    given = []

    def breaks(connection, request):
        if b"/blobs/" not in request:
            return
        start = int(request.partition(b"bytes=")[2].partition(b"-")[0] or 0)
        part = BLOB[start : start + 900_000]
        given.append((start, len(part)))
        status = b"206 Partial\r\nContent-Range: bytes %d-%d/%d" % (start, len(BLOB) - 1, len(BLOB))
        head = b"HTTP/1.1 %s\r\nContent-Length: %d\r\n\r\n"
        connection.sendall(head % (status if start else b"200 OK", len(BLOB) - start) + part)

    with rogue(breaks) as url, join("bob") as bob:
        bob.book.receive(KeyedSigner("ada").sign(Endpoint(sender="ada", counter=1, url=url)))
        assert b"".join(bob.store.open(DIGEST, len(BLOB))) == BLOB
    assert given == [(0, 900_000), (900_000, 900_000), (1_800_000, len(BLOB) - 1_800_000)]


def test_a_holder_that_drips_is_left_in_time(monkeypatch):
    """A byte now and then keeps nobody: a transfer has so much time in all."""
    monkeypatch.setattr("colearn.peers.client.EXCHANGE_SECONDS", 0.3)
    monkeypatch.setattr("colearn.peers.client.MIN_BYTES_PER_SECOND", 100 * len(BLOB))

    def drips(connection, request):
        connection.sendall(HEAD % len(BLOB))
        while True:
            time.sleep(0.05)
            connection.sendall(b"x")

    with rogue(drips) as url, join("bob") as bob:
        bob.book.receive(KeyedSigner("ada").sign(Endpoint(sender="ada", counter=1, url=url)))
        with pytest.raises(BlobMissing, match="try again later"):
            bob.store.open(DIGEST, len(BLOB))


def test_the_announcer_is_asked_first():
    """An update's weights are looked for at who trained them, a proposal's at its proposer."""
    with joined() as (ada, bob, cid):
        assert bob.board.holder(DIGEST) == MEMBERS[0]
        cid.store.put([BLOB])
        assert b"".join(bob.store.open(DIGEST, len(BLOB))) == BLOB
        assert ada.store._own is not cid.store._own
