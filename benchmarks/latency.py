"""How long a round of ten members takes, from its proposal to the last vote read back.

python benchmarks/latency.py

In one transaction: ballots are there, signed; the proposer puts all on the ledger and
everybody's decision is known. Direct: a transaction for each act. Shown is the median
of the rounds, of which the first few do not count.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

from web3 import Web3

from colearn.errors import ConfigError
from colearn.ledgers.anvil import Anvil
from colearn.ledgers.client import Chain
from colearn.ledgers.ethereum import EthereumLedger
from colearn.ledgers.inprocess import InProcessChain
from colearn.ledgers.nodes import connect
from colearn.ledgers.signing import KeySigner
from colearn.records import Ballot, Choice, Experiment, Propose, Vote, digest_of

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from evm import KEYS, NAMES

MEMBERS = NAMES[:10]
DIGEST = digest_of([b"M0"])
EXPERIMENT = Experiment(members=MEMBERS, initial=DIGEST, schema=DIGEST)
WARM_UP = 3

Round = Callable[[EthereumLedger], float]


def one_transaction(ledger: EthereumLedger) -> float:
    state = ledger.view()
    proposal = digest_of([str(state.round).encode()])
    signer = KeySigner(KEYS, ledger.chain_id, ledger.address)
    ballots = [
        signer.sign(Ballot(state.round, voter, proposal, Choice.APPROVE))
        for voter in MEMBERS
        if voter != state.proposer
    ]
    began = time.perf_counter()
    ledger.submit_together(Propose(state.round, state.proposer, proposal), ballots)
    taken = time.perf_counter() - began
    assert ledger.view().current == proposal
    return taken


def direct(ledger: EthereumLedger) -> float:
    state = ledger.view()
    proposal = digest_of([str(state.round).encode()])
    votes = [
        Vote(state.round, voter, proposal, Choice.APPROVE)
        for voter in MEMBERS
        if voter != state.proposer
    ]
    began = time.perf_counter()
    ledger.submit(Propose(state.round, state.proposer, proposal), *votes)
    taken = time.perf_counter() - began
    assert ledger.view().current == proposal
    return taken


def measure(chain: Chain, kind: Round, rounds: int) -> float:
    """The median time of a round, in seconds."""
    if isinstance(chain, Web3):
        for member in MEMBERS:
            chain.provider.make_request("anvil_setBalance", [member, hex(10**24)])
    ledger = EthereumLedger.found(EXPERIMENT, KEYS, chain=chain)
    times = [kind(ledger) for _ in range(WARM_UP + rounds)]
    return statistics.median(times[WARM_UP:])


def main() -> int:
    """Print the table; 0 whatever it says."""
    print(f"{'a round of 10 members':<44} {'measured':>10} {'limit':>8} {'stretch':>8}")

    def row(name: str, seconds: float, limit: str, stretch: str) -> None:
        print(f"{name:<44} {1000 * seconds:>7,.1f} ms {limit:>8} {stretch:>8}")

    row(
        "EVM in this process, one transaction",
        measure(InProcessChain(NAMES), one_transaction, 30),
        "50 ms",
        "33 ms",
    )
    try:
        with Anvil() as anvil:
            node = connect([anvil.url])
            row("anvil, one transaction", measure(node, one_transaction, 50), "15 ms", "8 ms")
            row("anvil, direct", measure(node, direct, 30), "50 ms", "40 ms")
        with Anvil(block_seconds=1) as anvil:
            node = connect([anvil.url])
            row("blocks of 1 s, one transaction", measure(node, one_transaction, 5), "2 s", "1 s")
            row("blocks of 1 s, direct", measure(node, direct, 5), "2 s", "1 s")
    except ConfigError as reason:
        print(reason)
    return 0


if __name__ == "__main__":
    sys.exit(main())
