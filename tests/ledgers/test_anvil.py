"""The ledger on a real node: as in this process, and through what only nodes do."""

from __future__ import annotations

import time

import pytest
from anvils import again, agreed, ask, reach
from evm import KEYS, NAMES
from requests import ConnectionError as RequestsConnectionError
from scenario import ADA, BOB, CYD, DAN, DECIDED, DIGEST, OTHER, scenario

from colearn.errors import (
    AlreadyVoted,
    LedgerError,
)
from colearn.ledgers import ethereum, sender
from colearn.ledgers.anvil import Anvil
from colearn.ledgers.ethereum import EthereumLedger
from colearn.ledgers.inprocess import InProcessChain
from colearn.ledgers.nodes import connect
from colearn.records import Choice, Pass, Propose, Vote
from colearn.rules import Outcome
from colearn.testing import check_ledger

pytestmark = pytest.mark.usefixtures("anvil_program")

YES, NO = Choice.APPROVE, Choice.REJECT


@pytest.fixture(scope="module")
def node(anvil_program):
    """A node that makes a block of each transaction."""
    with Anvil() as running:
        yield running


@pytest.fixture
def web3(node):
    """Access to it."""
    return reach(node)


class Hurried(EthereumLedger):
    """Lets the node's time jump instead of waiting."""

    def wait(self, seen, until):
        if len(self.events()) <= seen and self.now() < until:
            ask(self.web3, "evm_setNextBlockTimestamp", until)
            ask(self.web3, "evm_mine")


def test_keeps_the_promises(web3):
    """The conformance kit passes on a node."""
    Hurried.web3 = web3
    check_ledger(lambda experiment: Hurried.found(experiment, KEYS, chain=web3), NAMES[:26])


@pytest.mark.parametrize("kind", ["in this process", "blocks at once", "blocks of 1 s"])
def test_one_scenario_on_each_chain(kind):
    """The same events give the same decisions, on every chain and for who comes later."""
    experiment = agreed(seconds=3 if kind == "blocks of 1 s" else 60)
    if kind == "in this process":
        chain = InProcessChain(NAMES)
        ledger = EthereumLedger.found(experiment, KEYS, chain=chain)
        decisions = scenario(ledger)
        late = again(ledger, chain)
    else:
        with Anvil(block_seconds=1 if kind == "blocks of 1 s" else None) as running:
            chain = reach(running)
            kind_of = EthereumLedger if kind == "blocks of 1 s" else Hurried
            Hurried.web3 = chain
            ledger = kind_of.found(experiment, KEYS, chain=chain)
            decisions = scenario(ledger)
            late = again(ledger, chain)
            assert late.view() == ledger.view()
            assert late.events() == ledger.events()
    assert decisions == DECIDED
    if kind == "in this process":
        assert late.decisions() == ledger.decisions()


def test_time_passes_on_a_node_that_makes_no_blocks(web3, monkeypatch):
    """wait() returns on a chain that stands still, by a block of its own, and not before."""
    monkeypatch.setattr("colearn.ledgers.client._IDLE_SECONDS", 0)
    ledger = EthereumLedger.found(agreed(seconds=2), {ADA: KEYS[ADA]}, chain=web3)
    deadline = ledger.view().deadline
    began = time.monotonic()
    ledger.wait(0, deadline)
    assert ledger.now() >= deadline
    assert ledger.view().round == 1
    assert time.monotonic() - began > 1
    block = web3.eth.get_block("latest")
    assert block["timestamp"] == ledger.now()


def test_wait_wakes_on_an_entry(web3):
    """An entry by somebody else ends the waiting."""
    ledger = EthereumLedger.found(agreed(), KEYS, chain=web3)
    other = again(ledger, web3, {ADA: KEYS[ADA]})
    other.submit(Pass(0, ADA))
    ledger.wait(0, ledger.now() + 3_600)
    assert [entry.event for entry in ledger.events()] == [Pass(0, ADA)]


def test_follows_a_reorg_that_takes_votes_back(web3):
    """What a re-org removes is gone here too, comes back when sent again, and can change."""
    ledger = EthereumLedger.found(agreed(), KEYS, chain=web3)
    ledger.submit(Propose(0, ADA, DIGEST), Vote(0, BOB, DIGEST, YES))
    before = ledger.events()
    ledger.submit(Vote(0, CYD, DIGEST, YES), Propose(1, BOB, OTHER))
    assert ledger.view().current == DIGEST
    ask(web3, "anvil_reorg", 2, [])
    assert ledger.events() == before
    assert ledger.view().current == OTHER
    assert ledger.decisions() == []
    fresh = again(ledger, web3, KEYS)
    assert (fresh.view(), fresh.events()) == (ledger.view(), ledger.events())
    fresh.submit(Vote(0, CYD, DIGEST, NO), Vote(0, DAN, DIGEST, NO))
    assert ledger.decisions() == fresh.decisions()
    assert ledger.decisions()[0].outcome is Outcome.REJECTED
    assert ledger.events() == [*before, *fresh.events()[2:]]
    assert ledger.view() == again(ledger, web3).view()


def test_a_reorg_below_all_that_is_remembered(web3, monkeypatch):
    """Where no block that was seen is left, all is read anew; a contract that is gone is told."""
    monkeypatch.setattr(ethereum, "_MARKS", 1)
    ledger = EthereumLedger.found(agreed(), KEYS, chain=web3)
    ledger.submit(Propose(0, ADA, DIGEST), Vote(0, BOB, DIGEST, YES))
    ask(web3, "anvil_reorg", 1, [])
    assert [entry.event for entry in ledger.events()] == [Propose(0, ADA, DIGEST)]
    ask(web3, "anvil_reorg", 3, [])
    with pytest.raises(LedgerError, match="holds no contract"):
        ledger.events()


def test_acts_on_deep_blocks_only(web3):
    """With a depth, an entry counts once so many blocks lie on its own."""
    found = EthereumLedger.found(agreed(), KEYS, chain=web3)
    found.submit(Propose(0, ADA, DIGEST))
    ask(web3, "anvil_mine", hex(2))
    deep = again(found, web3, KEYS, depth=2)
    assert len(deep.events()) == 1
    found.submit(Vote(0, BOB, DIGEST, YES))
    assert len(deep.events()) == 1
    ask(web3, "anvil_mine", hex(1))
    assert len(deep.events()) == 1
    ask(web3, "anvil_mine", hex(1))
    assert deep.events() == found.events()
    ask(web3, "anvil_mine", hex(70))
    assert again(found, web3, depth="finalized").events() == found.events()


def test_a_stuck_transaction_is_replaced(web3, monkeypatch):
    """What no block takes is sent again for more, under the same nonce, and happens once."""
    monkeypatch.setattr(sender, "STUCK_SECONDS", 0.2)
    ledger = EthereumLedger.found(agreed(), KEYS, chain=web3)
    ledger.view()
    nonce = web3.eth.get_transaction_count(ADA)
    dear = 3 * web3.eth.get_block("latest")["baseFeePerGas"]
    ask(web3, "anvil_setNextBlockBaseFeePerGas", hex(dear))
    ledger.submit(Pass(0, ADA))
    assert web3.eth.get_transaction_count(ADA) == nonce + 1
    assert [entry.event for entry in ledger.events()] == [Pass(0, ADA)]


def test_a_chain_that_makes_no_blocks_is_told(web3, monkeypatch):
    """Nothing is waited for without end."""
    monkeypatch.setattr(sender, "GIVE_UP_SECONDS", 0.3)
    ledger = EthereumLedger.found(agreed(), KEYS, chain=web3)
    ask(web3, "evm_setAutomine", False)
    try:
        with pytest.raises(LedgerError, match="no block takes the transaction"):
            ledger.submit(Pass(0, ADA))
    finally:
        ask(web3, "evm_setAutomine", True)
        ask(web3, "evm_mine")
    assert [entry.event for entry in ledger.events()] == [Pass(0, ADA)]


def test_nonces_that_others_used_are_counted_again(web3):
    """A key used by two processes, one after a crash of the other, goes on."""
    ledger = EthereumLedger.found(agreed(ADA, BOB), KEYS, chain=web3)
    restarted = again(ledger, web3, KEYS)
    for number in range(3):
        ledger.submit(Pass(2 * number, ADA), Pass(2 * number + 1, BOB))
    restarted.submit(Pass(6, ADA))
    ledger.submit(Pass(7, BOB), Pass(8, ADA))
    restarted.submit(Pass(9, BOB), Pass(10, ADA))
    assert len(ledger.events()) == 11


def test_an_answer_that_is_lost_sends_nothing_twice(web3, monkeypatch):
    """When the node took a transaction and its answer is lost, it is not signed again."""
    ledger = EthereumLedger.found(agreed(), KEYS, chain=web3)
    provider = web3.provider
    answered, raws = provider._ask_one, []

    def lossy(method, params):
        answer = answered(method, params)
        if method == "eth_sendRawTransaction":
            raws.append(params[0])
            if len(raws) == 1:
                raise RequestsConnectionError
        return answer

    monkeypatch.setattr(provider, "_ask_one", lossy)
    ledger.submit(Pass(0, ADA))
    assert len(set(raws)) == 1
    assert len(raws) == 2
    assert [entry.event for entry in ledger.events()] == [Pass(0, ADA)]


def test_the_contract_says_no_to_each_event(web3):
    """What was allowed here and refused there is raised as what it is; the others stand."""
    ledger = EthereumLedger.found(agreed(), KEYS, chain=web3)
    hasty = again(ledger, web3, KEYS)
    hasty._allowed = lambda acts: (list(acts), None)
    ledger.submit(Propose(0, ADA, DIGEST), Vote(0, BOB, DIGEST, NO))
    with pytest.raises(AlreadyVoted, match="the contract refuses"):
        hasty.submit(Vote(0, DAN, DIGEST, YES), Vote(0, BOB, DIGEST, YES))
    assert ledger.events()[-1].event == Vote(0, DAN, DIGEST, YES)
    assert len(ledger.events()) == 3


def test_a_contract_is_founded_where_blocks_are_dear(web3):
    """The first transaction, too, pays what the newest block asked for."""
    ask(web3, "anvil_setNextBlockBaseFeePerGas", 10**11)
    ask(web3, "evm_mine")
    assert EthereumLedger.found(agreed(), KEYS, chain=web3).view().round == 0


def test_another_contracts_code_is_refused(web3):
    """A contract with other code than the one that is shipped gets one line."""
    ledger = EthereumLedger.found(agreed(), KEYS, chain=web3)
    code = web3.eth.get_code(ledger.address)
    ask(web3, "anvil_setCode", ledger.address, "0x" + (bytes(code[:100]) + bytes(5)).hex())
    with pytest.raises(LedgerError, match="holds another contract's code"):
        again(ledger, web3)
    ask(web3, "anvil_setCode", ledger.address, "0x" + bytes(code[:-1] + b"\0").hex())
    with pytest.raises(LedgerError, match="another experiment's: its experiment"):
        again(ledger, web3)


def test_goes_on_from_what_a_killed_node_kept(tmp_path):
    """A node killed and started again from its file has the same ledger, and takes more."""
    state = tmp_path / "chain.json"
    with Anvil(state=state) as running:
        ledger = EthereumLedger.found(agreed(), KEYS, chain=reach(running))
        ledger.submit(Propose(0, ADA, DIGEST), Vote(0, BOB, DIGEST, YES))
        before = ledger.events()
        time.sleep(2.5)
        running.kill()
        with pytest.raises(LedgerError, match="none of the chain's nodes answers"):
            ledger.events()
        with Anvil(port=running.port, state=state):
            assert ledger.events() == before
            ledger.submit(Vote(0, CYD, DIGEST, YES))
            assert ledger.view().current == DIGEST


def test_a_node_that_is_down_is_no_obstacle(anvil_program):
    """Of several nodes one may fail; when none is left, one line says so."""
    with Anvil() as first:
        reach(first)
        with Anvil() as gone:
            urls = [gone.url, first.url]
        both = connect(urls)
        ledger = EthereumLedger.found(agreed(), KEYS, chain=both)
        ledger.submit(Pass(0, ADA))
        assert len(ledger.events()) == 1
    with pytest.raises(LedgerError, match=r"none of the chain's nodes answers \(http") as error:
        ledger.events()
    assert "\n" not in str(error.value)


def test_nodes_that_disagree_are_not_believed(anvil_program, monkeypatch):
    """Two nodes with different blocks, or of different chains, are refused in one line."""
    monkeypatch.setattr("colearn.ledgers.nodes._PAUSES_SECONDS", (0.01,))
    with Anvil() as first, Anvil() as second:
        alone = reach(first)
        ledger = EthereumLedger.found(agreed(), KEYS, chain=alone)
        ask(connect([second.url]), "anvil_mine", hex(50))
        both = reach(first, second)
        with pytest.raises(LedgerError, match="disagree, so none is believed: http"):
            again(ledger, both)
        ask(connect([second.url]), "anvil_setChainId", 5)
        with pytest.raises(LedgerError, match=r"disagree.*eth_chainId"):
            again(ledger, both)


def test_another_programs_port_is_refused(node):
    """Nobody else's chain is taken for the one that was to be started."""
    with pytest.raises(LedgerError, match=f"port {node.port} is taken by another program"):
        Anvil(port=node.port)


def test_who_has_no_funds_is_told(web3):
    """One line that names who cannot pay, without the node's own words."""
    key = KEYS[NAMES[200]]
    ledger = EthereumLedger.found(agreed(NAMES[200], ADA), KEYS | {NAMES[200]: key}, chain=web3)
    with pytest.raises(LedgerError, match=f"{NAMES[200]} cannot pay .*: send it funds"):
        ledger.submit(Pass(0, NAMES[200]))
