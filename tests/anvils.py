"""Ledgers on real nodes, and what only nodes for tests do."""

from __future__ import annotations

from evm import NAMES
from scenario import MEMBERS, OTHER

from colearn.ledgers.ethereum import EthereumLedger
from colearn.ledgers.nodes import connect
from colearn.records import Experiment, Rule


def agreed(*members, seconds=3_600):
    """An experiment."""
    rule = Rule(propose_seconds=seconds, vote_seconds=seconds)
    return Experiment(members=members or MEMBERS, initial=OTHER, schema=OTHER, rule=rule)


def reach(*nodes):
    """Access to nodes, on which all members have funds."""
    for node in nodes:
        for name in NAMES[:30]:
            ask(connect([node.url]), "anvil_setBalance", name, hex(10**24))
    return connect([node.url for node in nodes])


def ask(web3, method, *params):
    """Have a node do what only nodes for tests do."""
    answer = web3.provider.make_request(method, list(params))
    assert "error" not in answer, answer
    return answer["result"]


def again(ledger, web3, keys=None, **options):
    """The same contract, read from the beginning."""
    return EthereumLedger(
        ledger.experiment,
        keys or {},
        chain=web3,
        address=ledger.address,
        first_block=ledger.first_block,
        **options,
    )
