"""A ledger on an Ethereum chain, with the smart contract as driver.

Members are called by their checksummed addresses. What the contract logged, folded in
order by `colearn.rules`, is the ledger: its state, entries and decisions are those of
any other ledger with the same events at the same times. When a chain takes blocks
back, the ledger is folded anew from those that remain.

Ledger time is the time of the newest block that counts, and never a clock's: it stands
still while no block is made, and an event is judged by the time of its own block, which
is never before `now`. A chain in this process makes blocks at once, so its time is that
of the block to come.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Mapping, Sequence
from threading import Lock, RLock
from typing import Any, NamedTuple, Self

from colearn import rules
from colearn.errors import CorruptLedger, LedgerError, RefusedEvent
from colearn.ledgers.client import Chain, Client, Depth, Head, Log
from colearn.ledgers.contract import call_of, commitment_on, together
from colearn.ledgers.history import History
from colearn.ledgers.inprocess import InProcessChain
from colearn.ledgers.signing import compact_of, text_of
from colearn.records import (
    Ballot,
    Digest,
    Entry,
    Event,
    Experiment,
    Propose,
    Vote,
)
from colearn.rules import Decision, State

_MARKS = 256
_LOST_SECONDS = 1.0
_FIRST_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS = 0.005, 0.25


class _Act(NamedTuple):
    """Events that one transaction puts on the ledger, all or none."""

    events: tuple[Event, ...]
    name: str
    arguments: tuple[Any, ...]


class _Mark(NamedTuple):
    """A block that was the newest once, and how many log entries there were by then."""

    head: Head
    logs: int


class EthereumLedger:
    """A `colearn.protocols.Ledger` on an Ethereum chain; thread-safe.

    Args:
        experiment: What the members agreed on; the contract must be this experiment's.
        keys: Private keys by address, 32 bytes each, of the members this machine acts for.
        chain: A chain in this process, or `colearn.ledgers.nodes.connect` to nodes.
        address: Where the contract is.
        first_block: A block at or before the contract's first, to look for it from.
        depth: A block counts once this many lie on it: 0 where blocks are final at once,
            as on a chain for development or of Besu with QBFT. Or ``"finalized"``, to
            leave it to the chain.

    Raises:
        LedgerError: There is no such contract, it is another experiment's or has other
            code than this release's, or the node cannot be reached.
        CorruptLedger: It does not follow the rules.
    """

    def __init__(
        self,
        experiment: Experiment,
        keys: Mapping[str, bytes],
        *,
        chain: Chain,
        address: str,
        first_block: int = 0,
        depth: Depth = 0,
    ) -> None:
        self._experiment = experiment
        self._client = Client(chain, keys, len(experiment.members), address, depth=depth)
        self._client.check_code()
        self._lock = RLock()
        self._sending = Lock()
        self._first_block = first_block
        self._head: Head | None = None
        self._marks: deque[_Mark] = deque(maxlen=_MARKS)
        self._history = History(experiment, address, self.commitment, self._client.terms)
        self._look()
        self._client.check_experiment(experiment)

    @classmethod
    def found(
        cls,
        experiment: Experiment,
        keys: Mapping[str, bytes],
        *,
        chain: Chain | None = None,
        depth: Depth = 0,
    ) -> Self:
        """Begin an experiment: put its contract on a chain.

        Args:
            experiment: What the members agreed on.
            keys: Private keys by address; the first of them signs and pays.
            chain: The chain; by default a new one in this process, on which all whose
                keys are given have funds.
            depth: As of the class; this returns once the contract's block counts.

        Raises:
            ConfigError: A member's name is no checksummed address.
            LedgerError: The chain did not take the contract.
        """
        chain = chain or InProcessChain(keys)
        client = Client(chain, keys, len(experiment.members), depth=depth)
        receipt = client.deploy(experiment, next(iter(keys)))
        block = int(receipt["blockNumber"])
        while client.head().block < block:
            time.sleep(_LONGEST_PAUSE_SECONDS)
        address = str(receipt["contractAddress"])
        return cls(experiment, keys, chain=chain, address=address, first_block=block, depth=depth)

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

    @property
    def first_block(self) -> int:
        """A block at or before the contract's first."""
        return self._first_block

    def now(self) -> int:
        """Ledger time: the newest block's that counts; what is submitted comes no earlier."""
        with self._lock:
            return self._look().time

    def view(self) -> State:
        """The fold of all entries, at the present ledger time."""
        with self._lock:
            head = self._look()
            return self._history.advance(head.time)

    def events(self, since: int = 0) -> list[Entry]:
        """All entries from position ``since`` on, in order."""
        with self._lock:
            self._look()
            return self._history.entries[since:]

    def decisions(self, since: int = 0) -> list[Decision]:
        """Every round that has ended by now, in order, from position ``since`` on."""
        with self._lock:
            self.view()
            return self._history.decisions[since:]

    def submit(self, *events: Event) -> Entry:
        """Append events, each by a transaction of its sender; return when they are in blocks.

        All are sent before the first is waited for.

        Raises:
            RefusedEvent: The rules do not allow one of them now; those before it stand.
            LedgerError: A sender's key is not held, or the chain did not take a transaction.
        """
        return self._submit([_Act((event,), *call_of(event)) for event in events])

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
            members = self._history.state.members
        place = {member: index for index, member in enumerate(members)}
        ballots = sorted(ballots, key=lambda each: place.get(each.sender, len(place)))
        votes = [Vote(each.round, each.sender, each.proposal, each.choice) for each in ballots]
        signed = {each.sender: (each.choice, compact_of(each.signature)) for each in ballots}
        return self._submit([_Act((propose, *votes), *together(propose, signed, members))])

    def commitment(self, vote: Vote, salt: str) -> Digest:
        """What hides a vote until it is revealed with the salt; bound to chain and contract."""
        return commitment_on(
            chain_id=self._client.chain_id, contract=self.address, vote=vote, salt=salt
        )

    def collected(self) -> list[list[Ballot]]:
        """The ballots of each proposal that came with votes, as its transaction has them.

        Raises:
            CorruptLedger: They are not those that the contract logged.
        """
        with self._lock:
            self._look()
            return [
                self._ballots(transaction, [each for each in events if isinstance(each, Vote)])
                for transaction, events in self._history.collected
            ]

    def wait(self, seen: int, until: int) -> None:
        """Return once there are more than ``seen`` entries or ledger time is ``until``.

        On a chain that makes blocks for transactions only, this makes one when it is
        time, if a key is held.
        """
        pause = _FIRST_PAUSE_SECONDS
        while True:
            with self._lock:
                head = self._look()
                if (
                    len(self._history.entries) > seen
                    or head.time >= until
                    or self._client.jump(until)
                ):
                    return
            if pause == _LONGEST_PAUSE_SECONDS:
                self._client.wake(head, until)
            time.sleep(pause)
            pause = min(1.5 * pause, _LONGEST_PAUSE_SECONDS)

    def _submit(self, acts: Sequence[_Act]) -> Entry:
        with self._sending:
            allowed, refusal = self._allowed(acts)
            seen, begun = len(self._history.entries), self._history.begun
            calls = [(act.events[0].sender, act.name, act.arguments) for act in allowed]
            sent = self._client.send(calls)
            waiting = list(zip(allowed, sent, strict=True))
            pause = _FIRST_PAUSE_SECONDS
            while True:
                with self._lock:
                    head = self._look()
                    fresh = self._history.entries[seen if begun == self._history.begun else 0 :]
                ordered = {entry.event: entry for entry in fresh}
                for act, transaction in waiting:
                    if act.events[-1] in ordered:
                        self._client.done(transaction)
                waiting = [each for each in waiting if each[0].events[-1] not in ordered]
                if not waiting:
                    break
                for _, transaction in waiting:
                    self._client.hasten(transaction, head.block)
                time.sleep(pause)
                pause = min(1.5 * pause, _LONGEST_PAUSE_SECONDS)
            if refusal is not None:
                raise refusal
            return ordered[allowed[-1].events[-1]]

    def _ballots(self, transaction: bytes, votes: list[Vote]) -> list[Ballot]:
        signatures = self._client.signatures(transaction)
        if signatures is None or len(signatures) != len(votes):
            raise CorruptLedger(
                f"transaction 0x{transaction.hex()} has not the votes that the contract at "
                f"{self.address} logged for it"
            )
        return [
            Ballot(vote.round, vote.sender, vote.proposal, vote.choice, text_of(signature))
            for vote, signature in zip(votes, signatures, strict=True)
        ]

    def _allowed(self, acts: Sequence[_Act]) -> tuple[list[_Act], RefusedEvent | None]:
        """The acts before the first that the rules refuse; and why they do.

        What was read last decides, so that nothing is asked where all is allowed.
        """
        with self._lock:
            allowed, refusal = self._tried(acts, self._head or self._look())
            if refusal is not None:
                allowed, refusal = self._tried(acts, self._look())
            return allowed, refusal

    def _tried(self, acts: Sequence[_Act], head: Head) -> tuple[list[_Act], RefusedEvent | None]:
        state = self._history.state
        for place, act in enumerate(acts):
            for event in act.events:
                try:
                    state, _ = rules.apply(state, event, head.time, self.commitment)
                except RefusedEvent as refusal:
                    return list(acts[:place]), refusal
        return list(acts), None

    def _look(self) -> Head:
        """Read what is new on the chain; return the newest block that counts."""
        began = time.monotonic()
        while True:
            head, before = self._client.head(), self._head
            if before is not None and head.hash == before.hash:
                self._head = head
                return head
            if before is not None and head.block < before.block:
                if time.monotonic() - began < _LOST_SECONDS:
                    time.sleep(_FIRST_PAUSE_SECONDS)
                    continue
                self._go_back()
            elif before is not None and not self._follows(head, before):
                self._go_back()
            first = self._first_block if self._head is None else self._head.block + 1
            logs = self._client.logs(first, head)
            if logs is not None:
                self._take(head, logs)
                return head

    def _follows(self, head: Head, before: Head) -> bool:
        if head.block == before.block + 1:
            return head.parent == before.hash
        return head.block > before.block and self._client.holds(before.block, before.hash)

    def _go_back(self) -> None:
        """Forget what the chain has taken back: fold anew what came before."""
        self._client.recount()
        self._head, kept = None, 0
        while self._marks:
            head, count = self._marks[-1]
            if self._client.holds(head.block, head.hash):
                self._head, kept = head, count
                break
            self._marks.pop()
        self._history.take_back(kept)

    def _take(self, head: Head, logs: list[Log]) -> None:
        self._history.add(logs)
        if not self._history:
            raise LedgerError(
                f"{self.address} holds no contract of colearn's from block "
                f"{self._first_block} on: check address, chain and first block"
            )
        self._head = head
        self._marks.append(_Mark(head, len(self._history)))
