"""Stores and boards in object stores: memory and a folder, no server of a cloud."""

from __future__ import annotations

from contextlib import ExitStack
from itertools import count

import pytest
from members import EXPERIMENT, PROPOSAL, KeyedSigner, ballot
from msgspec.structs import replace

from colearn.boards.local import LocalBoard
from colearn.boards.objects import ObjectBoard
from colearn.errors import BlobCorrupt, BlobMissing, ConfigError, Equivocation, StoreError
from colearn.ledgers.local import LocalLedger
from colearn.peers.bucket import bucket
from colearn.records import Ballot, Candidate, Choice, Pass, Scores, digest_of, encode
from colearn.stores import own
from colearn.stores.objects import ObjectStore
from colearn.stores.own import OwnObjects
from colearn.stores.retention import Held
from colearn.testing import check_board, check_store

BLOB = bytes(range(256)) * 2_000


@pytest.fixture(params=["memory", "file"])
def make(request, tmp_path):
    """Opens a bucket, empty each time."""
    numbers = count()

    def opened():
        folder = tmp_path / f"bucket {next(numbers)}"
        return bucket("memory://" if request.param == "memory" else folder.as_uri())

    return opened


def board_of(member, shared, ledger=None, own=None):
    """A member's board in a shared bucket."""
    return ObjectBoard(
        shared,
        own or LocalBoard(EXPERIMENT),
        experiment=EXPERIMENT,
        view=(ledger or LocalLedger(EXPERIMENT)).view,
        signer=KeyedSigner(member),
    )


def test_the_store_keeps_the_promises(make):
    """The conformance kit passes, with room for its largest blob."""

    class Roomy(ObjectStore):
        def open(self, digest, most_bytes=None):
            return super().open(digest, 2**30 if most_bytes is None else most_bytes)

    check_store(lambda: Roomy(make()))


def test_bytes_that_were_changed_or_are_too_many_are_corrupt(make):
    """Whoever writes to the bucket cannot pass off other bytes, nor fill a reader's memory."""
    shared = make()
    store = ObjectStore(shared)
    digest = store.put([BLOB])
    assert b"".join(store.open(digest, len(BLOB))) == BLOB
    for most in (None, len(BLOB) - 1):
        with pytest.raises(BlobCorrupt, match="expected at most"):
            store.open(digest, most)
    shared.put(f"blobs/{digest}", b"else")
    with pytest.raises(BlobCorrupt, match="hashes to"):
        store.open(digest, len(BLOB))
    with pytest.raises(BlobMissing):
        store.open("../" + digest[3:])


def test_a_members_own_part_of_a_bucket_keeps_the_promises(make, tmp_path):
    """The conformance kit passes, with room for its largest blob."""
    numbers = count()

    class Roomy(OwnObjects):
        def open(self, digest, most_bytes=None):
            return super().open(digest, 2**30 if most_bytes is None else most_bytes)

    with ExitStack() as opened:
        check_store(
            lambda: opened.enter_context(
                Roomy(ObjectStore(make()), tmp_path / f"{next(numbers)}.log")
            )
        )


def test_a_member_deletes_only_what_it_put_there(make, tmp_path):
    """Others' objects stay, and those of other experiments; a restart knows which are whose."""
    shared = ObjectStore(make())
    theirs = shared.put([b"theirs"])
    with OwnObjects(shared, tmp_path / "ours.log") as ours:
        mine = ours.put([b"mine"])
        assert ours.put([b"theirs"]) == theirs
    with OwnObjects(shared, tmp_path / "ours.log") as ours:
        assert ours.held() == [Held(mine, 4)]
        for digest in (mine, theirs):
            ours.drop(digest)
        assert ours.held() == []
    assert theirs in shared
    assert mine not in shared


def test_a_crash_while_an_object_is_put_leaves_none_that_nobody_knows(make, tmp_path):
    """What is listed may not be there, and is put again; what is there is listed."""

    class Cut(ObjectStore):
        def put(self, parts, digest=None):
            raise StoreError("cut")

    bucket = make()
    with OwnObjects(Cut(bucket), tmp_path / "ours.log") as ours:
        with pytest.raises(StoreError, match="cut"):
            ours.put([b"mine"])
        assert len(ours.held()) == 1
    with OwnObjects(ObjectStore(bucket), tmp_path / "ours.log") as ours:
        digest = ours.put([b"mine"])
        assert digest in ours
        assert ours.held() == [Held(digest, 4)]


def test_the_list_of_objects_does_not_grow_for_ever(make, tmp_path, monkeypatch):
    """What was deleted goes from the list, too."""
    monkeypatch.setattr(own, "_MOST_DROPPED", 10)
    path = tmp_path / "ours.log"
    with OwnObjects(ObjectStore(make()), path) as ours:
        for number in range(100):
            ours.drop(ours.put([str(number).encode()]))
        kept = ours.put([b"kept"])
    assert path.stat().st_size < 15 * 250
    with OwnObjects(ObjectStore(make()), path) as ours:
        assert [blob.digest for blob in ours.held()] == [kept]


def test_a_list_that_is_no_list_is_refused(make, tmp_path):
    """In one line that names the file."""
    path = tmp_path / "ours.log"
    path.write_text("nonsense\n")
    with pytest.raises(StoreError, match=r"ours\.log: record 1 does not hold"):
        OwnObjects(ObjectStore(make()), path)


def test_the_board_keeps_the_promises(make):
    """The conformance kit passes on a member's end of the board."""
    check_board(
        lambda experiment: ObjectBoard(
            make(),
            LocalBoard(experiment),
            experiment=experiment,
            view=LocalLedger(experiment).view,
            signer=KeyedSigner("alice", experiment),
        )
    )


def test_members_read_what_others_posted_and_nobody_posts_twice(make):
    """Notes pass through the bucket; a second, other note is refused by whoever holds none."""
    shared = make()
    ada, bob = board_of("ada", shared), board_of("bob", shared)
    bob.post(ballot("bob"), Scores(0, "bob", 0.5, 0.5))
    bob.post(ballot("bob"))
    assert ada.wait(0, 0, 5)
    assert ada.read(0) == [ballot("bob")]
    assert ada.read(1) == []
    again = board_of("bob", shared)
    with pytest.raises(Equivocation, match="'bob' has posted another ballot for round 0"):
        again.post(ballot("bob", Choice.REJECT))
    assert again.read(0) == [ballot("bob")]


def test_rounds_that_are_over_are_not_kept_here(make):
    """Months of notes fill no memory and no disk; the bucket still has them."""
    ledger, own = LocalLedger(EXPERIMENT), LocalBoard(EXPERIMENT)
    ada = board_of("ada", make(), ledger, own)
    for round_index in range(5):
        ada.post(ballot("ada", round_index=round_index))
        ledger.submit(Pass(round_index, ledger.view().proposer))
    assert [len(own.read(each)) for each in range(5)] == [0, 0, 0, 1, 1]
    assert ada.read(1) == [ballot("ada", round_index=1)]


def test_notes_that_are_not_their_senders_are_left_out(make):
    """Forged, misplaced, giant and foreign objects in the bucket are passed over."""
    shared = make()
    ada = board_of("ada", shared)
    folder = ada._round(0)
    forged = Candidate(0, "bob", PROPOSAL, "0" * 64)
    misplaced = encode(KeyedSigner("bob").sign(Candidate(1, "bob", PROPOSAL)))
    for name, content in {
        ada._path(forged): encode(forged),
        f"{folder}/candidate-{digest_of([b'cid'])[:40]}-{digest_of([misplaced])[:40]}": misplaced,
        ada._path(ballot("cid", Choice.REJECT)): bytes(20_000),
        f"{folder}/nonsense": b"\xff",
        ada._path(ballot("eve")): encode(ballot("eve")),
    }.items():
        shared.put(name, content)
    assert ada.read(0) == []
    board_of("cid", shared).post(ballot("cid"))
    assert ada.read(0) == [ballot("cid")]


def test_nobody_takes_the_place_of_anothers_note(make):
    """Junk and forgeries at every name of bob's block neither his post nor his readers."""
    shared = make()
    ada, bob = board_of("ada", shared), board_of("bob", shared)
    forged = Ballot(0, "bob", PROPOSAL, Choice.REJECT, "0" * 64)
    path = bob._path(ballot("bob"))
    for name in (path, path.rpartition("-")[0], bob._path(forged)):
        shared.put(name, encode(forged))
    assert ada.read(0) == []
    bob.post(ballot("bob"))
    assert ada.read(0) == bob.read(0) == [ballot("bob")]


def test_of_two_notes_that_one_sender_signed_the_older_counts(make):
    """A member that signs both ways is read one way, and stops nobody."""
    shared = make()
    first, second = ballot("bob"), ballot("bob", Choice.REJECT)
    ada = board_of("ada", shared)
    for note in (first, second):
        shared.put(ada._path(note), encode(note))
    assert ada.read(0) == [first]
    ada.post(ballot("ada"))
    assert board_of("cid", shared).read(0) == [first, ballot("ada")]


class Flaky:
    """A bucket that fails to give objects, so often."""

    def __init__(self, shared, failures):
        self._shared, self._failures = shared, failures

    def get(self, path):
        if self._failures:
            self._failures -= 1
            raise OSError("connection reset")
        return self._shared.get(path)

    def __getattr__(self, name):
        return getattr(self._shared, name)


def test_a_note_that_cannot_be_read_once_is_read_the_next_time(make):
    """One failed read costs a look, not the note."""
    shared = make()
    board_of("bob", shared).post(ballot("bob"))
    ada = board_of("ada", Flaky(shared, 1))
    assert ada.read(0) == []
    assert ada.read(0) == [ballot("bob")]


def test_a_note_of_a_member_that_the_ledger_shows_later_is_read_then(make):
    """Whose node lags takes a newcomer's note once it knows the newcomer."""
    shared, ledger = make(), LocalLedger(EXPERIMENT)
    signed = KeyedSigner("eve").sign(Ballot(0, "eve", PROPOSAL, Choice.APPROVE))
    board_of("eve", shared).post(signed)
    members = ["ada", "bob", "cid"]
    ada = ObjectBoard(
        shared,
        LocalBoard(EXPERIMENT),
        experiment=EXPERIMENT,
        view=lambda: replace(ledger.view(), members=tuple(members)),
        signer=KeyedSigner("ada"),
    )
    assert ada.read(0) == []
    members.append("eve")
    assert ada.read(0) == [signed]


def test_what_can_never_be_a_note_is_fetched_once(make):
    """Junk under a member's name costs each reader one look."""
    shared = make()
    ada = board_of("ada", shared)
    shared.put(ada._path(ballot("bob")), b"junk")
    assert ada.read(0) == []
    ada._bucket = Flaky(shared, 1)
    assert ada.read(0) == []
    assert ada._bucket._failures == 1


@pytest.mark.parametrize("url", ["", "s3://", "ftp://x/y", "bucket", "https://example.org/x"])
def test_other_urls_are_refused(url):
    """What is no object store is said to be none, in one line."""
    with pytest.raises(ConfigError, match="names no object store"):
        bucket(url)
