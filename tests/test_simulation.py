"""What the demo runs: settings, attackers, and what the collective is compared with."""

from __future__ import annotations

import os
import signal

import pytest
from msgspec.structs import replace

from colearn.alternatives import Alternatives
from colearn.collective import EVM, LEDGER_FILES, LOCAL
from colearn.duty import Action
from colearn.errors import ColearnError, ConfigError
from colearn.report.result import FEDAVG, PLAIN_PROTOCOL, POOLED
from colearn.simulation import ATTACKS, Settings, resolved, rule_of, settings_from, simulate
from colearn.tasks import get, names

SMALL = resolved(Settings(learners=3, rounds=2, seed=1))
PLAIN = Settings(rounds=10, method="plain", split="iid")


@pytest.fixture(scope="module")
def honest():
    """A short run without attackers."""
    return simulate(PLAIN).collective.run(10)


@pytest.mark.parametrize("attack", ATTACKS)
@pytest.mark.parametrize("task", [name for name in names() if not get(name).needs_data])
def test_no_attack_stops_a_run(task, attack):
    """Every attack on every task is a matter of votes, never of a crash."""
    simulation = simulate(Settings(task=task, learners=3, rounds=4, attackers=1, attack=attack))
    assert len(simulation.collective.run(4).rounds) == 4


@pytest.mark.parametrize(
    "attack", [name for name in ATTACKS if name not in ("lazy-voter", "contrary-voter")]
)
def test_an_attackers_proposals_are_voted_down(attack):
    """One attacker of five cannot get its own proposals through, whatever its attack."""
    simulation = simulate(replace(PLAIN, attackers=1, attack=attack))
    result = simulation.collective.run(10)
    assert simulation.attackers == ("learner-4",)
    attacks = [each for each in result.rounds if each.decision.proposer == "learner-4"]
    assert len(attacks) == 2
    assert not any(each.accepted for each in attacks)
    assert result.accepted > 0


def test_a_lazy_voter_approves_everything():
    """It votes yes in every round that is not its own, and never moves the model."""
    result = simulate(replace(PLAIN, attackers=1, attack="lazy-voter")).collective.run(10)
    own = [each for each in result.rounds if each.decision.proposer == "learner-4"]
    votes = {each.votes["learner-4"].value for each in result.rounds if each not in own}
    assert votes == {"approve"}
    assert not any(each.accepted for each in own)


def test_a_contrary_voter_votes_against_itself(honest):
    """It proposes what it would honestly, and casts the opposite of each honest vote."""
    contrary = simulate(replace(PLAIN, attackers=1, attack="contrary-voter")).collective.run(4)
    for one, other in zip(contrary.rounds, honest.rounds[:4], strict=True):
        assert one.decision.proposal == other.decision.proposal
        votes = one.votes["learner-4"].value, other.votes["learner-4"].value
        assert set(votes) == {"approve", "reject"}
        if one.accepted is not other.accepted:
            break  # from here on the models differ


def test_an_attacker_proposes_otherwise(honest):
    """The attacker is really there: what it proposes is not what it would propose honestly."""
    attacked = simulate(replace(PLAIN, attackers=1)).collective.run(10)
    assert attacked.rounds[4].decision.proposal != honest.rounds[4].decision.proposal


@pytest.mark.parametrize("ledger", LEDGER_FILES)
def test_colluders_who_were_interrupted_know_their_own(tmp_path, optional, ledger):
    """A pact outlives a stop: the run ends on the same model as one in one go."""
    if ledger == EVM:
        optional("web3")
    settings = replace(PLAIN, rounds=6, attackers=2, attack="colluding-voter", ledger=ledger)
    whole = simulate(settings).collective.run(6)
    with simulate(settings, tmp_path).collective as cut:
        cut.run(3)
        done = cut._participants[3].work(Action.PROPOSE, cut.ledger.view())
        if ledger == EVM:  # shown to the others, so that they sign their votes
            cut._board.post(*done.notes)
        else:
            cut.ledger.submit(done.event)
    with simulate(settings, tmp_path).collective as resumed:
        result = resumed.run(3)
    assert [each.votes for each in result.rounds] == [each.votes for each in whole.rounds]


@pytest.mark.parametrize("method", ["plain", "solo-dc", "fast", "shield"])
def test_a_contract_decides_what_the_local_ledger_decides(optional, method):
    """With one seed every round has the same votes, decision and weights, bit for bit."""
    optional("web3")
    told = {}
    for ledger in LEDGER_FILES:
        settings = Settings(learners=4, seed=2, method=method, attackers=1, ledger=ledger)
        collective = simulate(settings).collective
        told[ledger] = [
            (
                replace(each.decision, proposal=None, current=""),
                each.votes,
                collective._weights.proposal(each.model).weights,
                each.score,
            )
            for each in collective.play(4)
        ]
    assert told[LOCAL] == told[EVM]


def test_torchs_learners_train_on_one_thread_each(optional):
    """What trains beside them would make a process of many threads slower than of one."""
    torch = optional("torch")
    before = torch.get_num_threads()
    torch.set_num_threads(4)
    try:
        simulation = simulate(Settings(task="fashion-mnist", learner="torch", learners=2))
        with simulation.collective:
            assert [each._threads for each in simulation.setting.learners] == [1, 1]
        assert torch.get_num_threads() == 1
    finally:
        torch.set_num_threads(before)


def test_the_comparison_leaves_attackers_out():
    """Only honest learners train alone; the other ways are there; all are reproducible."""
    settings = resolved(Settings(learners=4, rounds=2, attackers=1))
    runs = []
    for _ in range(2):
        alternatives = Alternatives(settings, 2)
        runs.append(alternatives.compare(0.5))
        alternatives.close()
    assert runs[0] == runs[1]
    assert set(runs[0].solo) == {"learner-0", "learner-1", "learner-2"}
    assert set(runs[0].others) == {PLAIN_PROTOCOL, FEDAVG, POOLED}
    assert all(len(curve) == 2 for curve in runs[0].curves.values())


@pytest.mark.parametrize(
    ("changes", "method", "vote", "rounds"),
    [
        ({}, "fast", "not-worse", 20),
        ({"untrusted": True}, "shield", "not-worse", 20),
        ({"attackers": 1}, "shield", "not-worse", 20),
        ({"method": "plain"}, "plain", "loss", 60),
        ({"method": "solo-dc"}, "solo-dc", "not-worse", 60),
        ({"task": "iris"}, "plain", "loss", 15),
        ({"vote": "loss", "rounds": 7}, "fast", "loss", 7),
    ],
)
def test_what_suits_the_members_is_filled_in(changes, method, vote, rounds):
    """Who trusts and who does not gets the method for it, and the vote that suits the method."""
    settings = resolved(Settings(**changes))
    assert (settings.method, settings.vote, settings.rounds) == (method, vote, rounds)


@pytest.mark.parametrize(
    ("changes", "committee"),
    [
        ({"learners": 12}, 0),
        ({"learners": 13}, 10),
        ({"learners": 13, "committee": 0}, 0),
        ({"learners": 13, "untrusted": True}, 0),
    ],
)
def test_of_many_learners_ten_are_drawn(changes, committee):
    """So that a round of `fast` moves no more than 2 (n − 1) models."""
    settings = resolved(Settings(**changes))
    assert settings.committee == rule_of(settings).committee == committee


def test_members_with_unequal_data_learn_more_together(capfd):
    """The default keeps the promise on unequal data: above every solo and the plain protocol."""
    settings = resolved(Settings(rounds=12))
    alternatives = Alternatives(settings, 12)
    comparison = alternatives.compare(simulate(settings).collective.run(12).final_score)
    alternatives.close()
    assert comparison.collective > max(comparison.solo.values()) + 0.05
    assert comparison.collective > comparison.others[PLAIN_PROTOCOL] + 0.05
    assert capfd.readouterr().err == ""


def test_forests_cannot_be_merged():
    """A model whose tensors grow keeps the plain method, and says so."""
    with pytest.raises(ConfigError, match="cannot merge a model whose tensors grow"):
        simulate(Settings(task="iris", method="fast"))


def test_a_process_that_dies_is_one_clear_line():
    """A comparison that was killed says so, and what is kept; it does not wait for ever."""
    alternatives = Alternatives(SMALL, 2)
    for process in alternatives._trainings._workers.values():
        os.kill(process.pid, signal.SIGKILL)
    with pytest.raises(ColearnError, match="status -9.*resume"):
        alternatives.compare(0.5)
    alternatives.close()


@pytest.mark.parametrize(
    "values", [{"task": 5}, {"colour": "blue"}, {"seed": "x"}], ids=["type", "unknown", "text"]
)
def test_settings_that_do_not_fit_are_refused(values):
    """A run file that was edited wrongly is one line."""
    with pytest.raises(ConfigError, match="not settings of a run"):
        settings_from(values)


def test_all_rounds_have_the_tasks_own_number_by_default():
    """None stands for the task's choice, and the run's file gets the number."""
    simulation = simulate(Settings(task="iris", learners=3))
    assert simulation.settings.rounds == simulation.task.rounds
