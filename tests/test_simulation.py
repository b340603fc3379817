"""What the demo runs: settings, attackers, and what the collective is compared with."""

from __future__ import annotations

import os
import signal

import pytest

from colearn.errors import ColearnError, ConfigError
from colearn.simulation import ATTACKS, Alternatives, Settings, settings_from, simulate
from colearn.tasks import get, names

SMALL = Settings(learners=3, rounds=2, seed=1)


@pytest.fixture(scope="module")
def honest():
    """A short run without attackers."""
    return simulate(Settings(rounds=10)).collective.run(10)


@pytest.mark.parametrize("attack", ATTACKS)
@pytest.mark.parametrize("task", [name for name in names() if not get(name).needs_data])
def test_no_attack_stops_a_run(task, attack):
    """Every attack on every task is a matter of votes, never of a crash."""
    simulation = simulate(Settings(task=task, learners=3, rounds=4, attackers=1, attack=attack))
    assert len(simulation.collective.run(4).rounds) == 4


@pytest.mark.parametrize("attack", [name for name in ATTACKS if name != "lazy-voter"])
def test_an_attackers_proposals_are_voted_down(attack):
    """One attacker of five cannot get its own proposals through, whatever its attack."""
    simulation = simulate(Settings(rounds=10, attackers=1, attack=attack))
    result = simulation.collective.run(10)
    assert simulation.attackers == ("learner-4",)
    attacks = [each for each in result.rounds if each.decision.proposer == "learner-4"]
    assert len(attacks) == 2
    assert not any(each.accepted for each in attacks)
    assert result.accepted > 0


def test_a_lazy_voter_approves_everything():
    """It votes yes in every round that is not its own, and never moves the model."""
    result = simulate(Settings(rounds=10, attackers=1, attack="lazy-voter")).collective.run(10)
    own = [each for each in result.rounds if each.decision.proposer == "learner-4"]
    votes = {each.votes["learner-4"].value for each in result.rounds if each not in own}
    assert votes == {"approve"}
    assert not any(each.accepted for each in own)


def test_an_attacker_proposes_otherwise(honest):
    """The attacker is really there: what it proposes is not what it would propose honestly."""
    attacked = simulate(Settings(rounds=10, attackers=1)).collective.run(10)
    assert attacked.rounds[4].decision.proposal != honest.rounds[4].decision.proposal


def test_colluders_who_were_interrupted_know_their_own(tmp_path):
    """A pact outlives a stop: the run ends on the same model as one in one go."""
    settings = Settings(learners=5, rounds=6, attackers=2, attack="colluding-voter")
    whole = simulate(settings).collective.run(6)
    with simulate(settings, tmp_path).collective as cut:
        cut.run(3)
        state = cut.ledger.view()
        proposer = cut._participants[3]
        cut.ledger.submit(proposer.work(state).event)
    with simulate(settings, tmp_path).collective as resumed:
        result = resumed.run(3)
    assert [each.votes for each in result.rounds] == [each.votes for each in whole.rounds]


def test_the_comparison_leaves_attackers_out():
    """Only honest learners train alone, and the pooled one; all are reproducible."""
    settings = Settings(learners=4, rounds=2, attackers=1)
    runs = []
    for _ in range(2):
        alternatives = Alternatives(settings, 2)
        runs.append(alternatives.compare(0.5))
        alternatives.close()
    assert runs[0] == runs[1]
    assert set(runs[0].solo) == {"learner-0", "learner-1", "learner-2"}
    assert len(runs[0].solo_curve) == len(runs[0].pooled_curve) == 2


def test_a_process_that_dies_is_one_clear_line():
    """A comparison that was killed says so, and what is kept; it does not wait for ever."""
    alternatives = Alternatives(SMALL, 2)
    for worker in alternatives._workers:
        os.kill(worker._process.pid, signal.SIGKILL)
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
