"""An Ethereum chain in this process, for simulations and tests: no node, no network.

Time is logical: each block comes one second after the one before, unless time is told
to jump. The clock starts in a far future, so that the machine's own never matters.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from threading import RLock
from typing import Any

from eth_tester import EthereumTester, PyEVMBackend
from eth_utils.address import to_canonical_address
from web3 import EthereumTesterProvider, Web3
from web3.types import RPCEndpoint, RPCResponse

from colearn.errors import LedgerError

GENESIS_TIME = 4_000_000_000
_GAS_LIMIT = 60_000_000
_FUNDS_WEI = 10**30


class InProcessChain:
    """A chain with one validator, which makes a block of each transaction at once.

    The same transactions at the same times make the same chain, block by block. Several
    threads may use it, each call by itself.

    Args:
        accounts: Addresses that are given funds to pay for transactions.
        keep: Called with each transaction that the chain has taken: the time of its
            block, and its signed bytes in hexadecimal.

    Attributes:
        web3: The chain, as web3.py gives access to any.
        tester: The chain, to take snapshots of and to go back to them.
    """

    def __init__(
        self, accounts: Iterable[str], keep: Callable[[int, str], None] | None = None
    ) -> None:
        funds = {"balance": _FUNDS_WEI, "nonce": 0, "code": b"", "storage": {}}
        first, *_ = addresses = list(accounts)
        backend = PyEVMBackend(
            genesis_parameters=PyEVMBackend.generate_genesis_params(
                {"gas_limit": _GAS_LIMIT, "timestamp": GENESIS_TIME}
            ),
            genesis_state={to_canonical_address(each): funds for each in addresses},
        )
        self.tester = EthereumTester(backend)
        self._alone = RLock()
        self.web3 = Web3(_Provider(self.tester, self._alone, keep))
        self.web3.eth.default_account = Web3.to_checksum_address(first)

    def now(self) -> int:
        """Time of the next block, in seconds."""
        with self._alone:
            return int(self.tester.get_block_by_number("pending")["timestamp"])

    def travel(self, until: int) -> None:
        """Let the next block come at a time, unless that is past already."""
        with self._alone:
            if until > self.now():
                self.tester.time_travel(until)

    def repeat(self, when: int, transaction: str) -> str:
        """Take a transaction that another chain took in a block of that time.

        Returns:
            Where the contract is that it made; empty if it made none.

        Raises:
            LedgerError: The chain does not take it, or not then.
        """
        with self._alone:
            self.travel(when)
            try:
                receipt = self.tester.get_transaction_receipt(
                    self.tester.send_raw_transaction(transaction)
                )
            except Exception as reason:  # noqa: BLE001 - of the chain's and its libraries' many kinds
                raise LedgerError(f"the chain does not take the transaction: {reason}") from None
            block = self.tester.get_block_by_number(receipt["block_number"])
        if block["timestamp"] != when:
            raise LedgerError(
                f"the chain takes the transaction at {block['timestamp']}, not {when}"
            )
        return str(Web3.to_checksum_address(receipt["contract_address"] or bytes(20)))

    def gas_used(self) -> list[int]:
        """Gas of each block, which is that of its one transaction, in order."""
        with self._alone:
            newest = self.tester.get_block_by_number("latest")["number"]
            blocks = map(self.tester.get_block_by_number, range(1, newest + 1))
            return [int(block["gas_used"]) for block in blocks]


class _Provider(EthereumTesterProvider):
    """Makes one request at a time, and tells which transactions the chain has taken."""

    def __init__(
        self, tester: EthereumTester, alone: RLock, keep: Callable[[int, str], None] | None
    ) -> None:
        super().__init__(tester)
        self._tester = tester
        self._alone = alone
        self._keep = keep

    def make_request(self, method: RPCEndpoint, params: Any) -> RPCResponse:
        with self._alone:
            response = super().make_request(method, params)
            if (
                method == "eth_sendRawTransaction"
                and self._keep is not None
                and "error" not in response
            ):
                self._keep(int(self._tester.get_block_by_number("latest")["timestamp"]), params[0])
            return response
