"""One course of events, to be played on every kind of chain."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from evm import KEYS, NAMES

from colearn.errors import NotYourTurn
from colearn.ledgers.ethereum import EthereumLedger
from colearn.ledgers.signing import KeySigner
from colearn.records import Ballot, Choice, Digest, Pass, Propose, Vote, digest_of
from colearn.rules import Outcome

ADA, BOB, CYD, DAN = MEMBERS = NAMES[:4]
DIGEST, OTHER = digest_of([b"p"]), digest_of([b"q"])

Told = tuple[int, Outcome, Digest | None, int, int]
DECIDED: list[Told] = [
    (0, Outcome.ACCEPTED, DIGEST, 0b0110, 0),
    (1, Outcome.REJECTED, OTHER, 0, 0b0101),
    (2, Outcome.EXPIRED, None, 0, 0),
    (3, Outcome.EXPIRED, None, 0, 0),
    (4, Outcome.EXPIRED, None, 0, 0),
]


def scenario(ledger: EthereumLedger, midway: Callable[[], object] = lambda: None) -> list[Told]:
    """Rounds of each outcome, by each path, with refusals between; what became of them."""
    signer = KeySigner(KEYS, ledger.chain_id, ledger.address)
    approve, reject = Choice.APPROVE, Choice.REJECT
    ballots = [signer.sign(Ballot(0, voter, DIGEST, approve)) for voter in (CYD, BOB)]
    ledger.submit_together(Propose(0, ADA, DIGEST), ballots)
    ledger.submit(Vote(0, DAN, DIGEST, approve))
    midway()
    ledger.submit(Propose(1, BOB, OTHER))
    ledger.submit(*(Vote(1, each, OTHER, reject) for each in (ADA, CYD)))
    with pytest.raises(NotYourTurn):
        ledger.submit(Pass(2, CYD), Pass(3, ADA), Pass(4, BOB))
    seen = len(ledger.events())
    ledger.wait(seen, ledger.view().deadline)
    ledger.submit(Pass(4, ADA))
    return [
        (each.round, each.outcome, each.proposal, each.approve, each.reject)
        for each in ledger.decisions()
    ]
