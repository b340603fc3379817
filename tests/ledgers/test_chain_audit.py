"""Auditing a contract: all of it is rebuilt, and whatever does not hold is told."""

from __future__ import annotations

import pytest
from evm import KEYS, NAMES, chain

from colearn.errors import CorruptLedger, LedgerError
from colearn.ledgers.chain_audit import audit_contract
from colearn.ledgers.client import Client
from colearn.ledgers.ethereum import EthereumLedger
from colearn.ledgers.signing import KeySigner
from colearn.records import Ballot, Choice, Experiment, Pass, Propose, Vote, digest_of

ADA, BOB, CYD, DAN = MEMBERS = NAMES[:4]
DIGEST, OTHER = digest_of([b"p"]), digest_of([b"q"])
EXPERIMENT = Experiment(members=MEMBERS, initial=OTHER, schema=OTHER)


@pytest.fixture
def ledger():
    """A ledger with a round of collected votes, one of direct ones, and one passed."""
    ledger = EthereumLedger.found(EXPERIMENT, KEYS, chain=chain())
    signer = KeySigner(KEYS, ledger.chain_id, ledger.address)
    choices = {BOB: Choice.APPROVE, DAN: Choice.REJECT, CYD: Choice.APPROVE}
    ballots = [
        signer.sign(Ballot(0, *each)) for each in ((v, DIGEST, c) for v, c in choices.items())
    ]
    ledger.submit_together(Propose(0, ADA, DIGEST), ballots)
    ledger.submit(Propose(1, BOB, OTHER), *(Vote(1, v, OTHER, Choice.REJECT) for v in (ADA, CYD)))
    ledger.submit(Pass(2, CYD))
    return ledger


def audit(ledger):
    """What an auditor finds, who has no key."""
    return audit_contract(
        EXPERIMENT, chain=chain(), address=ledger.address, first_block=ledger.first_block
    )


def test_all_is_rebuilt(ledger):
    """Entries, decisions and state are the members', and each collected vote was checked."""
    found = audit(ledger)
    assert list(found.entries) == ledger.events()
    assert list(found.decisions) == ledger.decisions()
    assert found.state == ledger.view()
    assert found.signatures == 3


def test_calldata_that_does_not_hold_is_told(ledger, monkeypatch):
    """Signatures of others, in another order, too few or none: the audit says so."""
    honest = Client.signatures
    for bent in (
        lambda given: given[::-1],
        lambda given: [(r ^ 1, last) for r, last in given],
    ):
        monkeypatch.setattr(
            Client, "signatures", lambda client, sent, bent=bent: bent(honest(client, sent))
        )
        with pytest.raises(CorruptLedger, match="a vote that is not its member's"):
            audit(ledger)
    for missing in (lambda given: given[:-1], lambda given: None):
        monkeypatch.setattr(
            Client, "signatures", lambda client, sent, bent=missing: bent(honest(client, sent))
        )
        with pytest.raises(CorruptLedger, match="has not the votes"):
            audit(ledger)


def test_another_experiment_is_not_audited(ledger):
    """An experiment that differs in one term is another."""
    other = Experiment(members=MEMBERS, initial=DIGEST, schema=OTHER)
    with pytest.raises(LedgerError, match="another experiment's"):
        audit_contract(other, chain=chain(), address=ledger.address, first_block=ledger.first_block)
