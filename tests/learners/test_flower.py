"""Flower clients as learners, and Flower strategies under their clients' vote."""

from __future__ import annotations

import io
import logging

import numpy as np
import pytest

pytest.importorskip("flwr")

from flwr.client import NumPyClient
from flwr.common import ndarrays_to_parameters
from flwr.server import Server, SimpleClientManager
from flwr.server.client_proxy import ClientProxy
from flwr.server.strategy import FedAdam, FedAvg

from colearn.collective import Collective
from colearn.errors import ConfigError, InvalidRule, LearnerError, SchemaMismatch
from colearn.learners.flower import FlowerLearner, VotingStrategy
from colearn.ml_interface import Weights
from colearn.records import Rule
from colearn.testing import check_learner
from colearn.trainee import training_size

TRUTH = np.array([1.0, -2.0, 0.5])
"""The slopes that all clients' data follow."""


class Line(NumPyClient):
    """A client as Flower's users write them: linear regression on data of its own."""

    def __init__(self, seed=0):
        rng = np.random.default_rng(seed)
        self.x = rng.normal(size=(60, 3))
        self.y = self.x @ TRUTH + 0.1 * rng.normal(size=60)
        self.slopes, self.bias = np.zeros(3), np.zeros(())

    def get_parameters(self, config):
        return [self.slopes, self.bias]

    def fit(self, parameters, config):
        self.slopes, self.bias = parameters
        rng = np.random.default_rng(config.get("seed", 0))
        for row in rng.permutation(40):
            error = self.x[row] @ self.slopes + self.bias - self.y[row]
            self.slopes -= 0.05 * error * self.x[row]
            self.bias -= 0.05 * error
        return [self.slopes, self.bias], 40, {}

    def evaluate(self, parameters, config):
        slopes, bias = parameters
        errors = self.x[40:] @ slopes + bias - self.y[40:]
        return float((errors**2).mean()), 20, {"accuracy": float((abs(errors) < 0.3).mean())}


class Poisoner(Line):
    """Returns parameters that ruin any mean."""

    def fit(self, parameters, config):
        return [np.full(3, 1e3), np.zeros(())], 40, {}


class Here(ClientProxy):
    """Reaches a client in the same process, by Flower's own messages."""

    def __init__(self, cid, client):
        super().__init__(cid)
        self.client = client.to_client()

    def get_properties(self, ins, timeout, group_id):
        return self.client.get_properties(ins)

    def get_parameters(self, ins, timeout, group_id):
        return self.client.get_parameters(ins)

    def fit(self, ins, timeout, group_id):
        return self.client.fit(ins)

    def evaluate(self, ins, timeout, group_id):
        return self.client.evaluate(ins)

    def reconnect(self, ins, timeout, group_id):
        raise NotImplementedError


def served(strategy, clients, rounds=4):
    """Run Flower's own server loop; return its last parameters and the metrics of fits."""
    manager = SimpleClientManager()
    for place, client in enumerate(clients):
        manager.register(Here(f"client-{place}", client))
    server = Server(client_manager=manager, strategy=strategy)
    logging.getLogger("flwr").setLevel(logging.ERROR)
    history, _ = server.fit(num_rounds=rounds, timeout=None)
    slopes = np.load(io.BytesIO(server.parameters.tensors[0]))
    return slopes, history.metrics_distributed_fit


def test_learner_keeps_every_promise():
    """A Flower client behind the interface passes the check that all learners must."""
    check_learner(lambda: FlowerLearner(Line()))


@pytest.mark.parametrize("method", ["plain", "fast"])
def test_clients_learn_together(method):
    """Flower clients as they are find the common slopes, under methods that merge too."""
    learners = [FlowerLearner(Line(seed)) for seed in range(4)]
    result = Collective(learners, method=method, seed=1).run(rounds=8)
    assert result.accepted
    assert np.abs(result.weights.weights["parameter-0000"] - TRUTH).max() < 0.1


def test_a_client_counts_by_the_samples_that_fit_returns():
    """A client's own number goes into its update; what is no count is refused."""

    class Counting(Line):
        def fit(self, parameters, config):
            arrays, _, metrics = super().fit(parameters, config)
            return arrays, self.count, metrics

    def counting(count):
        client = Counting()
        client.count = count
        return FlowerLearner(client)

    learner = counting(np.int64(7))
    assert training_size(learner, learner.mli_propose_weights()) == (0, 7)
    for count in (-1, "7", 2.5):
        learner = counting(count)
        with pytest.raises(LearnerError, match="samples: expected a whole number"):
            training_size(learner, learner.mli_propose_weights())


def test_learner_votes_by_accuracy():
    """The vote follows the metric asked for, even where the loss says otherwise."""

    class Unlike(Line):
        def evaluate(self, parameters, config):
            size = float(np.abs(parameters[0]).sum())
            return -size, 20, {"accuracy": 1 / (1 + size)}

    proposal = Weights({"parameter-0000": np.ones(3), "parameter-0001": np.zeros(())})
    assert FlowerLearner(Unlike()).mli_test_weights(proposal).vote is True
    assert FlowerLearner(Unlike(), policy="accuracy").mli_test_weights(proposal).vote is False


def test_learner_without_samples_abstains():
    """A client that measured on no sample takes no side."""

    class Empty(Line):
        def evaluate(self, parameters, config):
            return 0.0, 0, {}

    one = FlowerLearner(Empty())
    assert one.mli_test_weights(one.mli_propose_weights()).vote is None


@pytest.mark.parametrize("make", [FlowerLearner, VotingStrategy])
@pytest.mark.parametrize("policy", ["not-worse", "class-veto"])
def test_policies_of_single_samples_are_refused(make, policy):
    """A vote that needs each sample's loss is refused, with those that work."""
    inner = Line() if make is FlowerLearner else FedAvg()
    with pytest.raises(ConfigError, match="one loss for all: choose loss or accuracy"):
        make(inner, policy=policy)


def test_broken_clients_are_told_of():
    """Whatever a client gets wrong ends in one line that names it."""

    class Broken(Line):
        def fit(self, parameters, config):
            raise ValueError("no\nGPU")

        def evaluate(self, parameters, config):
            return 0.5

    class Wider(Line):
        def fit(self, parameters, config):
            return [np.zeros(4), np.zeros(())], 40, {}

    class Silent(Line):
        def evaluate(self, parameters, config):
            return 0.5, 20, {"auc": 0.9}

    class Bare(NumPyClient):
        pass

    with pytest.raises(LearnerError, match="Broken.fit failed: ValueError: no GPU"):
        FlowerLearner(Broken()).mli_propose_weights()
    terse, silent = FlowerLearner(Broken()), FlowerLearner(Silent(), policy="accuracy")
    with pytest.raises(LearnerError, match="three things, loss, number of samples, metrics"):
        terse.mli_test_weights(terse.mli_get_current_weights())
    with pytest.raises(SchemaMismatch, match="parameter-0000.*shape"):
        FlowerLearner(Wider()).mli_propose_weights()
    with pytest.raises(LearnerError, match="returned auc: let it return 'accuracy'"):
        silent.mli_test_weights(silent.mli_get_current_weights())
    with pytest.raises(LearnerError, match="pass initial="):
        FlowerLearner(Bare())
    assert FlowerLearner(Bare(), initial=[np.zeros(3)]).mli_get_current_weights()


def test_strategy_lets_good_models_pass():
    """Under Flower's own loop, honest clients accept and end where plain FedAvg does."""
    alone, _ = served(FedAvg(), [Line(seed) for seed in range(4)], rounds=1)
    voted, metrics = served(VotingStrategy(FedAvg()), [Line(seed) for seed in range(4)], rounds=1)
    assert np.allclose(alone, voted, rtol=1e-12, atol=0)  # Flower sums in the order they come
    assert metrics["accepted"] == [(1, 1)]
    assert metrics["approvals"] == [(1, 4)]


@pytest.mark.parametrize("inner", [FedAvg, FedAdam])
def test_strategy_stops_a_poisoner(inner):
    """A model that one client has ruined is voted down; without votes it is everyone's."""
    start = ndarrays_to_parameters([TRUTH.copy(), np.zeros(())])
    clients = [*(Line(seed) for seed in range(3)), Poisoner(9)]
    ruined, _ = served(inner(initial_parameters=start), clients, rounds=2)
    start = ndarrays_to_parameters([TRUTH.copy(), np.zeros(())])
    kept, metrics = served(VotingStrategy(inner(initial_parameters=start)), clients, rounds=2)
    assert np.abs(ruined - TRUTH).max() > 0.1
    assert np.array_equal(kept, TRUTH)
    assert metrics["accepted"] == [(1, 0), (2, 0)]


def test_strategy_counts_who_is_silent_as_no_approval():
    """A client that cannot measure is asked, and does not approve."""

    class Silent(Line):
        def evaluate(self, parameters, config):
            raise RuntimeError("disk full")

    clients = [Line(0), Line(1), Silent(2)]
    _, metrics = served(VotingStrategy(FedAvg(), rule=Rule(threshold="2/3")), clients, rounds=1)
    assert (metrics["approvals"], metrics["voters"]) == ([(1, 2)], [(1, 3)])
    assert metrics["accepted"] == [(1, 0)]


def test_strategy_needs_voters():
    """A strategy that evaluates nowhere is told so, as is a threshold that is none."""
    with pytest.raises(ConfigError, match="nobody can vote"):
        served(VotingStrategy(FedAvg(fraction_evaluate=0.0)), [Line(0), Line(1)])
    with pytest.raises(InvalidRule):
        VotingStrategy(FedAvg(), rule=Rule(threshold=0))
