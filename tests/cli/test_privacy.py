"""The switch --privacy: in the demo, in what members agree on, and when they join."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest

from colearn import experiment
from colearn.cli import app
from colearn.cli.learners import protected
from colearn.errors import BudgetError, ConfigError, UnsupportedModel
from colearn.ml_interface import Weights
from colearn.privacy.config import planned_releases, planned_votes
from colearn.shares import make_learner
from colearn.simulation import Settings, simulate

GROUPS = ("--option", "norm=group")


@pytest.fixture(autouse=True)
def state_home(tmp_path, monkeypatch):
    """Witnesses of budgets go to a folder of the test."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "home"))


@pytest.fixture
def agreement(tmp_path):
    """What colearn init --privacy standard writes."""
    path = tmp_path / "experiment.toml"
    words = ["init", "breast-cancer", "--trusted", "--rounds", "6", "--privacy", "standard"]
    app([*words, "--out", str(path)], exit_on_error=False, result_action="return_value")
    return msgspec.structs.replace(experiment.read(path), members=("a", "b"))


def cancer():
    """A member's learner."""
    return make_learner("breast-cancer", options={}, seed=0, share=(0, 2))


def test_init_writes_it_down(agreement):
    """The preset stands in experiment.toml, and is part of what is agreed on."""
    assert agreement.privacy == "standard"
    without = msgspec.structs.replace(agreement, privacy=None)
    assert agreement.experiment.terms["privacy"] == "standard"
    assert "privacy" not in without.experiment.terms
    with pytest.raises(ConfigError, match="no privacy is called 'lax'; choose standard or strict"):
        msgspec.structs.replace(agreement, privacy="lax")


def test_join_runs_with_it(agreement, tmp_path):
    """The learner's training and votes are private, and its budget is on disk."""
    learner = cancer()
    assert protected(agreement, learner, None, tmp_path / "me" / "budget.sqlite") is None
    assert learner.privacy.train.target_epsilon == 8.0
    assert learner.privacy.votes.epsilon == 2.0
    assert learner.mli_propose_weights().training_summary.dp_budget.consumed_epsilon > 0
    assert (tmp_path / "me" / "budget.sqlite").exists()


def test_a_committee_is_planned_for(agreement, tmp_path):
    """Whoever joins, or is simulated, adds the noise of the rounds that it is drawn for."""
    rule = msgspec.structs.replace(agreement.rule, committee=2)
    members = tuple("abcdefghij")
    few = msgspec.structs.replace(agreement, rule=rule, members=members, rounds=200, method="fast")
    learner = cancer()
    protected(few, learner, None, tmp_path / "budget.sqlite")
    settings = Settings(
        task="breast-cancer",
        learners=10,
        rounds=200,
        split="iid",
        committee=2,
        privacy="standard",
    )
    simulation = simulate(settings)
    with simulation.collective:
        simulated = simulation.learners.values()
    for each in (learner, *simulated):
        assert each.privacy.releases == planned_releases(200, 10, all_train=True, committee=2) < 90
        assert each.privacy.votes.votes == planned_votes(200, 10, 2) < 70


def test_votes_in_its_own_turns_are_planned_for(agreement, tmp_path):
    """Under a rule by which proposers vote, too, there is one in each round."""
    rule = msgspec.structs.replace(agreement.rule, proposer_votes=True)
    learner = cancer()
    protected(msgspec.structs.replace(agreement, rule=rule), learner, None, tmp_path / "b.sqlite")
    assert learner.privacy.votes.votes == agreement.rounds


def test_a_member_chooses_for_itself(agreement, tmp_path):
    """Stricter than agreed, or not at all, and then it is warned."""
    strict, off = cancer(), cancer()
    assert protected(agreement, strict, "strict", tmp_path / "budget.sqlite") is None
    assert strict.privacy.train.target_epsilon == 3.0
    assert "privacy is off" in protected(agreement, off, "none", tmp_path / "budget.sqlite")
    assert off.privacy is None
    with pytest.raises(ConfigError, match="no privacy is called 'None'"):
        protected(agreement, off, "None", tmp_path / "other.sqlite")


def test_a_budget_follows_its_data(agreement, tmp_path):
    """Once spent from, another folder does not bring it back: the file has to be named."""
    first = cancer()
    protected(agreement, first, None, tmp_path / "one" / "budget.sqlite")
    first.mli_propose_weights()
    with pytest.raises(BudgetError, match="what has been spent cannot be spent again"):
        protected(agreement, cancer(), None, tmp_path / "two" / "budget.sqlite")
    again = cancer()
    protected(agreement, again, None, tmp_path / "one" / "budget.sqlite")
    assert again.mli_propose_weights().training_summary.dp_budget.consumed_epsilon > 0


def test_what_cannot_be_protected_is_refused(agreement, tmp_path):
    """Trees, and learners of other makers; nobody is told that they are private."""
    forest = make_learner("iris", options={}, seed=0, share=(0, 2))
    with pytest.raises(UnsupportedModel, match="ForestLearner cannot train privately, never"):
        protected(agreement, forest, None, tmp_path / "budget.sqlite")
    with pytest.raises(UnsupportedModel, match="privacy 'standard' is refused for a Foreign"):
        protected(agreement, Foreign(), None, tmp_path / "budget.sqlite")


class Foreign:
    """Anybody's learner."""

    def mli_get_current_weights(self):
        return Weights({"w": np.zeros(1)})


def test_a_network_for_pictures_is_agreed_on_as_it_can_be_private(tmp_path, optional):
    """By init --privacy, by an option, and in a simulation; else the refusal names both."""
    optional("opacus")

    def agreed(name, *words):
        path = tmp_path / f"{name}.toml"
        words = ["init", "fashion-mnist", "--option", "learner=torch", "--trusted", *words]
        app([*words, "--out", str(path)], exit_on_error=False, result_action="return_value")
        return msgspec.structs.replace(experiment.read(path), members=("a", "b"))

    def joined(agreement):
        learner = make_learner(
            agreement.task, options=agreement.options, seed=agreement.seed, share=(0, 20)
        )
        protected(agreement, learner, "standard", tmp_path / "budget.sqlite")
        return learner

    private, chosen = agreed("private", "--privacy", "strict"), agreed("own", *GROUPS)
    assert private.tensors == chosen.tensors
    assert private.experiment.terms["options.norm"] == '"group"'
    assert joined(chosen).privacy.train.target_epsilon == 8.0
    simulated = simulate(
        Settings(task="fashion-mnist", learner="torch", learners=20, privacy="standard")
    )
    with simulated.collective:
        first = next(iter(simulated.learners.values()))
        assert first.schema() == chosen.schema
    plain = agreed("plain")
    assert plain.tensors != chosen.tensors
    with pytest.raises(UnsupportedModel, match=r"never with BatchNorm2d .* --privacy, or .*=group"):
        joined(plain)


def test_a_simulated_run_keeps_its_budgets(tmp_path, caplog):
    """Stopped and resumed, learners go on with what they had left; warnings say whose it is."""
    settings = Settings(task="breast-cancer", rounds=4, learners=3, split="iid", privacy="standard")

    def spent(rounds):
        simulation = simulate(settings, tmp_path / "run")
        with simulation.collective as collective:
            collective.run(rounds)
            learners = list(simulation.learners.values())
            return [each._guard.training.summary().dp_budget.consumed_epsilon for each in learners]

    before, after = spent(2), spent(2)
    told = [each.message.partition(": the noise of a private vote") for each in caplog.records]
    warned = {whose for whose, noise, _ in told if noise}
    folder = tmp_path / "run" / "budgets"
    assert warned == {f"budget {folder / f'learner-{index}.sqlite'}" for index in range(3)}
    assert all(0 < early < late <= 8.0 for early, late in zip(before, after, strict=True))


def test_budgets_run_out_and_the_group_goes_on(tmp_path):
    """Once everybody's budget is spent, members pass and abstain; the model stays."""
    settings = Settings(
        task="breast-cancer",
        rounds=3,
        learners=3,
        split="iid",
        privacy="strict",
        method="plain",
    )
    with simulate(settings).collective as collective:
        collective.run(3)
        model = collective.ledger.view().current
        collective.run(3)
        assert collective.ledger.view().current == model
