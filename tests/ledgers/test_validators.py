"""A chain of four validators that trust each other no more than members do."""

from __future__ import annotations

import time

import pytest

pytest.importorskip("web3")

import validators
from evm import KEYS, NAMES

from colearn.ledgers.ethereum import EthereumLedger
from colearn.ledgers.nodes import connect
from colearn.ledgers.signing import KeySigner
from colearn.records import Ballot, Choice, Experiment, Propose, Rule, Vote
from colearn.rules import Outcome

ADA, BOB, CYD, DAN = MEMBERS = NAMES[:4]
EXPERIMENT = Experiment(members=MEMBERS, initial="0" * 64, schema="1" * 64, rule=Rule())

pytestmark = pytest.mark.skipif(
    validators.program() is None,
    reason="needs injectived, of PyPI's injective-core: on the PATH, or named by INJECTIVED",
)


def play_round(ledger, number, digest):
    """One round in one transaction, with a direct vote after it."""
    proposer, *others = [MEMBERS[(number + place) % 4] for place in range(4)]
    signer = KeySigner(KEYS, ledger.chain_id, ledger.address)
    ballots = [signer.sign(Ballot(number, each, digest, Choice.APPROVE)) for each in others[:2]]
    ledger.submit_together(Propose(number, proposer, digest), ballots)
    ledger.submit(Vote(number, others[2], digest, Choice.REJECT))
    assert ledger.view().current == digest


def test_rounds_go_on_when_a_validator_is_killed(tmp_path):
    """With one of four killed, rounds are decided; with two, none; back again, they go on."""
    digests = [f"{number:064x}" for number in range(1, 4)]
    keys = {name: KEYS[name] for name in MEMBERS}
    with validators.Validators(tmp_path, MEMBERS) as chain:
        web3 = connect(chain.urls)
        ledger = EthereumLedger.found(EXPERIMENT, keys, chain=web3)
        play_round(ledger, 0, digests[0])
        chain.kill(3)
        play_round(ledger, 1, digests[1])
        chain.kill(2)
        time.sleep(1)
        height = chain.height(0)
        time.sleep(2)
        assert chain.height(0) == height
        chain.start(2)
        chain.wait_for(0, height + 2)
        play_round(ledger, 2, digests[2])
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
        assert [each.outcome for each in late.decisions()] == [Outcome.ACCEPTED] * 3
        assert [each.proposal for each in late.decisions()] == digests
