"""The seams: what a ledger, a board, a store and a voting policy must do.

Drivers live in ``ledgers/``, ``boards/`` and ``stores/``; `colearn.testing`
checks any implementation against the sentences below.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, TypeVar, runtime_checkable

from colearn.records import (
    Ballot,
    Buffer,
    Digest,
    Entry,
    Event,
    Experiment,
    Note,
    Propose,
    Signed,
    Vote,
)
from colearn.rules import Decision, State
from colearn.schema import Schema

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Tensors = Mapping[str, "NDArray[np.generic]"]
"""Named arrays: weights, a method's state, or what a training step adds."""

NoteT = TypeVar("NoteT", bound=Signed)

Blob = Sequence[memoryview]
"""The bytes of one blob, in consecutive parts, so that nothing has to be joined."""


class Ledger(Protocol):
    """Orders digests and votes; everybody reads the same order.

    A ledger applies `colearn.rules` to what is submitted: an event that they
    refuse raises its `RefusedEvent` and leaves no trace.
    """

    @property
    def experiment(self) -> Experiment:
        """What the members agreed on; the first thing the ledger holds."""
        ...

    def now(self) -> int:
        """Ledger time, in whole seconds; never goes back."""
        ...

    def view(self) -> State:
        """The fold of all entries, at the present ledger time."""
        ...

    def events(self, since: int = 0) -> Sequence[Entry]:
        """All entries from position ``since`` on, in order."""
        ...

    def decisions(self, since: int = 0) -> Sequence[Decision]:
        """Every round that has ended by now, in order, from position ``since`` on."""
        ...

    def submit(self, *events: Event) -> Entry:
        """Append events in this order and return the last as ordered; durable where the ledger is.

        The first that is refused raises; those before it stand.
        """
        ...

    def commitment(self, vote: Vote, salt: str) -> Digest:
        """What hides a vote, where votes are secret, until it is revealed with the salt.

        It is bound to this experiment on this ledger, and holds nowhere else.

        Args:
            vote: The vote.
            salt: 64 hex digits that nobody can guess, drawn anew for each vote.
        """
        ...

    def wait(self, seen: int, until: int) -> None:
        """Return once there are more than ``seen`` entries or ledger time is ``until``."""
        ...


@runtime_checkable
class Collector(Protocol):
    """A ledger that takes a proposal and votes signed beforehand as one."""

    def submit_together(self, propose: Propose, ballots: Sequence[Ballot]) -> Entry:
        """Append a proposal and the votes on it, all or nothing; return the last as ordered."""
        ...


class Board(Protocol):
    """Carries records between members that the ledger need not order.

    Posting the same record again changes nothing; another record by the same
    sender for the same round and kind raises `Equivocation`. What came before the
    last round may be forgotten.
    """

    def post(self, *notes: Note) -> None:
        """Make records readable by all members."""
        ...

    def read(self, round_index: int) -> Sequence[Note]:
        """All records posted for a round, in the order they came."""
        ...

    def wait(self, round_index: int, seen: int, timeout_seconds: float) -> bool:
        """Return True once the round has more than ``seen`` records, False at the time-out."""
        ...


class Store(Protocol):
    """Holds bytes by their digest. What is put once is never changed."""

    def put(self, parts: Iterable[Buffer], digest: Digest | None = None) -> Digest:
        """Hold consecutive parts as one blob; holding it again changes nothing.

        The parts may be kept by reference: whoever puts them gives them away.

        Args:
            parts: The bytes.
            digest: Their digest, from whoever has just hashed these very parts.
        """
        ...

    def open(self, digest: Digest, most_bytes: int | None = None) -> Blob:
        """Give the bytes, read-only and checked against the digest.

        Args:
            digest: The blob's.
            most_bytes: How many bytes it may have, by what was announced. A store that
                fetches blobs from elsewhere takes no more; None stands for
                `colearn.records.MAX_RECORD_BYTES` there.

        Raises:
            BlobMissing: No such blob is held.
            BlobCorrupt: The bytes held are not those that were put, or too many.
        """
        ...

    def drop(self, digest: Digest) -> None:
        """Hold the blob no longer; a blob that is not held is no error."""
        ...

    def __contains__(self, digest: object) -> bool:
        """Whether the blob is held."""
        ...


class Signer(Protocol):
    """Signs a member's notes and endpoints, and checks those of others.

    A signature stands for one experiment: the same note of another one fails.
    """

    def sign(self, note: NoteT) -> NoteT:
        """Return the note with its sender's signature."""
        ...

    def check(self, note: Signed) -> None:
        """Return if the note bears its sender's signature.

        Raises:
            BadSignature: It does not.
        """
        ...


class Trained(NamedTuple):
    """An update with its weights: what a member's training gave, as in `Update`."""

    member: str
    tensors: Tensors
    steps: int
    samples: int


class Method(Protocol):
    """How M′ is made from M: pure, so that anyone repeats it bit for bit.

    A method's state is a mapping of named tensors; it begins empty, advances with
    every proposal that was decided, and only `Method` looks into it.
    """

    @property
    def name(self) -> str:
        """What an experiment calls it."""
        ...

    @property
    def all_train(self) -> bool:
        """Whether every member trains each round; else the proposer alone does."""
        ...

    def offset(self, state: Tensors, member: str) -> Tensors | None:
        """What a member's every training step is to add to its tensors; None: nothing."""
        ...

    def merge(self, base: Tensors, state: Tensors, updates: Sequence[Trained]) -> Tensors:
        """M′ from M and the members' updates, given in member order."""
        ...

    def advance(
        self, base: Tensors, state: Tensors, updates: Sequence[Trained], accepted: Tensors | None
    ) -> Tensors:
        """The state after a round that merged these updates.

        Args:
            base: M, the weights that were trained on.
            state: The state before.
            updates: What the proposal merged, in member order.
            accepted: M′ if it was accepted, None if not.
        """
        ...

    def backed_off(self, state: Tensors) -> str | None:
        """What the method does less, or no longer, and why, in words; None: nothing."""
        ...


class Policy(Protocol):
    """How one learner's losses become its vote."""

    @property
    def metric(self) -> str:
        """The per-sample loss to compare.

        ``"loss"`` is what training minimises, or close to it; ``"error"`` is 0 for
        right and 1 for wrong where there are classes, and the absolute error of
        numbers.
        """
        ...

    def vote(
        self, before: NDArray[np.float64], after: NDArray[np.float64], targets: NDArray[Any], /
    ) -> bool | None:
        """Vote from the same samples' losses under M and M′.

        Args:
            before: Losses under M, of shape (samples,).
            after: Losses under M′, of shape (samples,).
            targets: The samples' classes, or the numbers to predict.

        Returns:
            True to approve, False to reject, None to abstain.
        """
        ...


@runtime_checkable
class Schematic(Protocol):
    """A learner that knows the schema of its weights, such as one whose tensors may grow.

    Without this method the schema is that of the learner's current weights.
    """

    def schema(self) -> Schema:
        """Names, dtypes and shapes of the weights."""
        ...


@runtime_checkable
class Probed(Protocol):
    """A learner that can show what its model makes of samples anyone can draw.

    Two members whose learners hold the same weights but show different outputs do not
    have the same model: an activation, the order of labels or preprocessing differs.
    """

    def probe(self, seed: int) -> NDArray[np.floating]:
        """Outputs of the current model for a few samples drawn from this seed alone."""
        ...


@runtime_checkable
class Seeded(Protocol):
    """A learner whose randomness comes from a seed the participant sets.

    Before each call that may train, the participant sets a seed derived from the
    experiment, the member and the round, so that training is a pure function of
    weights, data and seed, and a restart repeats it.
    """

    def set_seed(self, seed: int) -> None:
        """Draw all randomness from here on from this seed (an unsigned 63-bit integer)."""
        ...


@runtime_checkable
class Steered(Protocol):
    """A learner whose every training step can be corrected, as methods with memory need."""

    def set_offset(self, offset: Tensors | None) -> None:
        """Add these to the tensors of their names after each step from here on; None: nothing."""
        ...

    def training_size(self) -> tuple[int, int]:
        """How many steps a proposal takes, and how many samples it is trained on."""
        ...
