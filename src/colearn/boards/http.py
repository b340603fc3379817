"""A board among members' machines: each keeps its own, and brings the others its notes."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from pathlib import Path
from threading import Lock

from msgspec.structs import replace

from colearn.boards.courier import Courier
from colearn.boards.local import LocalBoard
from colearn.errors import (
    BadSignature,
    BoardError,
    Equivocation,
    LedgerError,
    NotAMember,
    WrongRound,
)
from colearn.log import Log
from colearn.peers.book import AddressBook
from colearn.protocols import Signer
from colearn.records import Ballot, Candidate, Digest, Note, Scores, Update, encode
from colearn.rules import State

_log = logging.getLogger(__name__)


class PeerBoard:
    """A `colearn.protocols.Board` over peers; thread-safe.

    What a member posts is on its own board when `post` returns, and is brought to the
    others as soon as they can be reached; what they bring is checked and put there too.
    So reading and waiting look at the own board only, which keeps the live round, the last
    and those to come. A ballot goes to the round's
    proposer, all else to everybody, so that each update is fetched from who made it. Scores
    carry no signature and stay home.

    Args:
        own: Where the notes are kept.
        book: Where the other members are reached.
        view: Gives the ledger's state.
        signer: Checks the notes of others.
        evidence: A file for notes that contradict each other, in pairs.

    Raises:
        BoardError: The file of evidence cannot be used.
    """

    def __init__(
        self,
        own: LocalBoard,
        book: AddressBook,
        *,
        view: Callable[[], State],
        signer: Signer,
        evidence: Path | None = None,
    ) -> None:
        self._own = own
        self._book = book
        self._view = view
        self._signer = signer
        self._lock = Lock()
        self._posted: list[Note] = []
        self._couriers: dict[str, Courier] = {}
        self._closed = False
        self._contradictions: dict[tuple[str, int, type[Note]], tuple[Note, Note]] = {}
        try:
            self._log = Log(evidence, lambda record: None) if evidence else None
        except LedgerError as reason:
            raise BoardError(str(reason)) from None

    @property
    def contradictions(self) -> list[tuple[Note, Note]]:
        """Pairs of notes by one sender in one place: proof that it equivocates."""
        with self._lock:
            return list(self._contradictions.values())

    def start(self) -> None:
        """Bring the others what an earlier life of this member has posted, and theirs back."""
        self._book.listen(self._heard_of)
        notes = [note for near in self._near() for note in self._own.read(near)]
        self._bring(note for note in notes if note.sender == self._book.member)

    def post(self, *notes: Note) -> None:
        """Make notes readable here, and bring them to the members they are for.

        Raises:
            Equivocation: A sender has posted another one for this round and kind; none
                of the notes is posted then.
            BoardError: They cannot be kept.
            LedgerError: The ledger cannot be read; they are brought nevertheless, once it can.
        """
        self._own.post(*notes)
        self._bring(notes)
        self._own.forget(self._near().start)

    def read(self, round_index: int) -> list[Note]:
        """All notes of a round that are here, in the order they came."""
        return list(self._own.read(round_index))

    def wait(self, round_index: int, seen: int, timeout_seconds: float) -> bool:
        """Return True once the round has more than ``seen`` notes, False at the time-out."""
        return self._own.wait(round_index, seen, timeout_seconds)

    def receive(self, note: Note) -> Note | None:
        """Take another member's note; return the earlier one if it contradicts that.

        Raises:
            BadSignature: It does not bear its sender's signature.
            NotAMember: Its sender is none.
            WrongRound: Its round is not near the live one.
            BoardError: It cannot be kept.
        """
        if isinstance(note, Scores):
            raise BadSignature("scores bear no signature: they are not taken from others")
        state = self._view()
        if note.sender not in state.members:
            raise NotAMember(f"{note.sender!r:.80} is no member: its note is refused")
        if abs(note.round - state.round) > 1:
            raise WrongRound(
                f"a note for round {note.round} in round {state.round}: "
                "only those of the live round, the last and the next are taken"
            )
        held = self._held(note)
        if held is None or not _same(held, note):
            self._signer.check(note)
        if held is None:
            try:
                self._own.post(note)
            except Equivocation:  # two came at once
                held = self._held(note)
            self._own.forget(self._near().start)
        if held is None or _same(held, note):
            return None
        self._testify(held, note)
        return held

    def holder(self, digest: Digest) -> str:
        """The member that announced a blob, in this round or the last; else the proposer."""
        state = self._view()
        for note in (*self._own.read(state.round), *self._own.read(state.round - 1)):
            named = note.weights if isinstance(note, Update) else ""
            if digest == named or (isinstance(note, Candidate) and digest == note.proposal):
                return note.sender
        return state.proposer

    def close(self) -> None:
        """Bring nothing any more; reading stays possible."""
        with self._lock:
            self._closed = True
            couriers = list(self._couriers.values())
        for courier in couriers:
            courier.close()
        for courier in couriers:
            courier.join()
        if self._log is not None:
            self._log.close()

    def _near(self) -> range:
        live = self._view().round
        return range(max(live - 1, 0), live + 2)

    def _bring(self, notes: Iterable[Note]) -> None:
        """Send couriers off with what is posted, one to each other member."""
        with self._lock:
            self._posted += [note for note in notes if not isinstance(note, Scores)]
            for courier in self._couriers.values():
                courier.call()
        live = self._view()
        with self._lock:
            self._posted = [note for note in self._posted if note.round >= live.round - 1]
            if self._closed:
                return
            for member in live.members:
                if member != self._book.member and member not in self._couriers:
                    self._couriers[member] = Courier(
                        member,
                        self._book,
                        waiting=self._waiting,
                        rounds=self._near,
                        receive=self.receive,
                    )

    def _waiting(self, member: str) -> list[Note]:
        state = self._view()
        with self._lock:
            return [
                note
                for note in self._posted
                if note.round >= state.round - 1
                and (not isinstance(note, Ballot) or member == _proposer(state, note.round))
            ]

    def _heard_of(self, member: str) -> None:
        with self._lock:
            courier = self._couriers.get(member)
        if courier is not None:
            courier.call()

    def _held(self, note: Note) -> Note | None:
        return next(
            (
                each
                for each in self._own.read(note.round)
                if each.sender == note.sender and type(each) is type(note)
            ),
            None,
        )

    def _testify(self, held: Note, other: Note) -> None:
        place = held.sender, held.round, type(held)
        with self._lock:
            if place in self._contradictions:
                return
            self._contradictions[place] = held, other
            if self._log is not None:
                self._log.append(encode(held), encode(other))
        _log.warning(
            "%s contradicts itself: two %ss for round %d, both kept as evidence",
            held.sender,
            type(held).__name__.lower(),
            held.round,
        )


def _proposer(state: State, round_index: int) -> str:
    return state.members[round_index % len(state.members)]


def _same(held: Note, note: Note) -> bool:
    """Whether two notes say the same, however often they were signed."""
    if isinstance(held, Scores) or isinstance(note, Scores):
        return held == note
    return replace(held, signature="") == replace(note, signature="")
