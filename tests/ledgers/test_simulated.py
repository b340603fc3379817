"""The contract as driver of a simulation, and the file that remembers its chain."""

from __future__ import annotations

import shutil
import time
from threading import Thread

import pytest

pytest.importorskip("web3")

from evm import NAMES
from toys import Scripted, seekers
from web3 import EthereumTesterProvider

from colearn import Collective, Rule
from colearn.audit import audit
from colearn.collective import BOARD_FILE, CHAIN_FILE
from colearn.errors import (
    BadSignature,
    ConfigError,
    CorruptLedger,
    LedgerError,
    NotAMember,
    NotYourTurn,
)
from colearn.ledgers.inprocess import InProcessChain
from colearn.ledgers.simulated import SimulatedLedger, Transaction, read_chain
from colearn.log import FIRST
from colearn.records import (
    AddMember,
    Ballot,
    Choice,
    Endorse,
    Experiment,
    Pass,
    Propose,
    RemoveMember,
    ReplaceMember,
    Reveal,
    Rotate,
    Vote,
    decode,
    digest_of,
    encode,
)
from colearn.testing import check_ledger

MEMBERS = ("ada", "bob", "cid")
EXPERIMENT = Experiment(members=MEMBERS, initial="0" * 64, schema="1" * 64, rule=Rule())
PROPOSAL = "2" * 64


def records(path):
    """The records of a log file, without their hashes."""
    return [line.split(b" ", 1)[1].rstrip(b"\n") for line in path.read_bytes().splitlines()]


def rewrite(path, kept):
    """Write records with hashes that are right."""
    head, out = FIRST, []
    for record in kept:
        head = digest_of((head.encode(), b" ", record))
        out.append(head.encode() + b" " + record + b"\n")
    path.write_bytes(b"".join(out))


@pytest.fixture
def chain_file(tmp_path):
    """One collected round, accepted, one vote on the ledger directly, and a pass."""
    path = tmp_path / CHAIN_FILE
    with SimulatedLedger(EXPERIMENT, path) as ledger:
        ballot = ledger.signer.sign(Ballot(0, "cid", PROPOSAL, Choice.APPROVE))
        ledger.submit_together(Propose(0, "ada", PROPOSAL), [ballot])
        ledger.submit(Vote(0, "bob", PROPOSAL, Choice.APPROVE))
        ledger.submit(Pass(1, "bob"))
    return path


def test_keeps_the_promises():
    """The conformance kit passes by names, newcomers among them, over the contract."""
    check_ledger(SimulatedLedger)


def test_newcomers_come_back_with_their_names(tmp_path):
    """Who joined, was replaced or took a new name is known again from the file alone."""
    path = tmp_path / CHAIN_FILE
    with SimulatedLedger(EXPERIMENT, path) as ledger:
        ledger.submit(Rotate("bob", "bo"), Pass(0, "ada"))
        for endorsed in (AddMember("dan"), ReplaceMember("cid", "eva")):
            ledger.submit(*(Endorse(member, endorsed) for member in ("ada", "bo", "cid")))
        ledger.submit(Pass(1, "bo"))
        ledger.submit(Pass(2, "eva"), Pass(3, "dan"))
        with pytest.raises(NotAMember, match="'a stranger' is not a member"):
            ledger.submit(Pass(4, "a stranger"))
        ledger.submit(Endorse("dan", RemoveMember("bo")))
        state, entries = ledger.view(), ledger.events()
    assert state.members == ("ada", "bo", "eva", "dan")
    assert state.endorsed[3] == RemoveMember("bo")
    found = read_chain(path)
    assert (list(found.entries), found.state.members) == (entries, state.members)
    with SimulatedLedger(EXPERIMENT, path) as again:
        assert (again.view(), again.events()) == (state, entries)
        again.submit(Pass(4, "ada"), Pass(5, "bo"), Endorse("dan", AddMember("fay")))


def test_accounts_can_run_out():
    """One clear line, and nothing happens, once too many names have come up."""
    ledger = SimulatedLedger(EXPERIMENT)
    for number in range(64):
        ledger.submit(Endorse("ada", AddMember(f"newcomer-{number}")))
    with pytest.raises(LedgerError, match="'one-more' finds no account"):
        ledger.submit(Endorse("ada", AddMember("one-more")))
    assert len(ledger.events()) == 64


def test_the_same_learning_whatever_counts_the_votes(tmp_path):
    """Local or by contract: every round has the same votes, decision and weights."""
    rounds = {}
    for name in ("local", "evm"):
        with Collective(seekers(), seed=1, folder=tmp_path / name, ledger=name) as collective:
            result = collective.run(6)
            rounds[name] = [
                (each.decision.outcome, each.decision.approve, each.votes, each.row.did)
                for each in result.rounds
            ]
            weights = result.weights.weights.values()
            rounds[name].append(digest_of(each.tobytes() for each in weights))
            rounds[name].append(result.bytes_moved)
    assert rounds["local"] == rounds["evm"]


def test_every_kind_of_round_goes_over_the_contract(tmp_path):
    """Accepted, rejected and passed rounds are decided as the local ledger decides them."""
    for name in ("local", "evm"):
        learners = [
            Scripted([False, True]),
            Scripted([True, True]),
            Scripted([True, False], stride=float("nan")),
        ]
        with Collective(learners, folder=tmp_path / name, ledger=name) as collective:
            result = collective.run(3)
        assert [each.row.decision for each in result.rounds] == ["accepted", "rejected", "expired"]


def test_votes_that_are_committed_and_revealed_go_by_names():
    """A commitment is the contract's, made for the member's name."""
    rule = Rule(reveal_seconds=60)
    experiment = Experiment(members=MEMBERS, initial="0" * 64, schema="1" * 64, rule=rule)
    with Collective(seekers(), rule=rule, ledger="evm") as collective:
        result = collective.run(2)
    assert [each.decision.outcome.value for each in result.rounds] == ["accepted", "accepted"]
    ledger = SimulatedLedger(experiment)
    vote = Vote(0, "bob", PROPOSAL, Choice.APPROVE)
    assert ledger.commitment(vote, "3" * 64) != ledger.commitment(vote, "4" * 64)
    assert isinstance(collective.ledger.events()[-1].event, Reveal)


def test_a_run_cut_anywhere_goes_on_to_the_same_model(tmp_path):
    """Whatever prefix of the chain's file a crash left, the run ends on the same model."""
    with Collective(seekers(), seed=1, folder=tmp_path / "whole", ledger="evm") as whole:
        expected = whole.run(4)
    lines = (tmp_path / "whole" / CHAIN_FILE).read_bytes().splitlines(keepends=True)
    assert len(lines) == 6, "an experiment, its contract, and a transaction a round"
    for kept in range(len(lines)):
        cut = tmp_path / f"cut-{kept}"
        shutil.copytree(tmp_path / "whole", cut)
        (cut / CHAIN_FILE).write_bytes(b"".join(lines[:kept]) + lines[kept][:-7])
        if kept == 0:  # nothing of the ledger is left: so nothing was posted either
            (cut / BOARD_FILE).unlink()
        with Collective(seekers(), seed=1, folder=cut, ledger="evm") as collective:
            result = collective.run(4 - len(collective.result.rounds))
        assert [each.model for each in result.rounds] == [each.model for each in expected.rounds]
    audit(cut)


def test_the_file_is_enough_to_decide_everything_again(chain_file):
    """Read back, the chain has the same events, state and signatures, by the members' names."""
    found = read_chain(chain_file)
    assert [type(entry.event) for entry in found.entries] == [Propose, Vote, Vote, Pass]
    assert [entry.event.sender for entry in found.entries] == ["ada", "cid", "bob", "bob"]
    assert [decision.outcome.value for decision in found.decisions] == ["accepted", "expired"]
    assert (found.state.members, found.state.current) == (MEMBERS, PROPOSAL)
    assert found.signatures == 1
    with SimulatedLedger(EXPERIMENT, chain_file) as again:
        assert (again.head, again.events()) == (found.head, list(found.entries))


def test_a_changed_transaction_does_not_hold(chain_file):
    """Hashes made consistent again do not help: the chain takes no transaction but the signed."""
    kept = records(chain_file)
    first, second, *_ = [decode(record, Transaction) for record in kept[2:]]
    for changed, number in (
        (Transaction(first.time, first.raw[:-2] + "00"), 3),
        (Transaction(first.time - 1, first.raw), 3),
        (second, 4),
    ):
        rewrite(chain_file, [*kept[:2], encode(changed), *kept[3:]])
        with pytest.raises(CorruptLedger, match=f"record {number} does not hold"):
            read_chain(chain_file)


def test_a_file_without_its_contract_is_no_chain(chain_file):
    """One clear error for a file that ends too early to decide anything."""
    rewrite(chain_file, records(chain_file)[:1])
    with pytest.raises(LedgerError, match="the contract was never put on the chain"):
        read_chain(chain_file)
    chain_file.write_bytes(b"")
    with pytest.raises(LedgerError, match="holds no record"):
        read_chain(chain_file)


def test_refusals_come_through(chain_file):
    """What the rules refuse is refused, and a signature that is not the sender's is too."""
    with SimulatedLedger(EXPERIMENT, chain_file) as ledger:
        with pytest.raises(NotYourTurn):
            ledger.submit(Propose(2, "ada", PROPOSAL))
        ballot = ledger.signer.sign(Ballot(2, "bob", PROPOSAL, Choice.APPROVE))
        with pytest.raises(BadSignature):
            ledger.signer.check(Ballot(2, "ada", PROPOSAL, Choice.APPROVE, ballot.signature))
        ledger.signer.check(ballot)
        assert ledger.view().round == 2


def test_a_folder_of_another_ledger_or_experiment_is_refused(tmp_path):
    """Each in one line that says what to do."""
    with Collective(seekers(), folder=tmp_path, ledger="evm") as collective:
        collective.run(1)
        with pytest.raises(LedgerError, match="open for writing elsewhere"):
            Collective(seekers(), folder=tmp_path, ledger="evm")
    with pytest.raises(ConfigError, match="holds a run with the ledger evm"):
        Collective(seekers(), folder=tmp_path)
    with pytest.raises(ConfigError, match="seed is 0, not 1"):
        Collective(seekers(), folder=tmp_path, ledger="evm", seed=1)
    with pytest.raises(ConfigError, match="no ledger is called 'besu'; choose one of local, evm"):
        Collective(seekers(), ledger="besu")


def test_a_chain_makes_one_request_at_a_time(monkeypatch):
    """Members of one process, each with its server's threads, share a chain that cannot do two."""
    chain, here, most = InProcessChain(NAMES[:1]), [], []

    def slow(self, method, params):
        here.append(method)
        most.append(len(here))
        time.sleep(0.01)
        here.remove(method)
        return {"jsonrpc": "2.0", "id": 1, "result": "0x1"}

    monkeypatch.setattr(EthereumTesterProvider, "make_request", slow)
    threads = [Thread(target=lambda: chain.web3.eth.block_number) for _ in range(4)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert most == [1] * 4
