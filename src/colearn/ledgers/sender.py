"""Transactions of the members whose keys are held here, each of them once.

Nonces are counted here and gas limits are fixed, so that a transaction takes one
request. A transaction that got lost is sent again, the same bytes; one that no block
takes is replaced by the same with a higher fee, under the same nonce: of the two a
chain takes one.
"""

from __future__ import annotations

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
        first: When it was sent, by the machine's monotonic clock.
        tried: When it was sent last.
    """

    def __init__(self, call: Call, fields: dict[str, Any], key: bytes) -> None:
        self.call = call
        self.fields = fields
        self.hashes: list[bytes] = []
        self.first = self.tried = time.monotonic()
        self.sign(key)

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
    """

    def __init__(self, eth: Any, chain_id: int, keys: Mapping[str, bytes], gas: int) -> None:
        self.base_fee = 0
        self._eth = eth
        self._chain_id = chain_id
        self._keys = keys
        self.gas = gas
        self._nonces: dict[str, int] = {}
        self._tip: int = eth.max_priority_fee

    @property
    def anybody(self) -> str | None:
        """Somebody whose key is held; None if there is nobody."""
        return next(iter(self._keys), None)

    def send(self, calls: Sequence[Call]) -> list[Sent]:
        """Send transactions, and do not wait; each pays a little more than the one after it.

        So a block that takes several keeps their order.

        Raises:
            LedgerError: A sender's key is not held, or the chain refuses a transaction.
        """
        return [self._send(call, len(calls) - place) for place, call in enumerate(calls)]

    def settle(self, sent: Sent) -> Receipt:
        """Wait until a transaction is in a block.

        Raises:
            LedgerError: No block takes it.
        """
        pause = _FIRST_POLL_SECONDS
        while True:
            receipt = self.receipt(sent)
            if receipt is not None:
                return receipt
            self.hasten(sent)
            time.sleep(pause)
            pause = min(1.5 * pause, _LONGEST_POLL_SECONDS)

    def hasten(self, sent: Sent) -> None:
        """Replace a transaction that no block takes, once it is stuck.

        Raises:
            LedgerError: It has been for too long.
        """
        now = time.monotonic()
        if now - sent.first > GIVE_UP_SECONDS:
            self._nonces.pop(sent.call.sender, None)
            raise LedgerError(
                f"no block takes the transaction of {sent.call.sender} with nonce "
                f"{sent.fields['nonce']}, after {GIVE_UP_SECONDS:.0f} seconds: "
                "is the chain making blocks?"
            )
        if now - sent.tried > STUCK_SECONDS:
            sent.tried = now
            self._again(sent)
            self._replace(sent)

    def receipt(self, sent: Sent) -> Receipt | None:
        """What became of a transaction; None if it is in no block."""
        for hashed in reversed(sent.hashes):
            try:
                receipt: Receipt = self._eth.get_transaction_receipt(hashed)
            except TransactionNotFound:
                continue
            return receipt
        return None

    def _again(self, sent: Sent) -> None:
        """Send the same bytes again: to a chain that has lost them."""
        try:
            self._eth.send_raw_transaction(sent.raw)
        except Web3Exception as reason:
            if not _is_known(reason) and not _is_spent(reason):
                raise

    def _send(self, call: Call, place: int) -> Sent:
        key = key_of(self._keys, call.sender)
        nonce = self._nonces.pop(call.sender, None)
        while True:
            counted = nonce is not None
            if nonce is None:
                nonce = self._eth.get_transaction_count(call.sender, "pending")
            tip = self._tip + place if self._tip else 0  # a chain without fees: accounts are empty
            fields = {
                **call.content,
                "type": 2,
                "chainId": self._chain_id,
                "nonce": nonce,
                "gas": self.gas,
                "maxFeePerGas": 2 * self.base_fee + tip,
                "maxPriorityFeePerGas": tip,
                "value": 0,
            }
            sent = Sent(call, fields, key)
            try:
                self._eth.send_raw_transaction(sent.raw)
            except Web3Exception as reason:
                if _is_spent(reason) and not self._arrived(sent) and counted:
                    nonce = None  # somebody else acts with this key: count again
                    continue
                if not _is_known(reason) and not self._arrived(sent):
                    if "insufficient funds" in str(reason).lower():
                        raise LedgerError(
                            f"{call.sender} cannot pay for its transaction: send it funds"
                        ) from None
                    raise
            self._nonces[call.sender] = nonce + 1
            return sent

    def _arrived(self, sent: Sent) -> bool:
        try:
            self._eth.get_transaction(sent.hashes[-1])
        except TransactionNotFound:
            return False
        return True

    def _replace(self, sent: Sent) -> None:
        """Send the same again, with a fee that a node takes as a replacement."""
        tip = sent.fields["maxPriorityFeePerGas"] * _RAISE_PERCENT // 100 + 1
        most = sent.fields["maxFeePerGas"] * _RAISE_PERCENT // 100 + 1
        base_fee = self._eth.get_block("latest").get("baseFeePerGas", 0)
        sent.fields |= {
            "maxPriorityFeePerGas": tip,
            "maxFeePerGas": max(most, 2 * base_fee + tip),
        }
        sent.sign(key_of(self._keys, sent.call.sender))
        self._again(sent)


def _is_known(reason: Web3Exception) -> bool:
    text = str(reason).lower()
    return "already known" in text or "already imported" in text or "known transaction" in text


def _is_spent(reason: Web3Exception) -> bool:
    return "nonce too low" in str(reason).lower()
