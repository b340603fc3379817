"""The ledger on Ethereum: the promises of every ledger, kept by the contract."""

from __future__ import annotations

import importlib
import sys

import pytest
from evm import KEYS, NAMES, begin_again, chain

from colearn.errors import (
    AlreadyVoted,
    BadSignature,
    ConfigError,
    LedgerError,
    MissingExtra,
    NotYourTurn,
    ProposerMayNotVote,
    WrongProposal,
)
from colearn.ledgers.client import Client
from colearn.ledgers.ethereum import EthereumLedger
from colearn.ledgers.local import LocalLedger
from colearn.ledgers.signing import KeySigner
from colearn.records import (
    AddMember,
    Ballot,
    Choice,
    Endorse,
    Event,
    Experiment,
    Pass,
    Propose,
    ReplaceMember,
    Rule,
    SetRule,
    Vote,
    digest_of,
)
from colearn.rules import Outcome
from colearn.testing import check_ledger

ADA, BOB, CYD = NAMES[:3]
DIGEST, OTHER = digest_of([b"p"]), digest_of([b"q"])
EXPERIMENT = Experiment(members=NAMES[:3], initial=OTHER, schema=OTHER)


def found(experiment: Experiment = EXPERIMENT) -> EthereumLedger:
    """A ledger on the chain that all tests share."""
    return EthereumLedger.found(experiment, KEYS, chain=chain())


def signed(ledger: EthereumLedger, ballot: Ballot) -> Ballot:
    """A ballot with its sender's signature."""
    return KeySigner(KEYS, ledger.chain_id, ledger.address).sign(ballot)


def fill(ledger: EthereumLedger) -> None:
    """A round of each kind, and changes of members and rule."""
    ledger.submit(Propose(0, ADA, DIGEST), Vote(0, BOB, DIGEST, Choice.APPROVE))
    ledger.submit(Endorse(ADA, AddMember(NAMES[3])), Endorse(BOB, AddMember(NAMES[3])))
    ledger.submit(Vote(0, CYD, DIGEST, Choice.APPROVE), Pass(1, BOB))
    ledger.wait(len(ledger.events()), ledger.view().deadline + 10_000)
    state = ledger.view()
    proposal = Propose(state.round, state.proposer, OTHER)
    ledger.submit_together(
        proposal,
        [
            signed(ledger, Ballot(state.round, voter, OTHER, Choice.REJECT))
            for voter in state.members
            if voter != state.proposer
        ],
    )
    ledger.submit(Endorse(CYD, SetRule(Rule(threshold="2/3", quorum="1/3"))))
    ledger.submit(Endorse(ADA, ReplaceMember(BOB, NAMES[4])))


def test_keeps_the_promises() -> None:
    """The conformance kit passes on the chain in this process."""
    begin_again()
    check_ledger(found, NAMES[:26])


def test_what_the_chain_says_is_the_whole_ledger() -> None:
    """Somebody who comes later, with no key, reads the same entries, state and decisions."""
    ledger = found()
    fill(ledger)
    late = EthereumLedger(
        EXPERIMENT, {}, chain=chain(), address=ledger.address, first_block=ledger.first_block
    )
    assert late.events() == ledger.events()
    assert late.view() == ledger.view()
    assert late.decisions() == ledger.decisions()
    outcomes = {decision.outcome for decision in ledger.decisions()}
    assert outcomes == {Outcome.ACCEPTED, Outcome.EXPIRED, Outcome.REJECTED}
    assert late.decisions(1) == ledger.decisions()[1:]


def test_decides_like_the_local_ledger() -> None:
    """The same events at the same times give the same decisions without a chain."""
    ledger = found()
    opened = ledger.view().opened
    fill(ledger)
    local = LocalLedger(EXPERIMENT)
    for entry in ledger.events():
        local.wait(len(local.events()), entry.time - opened)
        local.submit(entry.event)
    local.wait(len(local.events()), ledger.now() - opened)
    assert local.decisions() == ledger.decisions()
    assert local.view().members == ledger.view().members
    assert local.view().current == ledger.view().current


def test_a_round_is_one_transaction() -> None:
    """Proposal and votes together are entries of one time, in order of members."""
    ledger = found()
    choices = {CYD: Choice.ABSTAIN, BOB: Choice.APPROVE}
    ballots = [
        signed(ledger, Ballot(0, voter, DIGEST, choice)) for voter, choice in choices.items()
    ]
    before = chain().web3.eth.block_number
    last = ledger.submit_together(Propose(0, ADA, DIGEST), ballots)
    assert chain().web3.eth.block_number == before + 1
    entries = ledger.events()
    assert [entry.event for entry in entries] == [
        Propose(0, ADA, DIGEST),
        *(Vote(0, voter, DIGEST, choices[voter]) for voter in (BOB, CYD)),
    ]
    assert {entry.time for entry in entries} == {last.time}
    assert last == entries[-1]


def test_together_means_all_or_nothing() -> None:
    """One vote that the rules refuse, or a signature that is wrong: no entry at all."""
    ledger = found()
    proposal = Propose(0, ADA, DIGEST)
    own = signed(ledger, Ballot(0, ADA, DIGEST, Choice.APPROVE))
    with pytest.raises(ProposerMayNotVote):
        ledger.submit_together(proposal, [own])
    forged = Ballot(0, BOB, DIGEST, Choice.APPROVE, own.signature)
    with pytest.raises(BadSignature, match="colearn: wrong signature"):
        ledger.submit_together(proposal, [forged])
    with pytest.raises(BadSignature, match="no signature"):
        ledger.submit_together(proposal, [Ballot(0, BOB, DIGEST, Choice.APPROVE)])
    mine = signed(ledger, Ballot(0, BOB, DIGEST, Choice.APPROVE))
    with pytest.raises(AlreadyVoted):
        ledger.submit_together(proposal, [mine, mine])
    with pytest.raises(WrongProposal):
        ledger.submit_together(Propose(0, ADA, OTHER), [mine])
    assert ledger.events() == []


def test_only_the_owner_of_a_key_acts() -> None:
    """Without a member's key nothing is sent for it, and the error says whose."""
    ledger = found()
    mine = EthereumLedger(
        EXPERIMENT,
        {BOB: KEYS[BOB]},
        chain=chain(),
        address=ledger.address,
        first_block=ledger.first_block,
    )
    with pytest.raises(LedgerError, match=f"no key of {ADA}"):
        mine.submit(Pass(0, ADA))
    with pytest.raises(NotYourTurn):
        mine.submit(Pass(0, BOB))


def test_two_machines_see_each_other() -> None:
    """Each member's own ledger on one chain sees what the others do."""
    ledgers = {ADA: found()}
    for member in (BOB, CYD):
        keys = {member: KEYS[member]}
        ledgers[member] = EthereumLedger(
            EXPERIMENT,
            keys,
            chain=chain(),
            address=ledgers[ADA].address,
            first_block=ledgers[ADA].first_block,
        )
    events: list[Event] = [
        Propose(0, ADA, DIGEST),
        Vote(0, BOB, DIGEST, Choice.APPROVE),
        Vote(0, CYD, DIGEST, Choice.APPROVE),
    ]
    for event in events:
        ledgers[event.sender].submit(event)
    for ledger in ledgers.values():
        assert [entry.event for entry in ledger.events()] == events
        assert ledger.view().current == DIGEST


@pytest.mark.parametrize(
    "other",
    [
        Experiment(members=NAMES[:3], initial=OTHER, schema=DIGEST),
        Experiment(members=NAMES[1:4], initial=OTHER, schema=OTHER),
    ],
)
def test_another_experiments_contract_is_refused(other: Experiment) -> None:
    """Who expects another experiment is told so, and does not join."""
    address = found().address
    with pytest.raises(LedgerError, match="another experiment's: its experiment"):
        EthereumLedger(other, KEYS, chain=chain(), address=address)


def test_an_address_without_contract_is_refused() -> None:
    """A wrong address gets one line that says so."""
    with pytest.raises(LedgerError, match="holds no contract"):
        EthereumLedger(EXPERIMENT, KEYS, chain=chain(), address=ADA)


def test_members_are_addresses() -> None:
    """A name that is no address is refused before anything is sent."""
    experiment = Experiment(members=("ada", "bob"), initial=OTHER, schema=OTHER)
    with pytest.raises(ConfigError, match="'ada' is no checksummed address"):
        found(experiment)


def test_a_race_that_is_lost_is_a_refusal() -> None:
    """What was allowed when it was sent, and is refused by the contract, is a refusal too."""
    ledger = found()
    client = Client(chain(), KEYS, 3, ledger.address)
    sent = client.send([(BOB, "pass_turn", (0,))])
    with pytest.raises(NotYourTurn, match="the contract refuses"):
        client.hasten(*sent, client.head().block)


def test_missing_web3_names_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without web3.py, the error on import holds the exact install command."""
    monkeypatch.setitem(sys.modules, "web3", None)
    for module in ("ethereum", "client"):
        monkeypatch.delitem(sys.modules, f"colearn.ledgers.{module}")
    with pytest.raises(MissingExtra, match=r"pip install 'colearn-protocol\[evm\]'"):
        importlib.import_module("colearn.ledgers.ethereum")


def test_by_default_a_chain_in_this_process() -> None:
    """Nothing but an experiment and keys is needed."""
    ledger = EthereumLedger.found(EXPERIMENT, {name: KEYS[name] for name in NAMES[:3]})
    ledger.submit(Pass(0, ADA))
    assert ledger.view().round == 1
