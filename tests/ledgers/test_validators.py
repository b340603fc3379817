"""A chain of four validators that trust each other no more than members do."""

from __future__ import annotations

import time

import pytest

pytest.importorskip("web3")

import validators
from evm import KEYS
from scenario import DECIDED, MEMBERS, scenario

from colearn.ledgers.ethereum import EthereumLedger
from colearn.ledgers.nodes import connect
from colearn.ledgers.signing import KeySigner
from colearn.records import Ballot, Choice, Experiment, Propose, Rule
from colearn.rules import Outcome

SECONDS = 10
EXPERIMENT = Experiment(
    members=MEMBERS,
    initial="0" * 64,
    schema="1" * 64,
    rule=Rule(propose_seconds=SECONDS, vote_seconds=SECONDS),
)

pytestmark = pytest.mark.skipif(
    validators.program() is None,
    reason="may lack: injectived, of PyPI's injective-core: on the PATH, or named by INJECTIVED",
)


def play_round(ledger, digest):
    """One round in one transaction, from the round's beginning on."""
    ledger.wait(len(ledger.events()), ledger.view().deadline)
    state = ledger.view()
    signer = KeySigner(KEYS, ledger.chain_id, ledger.address)
    ballots = [
        signer.sign(Ballot(state.round, each, digest, Choice.APPROVE))
        for each in MEMBERS
        if each != state.proposer
    ]
    ledger.submit_together(Propose(state.round, state.proposer, digest), ballots)
    assert ledger.view().current == digest


def test_the_scenario_goes_on_when_a_validator_is_killed(tmp_path):
    """With one of four killed midway all is as on other chains; with two, nothing is decided."""
    keys = {name: KEYS[name] for name in MEMBERS}
    with validators.Validators(tmp_path, MEMBERS) as chain:
        ledger = EthereumLedger.found(EXPERIMENT, keys, chain=connect(chain.urls))
        assert scenario(ledger, midway=lambda: chain.kill(3)) == DECIDED
        chain.kill(2)
        time.sleep(1)
        height = chain.height(0)
        time.sleep(2)
        assert chain.height(0) == height
        chain.start(2)
        chain.wait_for(0, height + 2)
        play_round(ledger, "3" * 64)
        chain.start(3)
        chain.wait_for(3, chain.height(0))
        late = EthereumLedger(
            EXPERIMENT,
            {},
            chain=connect(chain.urls[3:]),
            address=ledger.address,
            first_block=ledger.first_block,
        )
        assert late.events() == ledger.events()
        assert late.decisions()[-1].proposal == "3" * 64
        assert late.decisions()[-1].outcome is Outcome.ACCEPTED
