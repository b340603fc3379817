"""A chain in this process and the contract on it, spoken to without the ledger."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

from eth_account import Account
from eth_tester.exceptions import TransactionFailed

from colearn.ledgers.contract import compiled, events_of, rule_to_abi
from colearn.ledgers.inprocess import InProcessChain
from colearn.records import Event, Experiment, digest_of, encode
from colearn.rules import State

KEYS = {Account.from_key(key).address: key for key in (bytes([1] * 31 + [n]) for n in range(256))}
"""Private keys by address, the same in each run."""

NAMES = tuple(KEYS)
GAS = 20_000_000


@cache
def _chain() -> tuple[InProcessChain, Any]:
    chain = InProcessChain(NAMES)
    return chain, chain.tester.take_snapshot()


def chain() -> InProcessChain:
    """A chain on which everybody has funds."""
    return _chain()[0]


def begin_again() -> None:
    """Let the chain be as it was before anything happened on it."""
    fresh, beginning = _chain()
    fresh.tester.revert_to_snapshot(beginning)


@dataclass(frozen=True)
class Receipt:
    """What became of a transaction that was not refused."""

    gas: int
    logs: tuple[tuple[str, dict[str, Any]], ...]

    def events(self, state: State) -> list[Event]:
        """The events that its log entries record, given the state before them."""
        return [event for log in self.logs for event in events_of(*log, state)]


class Contract:
    """The contract of an experiment.

    Args:
        experiment: Its members must be of `NAMES`.
        output: The compiled contract; by default the one that is shipped.
    """

    def __init__(self, experiment: Experiment, output: dict[str, Any] | None = None) -> None:
        output = output or compiled()
        self._web3 = chain().web3
        factory = self._web3.eth.contract(abi=output["abi"], bytecode=output["bytecode"])
        construct = factory.constructor(
            bytes.fromhex(digest_of([encode(experiment)])),
            bytes.fromhex(experiment.initial),
            experiment.members,
            rule_to_abi(experiment.rule),
        )
        receipt = _send(NAMES[0], construct.data_in_transaction)
        self.address = receipt["contractAddress"]
        self.opened = self._web3.eth.get_block(receipt["blockNumber"])["timestamp"]
        self.deployment_gas = receipt["gasUsed"]
        self._contract = self._web3.eth.contract(abi=output["abi"], address=self.address)

    @staticmethod
    def refused_founding(members: tuple[str, ...], rule: tuple[Any, ...]) -> bool:
        """Whether no contract can be founded by these members under this rule."""
        factory = chain().web3.eth.contract(abi=compiled()["abi"], bytecode=compiled()["bytecode"])
        construct = factory.constructor(bytes(32), bytes(32), members, rule)
        return _send(NAMES[0], construct.data_in_transaction)["status"] == 0

    def refusal(self, sender: str, name: str, arguments: tuple[Any, ...]) -> str | None:
        """Why a transaction would be refused now; None if it would not."""
        data = self._contract.encode_abi(name, arguments)
        call = {"from": sender, "to": self.address, "data": data, "gas": GAS}
        try:
            self._web3.eth.call(call, "pending")
        except TransactionFailed as reason:
            return str(reason).removeprefix("execution reverted: ")
        return None

    def send(self, sender: str, name: str, arguments: tuple[Any, ...]) -> Receipt:
        """Send a transaction that must not be refused."""
        receipt = _send(sender, self._contract.encode_abi(name, arguments), self.address)
        assert receipt["status"] == 1, (name, arguments)
        logs = []
        for log in receipt["logs"]:
            event = self._contract.events[self._named(log["topics"][0])]().process_log(log)
            logs.append((event["event"], event["args"]))
        return Receipt(receipt["gasUsed"], tuple(logs))

    def view(self, name: str) -> Any:
        """What one of the contract's views says at the time of the next block."""
        return self._contract.functions[name]().call({"gas": GAS}, "pending")

    def _named(self, topic: bytes) -> str:
        return next(
            each.name for each in self._contract.events if each().topic == topic.to_0x_hex()
        )


def _send(sender: str, data: str, to: str | None = None) -> Any:
    eth = chain().web3.eth
    transaction = {
        "type": 2,
        "chainId": eth.chain_id,
        "nonce": eth.get_transaction_count(sender),
        "gas": GAS,
        "maxFeePerGas": 10**10,
        "maxPriorityFeePerGas": 1,
        "value": 0,
        "data": data,
    }
    if to is not None:
        transaction["to"] = to
    signed = Account.sign_transaction(transaction, KEYS[sender])
    return eth.get_transaction_receipt(eth.send_raw_transaction(signed.raw_transaction))
