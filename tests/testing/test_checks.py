"""The conformance kit finds what is broken, and says which promise."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence

import pytest

from colearn import rules
from colearn.boards.local import LocalBoard
from colearn.changes import changed
from colearn.errors import BlobMissing, RefusedEvent
from colearn.ledgers.local import LocalLedger
from colearn.protocols import Blob
from colearn.records import Buffer, Digest, Entry, Event, Note, Vote, digest_of
from colearn.rules import State
from colearn.stores.memory import MemoryStore
from colearn.testing import check_board, check_ledger, check_store


class ForgetsFirst(LocalLedger):
    """Shows every entry but the first."""

    def events(self, since: int = 0) -> list[Entry]:
        return super().events(since + 1)


class IgnoresSince(LocalLedger):
    """Gives everything, whatever was asked for."""

    def events(self, since: int = 0) -> list[Entry]:
        return super().events()


class GivesItselfAway(LocalLedger):
    """Hands out the list that it goes on writing to."""

    def events(self, since: int = 0) -> list[Entry]:
        return super().events(since) if since else self._entries


class KeepsRefused(LocalLedger):
    """Appends an event, and only then asks the rules."""

    def submit(self, event: Event) -> Entry:
        try:
            return super().submit(event)
        except RefusedEvent:
            self._entries.append(Entry(self._now, event))
            raise


class SwallowsRefusals(LocalLedger):
    """Says nothing when the rules refuse."""

    def submit(self, event: Event) -> Entry:
        try:
            return super().submit(event)
        except RefusedEvent:
            return Entry(self._now, event)


class IgnoresDeadlines(LocalLedger):
    """Shows the state as it was after the last entry."""

    def view(self) -> State:
        return self._state


class TimeTraveller(LocalLedger):
    """Goes back in time when asked to."""

    def wait(self, seen: int, until: int) -> None:
        if len(self._entries) <= seen:
            self._now = until


class Oversleeps(LocalLedger):
    """Waits for its time although there is something new."""

    def wait(self, seen: int, until: int) -> None:
        self._now = max(self._now, until)


class NeverWaits(LocalLedger):
    """Returns from wait() at once, with nothing new."""

    def wait(self, seen: int, until: int) -> None:
        pass


class LosesVotesAtOnce(LocalLedger):
    """Reads and writes with a gap in between, without a lock."""

    def submit(self, event: Event) -> Entry:
        entries, now = list(self._entries), self._now
        time.sleep(0.001)
        entries.append(Entry(now, event))
        self._keep(*rules.apply(self._state, event, now))
        self._entries = entries
        return entries[-1]


class CountsAbstentions(LocalLedger):
    """Takes an abstention for an approval."""

    def view(self) -> State:
        state = super().view()
        return rules.msgspec.structs.replace(state, approve=state.approve | state.abstain)


class RotatesAtOnce(LocalLedger):
    """Shows the members as they will be."""

    def view(self) -> State:
        state = super().view()
        members, _ = changed(state.members, state.rule, *state.scheduled)
        return rules.msgspec.structs.replace(state, members=members)


class HidesNoVoter(LocalLedger):
    """Lets a member repeat what another one committed to."""

    def commitment(self, vote: Vote, salt: str) -> Digest:
        return super().commitment(rules.msgspec.structs.replace(vote, sender=""), salt)


@pytest.mark.parametrize(
    ("broken", "promise"),
    [
        (ForgetsFirst, "every entry once, in the order submitted"),
        (IgnoresSince, "entries from that position on"),
        (GivesItselfAway, "does not change when more is submitted"),
        (KeepsRefused, "a refused event leaves no trace"),
        (SwallowsRefusals, "raises NoProposal where the rules do"),
        (IgnoresDeadlines, "passes over an absent proposer at its deadline"),
        (TimeTraveller, "ledger time never goes back"),
        (Oversleeps, "returns at once when there are more entries"),
        (NeverWaits, "returns no sooner than its time"),
        (LosesVotesAtOnce, "what several threads submit at once"),
        (RotatesAtOnce, "goes on with the old one to the end of the round"),
        (HidesNoVoter, "a commitment is bound to ledger, round, voter"),
        (CountsAbstentions, "view.. is the rules' fold of all entries"),
    ],
)
def test_a_broken_ledger_is_found(broken: type[LocalLedger], promise: str) -> None:
    """Each way to break a ledger fails on the promise it breaks."""
    with pytest.raises(AssertionError, match=promise):
        check_ledger(broken)


class Overwrites(LocalBoard):
    """Lets the later record win."""

    def post(self, *notes: Note) -> None:
        for note in notes:
            self._keep(note)


class PostsTwice(LocalBoard):
    """Takes a repetition for a record of its own."""

    def post(self, *notes: Note) -> None:
        for note in notes:
            self._notes.setdefault(note.round, {})[len(self._notes), time.perf_counter()] = note


class MixesRounds(LocalBoard):
    """Reads all rounds as one."""

    def read(self, round_index: int) -> list[Note]:
        return [note for index in self._notes for note in super(MixesRounds, self).read(index)]


class Reverses(LocalBoard):
    """Reads the latest first."""

    def read(self, round_index: int) -> list[Note]:
        return super().read(round_index)[::-1]


class NeverWakes(LocalBoard):
    """Looks once, before it waits."""

    def wait(self, round_index: int, seen: int, timeout_seconds: float) -> bool:
        return super().wait(round_index, seen, 0) or bool(time.sleep(min(timeout_seconds, 0.1)))


class CountsAllRounds(LocalBoard):
    """Returns as soon as any record is there."""

    def wait(self, round_index: int, seen: int, timeout_seconds: float) -> bool:
        return bool(self._notes) or super().wait(round_index, seen, timeout_seconds)


@pytest.mark.parametrize(
    ("broken", "promise"),
    [
        (Overwrites, "raises Equivocation"),
        (PostsTwice, "posting the same record again changes nothing"),
        (MixesRounds, "all records of the round and no others"),
        (Reverses, "as they came"),
        (NeverWakes, "as soon as another thread posts"),
        (CountsAllRounds, "counts the records of its own round"),
    ],
)
def test_a_broken_board_is_found(broken: type[LocalBoard], promise: str) -> None:
    """Each way to break a board fails on the promise it breaks."""
    with pytest.raises(AssertionError, match=promise):
        check_board(broken)


class HashesFirstPart(MemoryStore):
    """Takes the first part for the whole."""

    def put(self, parts: Iterable[Buffer], digest: Digest | None = None) -> Digest:
        blob = tuple(memoryview(part).toreadonly() for part in parts)
        digest = digest_of(blob[:1])
        self._blobs[digest] = blob
        return digest


class ReadsPartsTwice(MemoryStore):
    """Hashes an iterator to its end, and then keeps what is left of it."""

    def put(self, parts: Iterable[Buffer], digest: Digest | None = None) -> Digest:
        digest = digest_of(parts)
        self._blobs[digest] = tuple(memoryview(part).toreadonly() for part in parts)
        return digest


class Writable(MemoryStore):
    """Lets readers write into what is held."""

    def open(self, digest: Digest, most_bytes: int | None = None) -> Blob:
        return [memoryview(bytearray(part)) for part in super().open(digest, most_bytes)]


class NeverDrops(MemoryStore):
    """Keeps everything for ever."""

    def drop(self, digest: Digest) -> None:
        pass


class DropsAll(MemoryStore):
    """Cleans up a little too well."""

    def drop(self, digest: Digest) -> None:
        self._blobs.clear()


class DropsLoudly(MemoryStore):
    """Fails on dropping what is not held."""

    def drop(self, digest: Digest) -> None:
        del self._blobs[digest]


class GivesEmptyForMissing(MemoryStore):
    """Gives no bytes for what it does not hold."""

    def open(self, digest: Digest, most_bytes: int | None = None) -> Blob:
        return self._blobs.get(digest, ())


class RaisesItsOwnError(MemoryStore):
    """Lets a KeyError out."""

    def open(self, digest: Digest, most_bytes: int | None = None) -> Blob:
        return self._blobs[digest]


class HoldsEverything(MemoryStore):
    """Says yes to every digest."""

    def __contains__(self, digest: object) -> bool:
        return True


class ForgetsEmpty(MemoryStore):
    """Takes an empty blob for none."""

    def __contains__(self, digest: object) -> bool:
        return bool(self._blobs.get(digest, ()) and b"".join(self._blobs[digest]))  # type: ignore[call-overload, index]


class CorruptsOne(MemoryStore):
    """Gives the bytes of one blob for all short ones."""

    def open(self, digest: Digest, most_bytes: int | None = None) -> Blob:
        blob = super().open(digest, most_bytes)
        return blob if sum(map(len, blob)) != 3 else [memoryview(b"\0\0\0")]


class RefusesRepetition(MemoryStore):
    """Holds a blob once, and complains the second time."""

    def put(self, parts: Iterable[Buffer], digest: Digest | None = None) -> Digest:
        parts = tuple(parts)
        if digest_of(parts) in self and 0 < sum(map(len, parts)) < 1000:
            raise BlobMissing("held already")
        return super().put(parts)


class IgnoresSize(MemoryStore):
    """Gives what it holds, whatever was announced."""

    def open(self, digest: Digest, most_bytes: int | None = None) -> Blob:
        return super().open(digest)


class BelievesNoDigest(MemoryStore):
    """Names a blob whose digest it is told by another."""

    def put(self, parts: Iterable[Buffer], digest: Digest | None = None) -> Digest:
        return super().put(parts, digest and digest[::-1])


@pytest.mark.parametrize(
    ("broken", "promise"),
    [
        (HashesFirstPart, "blake3 digest of all the bytes: not of two parts"),
        (ReadsPartsTwice, "the bytes that were put: not an iterator"),
        (Writable, "read-only memoryviews"),
        (NeverDrops, "not held once it is dropped"),
        (DropsAll, "leaves other blobs alone"),
        (DropsLoudly, "a blob that is not held is no error; it raised KeyError"),
        (GivesEmptyForMissing, "raises BlobMissing .* it raised nothing"),
        (RaisesItsOwnError, "raises BlobMissing .* it raised KeyError"),
        (HoldsEverything, "never put is not held"),
        (ForgetsEmpty, "a blob may be empty"),
        (CorruptsOne, "gives the blob asked for, of many"),
        (RefusesRepetition, "putting a blob again .* is no error; it raised BlobMissing"),
        (IgnoresSize, "raises BlobCorrupt when a blob is more than was announced"),
        (BelievesNoDigest, "put.. with the digest of the parts holds them as without"),
    ],
)
def test_a_broken_store_is_found(broken: type[MemoryStore], promise: str) -> None:
    """Each way to break a store fails on the promise it breaks."""
    with pytest.raises(AssertionError, match=promise):
        check_store(broken)


@pytest.mark.parametrize(
    ("check", "good"),
    [(check_ledger, LocalLedger), (check_board, LocalBoard), (check_store, MemoryStore)],
)
def test_what_is_whole_passes(check: Callable[[object], None], good: Sequence[object]) -> None:
    """The base that the broken ones are made of keeps every promise."""
    check(good)
