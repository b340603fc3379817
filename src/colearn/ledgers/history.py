"""What a contract logged, folded by the rules: the ledger as it stands after a log entry."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from msgspec.structs import replace

from colearn import rules
from colearn.errors import ConfigError, CorruptLedger, LedgerError, RefusedEvent
from colearn.ledgers.client import Log
from colearn.ledgers.contract import events_of, rule_from_abi
from colearn.records import CommitmentTo, Entry, Event, Experiment, digest_of, encode
from colearn.rules import Decision, State
from colearn.terms import difference

_OTHER_TERMS = (
    "members, rule and M₀ are the same, so the schema, the method or a term such as task, "
    "rounds or seed is not; whoever deployed it left out its record, so the chain does not "
    "tell which: compare your file with theirs"
)


class History:
    """The fold of a contract's log entries, which can be taken back.

    Args:
        experiment: The contract must be this experiment's.
        address: Where the contract is.
        commitment: Gives the commitment that a vote and a salt make there.
        terms: Gives the record of what was agreed on, by the contract's first log entry,
            where the chain has it.

    Attributes:
        entries: Every event, in order.
        decisions: Every round that has ended, in order.
        state: The state after the last entry, or at the time it was last advanced to.
        collected: Proposals that came with votes: the transaction, and its events.
        begun: How often it was begun anew.
    """

    state: State

    def __init__(
        self,
        experiment: Experiment,
        address: str,
        commitment: CommitmentTo,
        terms: Callable[[Log], Experiment | None],
    ) -> None:
        self.begun = 0
        self._experiment = experiment
        self._address = address
        self._commitment = commitment
        self._terms = terms
        self._begin()

    def __len__(self) -> int:
        """How many log entries it is of."""
        return len(self._logs)

    def add(self, logs: Sequence[Log]) -> None:
        """Fold further log entries.

        Raises:
            LedgerError: The contract is another experiment's.
            CorruptLedger: It does not follow the rules.
        """
        for log in logs:
            if not self._logs:
                self._check_founded(log)
                self.state = rules.start(self._experiment, log.time)
            else:
                self._add(log)
            self._logs.append(log)

    def take_back(self, count: int) -> None:
        """Forget all but the first log entries."""
        logs = self._logs[:count]
        self._begin()
        self.add(logs)

    def advance(self, now: int) -> State:
        """Let ledger time pass, and return the state."""
        self._keep(*rules.advance(self.state, now))
        return self.state

    def _begin(self) -> None:
        self.begun += 1
        self.entries: list[Entry] = []
        self.decisions: list[Decision] = []
        self.collected: list[tuple[bytes, list[Event]]] = []
        self._logs: list[Log] = []

    def _add(self, log: Log) -> None:
        self.advance(log.time)
        events = events_of(log.name, log.values, self.state)
        for event in events:
            try:
                self._keep(*rules.apply(self.state, event, log.time, self._commitment))
            except RefusedEvent as reason:
                raise CorruptLedger(
                    f"the contract at {self._address} records what the rules refuse: {reason}"
                ) from None
            self.entries.append(Entry(log.time, event))
        if log.name == "ProposedWithVotes":
            self.collected.append((log.transaction, events))

    def _keep(self, state: State, decisions: tuple[Decision, ...]) -> None:
        self.state = state
        self.decisions += decisions

    def _check_founded(self, founded: Log) -> None:
        """Refuse a contract that is not this experiment's, in any of its terms."""
        ours, values = self._experiment, founded.values
        try:
            digest = values["experiment"].hex()
            theirs = replace(
                ours,
                members=tuple(values["members"]),
                initial=values["initial"].hex(),
                rule=rule_from_abi(values["rule"]),
            )
        except (KeyError, ConfigError) as reason:
            raise CorruptLedger(
                f"the contract at {self._address} does not begin as one of colearn's: {reason}"
            ) from None
        expected = digest_of([encode(ours)])
        if digest != expected or difference(ours, theirs):
            differ = difference(ours, self._terms(founded) or theirs)
            raise LedgerError(
                f"the contract at {self._address} is another experiment's: its experiment is "
                f"{digest[:12]}, expected {expected[:12]}: {differ or _OTHER_TERMS}"
            )
