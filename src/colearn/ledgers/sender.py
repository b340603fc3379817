"""Transactions of the members whose keys are held here, each of them once.

Nonces are counted here and gas limits are fixed, so that a transaction takes one
request. A transaction that got lost is sent again, the same bytes; one that no block
takes is replaced by the same with a higher fee, under the same nonce: of the two a
chain takes one.

A nonce may be stuck that nobody here knows of: an earlier life of this process left a
transaction that pays too little, or the nodes have lost one that others queue behind. What
is sent now queues behind it, too. If no block takes it for as long as that is waited for,
an empty transaction takes the lowest such nonce, and pays more than what it replaces.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from eth_account import Account
from web3.exceptions import TransactionNotFound, Web3Exception

from colearn.errors import LedgerError
from colearn.ledgers.signing import key_of

GIVE_UP_SECONDS = 120.0
STUCK_SECONDS = 30.0
_FIRST_POLL_SECONDS, _LONGEST_POLL_SECONDS = 0.002, 0.1
_RAISE_PERCENT = 125
_MOST_RAISES = 30
_TOO_CHEAP = ("underpriced", "price too low", "fee too low", "less than block base fee")
_log = logging.getLogger(__name__)

Receipt = Mapping[str, Any]


class Call(NamedTuple):
    """What a member does: the content of its transaction."""

    sender: str
    content: Mapping[str, Any]


class Sent:
    """A transaction on its way.

    Attributes:
        call: What it does.
        fields: All that was signed.
        raw: The newest of its signed forms.
        hashes: Of all its forms; they share a nonce, so that at most one gets in a block.
        first: When it was sent, or the chain last came nearer to it, by the machine's
            monotonic clock.
        tried: When it was sent last.
        lowest: The sender's lowest nonce in no block, when that was last asked.
    """

    def __init__(self, call: Call, fields: dict[str, Any], key: bytes) -> None:
        self.call = call
        self.fields = fields
        self.hashes: list[bytes] = []
        self.first = self.tried = time.monotonic()
        self.lowest = 0
        self.sign(key)

    @property
    def place(self) -> tuple[str, int]:
        """Its sender and nonce, which one transaction on a chain has."""
        return self.call.sender, self.fields["nonce"]

    def sign(self, key: bytes) -> None:
        """Make its next signed form."""
        signed = Account.sign_transaction(self.fields, key)
        self.raw = bytes(signed.raw_transaction)
        self.hashes.append(bytes(signed.hash))


class Sender:
    """Sends transactions and waits for them.

    Args:
        eth: Access to the chain, of web3.py.
        chain_id: Number of the chain.
        keys: Private keys by address, 32 bytes each.
        gas: The limit of each transaction.

    Attributes:
        base_fee: Of the newest block that counts.
        newest: Number of that block.
    """

    def __init__(self, eth: Any, chain_id: int, keys: Mapping[str, bytes], gas: int) -> None:
        self.base_fee = self.newest = 0
        self._eth = eth
        self._chain_id = chain_id
        self._keys = keys
        self.gas = gas
        self._nonces: dict[str, int] = {}
        self._open: dict[tuple[str, int], Sent] = {}
        self._tip: int = eth.max_priority_fee

    @property
    def anybody(self) -> str | None:
        """Somebody whose key is held; None if there is nobody."""
        return next(iter(self._keys), None)

    def send(self, calls: Sequence[Call]) -> list[Sent]:
        """Send transactions, and do not wait; each pays a little more than the one after it.

        So a block that takes several keep their order. What was sent before and is still
        on its way, since nobody waited for its end, is not sent a second time.

        Raises:
            LedgerError: A sender's key is not held, or the chain refuses a transaction.
        """
        for sender in {sender for sender, _ in self._open}:
            self._look_after(sender, calls)
        return [
            self._resumed(call) or self._send(call, len(calls) - place)
            for place, call in enumerate(calls)
        ]

    def settle(self, sent: Sent) -> Receipt:
        """Wait until a transaction is in a block.

        Raises:
            LedgerError: No block takes it.
        """
        pause = _FIRST_POLL_SECONDS
        while True:
            receipt = self.receipt(sent)
            if receipt is not None:
                self.done(sent)
                return receipt
            self.hasten(sent)
            time.sleep(pause)
            pause = min(1.5 * pause, _LONGEST_POLL_SECONDS)

    def done(self, sent: Sent) -> None:
        """Nothing more is to come of a transaction."""
        if self._open.get(sent.place) is sent:
            del self._open[sent.place]

    def recount(self) -> None:
        """Have the chain count nonces again, which has taken blocks back."""
        self._nonces.clear()

    def hasten(self, sent: Sent) -> None:
        """Make way for a transaction that no block takes, once it is stuck.

        Raises:
            LedgerError: It has been for too long, or another one has its nonce.
        """
        now = time.monotonic()
        sender, nonce = sent.place
        if now - sent.first > GIVE_UP_SECONDS:
            raise LedgerError(
                f"no block takes the transaction of {sender} with nonce {nonce}, after "
                f"{GIVE_UP_SECONDS:.0f} seconds: is the chain making blocks?"
            )
        if now - sent.tried <= STUCK_SECONDS:
            return
        sent.tried = now
        lowest = self._eth.get_transaction_count(sender)
        if lowest > sent.lowest:
            sent.lowest, sent.first = lowest, now
        if lowest < nonce:
            self._again(sent)
            self._clear(sender, lowest, now)
        elif lowest == nonce:
            self._replace(sent)
        elif self.receipt(sent) is None:
            self.done(sent)
            raise LedgerError(
                f"another transaction of {sender} has nonce {nonce}: does another process "
                "act with this key? one alone should"
            )

    def receipt(self, sent: Sent) -> Receipt | None:
        """What became of a transaction; None if it is in no block."""
        for hashed in reversed(sent.hashes):
            try:
                receipt: Receipt = self._eth.get_transaction_receipt(hashed)
            except TransactionNotFound:
                continue
            return receipt
        return None

    def _look_after(self, sender: str, calls: Sequence[Call]) -> None:
        """Count nonces again after an end that nobody waited for: a node may have lost some."""
        self._nonces.pop(sender, None)
        lowest = self._eth.get_transaction_count(sender)
        for sent in list(self._open.values()):
            who, nonce = sent.place
            if who == sender and nonce < lowest and sent.call not in calls:
                self.done(sent)

    def _clear(self, sender: str, nonce: int, now: float) -> None:
        """Have the nonce taken that others of the sender's queue behind."""
        ours = self._open.get((sender, nonce))
        if ours is not None:
            if now - ours.tried > STUCK_SECONDS:
                ours.tried = now
                self._replace(ours)
            return
        _log.warning(
            "the transaction of %s with nonce %d is stuck or lost, and those after it wait: "
            "an empty one takes its place",
            sender,
            nonce,
        )
        call = Call(sender, {"to": sender})
        empty = Sent(call, self._fields(call, nonce), key_of(self._keys, sender))
        self._open[empty.place] = empty
        self._again(empty)

    def _resumed(self, call: Call) -> Sent | None:
        """What does the same and was sent before, if a block may take it or has just done so."""
        sent = next((each for each in list(self._open.values()) if each.call == call), None)
        if sent is None:
            return None
        receipt = self.receipt(sent)
        if receipt is None:
            self._again(sent)
            lives = self._arrived(sent)
        else:
            lives = receipt["status"] == 1 and receipt["blockNumber"] > self.newest
        if not lives:
            self.done(sent)
            return None
        sent.first = sent.tried = time.monotonic()
        return sent

    def _send(self, call: Call, place: int) -> Sent:
        key = key_of(self._keys, call.sender)
        nonce = self._nonces.pop(call.sender, None)
        while True:
            counted = nonce is not None
            if nonce is None:
                nonce = self._eth.get_transaction_count(call.sender, "pending")
            sent = Sent(call, self._fields(call, nonce, place), key)
            try:
                self._enter(sent, raises=0 if counted else _MOST_RAISES)
            except Web3Exception as reason:
                if counted and (_is_spent(reason) or _is_cheap(reason)):
                    nonce = None  # somebody else acts with this key: count again
                    continue
                raise
            self._nonces[call.sender] = nonce + 1
            return sent

    def _fields(self, call: Call, nonce: int, place: int = 1) -> dict[str, Any]:
        tip = self._tip + place if self._tip else 0  # a chain without fees: accounts are empty
        return {
            **call.content,
            "type": 2,
            "chainId": self._chain_id,
            "nonce": nonce,
            "gas": self.gas,
            "maxFeePerGas": 2 * self.base_fee + tip,
            "maxPriorityFeePerGas": tip,
            "value": 0,
        }

    def _enter(self, sent: Sent, raises: int) -> None:
        """Send it for the first time; whatever becomes of the answer, it is known from then on."""
        self._open[sent.place] = sent
        try:
            self._offer(sent, raises)
        except Web3Exception:
            self.done(sent)
            raise

    def _again(self, sent: Sent) -> None:
        """Send it to a chain that has lost it, or has not seen its newest form."""
        try:
            self._offer(sent, _MOST_RAISES)
        except Web3Exception as reason:
            if not _is_spent(reason):
                raise

    def _offer(self, sent: Sent, raises: int) -> None:
        """Send it; for more, so many times at most, where nodes say that it pays too little."""
        while True:
            try:
                self._eth.send_raw_transaction(sent.raw)
            except Web3Exception as reason:
                if _is_known(reason) or self._arrived(sent):
                    return
                if "insufficient funds" in str(reason).lower():
                    raise LedgerError(
                        f"{sent.call.sender} cannot pay for its transaction: send it funds"
                    ) from None
                if not _is_cheap(reason) or not raises:
                    raise
            else:
                return
            raises -= 1
            self._raise_fee(sent)

    def _arrived(self, sent: Sent) -> bool:
        try:
            self._eth.get_transaction(sent.hashes[-1])
        except TransactionNotFound:
            return False
        return True

    def _replace(self, sent: Sent) -> None:
        """Send the same again, with a fee that a node takes as a replacement."""
        self._raise_fee(sent)
        self._again(sent)

    def _raise_fee(self, sent: Sent) -> None:
        base_fee = self._eth.get_block("latest").get("baseFeePerGas", 0)
        if not self._tip and not base_fee:
            return  # a chain without fees
        tip = sent.fields["maxPriorityFeePerGas"] * _RAISE_PERCENT // 100 + 1
        most = sent.fields["maxFeePerGas"] * _RAISE_PERCENT // 100 + 1
        sent.fields |= {
            "maxPriorityFeePerGas": tip,
            "maxFeePerGas": max(most, 2 * base_fee + tip),
        }
        sent.sign(key_of(self._keys, sent.call.sender))


def _is_known(reason: Web3Exception) -> bool:
    text = str(reason).lower()
    return "already known" in text or "already imported" in text or "known transaction" in text


def _is_spent(reason: Web3Exception) -> bool:
    return "nonce too low" in str(reason).lower()


def _is_cheap(reason: Web3Exception) -> bool:
    return any(words in str(reason).lower() for words in _TOO_CHEAP)
