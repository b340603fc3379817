"""One contract as a member's machine sees it: transactions out, log entries in."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Literal, NamedTuple

from colearn.errors import BadSignature, ColearnError, ConfigError, LedgerError, MissingExtra
from colearn.records import MAX_MEMBERS_ON_CHAIN, Experiment, decode, digest_of, encode

try:
    from eth_tester.exceptions import TransactionFailed
    from hexbytes import HexBytes
    from requests import RequestException
    from web3 import Web3
    from web3.exceptions import BlockNotFound, Web3Exception

    from colearn.ledgers.contract import (
        REFUSALS,
        Signature,
        Values,
        compiled,
        rule_from_abi,
        rule_to_abi,
    )
    from colearn.ledgers.inprocess import InProcessChain
    from colearn.ledgers.nodes import said_by
    from colearn.ledgers.sender import Call, Receipt, Sender, Sent
except ModuleNotFoundError:
    raise MissingExtra("the Ethereum ledger", "web3", "evm") from None

Chain = InProcessChain | Web3
"""A chain in this process, or a node's, as web3.py gives access to it."""

Depth = int | Literal["finalized"]
"""How many blocks must lie on a block before it counts, or the chain's own word for it."""

_GAS_LIMIT = 5_500_000
_GAS_LIMIT_PER_MEMBER = 40_000
_MOST_BLOCKS = 10_000
_IDLE_SECONDS = 15


class Head(NamedTuple):
    """The newest block that counts, and the ledger time that goes with it."""

    block: int
    hash: bytes
    parent: bytes
    time: int


class Log(NamedTuple):
    """A log entry of the contract, decoded; of its block, number, hash and time."""

    block: int
    hash: bytes
    time: int
    transaction: bytes
    name: str
    values: Values


class Client:
    """A contract on a chain.

    Args:
        chain: The chain.
        keys: Private keys by address, 32 bytes each, of whom this machine acts for.
        members: How many members there are, which bounds the gas of a transaction.
        address: Where the contract is; empty before it is deployed.
        depth: Which blocks count.
    """

    def __init__(
        self,
        chain: Chain,
        keys: Mapping[str, bytes],
        members: int,
        address: str = "",
        *,
        depth: Depth = 0,
    ) -> None:
        self.address = str(Web3.to_checksum_address(address)) if address else ""
        self._here = chain if isinstance(chain, InProcessChain) else None
        self._eth = _eth_of(chain)
        self._depth = depth
        with _reported():
            self.chain_id: int = self._eth.chain_id
            gas = _GAS_LIMIT + _GAS_LIMIT_PER_MEMBER * members
            self._sender = Sender(self._eth, self.chain_id, keys, gas)
            self._contract = self._eth.contract(address=self.address or None, abi=compiled()["abi"])
        self._names = {event().topic: event.name for event in self._contract.events}

    def deploy(self, experiment: Experiment, sender: str) -> Receipt:
        """Put a contract for an experiment on the chain; return the transaction's receipt.

        The experiment's record follows the constructor's arguments, where the contract
        does not look, so that the chain alone tells all that the members agreed on.

        Raises:
            ConfigError: A member's name is no checksummed address, or they are too many.
            LedgerError: The chain did not take it.
        """
        if len(experiment.members) > MAX_MEMBERS_ON_CHAIN:
            raise ConfigError(
                f"{len(experiment.members)} members are refused: "
                f"the contract takes {MAX_MEMBERS_ON_CHAIN} at most"
            )
        for member in experiment.members:
            if not Web3.is_checksum_address(member):
                raise ConfigError(
                    f"member {member!r} is no checksummed address: "
                    "on Ethereum members are called by theirs"
                )
        record = encode(experiment)
        created = self._creation(
            bytes.fromhex(digest_of([record])),
            bytes.fromhex(experiment.initial),
            experiment.members,
            rule_to_abi(experiment.rule),
        )
        call = Call(sender, {"data": created + record})
        self.head()  # which tells what a transaction must pay
        with _reported():
            receipt = self._sender.settle(self._sender.send([call])[0])
        if receipt["status"] != 1:
            raise self._refusal(call, receipt["blockNumber"])
        return receipt

    def check_code(self) -> None:
        """Refuse a contract that was not made of the source that is shipped.

        Raises:
            LedgerError: There is no contract, or its code is another.
        """
        code, runtime = self._code()
        if not code:
            raise LedgerError(
                f"{self.address} holds no contract of colearn's: check address and chain"
            )
        if code[: len(runtime)] != runtime:
            raise LedgerError(
                f"{self.address} holds another contract's code (blake3 {digest_of([code])[:16]}) "
                f"than this release's: check the address, or use the release that put it there"
            )

    def check_experiment(self, experiment: Experiment) -> None:
        """Refuse a contract of this release's code that was put there for another experiment.

        Raises:
            LedgerError: It was.
        """
        code, runtime = self._code()
        found, expected = code[len(runtime) :].hex(), digest_of([encode(experiment)])
        if found != expected:
            raise LedgerError(
                f"the contract at {self.address} is another experiment's: its experiment is "
                f"{found}, expected {expected}"
            )

    def terms(self, founded: Log) -> Experiment | None:
        """The record of what was agreed on, as the transaction that put the contract there has it.

        None where that transaction holds none, or another than the contract names.
        """
        values = founded.values
        with _reported():
            data = bytes(self._eth.get_transaction(founded.transaction)["input"])
        terms = [values[name] for name in ("experiment", "initial", "members")]
        rule = rule_to_abi(rule_from_abi(values["rule"]))
        record = data[len(self._creation(*terms, rule)) :]
        if digest_of([record]) != values["experiment"].hex():
            return None
        try:
            return decode(record, Experiment)
        except ConfigError:
            return None

    def _creation(self, *arguments: object) -> bytes:
        """The data of a transaction that makes the contract."""
        factory = self._eth.contract(abi=compiled()["abi"], bytecode=compiled()["bytecode"])
        return bytes(HexBytes(factory.constructor(*arguments).data_in_transaction))

    def _code(self) -> tuple[bytes, bytes]:
        """The contract's code as the chain has it; and as this release's is, but its terms."""
        with _reported():
            code = bytes(self._eth.get_code(self.address))
        return code, bytes.fromhex(compiled()["bytecode_runtime"].removeprefix("0x"))

    def send(self, calls: Sequence[tuple[str, str, tuple[Any, ...]]]) -> list[Sent]:
        """Send transactions, each given by sender, function and arguments; do not wait.

        Raises:
            LedgerError: A sender's key is not held, or the chain did not take one.
        """
        with _reported():
            return self._sender.send(
                [
                    Call(
                        sender,
                        {"to": self.address, "data": self._contract.encode_abi(name, arguments)},
                    )
                    for sender, name, arguments in calls
                ]
            )

    def done(self, sent: Sent) -> None:
        """Take note that what a transaction does is done."""
        self._sender.done(sent)

    def recount(self) -> None:
        """Take note that the chain has taken blocks back, transactions with them."""
        self._sender.recount()

    def hasten(self, sent: Sent, newest: int) -> None:
        """Look after a transaction of which nothing is seen up to the block ``newest``.

        It is sent again where it is lost, and replaced where it is stuck. That it was
        reverted is told once its block counts: what it was to do may stand there already,
        done by the same transaction of an earlier life.

        Raises:
            RefusedEvent: The contract refused it.
            BadSignature: It refused a ballot's signature.
            LedgerError: It was reverted for another reason, or no block takes it.
        """
        with _reported():
            receipt = self._sender.receipt(sent)
            if receipt is not None and receipt["blockNumber"] > newest:
                return
            if receipt is not None and receipt["status"] != 1:
                self._sender.done(sent)
                raise self._refusal(sent.call, receipt["blockNumber"])
            self._sender.hasten(sent)

    def head(self) -> Head:
        """The newest block that counts, and the time; in this process, of the block to come."""
        with _reported():
            block = self._eth.get_block("finalized" if self._depth == "finalized" else "latest")
            if isinstance(self._depth, int) and self._depth > 0:
                block = self._eth.get_block(max(0, block["number"] - self._depth))
        self._sender.base_fee = block.get("baseFeePerGas", 0)
        self._sender.newest = block["number"]
        now = self._here.now() if self._here else block["timestamp"]
        return Head(block["number"], bytes(block["hash"]), bytes(block["parentHash"]), now)

    def holds(self, block: int, hashed: bytes) -> bool:
        """Whether a block is on the chain still."""
        with _reported():
            try:
                return bytes(self._eth.get_block(block)["hash"]) == hashed
            except BlockNotFound:
                return False

    def logs(self, first: int, head: Head) -> list[Log] | None:
        """What the contract logged from block ``first`` on, in order; None if ``head`` is gone."""
        with _reported():
            logs = list(self._logs(first, head))
        return logs if self._here or self.holds(head.block, head.hash) else None

    def first_log(self, first: int, head: Head) -> Log | None:
        """What the contract logged first from block ``first`` on; None if nothing."""
        with _reported():
            return next(self._logs(first, head), None)

    def signatures(self, transaction: bytes) -> list[Signature] | None:
        """The votes' signatures in a transaction's data; None if it has none for the contract."""
        with _reported():
            sent = self._eth.get_transaction(transaction)
            if sent.get("to") != self.address:
                return None
            function, values = self._contract.decode_function_input(sent["input"])
            given = values.get("signatures") if function.fn_name == "propose_with_votes" else None
            return None if given is None else [(r, last) for r, last in given]

    def jump(self, until: int) -> bool:
        """Let time jump, where it is logical; return whether it is."""
        if self._here:
            self._here.travel(until)
        return self._here is not None

    def wake(self, head: Head, until: int) -> None:
        """Have a chain that makes blocks for transactions only make one, if it is time.

        It is time once the block to come is due after ``until`` and nobody made one for
        a while; then somebody whose key is held here sends itself nothing.
        """
        with _reported():
            coming = self._eth.get_block("pending")["timestamp"]
            somebody = self._sender.anybody
            if coming < until or coming < head.time + _IDLE_SECONDS or somebody is None:
                return
            if self._eth.get_block("latest")["timestamp"] < until:
                self._sender.settle(self._sender.send([Call(somebody, {"to": somebody})])[0])

    def _logs(self, first: int, head: Head) -> Iterator[Log]:
        if first == head.block and not self._here:
            yield from (self._log(log, head) for log in self._logged({"blockHash": head.hash}))
            return
        before = None
        for start in range(first, head.block + 1, _MOST_BLOCKS):
            last = min(start + _MOST_BLOCKS - 1, head.block)
            for log in self._logged({"fromBlock": start, "toBlock": last}):
                before = self._log(log, head, before)
                yield before

    def _logged(self, wanted: dict[str, Any]) -> list[Mapping[str, Any]]:
        logged: list[Mapping[str, Any]] = self._eth.get_logs({"address": self.address, **wanted})
        return logged

    def _log(self, log: Mapping[str, Any], head: Head, before: Log | None = None) -> Log:
        block, hashed = log["blockNumber"], bytes(log["blockHash"])
        if before is not None and before.block == block:
            when = before.time
        elif block == head.block and not self._here:
            when = head.time
        else:
            when = self._eth.get_block(block)["timestamp"]
        name = self._names[log["topics"][0].to_0x_hex()]
        decoded = self._contract.events[name]().process_log(log)
        return Log(block, hashed, when, bytes(log["transactionHash"]), name, decoded["args"])

    def _refusal(self, call: Call, block: int) -> ColearnError:
        """What stands for the reason of a reverted transaction, found by repeating it."""
        reason = "for no reason that can be found"
        try:
            self._eth.call({**call.content, "from": call.sender, "gas": self._sender.gas}, block)
        except (TransactionFailed, Web3Exception) as failure:
            reason = said_by(failure)
        for text, kind in REFUSALS.items():
            if text in reason:
                return kind(f"{call.sender}: the contract refuses this: {text}")
        if "signature" in reason:
            return BadSignature(f"the contract refuses what {call.sender} collected: {reason}")
        return LedgerError(f"the transaction was reverted: {reason}")


def _eth_of(chain: Chain) -> Any:
    return (chain.web3 if isinstance(chain, InProcessChain) else chain).eth


@contextmanager
def _reported() -> Iterator[None]:
    """Turn what goes wrong between here and the node into a `LedgerError`, in one line."""
    try:
        yield
    except (Web3Exception, RequestException, OSError) as reason:
        raise LedgerError(f"the chain cannot be used: {said_by(reason)}") from reason
