"""Everything about an experiment, from its contract alone: nobody's word is needed."""

from __future__ import annotations

from typing import NamedTuple

from colearn.errors import BadSignature, CorruptLedger, LedgerError
from colearn.ledgers.client import Chain, Client, Depth
from colearn.ledgers.ethereum import EthereumLedger
from colearn.ledgers.signing import KeySigner
from colearn.records import Entry, Experiment
from colearn.rules import Decision, State


class ChainAudit(NamedTuple):
    """What the chain says, all of it checked.

    Attributes:
        entries: Every event, in order.
        decisions: Every round that has ended, recomputed by the rules.
        state: The state at the newest block that counts.
        signatures: How many votes were collected, each with its member's signature.
        signer: Checks what else members signed for this experiment.
    """

    entries: tuple[Entry, ...]
    decisions: tuple[Decision, ...]
    state: State
    signatures: int
    signer: KeySigner


class Founding(NamedTuple):
    """How an experiment began on a chain.

    Attributes:
        experiment: What the members agreed on.
        block: The contract's first.
    """

    experiment: Experiment
    block: int


def founding(*, chain: Chain, address: str, first_block: int = 0, depth: Depth = 0) -> Founding:
    """Find what members agreed on by their contract alone, whose digest of it this fits.

    Args:
        chain: As of `colearn.ledgers.ethereum.EthereumLedger`, like the others.
        address: Where the contract is.
        first_block: A block at or before the contract's first, to look for it from.
        depth: Which blocks count.

    Raises:
        LedgerError: There is no such contract from that block on, whoever put it there
            left out the record of what was agreed on, or the nodes cannot be read.
    """
    client = Client(chain, {}, 0, address, depth=depth)
    client.check_code()
    first = client.first_log(first_block, client.head())
    if first is None or first.name != "Founded":
        raise LedgerError(
            f"the contract at {address} does not begin at block {first_block} or later: "
            "look for it from an earlier block, or wait until its own counts"
        )
    experiment = client.terms(first)
    if experiment is None:
        raise LedgerError(
            f"whoever put the contract at {address} there left out the record of what was "
            "agreed on, so the chain does not tell it: ask a member for the file that does"
        )
    return Founding(experiment, first.block)


def audit_contract(
    experiment: Experiment,
    *,
    chain: Chain,
    address: str,
    first_block: int = 0,
    depth: Depth = 0,
) -> ChainAudit:
    """Rebuild an experiment from a contract's events, and check all that can be checked.

    The contract's code is this release's and its terms are the experiment's; the rules
    allow every event at its time, and every tally is theirs; every vote that a proposer
    collected bears its member's signature in the transaction's data. No key is needed.

    Args:
        experiment: What the members agreed on.
        chain: As of `colearn.ledgers.ethereum.EthereumLedger`, like the others.
        address: Where the contract is.
        first_block: A block at or before the contract's first.
        depth: Which blocks count.

    Raises:
        CorruptLedger: The rules do not allow what is there, or a signature is wrong.
        LedgerError: It is another contract, or the nodes cannot be read.
    """
    ledger = EthereumLedger(
        experiment, {}, chain=chain, address=address, first_block=first_block, depth=depth
    )
    signer = KeySigner({}, ledger.chain_id, address)
    signatures = 0
    for ballots in ledger.collected():
        for ballot in ballots:
            try:
                signer.check(ballot)
            except BadSignature as reason:
                raise CorruptLedger(
                    f"the contract at {address} counted a vote that is not its member's: {reason}"
                ) from None
            signatures += 1
    return ChainAudit(
        tuple(ledger.events()), tuple(ledger.decisions()), ledger.view(), signatures, signer
    )
