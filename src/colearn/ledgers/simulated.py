"""The contract as driver of a simulation: a chain in this process, which a file remembers.

The file is a hash-linked log (`colearn.log`): first the experiment, then every
transaction with the time of its block. Repeating them on a new chain gives the same
chain, so that a run can go on, and an auditor has the contract decide everything again.

Members go by their names here and by addresses on the chain. Their keys follow from the
experiment: in a simulation nobody hides anything from anybody.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Self, TypeVar

import msgspec
from blake3 import blake3

from colearn.errors import ConfigError, CorruptLedger, LedgerError
from colearn.ledgers.chain_audit import audit_contract
from colearn.ledgers.ethereum import EthereumLedger
from colearn.ledgers.inprocess import InProcessChain
from colearn.ledgers.keys import Key
from colearn.ledgers.local import Recorded
from colearn.ledgers.signing import KeySigner
from colearn.log import Log, read_log
from colearn.protocols import NoteT, Signer
from colearn.records import (
    Ballot,
    Digest,
    Entry,
    Event,
    Experiment,
    Propose,
    Record,
    Signed,
    Vote,
    decode,
    encode,
)
from colearn.rules import Decision
from colearn.state import Poll, State
from colearn.terms import difference

_CONTEXT = "colearn 2026-11-26 keys of simulated members"
_T = TypeVar("_T", State, Decision, Poll)
_E = TypeVar("_E", bound=Event | Signed)


class Transaction(Record, frozen=True, tag="transaction"):
    """What the chain took: the time of its block, and its signed bytes in hexadecimal."""

    time: int
    raw: str


class SimulatedLedger:
    """A `colearn.protocols.Collector` for members of one process, decided by the contract.

    Args:
        experiment: What the members agreed on, by their names.
        path: A file that remembers the chain; one that holds this experiment's chain
            already goes on. None to keep all in memory.

    Attributes:
        experiment: What the members agreed on, by their names.
        signer: Signs for all members.
        chain: The chain.

    Raises:
        ConfigError: The file holds another experiment's chain.
        LedgerError: It cannot be used, or another owner has it open.
        CorruptLedger: A record of the file does not hold.
    """

    def __init__(self, experiment: Experiment, path: Path | None = None) -> None:
        self.experiment = experiment
        self._cast = _Cast(experiment)
        kept: list[bytes] = []
        self._log = None if path is None else Log(path, kept.append)
        try:
            if kept and (differ := difference(experiment, decode(kept[0], Experiment))):
                raise ConfigError(
                    f"{path} holds another experiment: {differ}; choose another folder, "
                    "or the learners, rule, seed and terms it was begun with"
                )
            self.chain, contract = _replay(path, kept, self._cast, self._keep)
            if self._log is not None and not kept:
                self._log.append(encode(experiment))
            on_chain, keys = self._cast.experiment, self._cast.keys
            if contract:
                self._ledger = EthereumLedger(on_chain, keys, chain=self.chain, address=contract)
            else:
                self._ledger = EthereumLedger.found(on_chain, keys, chain=self.chain)
        except BaseException:
            self.close()
            raise
        own = KeySigner(keys, self._ledger.chain_id, self._ledger.address)
        self.signer: Signer = _Signer(own, self._cast)

    @property
    def address(self) -> str:
        """Where the contract is."""
        return self._ledger.address

    @property
    def head(self) -> Digest | None:
        """The file's last hash, which stands for the whole chain; None in memory."""
        return None if self._log is None else self._log.head

    def now(self) -> int:
        """Ledger time: that of the block to come."""
        return self._ledger.now()

    def view(self) -> State:
        """The fold of all entries, at the present ledger time."""
        return self._cast.named_state(self._ledger.view())

    def events(self, since: int = 0) -> list[Entry]:
        """All entries from position ``since`` on, in order."""
        return [self._cast.named_entry(entry) for entry in self._ledger.events(since)]

    def decisions(self, since: int = 0) -> list[Decision]:
        """Every round that has ended by now, in order, from position ``since`` on."""
        return [self._cast.named(decision) for decision in self._ledger.decisions(since)]

    def submit(self, *events: Event) -> Entry:
        """Append events, each by a transaction of its sender.

        Raises:
            RefusedEvent: The rules do not allow one of them now; those before it stand.
            LedgerError: A sender is no member, or the file cannot be written.
        """
        entry = self._ledger.submit(*map(self._cast.addressed, events))
        return self._cast.named_entry(entry)

    def submit_together(self, propose: Propose, ballots: Sequence[Ballot]) -> Entry:
        """Append a proposal and the votes on it by one transaction.

        Raises:
            RefusedEvent: The rules do not allow one of them now.
            BadSignature: A ballot does not bear its sender's signature.
            LedgerError: The file cannot be written.
        """
        addressed = self._cast.addressed
        entry = self._ledger.submit_together(addressed(propose), list(map(addressed, ballots)))
        return self._cast.named_entry(entry)

    def commitment(self, vote: Vote, salt: str) -> Digest:
        """What hides a vote until it is revealed with the salt; bound to the contract."""
        return self._ledger.commitment(self._cast.addressed(vote), salt)

    def wait(self, seen: int, until: int) -> None:
        """Let time jump to ``until``, unless there are more than ``seen`` entries."""
        self._ledger.wait(seen, until)

    def close(self) -> None:
        """Let the file go; closing again changes nothing."""
        if self._log is not None:
            self._log.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _keep(self, when: int, raw: str) -> None:
        if self._log is not None:
            self._log.append(encode(Transaction(when, raw)))


def read_chain(path: Path) -> Recorded:
    """Have the contract decide everything again that a file remembers, and check it all.

    Every transaction is repeated on a new chain, the contract's code compared with this
    release's, its events with the rules, and the signatures of collected votes with
    their members' keys.

    Raises:
        CorruptLedger: The first record that does not hold, by its number from 1.
        LedgerError: The file cannot be read, or holds no chain.
    """
    kept: list[bytes] = []
    head = read_log(path, kept.append)
    if not kept:
        raise LedgerError(f"{path} holds no record: a chain's begins with its experiment")
    experiment = decode(kept[0], Experiment)
    cast = _Cast(experiment)
    chain, contract = _replay(path, kept, cast)
    if not contract:
        raise LedgerError(f"{path} holds no transaction: the contract was never put on the chain")
    found = audit_contract(cast.experiment, chain=chain, address=contract)
    return Recorded(
        experiment,
        tuple(map(cast.named_entry, found.entries)),
        cast.named_state(found.state),
        tuple(map(cast.named, found.decisions)),
        head,
        found.signatures,
        _Signer(found.signer, cast),
    )


class _Cast:
    """The members of an experiment: by name, by address, and with their keys."""

    def __init__(self, experiment: Experiment) -> None:
        agreed = encode(experiment)
        keys = {
            name: Key(blake3(agreed + name.encode(), derive_key_context=_CONTEXT).digest())
            for name in experiment.members
        }
        self.keys = {key.address: key for key in keys.values()}
        self._address = {name: key.address for name, key in keys.items()}
        self._name = {address: name for name, address in self._address.items()}
        self.experiment = msgspec.structs.replace(experiment, members=tuple(self.keys))

    def named(self, record: _T) -> _T:
        members = tuple(self._name.get(each, each) for each in record.members)
        return msgspec.structs.replace(record, members=members)

    def named_state(self, state: State) -> State:
        last = None if state.last is None else self.named(state.last)
        return msgspec.structs.replace(self.named(state), last=last)

    def named_entry(self, entry: Entry) -> Entry:
        return Entry(entry.time, _sent_by(entry.event, self._name))

    def named_note(self, note: _E) -> _E:
        return _sent_by(note, self._name)

    def addressed(self, record: _E) -> _E:
        return _sent_by(record, self._address)


class _Signer:
    """A `colearn.protocols.Signer` of members by their names."""

    def __init__(self, signer: KeySigner, cast: _Cast) -> None:
        self._signer = signer
        self._cast = cast

    def sign(self, note: NoteT) -> NoteT:
        return self._cast.named_note(self._signer.sign(self._cast.addressed(note)))

    def check(self, note: Signed) -> None:
        self._signer.check(self._cast.addressed(note))


def _replay(
    path: Path | None,
    kept: Sequence[bytes],
    cast: _Cast,
    keep: Callable[[int, str], None] | None = None,
) -> tuple[InProcessChain, str]:
    """Make anew the chain that a file remembers; with it, where the contract is, if anywhere."""
    chain, contract = InProcessChain(cast.keys, keep), ""
    for number, record in enumerate(kept[1:], start=2):
        try:
            made = chain.repeat(*msgspec.structs.astuple(decode(record, Transaction)))
        except (ConfigError, LedgerError) as reason:
            raise CorruptLedger(f"{path}: record {number} does not hold: {reason}") from None
        contract = contract or made
    return chain, contract


def _sent_by(record: _E, names: Mapping[str, str]) -> _E:
    return msgspec.structs.replace(record, sender=names.get(record.sender, record.sender))
