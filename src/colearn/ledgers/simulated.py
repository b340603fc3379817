"""The contract as driver of a simulation: a chain in this process, which a file remembers.

The file is a hash-linked log (`colearn.log`): first the experiment, then every
transaction with the time of its block. Repeating them on a new chain gives the same
chain, so that a run can go on, and an auditor has the contract decide everything again.

Members go by their names here and by addresses on the chain. Their keys follow from the
experiment: in a simulation nobody hides anything from anybody.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from threading import Lock
from typing import Any, Self, TypeVar

import msgspec
from blake3 import blake3

from colearn.errors import BadSignature, ConfigError, CorruptLedger, LedgerError, RefusedEvent
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
from colearn.state import State
from colearn.terms import difference

_CONTEXT = "colearn 2026-11-26 keys of simulated members"
_WHO = {"members", "sender", "member", "successor"}
_NEWCOMERS = 64
_T = TypeVar("_T", bound=msgspec.Struct)


class Transaction(Record, frozen=True, tag="transaction"):
    """What the chain took: the time of its block, and its signed bytes in hexadecimal.

    Before it is repeated, ``newcomers`` are given accounts: names that came up since the
    transaction before.
    """

    time: int
    raw: str
    newcomers: tuple[str, ...] = ()


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
        return self._cast.named(self._ledger.view())

    def events(self, since: int = 0) -> list[Entry]:
        """All entries from position ``since`` on, in order."""
        return [self._cast.named(entry) for entry in self._ledger.events(since)]

    def decisions(self, since: int = 0) -> list[Decision]:
        """Every round that has ended by now, in order, from position ``since`` on."""
        return [self._cast.named(decision) for decision in self._ledger.decisions(since)]

    def submit(self, *events: Event) -> Entry:
        """Append events, each by a transaction of its sender.

        Raises:
            RefusedEvent: The rules do not allow one of them now; those before it stand.
            LedgerError: A sender is no member, or the file cannot be written.
        """
        with self._cast.by_name():
            entry = self._ledger.submit(*map(self._cast.addressed, events))
        return self._cast.named(entry)

    def submit_together(self, propose: Propose, ballots: Sequence[Ballot]) -> Entry:
        """Append a proposal and the votes on it by one transaction.

        Raises:
            RefusedEvent: The rules do not allow one of them now.
            BadSignature: A ballot does not bear its sender's signature.
            LedgerError: The file cannot be written.
        """
        addressed = self._cast.addressed
        with self._cast.by_name():
            entry = self._ledger.submit_together(addressed(propose), list(map(addressed, ballots)))
        return self._cast.named(entry)

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
            self._log.append(encode(Transaction(when, raw, self._cast.newcomers())))


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
        tuple(map(cast.named, found.entries)),
        cast.named(found.state),
        tuple(map(cast.named, found.decisions)),
        head,
        found.signatures,
        _Signer(found.signer, cast),
    )


class _Cast:
    """Everybody whom an experiment's members ever named: by name, by address, with their keys.

    Keys follow from the experiment and from the order in which names came up.
    """

    def __init__(self, experiment: Experiment) -> None:
        agreed = encode(experiment)
        self._purses = [
            Key(blake3(agreed + index.to_bytes(2), derive_key_context=_CONTEXT).digest())
            for index in range(len(experiment.members) + _NEWCOMERS)
        ]
        self.purses = [key.address for key in self._purses]
        self.keys: dict[str, Key] = {}
        self._address: dict[str, str] = {}
        self._name: dict[str, str] = {}
        self._lock = Lock()
        self.enter(experiment.members)
        self._kept = len(experiment.members)
        self.experiment = msgspec.structs.replace(experiment, members=tuple(self.keys))

    def enter(self, names: Iterable[str]) -> None:
        """Give keys to those who have none yet.

        Raises:
            LedgerError: There are no more to give.
        """
        with self._lock:
            for name in names:
                if name in self._address:
                    continue
                place = len(self._address)
                if place == len(self._purses):
                    raise LedgerError(
                        f"{name!r} finds no account on the simulated chain: "
                        f"it has {_NEWCOMERS} for names that came up after the experiment began"
                    )
                key, address = self._purses[place], self.purses[place]
                self.keys[address], self._name[address] = key, name
                self._address[name] = address

    def newcomers(self) -> tuple[str, ...]:
        """The names that came up since this was asked last."""
        with self._lock:
            names = tuple(self._address)[self._kept :]
            self._kept += len(names)
        return names

    @contextmanager
    def by_name(self) -> Iterator[None]:
        """Have refusals call members by their names."""
        try:
            yield
        except (LedgerError, RefusedEvent, BadSignature) as reason:
            text = str(reason)
            for address, name in tuple(self._name.items()):
                text = text.replace(address, name)
            raise type(reason)(text) from None

    def named(self, record: _T) -> _T:
        """What the chain has, with its members called by their names."""
        return _renamed(record, lambda address: self._name.get(address, address))

    def addressed(self, record: _T) -> _T:
        """What the chain is given, with its members called by their addresses."""

        def address(name: str) -> str:
            self.enter([name])
            return self._address[name]

        return _renamed(record, address)


class _Signer:
    """A `colearn.protocols.Signer` of members by their names."""

    def __init__(self, signer: KeySigner, cast: _Cast) -> None:
        self._signer = signer
        self._cast = cast

    def sign(self, note: NoteT) -> NoteT:
        return self._cast.named(self._signer.sign(self._cast.addressed(note)))

    def check(self, note: Signed) -> None:
        self._signer.check(self._cast.addressed(note))


def _replay(
    path: Path | None,
    kept: Sequence[bytes],
    cast: _Cast,
    keep: Callable[[int, str], None] | None = None,
) -> tuple[InProcessChain, str]:
    """Make anew the chain that a file remembers; with it, where the contract is, if anywhere."""
    chain, contract = InProcessChain(cast.purses, keep), ""
    for number, record in enumerate(kept[1:], start=2):
        try:
            transaction = decode(record, Transaction)
            cast.enter(transaction.newcomers)
            made = chain.repeat(transaction.time, transaction.raw)
        except (ConfigError, LedgerError) as reason:
            raise CorruptLedger(f"{path}: record {number} does not hold: {reason}") from None
        contract = contract or made
    cast.newcomers()
    return chain, contract


def _renamed(record: _T, rename: Callable[[str], str]) -> _T:
    """A record with everybody in it called otherwise."""

    def seen(field: str, value: Any) -> Any:
        if isinstance(value, msgspec.Struct):
            return _renamed(value, rename)
        if isinstance(value, tuple):
            return tuple(seen(field, each) for each in value)
        return rename(value) if field in _WHO and isinstance(value, str) else value

    values = {field: getattr(record, field) for field in record.__struct_fields__}
    changes = {
        field: new for field, value in values.items() if (new := seen(field, value)) != value
    }
    return msgspec.structs.replace(record, **changes) if changes else record
