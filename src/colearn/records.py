"""Everything that is written down or sent: frozen, versioned records.

A record has one canonical form, `encode`'s JSON, and its digest is the blake3
hash of those bytes. Decoding is strict: unknown kinds, missing fields and other
versions are refused.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from enum import Enum
from fractions import Fraction
from typing import Any, TypeVar, cast

import msgspec
from blake3 import blake3

from colearn.errors import ConfigError, InvalidRule
from colearn.ml_interface import DiffPrivBudget

WIRE_VERSION = 6
MAX_MEMBERS = 4_096
MAX_MEMBERS_ON_CHAIN = 256
MAX_RECORD_BYTES = 262_144
"""What a record, such as a proposal of many updates, may have at most."""

PLAIN = "plain"
"""The method in which M′ is what the proposer's training gives."""

_MAX_DENOMINATOR = 65_535
_MAX_COMMITTEE = 65_535
_MAX_SECONDS = 2**26 - 1
_is_decimal_or_ratio = re.compile(r"-?\d{1,20}([./]\d{1,20})?").fullmatch

Digest = str
"""64 lower-case hex digits: the blake3 hash of some bytes."""

is_digest = re.compile("[0-9a-f]{64}").fullmatch
"""Tells whether a text is a digest."""

Buffer = bytes | bytearray | memoryview


def digest_of(parts: Iterable[Buffer]) -> Digest:
    """Hash consecutive parts as one run of bytes (blake3, 32 bytes, as hex)."""
    hasher = blake3()
    for part in parts:
        hasher.update(part)
    return hasher.hexdigest()


class Record(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind"):
    """What all records share: they are frozen and decode strictly."""


class Rule(Record, frozen=True, kw_only=True, tag="rule"):
    """How votes become a decision; see `colearn.rules` for the exact arithmetic.

    Fractions may be given as `Fraction`, as text (``"2/3"``) or as numbers, which
    mean what they print (``0.6`` is 3/5).

    Attributes:
        threshold: Share of the eligible voters whose approval is needed, above 0.
        inclusive: Accept at exactly the threshold too (default: only above it).
        proposer_votes: The proposer votes on its own proposal and counts as eligible.
        quorum: Share of the eligible voters that must vote, abstentions included.
        propose_seconds: Ledger time a proposer has before its turn is skipped.
        vote_seconds: Ledger time voters have after a proposal.
        reveal_seconds: 0: votes are open. Else members first commit to their votes,
            within ``vote_seconds``, and then have this time to reveal them.
        committee: 0: all members vote. Else so many, drawn anew each round from those
            other than the proposer; all of these, if there are no more. They vote in the
            open.
        governance: Share of all members that must endorse a change of members or
            rule; more than this share is needed.

    Raises:
        InvalidRule: No group should run under these values.
    """

    threshold: Fraction = Fraction(1, 2)
    inclusive: bool = False
    proposer_votes: bool = False
    quorum: Fraction = Fraction(0)
    propose_seconds: int = 3_600
    vote_seconds: int = 3_600
    reveal_seconds: int = 0
    committee: int = 0
    governance: Fraction = Fraction(2, 3)

    def __post_init__(self) -> None:
        for name in ("threshold", "quorum", "governance"):
            msgspec.structs.force_setattr(self, name, fraction(name, getattr(self, name)))
        if not 0 < self.threshold <= 1:
            raise InvalidRule(
                f"threshold {self.threshold} is refused: it must be above 0 "
                "(at 0 a unanimous 'no' would pass) and at most 1"
            )
        if self.threshold == 1 and not self.inclusive:
            raise InvalidRule(
                "threshold 1 is refused: approvals can never be more than all; take less, "
                "or set inclusive=True for unanimity"
            )
        if not 0 <= self.quorum <= 1:
            raise InvalidRule(f"quorum {self.quorum} is refused: it must lie between 0 and 1")
        if not Fraction(1, 2) <= self.governance < 1:
            raise InvalidRule(
                f"governance {self.governance} is refused: it must be at least 1/2 and below 1"
            )
        for name in ("inclusive", "proposer_votes"):
            if not isinstance(getattr(self, name), bool):
                raise InvalidRule(f"{name} {getattr(self, name)!r} is refused: it is True or False")
        for name, least in (("propose_seconds", 1), ("vote_seconds", 1), ("reveal_seconds", 0)):
            value = getattr(self, name)
            whole = isinstance(value, int) and not isinstance(value, bool)
            if not whole or not least <= value <= _MAX_SECONDS:
                raise InvalidRule(
                    f"{name} {value!r:.40} is refused: it must be a whole number of seconds, "
                    f"{least} or more, and at most {_MAX_SECONDS:,} (two years)"
                )
        self._check_committee()

    def _check_committee(self) -> None:
        size = self.committee
        if type(size) is not int or size == 1 or not 0 <= size <= _MAX_COMMITTEE:
            raise InvalidRule(
                f"committee {size!r} is refused: it must be 0, for all to vote, or a whole number "
                f"of voters from 2 to {_MAX_COMMITTEE}"
            )
        if size and (self.proposer_votes or self.reveal_seconds):
            raise InvalidRule(
                f"committee {size} is refused together with proposer_votes or reveal_seconds: "
                "those drawn do not propose, and vote in the open"
            )


def fraction(name: str, value: Fraction | float | str) -> Fraction:
    """Read a share as it is written: 1/2, "2/3", 0.6 (which is 3/5).

    Raises:
        InvalidRule: It is no such thing, or its denominator is above 65,535.
    """
    text = str(value)
    try:
        share = Fraction(text if _is_decimal_or_ratio(text) else "")
    except (ValueError, ZeroDivisionError):
        raise InvalidRule(f"{name} {value!r:.40} is not a fraction such as '1/2' or 0.5") from None
    if share.denominator > _MAX_DENOMINATOR:
        raise InvalidRule(
            f"{name} {value} is refused: write it as a fraction with a denominator "
            f"of at most {_MAX_DENOMINATOR}, such as '2/3'"
        )
    return share


class Experiment(Record, frozen=True, kw_only=True, tag="experiment"):
    """What members agree on before the first round; its digest names the experiment.

    Attributes:
        version: Wire version of every record of this experiment.
        members: Their names or addresses, in join order.
        initial: Digest of the `Proposal` that carries M₀.
        schema: Digest of the weights' schema.
        rule: The voting rule.
        method: Name of the method by which M′ is made from M.
        terms: What else they agreed on, by name.
    """

    version: int = WIRE_VERSION
    members: tuple[str, ...]
    initial: Digest
    schema: Digest
    rule: Rule = Rule()
    method: str = PLAIN
    terms: dict[str, str] = {}

    def __post_init__(self) -> None:
        check_members(self.members)


def check_members(members: tuple[str, ...]) -> None:
    """Raise `ConfigError` unless 2 to 4,096 distinct, non-empty names are given."""
    if not 2 <= len(members) <= MAX_MEMBERS:
        raise ConfigError(
            f"{len(members)} member(s): an experiment needs 2 to {MAX_MEMBERS}, "
            "for whoever proposes must be judged by somebody else"
        )
    for member in members:
        if type(member) is not str or not member or not member.isprintable():
            raise ConfigError(f"{member!r} is no name for a member: use printable text")
    if len(set(members)) != len(members):
        raise ConfigError("two members have one name: names must differ")


class Update(Record, frozen=True, kw_only=True, tag="update"):
    """What one member's training gave, for a method to merge. Stands on the board.

    Attributes:
        round: The round it is made in.
        sender: The member that trained.
        base: Digest of the proposal whose weights were trained on.
        state: Digest of the method's state it was trained with; empty where there is none.
        weights: Digest of how training moved the weights, as `colearn.compact` sends it;
            empty where it gave nothing.
        size_bytes: Of that.
        steps: Training steps taken, each with the method's offset added; 0 where the learner
            cannot add one, so that its update tells nothing of drift.
        samples: Samples trained on, as the member declares them; 0 where it does not say.
        dp_budget: What its privacy has cost so far, as the member declares it; None
            where training is not private.
        signature: By the sender's key, as hex; empty where members share one process.
    """

    round: int
    sender: str
    base: Digest
    state: str = ""
    weights: Digest
    size_bytes: int
    steps: int
    samples: int
    dp_budget: DiffPrivBudget | None = None
    signature: str = ""


class Proposal(Record, frozen=True, kw_only=True, tag="proposal"):
    """New weights, and where they come from. Lies in the store; its digest on the ledger.

    Whoever holds base, state and the updates' weights repeats the merge, bit for bit.

    Attributes:
        round: The round it is made for; 0 for M₀.
        sender: The proposer; empty for M₀.
        base: Digest of the proposal whose weights were trained on; empty for M₀.
        weights: Digest of the weights' canonical bytes.
        size_bytes: Their number.
        dims: Sizes of the schema's dimensions that may grow.
        state: Digest of the method's state it was made with; empty where there is none.
        merged: The updates it was made of, in the order of the members.
        dp_budget: As in `Update`, where the weights are the proposer's own training.
    """

    version: int = WIRE_VERSION
    round: int
    sender: str
    base: str
    weights: Digest
    size_bytes: int
    dims: dict[str, int] = {}
    state: str = ""
    merged: tuple[Update, ...] = ()
    dp_budget: DiffPrivBudget | None = None


class Choice(Enum):
    """A vote. Only *approve* counts towards the threshold; all three make a quorum."""

    APPROVE = "approve"
    REJECT = "reject"
    ABSTAIN = "abstain"


class Propose(Record, frozen=True, tag="propose"):
    """The round's proposer puts a proposal's digest up for the vote."""

    round: int
    sender: str
    proposal: Digest


class Pass(Record, frozen=True, tag="pass"):
    """The round's proposer gives its turn away."""

    round: int
    sender: str


class Vote(Record, frozen=True, tag="vote"):
    """A member's vote on the round's proposal."""

    round: int
    sender: str
    proposal: Digest
    choice: Choice


class Commit(Record, frozen=True, tag="commit"):
    """A member binds itself to a vote that nobody can read yet: see `Ledger.commitment`."""

    round: int
    sender: str
    proposal: Digest
    commitment: Digest


class Reveal(Record, frozen=True, tag="reveal"):
    """A member shows the vote that it committed to, and the salt that hid it (64 hex digits)."""

    round: int
    sender: str
    choice: Choice
    salt: str


class Rotate(Record, frozen=True, tag="rotate"):
    """A member gives its place to a new key or name of its own; nobody has to agree."""

    sender: str
    successor: str


class AddMember(Record, frozen=True, tag="add-member"):
    """A newcomer joins at the end of the rotation."""

    member: str


class RemoveMember(Record, frozen=True, tag="remove-member"):
    """A member leaves."""

    member: str


class ReplaceMember(Record, frozen=True, tag="replace-member"):
    """A member's key or name is replaced; its place in the rotation stays."""

    member: str
    successor: str


class SetRule(Record, frozen=True, tag="set-rule"):
    """The rule changes."""

    rule: Rule


Change = AddMember | RemoveMember | ReplaceMember | SetRule


class Endorse(Record, frozen=True, tag="endorse"):
    """A member endorses a change; its earlier endorsement, if any, is withdrawn."""

    sender: str
    change: Change


Event = Propose | Pass | Vote | Commit | Reveal | Endorse | Rotate


CommitmentTo = Callable[[Vote, str], Digest]
"""Gives the commitment that a vote and a salt make."""


def commitments_in(experiment: Experiment) -> CommitmentTo:
    """How votes are hidden on a ledger that is no chain: bound to the experiment, by blake3."""
    within = digest_of([encode(experiment)]).encode()
    return lambda vote, salt: digest_of([within, encode(vote), salt.encode()])


class Entry(Record, frozen=True, tag="entry"):
    """An event as the ledger ordered it, at a ledger time in whole seconds."""

    time: int
    event: Event


class Scores(Record, frozen=True, tag="scores"):
    """What a member measured for its vote. Leaves the member only where it opts in.

    None stands for "not measured".
    """

    round: int
    sender: str
    vote_score: float | None
    test_score: float | None


class Candidate(Record, frozen=True, tag="candidate"):
    """The proposer shows its proposal, to collect votes before it puts both on the ledger."""

    round: int
    sender: str
    proposal: Digest
    signature: str = ""


class Ballot(Record, frozen=True, tag="ballot"):
    """A member's signed vote, for the proposer to put on the ledger."""

    round: int
    sender: str
    proposal: Digest
    choice: Choice
    signature: str = ""


Note = Scores | Update | Candidate | Ballot
"""What may be posted on a board."""


class Endpoint(Record, frozen=True, kw_only=True, tag="endpoint"):
    """Where a member is reached. A newer one, by its counter, replaces an older one.

    Attributes:
        sender: The member.
        counter: Rises with every change.
        url: ``https://host:port``; on loopback also ``http://``.
        fingerprint: SHA-256 of its TLS certificate, as hex; empty without TLS.
        signature: By the sender's key, as hex.
    """

    sender: str
    counter: int
    url: str
    fingerprint: str = ""
    signature: str = ""


Signed = Note | Endpoint
"""What a member may sign for the others."""

RecordT = TypeVar("RecordT", bound=Record)


def _to_json(value: Any) -> Any:
    if isinstance(value, Fraction):
        return str(value)
    raise NotImplementedError(f"records hold no {type(value).__name__}")


def _from_json(kind: type, value: Any) -> Any:
    if kind is Fraction and isinstance(value, str):
        return fraction("a share", value)
    raise NotImplementedError(f"records hold no {kind.__name__}")


_encoder = msgspec.json.Encoder(enc_hook=_to_json, order="deterministic")
_decoders: dict[Any, msgspec.json.Decoder[Any]] = {}


def encode(record: Record) -> bytes:
    """Canonical bytes of a record: JSON with fixed field order and no white space."""
    return _encoder.encode(record)


def decode(raw: Buffer, kind: type[RecordT]) -> RecordT:
    """Read canonical bytes back; anything else raises `ConfigError` in one line."""
    decoder = _decoders.get(kind)
    if decoder is None:
        decoder = _decoders[kind] = msgspec.json.Decoder(kind, dec_hook=_from_json)
    name = getattr(kind, "__name__", "note").lower()
    try:
        record: RecordT = decoder.decode(raw)
        canonical = encode(record) == raw
    except (msgspec.MsgspecError, ConfigError, ValueError, RecursionError) as reason:
        _check_version(name, _version_in(raw))
        raise ConfigError(f"this is no valid {name} record: {reason}") from None
    _check_version(name, getattr(record, "version", WIRE_VERSION))
    if not canonical:
        raise ConfigError(f"this {name} record is not in canonical form")
    return record


def decode_note(raw: Buffer) -> Note:
    """Read the canonical bytes of a note of any kind; as strict as `decode`."""
    return decode(raw, cast("type[Note]", Note))


class _Versioned(msgspec.Struct):
    version: int = WIRE_VERSION


def _version_in(raw: Buffer) -> int:
    """The version some bytes claim, so that they are refused for it before all else."""
    try:
        return msgspec.json.decode(raw, type=_Versioned).version
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return WIRE_VERSION


def _check_version(name: str, version: int) -> None:
    if version != WIRE_VERSION:
        raise ConfigError(
            f"this {name} record has wire version {version}; "
            f"this colearn reads version {WIRE_VERSION}: use the release that wrote it"
        )
