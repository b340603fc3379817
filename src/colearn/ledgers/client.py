"""One contract as a member's machine sees it: transactions out, log entries in.

Nonces are counted here and gas limits are fixed, so that a transaction takes few
requests.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NamedTuple

from colearn.errors import BadSignature, ConfigError, LedgerError, MissingExtra
from colearn.records import Experiment, digest_of, encode

try:
    from eth_account import Account
    from eth_tester.exceptions import TransactionFailed
    from requests import RequestException
    from web3 import Web3
    from web3.exceptions import Web3Exception

    from colearn.ledgers.contract import REFUSALS, Values, compiled, rule_to_abi
    from colearn.ledgers.inprocess import InProcessChain
    from colearn.ledgers.signing import key_of
except ModuleNotFoundError:
    raise MissingExtra("the Ethereum ledger", "web3", "evm") from None

Chain = InProcessChain | Web3
"""A chain in this process, or a node's, as web3.py gives access to it."""

_GAS_LIMIT = 5_000_000
_GAS_LIMIT_PER_MEMBER = 40_000
_RECEIPT_SECONDS = 120
_RECEIPT_POLL_SECONDS = 0.05
_BLOCK_POLL_SECONDS = 0.25


class Head(NamedTuple):
    """The newest block, and the ledger time that goes with it."""

    block: int
    time: int


class Log(NamedTuple):
    """A log entry of the contract, decoded, and the time of its block."""

    time: int
    name: str
    values: Values


class Client:
    """A contract on a chain.

    Args:
        chain: The chain.
        keys: Private keys by address, 32 bytes each, of whom this machine acts for.
        members: How many members there are, which bounds the gas of a transaction.
        address: Where the contract is; empty before it is deployed.
    """

    def __init__(
        self, chain: Chain, keys: Mapping[str, bytes], members: int, address: str = ""
    ) -> None:
        self.address = address
        self._chain = chain
        self._eth = _eth_of(chain)
        self._keys = keys
        self._gas = _GAS_LIMIT + _GAS_LIMIT_PER_MEMBER * members
        self._nonces: dict[str, int] = {}
        with _reported():
            self.chain_id: int = self._eth.chain_id
            self._tip = self._eth.max_priority_fee
            self._contract = self._eth.contract(address=address or None, abi=compiled()["abi"])
        self._names = {event().topic: event.name for event in self._contract.events}

    def deploy(self, experiment: Experiment, sender: str) -> str:
        """Put a contract for an experiment on the chain; return its address.

        Raises:
            ConfigError: A member's name is no checksummed address.
            LedgerError: The chain did not take it.
        """
        for member in experiment.members:
            if not Web3.is_checksum_address(member):
                raise ConfigError(
                    f"member {member!r} is no checksummed address: "
                    "on Ethereum members are called by theirs"
                )
        factory = self._eth.contract(abi=compiled()["abi"], bytecode=compiled()["bytecode"])
        construct = factory.constructor(
            bytes.fromhex(digest_of([encode(experiment)])),
            bytes.fromhex(experiment.initial),
            experiment.members,
            rule_to_abi(experiment.rule),
        )
        receipt = self._send(sender, {"data": construct.data_in_transaction})
        return str(receipt["contractAddress"])

    def call(self, sender: str, name: str, arguments: tuple[Any, ...]) -> None:
        """Call a function by a transaction, and wait until it is in a block.

        Raises:
            RefusedEvent: The contract refuses it.
            LedgerError: The chain did not take it.
        """
        with _reported():
            data = self._contract.encode_abi(name, arguments)
        self._send(sender, {"to": self.address, "data": data})

    def head(self) -> Head:
        """The newest block and the time; in this process, the time of the block to come."""
        with _reported():
            block = self._eth.get_block("latest")
        if isinstance(self._chain, InProcessChain):
            return Head(block["number"], self._chain.now())
        return Head(block["number"], block["timestamp"])

    def logs(self, first: int, last: int) -> list[Log]:
        """What the contract logged in blocks ``first`` to ``last``, in order."""
        times: dict[int, int] = {}
        logs = []
        with _reported():
            wanted = {"address": self.address, "fromBlock": first, "toBlock": last}
            for log in self._eth.get_logs(wanted):
                block = log["blockNumber"]
                if block not in times:
                    times[block] = self._eth.get_block(block)["timestamp"]
                name = self._names[log["topics"][0].to_0x_hex()]
                decoded = self._contract.events[name]().process_log(log)
                logs.append(Log(times[block], name, decoded["args"]))
        return logs

    def jump(self, until: int) -> bool:
        """Let time jump, where it is logical; return whether it is."""
        if not isinstance(self._chain, InProcessChain):
            return False
        self._chain.travel(until)
        return True

    def pause(self) -> None:
        """Give the chain a moment to make a block."""
        time.sleep(_BLOCK_POLL_SECONDS)

    def _send(self, sender: str, content: dict[str, Any]) -> Mapping[str, Any]:
        key = key_of(self._keys, sender)
        with _reported():
            base_fee = self._eth.get_block("latest").get("baseFeePerGas", 0)
            nonce = self._nonces.pop(sender, None)
            if nonce is None:
                nonce = self._eth.get_transaction_count(sender, "pending")
            transaction = {
                **content,
                "type": 2,
                "chainId": self.chain_id,
                "nonce": nonce,
                "gas": self._gas,
                "maxFeePerGas": 2 * base_fee + self._tip,
                "maxPriorityFeePerGas": self._tip,
                "value": 0,
            }
            signed = Account.sign_transaction(transaction, key)
            sent = self._eth.send_raw_transaction(signed.raw_transaction)
            self._nonces[sender] = nonce + 1
            receipt: Mapping[str, Any] = self._eth.wait_for_transaction_receipt(
                sent, _RECEIPT_SECONDS, _RECEIPT_POLL_SECONDS
            )
        if receipt["status"] != 1:
            self._explain({**content, "from": sender, "gas": self._gas}, receipt["blockNumber"])
        return receipt

    def _explain(self, call: dict[str, Any], block: int) -> None:
        """Raise what stands for the reason of a reverted transaction, found by repeating it."""
        reason = "for no reason that can be found"
        try:
            self._eth.call(call, block)
        except (TransactionFailed, Web3Exception) as failure:
            reason = str(failure)
        for text, kind in REFUSALS.items():
            if text in reason:
                raise kind(f"{call['from']}: the contract refuses this: {text}")
        if "signature" in reason:
            raise BadSignature(f"the contract refuses what {call['from']} collected: {reason}")
        raise LedgerError(f"the transaction was reverted: {reason}")


def _eth_of(chain: Chain) -> Any:
    return (chain.web3 if isinstance(chain, InProcessChain) else chain).eth


@contextmanager
def _reported() -> Iterator[None]:
    """Turn what goes wrong between here and the node into a `LedgerError`, in one line."""
    try:
        yield
    except (Web3Exception, RequestException, OSError) as reason:
        line = " ".join(f"{type(reason).__name__}: {reason}".split())
        raise LedgerError(f"the chain cannot be used: {line:.300}") from reason
