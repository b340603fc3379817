"""A ledger on an Ethereum chain, with the smart contract as driver.

Members are called by their checksummed addresses. What the contract logged, folded in
order by `colearn.rules`, is the ledger: its state, entries and decisions are those of
any other ledger with the same events at the same times.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from threading import RLock
from typing import Self

from colearn import rules
from colearn.errors import CorruptLedger, LedgerError, RefusedEvent
from colearn.ledgers.client import Chain, Client, Log
from colearn.ledgers.contract import call_of, commitment_on, events_of, rule_to_abi, together
from colearn.ledgers.inprocess import InProcessChain
from colearn.ledgers.signing import compact_of
from colearn.records import (
    Ballot,
    Digest,
    Entry,
    Event,
    Experiment,
    Propose,
    Vote,
    digest_of,
    encode,
)
from colearn.rules import Decision, State


class EthereumLedger:
    """A `colearn.protocols.Ledger` on an Ethereum chain; thread-safe.

    Args:
        experiment: What the members agreed on; the contract must be this experiment's.
        keys: Private keys by address, 32 bytes each, of the members this machine acts for.
        chain: A chain in this process, or ``Web3(Web3.HTTPProvider(url))``.
        address: Where the contract is.
        first_block: A block at or before the contract's first, to look for it from.

    Raises:
        LedgerError: There is no such contract, it is another experiment's, or the node
            cannot be reached.
        CorruptLedger: It does not follow the rules, so it is no contract of colearn's.
    """

    def __init__(
        self,
        experiment: Experiment,
        keys: Mapping[str, bytes],
        *,
        chain: Chain,
        address: str,
        first_block: int = 0,
    ) -> None:
        self._experiment = experiment
        self._client = Client(chain, keys, len(experiment.members), address)
        self._lock = RLock()
        self._entries: list[Entry] = []
        self._decisions: list[Decision] = []
        head = self._client.head()
        logs = self._client.logs(first_block, head.block)
        if not logs:
            raise LedgerError(f"{address} holds no contract of colearn's: check address and chain")
        founded = logs.pop(0)
        self._check_founded(founded)
        self._state = rules.start(experiment, founded.time)
        self._take(logs)
        self._head = head

    @classmethod
    def found(
        cls, experiment: Experiment, keys: Mapping[str, bytes], *, chain: Chain | None = None
    ) -> Self:
        """Begin an experiment: put its contract on a chain.

        Args:
            experiment: What the members agreed on.
            keys: Private keys by address; the first of them signs and pays.
            chain: The chain; by default a new one in this process, on which all whose
                keys are given have funds.

        Raises:
            ConfigError: A member's name is no checksummed address.
            LedgerError: The chain did not take the contract.
        """
        chain = chain or InProcessChain(keys)
        client = Client(chain, keys, len(experiment.members))
        first_block = client.head().block
        address = client.deploy(experiment, next(iter(keys)))
        return cls(experiment, keys, chain=chain, address=address, first_block=first_block)

    @property
    def experiment(self) -> Experiment:
        """What the members agreed on."""
        return self._experiment

    @property
    def address(self) -> str:
        """Where the contract is."""
        return self._client.address

    @property
    def chain_id(self) -> int:
        """Number of the chain; signatures hold on this chain only."""
        return self._client.chain_id

    def now(self) -> int:
        """Ledger time: the newest block's; in this process, that of the block to come."""
        with self._lock:
            self._look()
            return self._head.time

    def view(self) -> State:
        """The fold of all entries, at the present ledger time."""
        with self._lock:
            self._look()
            self._keep(*rules.advance(self._state, self._head.time))
            return self._state

    def events(self, since: int = 0) -> list[Entry]:
        """All entries from position ``since`` on, in order."""
        with self._lock:
            self._look()
            return self._entries[since:]

    def decisions(self, since: int = 0) -> list[Decision]:
        """Every round that has ended by now, in order, from position ``since`` on."""
        with self._lock:
            self.view()
            return self._decisions[since:]

    def submit(self, *events: Event) -> Entry:
        """Append events, each by a transaction of its sender; return when they are in blocks.

        Raises:
            RefusedEvent: The rules do not allow one of them now; those before it stand.
            LedgerError: A sender's key is not held, or the chain did not take a transaction.
        """
        with self._lock:
            return [self._submit((event,), *call_of(event)) for event in events][-1]

    def submit_together(self, propose: Propose, ballots: Sequence[Ballot]) -> Entry:
        """Append a proposal and the votes on it, all by one transaction, or nothing.

        Args:
            propose: The proposal, by a proposer whose key is held.
            ballots: Votes that members signed: see `colearn.ledgers.signing`.

        Raises:
            RefusedEvent: The rules do not allow one of them now.
            BadSignature: A ballot does not bear its sender's signature.
            LedgerError: The proposer's key is not held, or the chain did not take the
                transaction.
        """
        with self._lock:
            members = self.view().members
            place = {member: index for index, member in enumerate(members)}
            ballots = sorted(ballots, key=lambda each: place.get(each.sender, len(place)))
            votes = [Vote(each.round, each.sender, each.proposal, each.choice) for each in ballots]
            signed = {each.sender: (each.choice, compact_of(each.signature)) for each in ballots}
            return self._submit((propose, *votes), *together(propose, signed, members))

    def commitment(self, vote: Vote, salt: str) -> Digest:
        """What hides a vote until it is revealed with the salt; bound to chain and contract."""
        return commitment_on(
            chain_id=self._client.chain_id, contract=self.address, vote=vote, salt=salt
        )

    def wait(self, seen: int, until: int) -> None:
        """Return once there are more than ``seen`` entries or ledger time is ``until``."""
        while True:
            with self._lock:
                if len(self.events()) > seen or self._head.time >= until:
                    return
                if self._client.jump(until):
                    return
            self._client.pause()

    def _submit(self, events: tuple[Event, ...], name: str, arguments: tuple[object, ...]) -> Entry:
        self._look()
        state, seen = self._state, len(self._entries)
        for event in events:
            state, _ = rules.apply(state, event, self._head.time, self.commitment)
        self._client.call(events[0].sender, name, arguments)
        self._look()
        return next(entry for entry in self._entries[seen:] if entry.event == events[-1])

    def _look(self) -> None:
        """Read what is new on the chain."""
        head = self._client.head()
        if head.block > self._head.block:
            self._take(self._client.logs(self._head.block + 1, head.block))
        self._head = head

    def _take(self, logs: list[Log]) -> None:
        for log in logs:
            self._keep(*rules.advance(self._state, log.time))
            for event in events_of(log.name, log.values, self._state):
                try:
                    self._keep(*rules.apply(self._state, event, log.time, self.commitment))
                except RefusedEvent as reason:
                    raise CorruptLedger(
                        f"the contract at {self.address} records what the rules refuse: {reason}"
                    ) from None
                self._entries.append(Entry(log.time, event))

    def _keep(self, state: State, decisions: tuple[Decision, ...]) -> None:
        self._state = state
        self._decisions += decisions

    def _check_founded(self, founded: Log) -> None:
        """Refuse a contract that is not this experiment's, in any of its terms."""
        terms = {
            "experiment": bytes.fromhex(digest_of([encode(self._experiment)])),
            "initial": bytes.fromhex(self._experiment.initial),
            "members": list(self._experiment.members),
            "rule": rule_to_abi(self._experiment.rule),
        }
        for name, expected in terms.items():
            got = founded.values[name]
            got = tuple(got.values()) if name == "rule" else got
            if got != expected:
                raise LedgerError(
                    f"the contract at {self.address} is another experiment's: "
                    f"its {name} is {got!r:.100}, expected {expected!r:.100}"
                )
