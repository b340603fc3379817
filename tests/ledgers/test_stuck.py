"""What a member's earlier life left at the nodes holds up nobody: on a real node."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from anvils import again, agreed, ask, reach
from evm import KEYS, NAMES
from scenario import ADA, BOB, CYD, DIGEST, OTHER

from colearn.errors import LedgerError
from colearn.ledgers import sender
from colearn.ledgers.anvil import Anvil
from colearn.ledgers.ethereum import EthereumLedger
from colearn.records import Choice, Endorse, Pass, Propose, RemoveMember, Rotate, Vote

pytestmark = pytest.mark.usefixtures("anvil_program")
HERS = {ADA: KEYS[ADA]}
PROPOSE = ("propose", (0, bytes.fromhex(DIGEST)))
PASS = ("pass_turn", (0,))
SUCCESSOR = NAMES[200]


@pytest.fixture(scope="module")
def web3(anvil_program):
    """A node that makes a block when it is told to."""
    with Anvil() as running:
        yield reach(running)


@pytest.fixture
def lives(web3, monkeypatch):
    """Two lives of one member; the second knows nothing of what the first has sent."""
    monkeypatch.setattr(sender, "STUCK_SECONDS", 0.4)
    earlier = EthereumLedger.found(agreed(), HERS, chain=web3)
    ask(web3, "evm_setAutomine", False)
    yield earlier, again(earlier, web3, HERS)
    ask(web3, "anvil_dropAllTransactions")
    ask(web3, "evm_setAutomine", True)


@pytest.fixture
def submitting():
    """Submit events while the test plays the chain."""
    with ThreadPoolExecutor(1) as pool:
        yield lambda ledger, *events: pool.submit(ledger.submit, *events)


def left_by(ledger, *calls, skipped=0):
    """Send transactions as the ledger does, and see to none; return the first one's nonce."""
    if skipped:
        nonces = ledger._client._sender._nonces
        nonces[ADA] = ledger._client._eth.get_transaction_count(ADA) + skipped
    return ledger._client.send([(ADA, *call) for call in calls])[0].fields["nonce"]


def hers(web3, nonce):
    """Her transaction with this nonce, in a block or on its way; None if there is none."""
    return ask(web3, "eth_getTransactionBySenderAndNonce", ADA, hex(nonce))


def until(holds):
    """Wait until something holds."""
    end = time.monotonic() + 20
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.02)


def events_of(ledger):
    """What happened."""
    return [entry.event for entry in ledger.events()]


def test_what_pays_too_little_gives_way(lives, web3, submitting):
    """A miner wants more than the earlier life paid, and gets it for nothing; the act follows."""
    earlier, fresh = lives
    nonce = left_by(earlier, PROPOSE)
    price = int(hers(web3, nonce)["maxPriorityFeePerGas"], 16) * 9 // 8
    submitted = submitting(fresh, Pass(0, ADA))
    until(lambda: hers(web3, nonce + 1))
    assert hers(web3, nonce)["input"] != "0x", "at first, what is new queues behind it"
    until(lambda: int(hers(web3, nonce)["maxPriorityFeePerGas"], 16) >= price)
    ask(web3, "evm_mine")
    assert submitted.result(20).event == Pass(0, ADA)
    assert hers(web3, nonce)["input"] == "0x"
    assert web3.eth.get_transaction_count(ADA) == nonce + 2
    assert events_of(fresh) == [Pass(0, ADA)]


def test_what_paid_a_lot_is_outbid(lives, web3, submitting):
    """The earlier life raised its fee ten times: what takes its place pays yet more."""
    earlier, fresh = lives
    nonce = left_by(earlier, PROPOSE)
    (left,) = earlier._client._sender._open.values()
    for _ in range(10):
        earlier._client._sender._replace(left)
    submitted = submitting(fresh, Pass(0, ADA))
    until(lambda: hers(web3, nonce)["input"] == "0x")
    ask(web3, "evm_mine")
    submitted.result(20)
    assert events_of(fresh) == [Pass(0, ADA)]


def test_what_is_not_stuck_is_left_alone(lives, web3, submitting):
    """What the earlier life sent and a block takes in time happens, before what is new."""
    earlier, fresh = lives
    nonce = left_by(earlier, PROPOSE)
    submitted = submitting(fresh, Rotate(ADA, SUCCESSOR))
    until(lambda: hers(web3, nonce + 1))
    ask(web3, "evm_mine")
    submitted.result(20)
    assert events_of(fresh) == [Propose(0, ADA, DIGEST), Rotate(ADA, SUCCESSOR)]


def test_the_same_act_of_two_lives_is_no_failure(lives, web3, submitting):
    """The contract takes one of two equal acts, and reverts the other: it is done."""
    earlier, fresh = lives
    nonce = left_by(earlier, PASS)
    submitted = submitting(fresh, Pass(0, ADA))
    until(lambda: hers(web3, nonce + 1))
    ask(web3, "evm_mine")
    assert submitted.result(20).event == Pass(0, ADA)
    assert events_of(fresh) == [Pass(0, ADA)]
    assert web3.eth.get_transaction_count(ADA) == nonce + 2


def test_a_gap_is_filled(lives, web3):
    """One that waits for a lower nonce which nobody has gets in, once that is taken again."""
    earlier, fresh = lives
    above = left_by(earlier, ("rotate_key", (SUCCESSOR,)), skipped=1)
    assert hers(web3, above - 1) is None
    ask(web3, "evm_setAutomine", True)
    fresh.submit(Propose(0, ADA, DIGEST))
    until(lambda: len(fresh.events()) == 2)
    assert events_of(fresh) == [Propose(0, ADA, DIGEST), Rotate(ADA, SUCCESSOR)]
    assert web3.eth.get_transaction_count(ADA) == above + 1


def test_what_waits_above_a_gap_keeps_its_nonce(lives, web3, submitting):
    """Of two acts at once the first fills the gap, the second goes past what was there."""
    earlier, fresh = lives
    above = left_by(earlier, ("rotate_key", (SUCCESSOR,)), skipped=1)
    remove = RemoveMember(BOB)
    submitted = submitting(fresh, Propose(0, ADA, DIGEST), Endorse(ADA, remove))
    until(lambda: hers(web3, above + 1))
    ask(web3, "evm_mine")
    submitted.result(20)
    assert events_of(fresh) == [
        Propose(0, ADA, DIGEST),
        Rotate(ADA, SUCCESSOR),
        Endorse(ADA, remove),
    ]


@pytest.mark.parametrize("lost", [1, 3])
def test_what_a_node_dropped_is_filled(lives, web3, submitting, lost):
    """All that hers queued behind is lost midway: empty ones take those nonces, one by one."""
    earlier, fresh = lives
    nonce = left_by(earlier, *[("endorse_remove", (NAMES[n],)) for n in range(1, 1 + lost)])
    submitted = submitting(fresh, Pass(0, ADA))
    until(lambda: hers(web3, nonce + lost))
    ask(web3, "anvil_dropAllTransactions")
    for place in range(nonce, nonce + lost):
        until(lambda place=place: hers(web3, place))
        assert hers(web3, place)["input"] == "0x"
        assert hers(web3, place + 1) is None or place + 1 == nonce + lost
        ask(web3, "evm_mine")
    until(lambda: ask(web3, "evm_mine") and submitted.done())
    assert submitted.result().event == Pass(0, ADA)
    assert events_of(fresh) == [Pass(0, ADA)]


def test_one_that_was_dropped_before_is_not_missed(lives, web3):
    """Where the earlier life's transaction is gone from the node, its nonce is used."""
    earlier, fresh = lives
    nonce = left_by(earlier, PROPOSE)
    ask(web3, "anvil_dropAllTransactions")
    ask(web3, "evm_setAutomine", True)
    fresh.submit(Pass(0, ADA))
    assert web3.eth.get_transaction_count(ADA) == nonce + 1


def test_what_nobody_waited_for_is_not_sent_again(lives, web3, submitting, monkeypatch):
    """A life whose node went away comes back to the same transaction, and then to others."""
    _, fresh = lives
    monkeypatch.setattr(sender, "GIVE_UP_SECONDS", 0.2)
    with pytest.raises(LedgerError, match="no block takes"):
        fresh.submit(Propose(0, ADA, DIGEST))
    nonce = web3.eth.get_transaction_count(ADA)
    monkeypatch.undo()
    submitted = submitting(fresh, Propose(0, ADA, DIGEST))
    time.sleep(0.2)
    assert hers(web3, nonce + 1) is None
    ask(web3, "evm_mine")
    submitted.result(20)
    assert web3.eth.get_transaction_count(ADA) == nonce + 1
    ask(web3, "evm_setAutomine", True)
    fresh.submit(Rotate(ADA, SUCCESSOR))
    assert web3.eth.get_transaction_count(ADA) == nonce + 2


def test_a_chain_that_went_back_counts_again(web3, monkeypatch):
    """After blocks and pool are lost, the next act takes the nonce that is free now."""
    monkeypatch.setattr(sender, "STUCK_SECONDS", 10)
    keys = {each: KEYS[each] for each in (ADA, BOB, CYD)}
    ledger = EthereumLedger.found(agreed(), keys, chain=web3)
    before = ask(web3, "evm_snapshot")
    ledger.submit(Propose(0, ADA, DIGEST), Vote(0, BOB, DIGEST, Choice.REJECT))
    ledger.submit(Rotate(ADA, SUCCESSOR))
    ask(web3, "evm_revert", before)
    ask(web3, "evm_mine")
    assert events_of(ledger) == []
    began = time.monotonic()
    ledger.submit(Propose(0, ADA, OTHER))
    assert time.monotonic() - began < 5
    assert events_of(ledger) == [Propose(0, ADA, OTHER)]
