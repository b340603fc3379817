"""An Ethereum chain in this process, for simulations and tests: no node, no network.

Time is logical: each block comes one second after the one before, unless time is told
to jump. The clock starts in a far future, so that the machine's own never matters.
"""

from __future__ import annotations

from collections.abc import Iterable

from eth_tester import EthereumTester, PyEVMBackend
from eth_utils.address import to_canonical_address
from web3 import EthereumTesterProvider, Web3

GENESIS_TIME = 4_000_000_000
_GAS_LIMIT = 60_000_000
_FUNDS_WEI = 10**30


class InProcessChain:
    """A chain with one validator, which makes a block of each transaction at once.

    Args:
        accounts: Addresses that are given funds to pay for transactions.

    Attributes:
        web3: The chain, as web3.py gives access to any.
        tester: The chain, to take snapshots of and to go back to them.
    """

    def __init__(self, accounts: Iterable[str]) -> None:
        funds = {"balance": _FUNDS_WEI, "nonce": 0, "code": b"", "storage": {}}
        first, *_ = addresses = list(accounts)
        backend = PyEVMBackend(
            genesis_parameters=PyEVMBackend.generate_genesis_params(
                {"gas_limit": _GAS_LIMIT, "timestamp": GENESIS_TIME}
            ),
            genesis_state={to_canonical_address(each): funds for each in addresses},
        )
        self.tester = EthereumTester(backend)
        self.web3 = Web3(EthereumTesterProvider(self.tester))
        self.web3.eth.default_account = Web3.to_checksum_address(first)

    def now(self) -> int:
        """Time of the next block, in seconds."""
        return int(self.tester.get_block_by_number("pending")["timestamp"])

    def travel(self, until: int) -> None:
        """Let the next block come at a time, unless that is past already."""
        if until > self.now():
            self.tester.time_travel(until)
