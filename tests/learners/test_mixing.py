"""Private votes are refused where one record would move what all others say."""

from __future__ import annotations

from functools import partial

import jax
import numpy as np
import optax
import pytest
import torch
from flax import linen
from jax import numpy as jnp
from sklearn.ensemble import RandomForestClassifier
from torch import nn
from torch.nn import functional
from torch.utils.data import DataLoader, TensorDataset

from colearn.errors import ConfigError, UnsupportedModel, UnusableWeights
from colearn.learners.flax import from_linen
from colearn.learners.forest import ForestLearner
from colearn.learners.jax import JaxLearner, from_function
from colearn.learners.protectable import protectable
from colearn.learners.torch import TorchLearner
from colearn.ml_interface import DiffPrivConfig, Weights
from colearn.privacy.config import Privacy, VotePrivacy
from colearn.privacy.votes import gain

RNG = np.random.default_rng(0)
X = RNG.normal(size=(200, 6)).astype(np.float32)
Y = (X[:, 0] > 0).astype(np.int64)
VOTES = VotePrivacy(epsilon=2.0, delta=1e-4, votes=20)
PRIVACY = Privacy(votes=VOTES)
SOFTMAX = optax.softmax_cross_entropy_with_integer_labels


@pytest.fixture(autouse=True)
def _seeded():
    """The same modules each time: a condition may happen to hold for all that is tried."""
    torch.manual_seed(3)


class Own(nn.Module):
    """A perceptron with a step of its own between its layers."""

    def __init__(self, between, gate=None):
        super().__init__()
        self.layer, self.out = nn.Linear(6, 8), nn.Linear(8, 2)
        self.between, self.gate, self.last = between, gate or nn.Identity(), 0.0

    def forward(self, x):
        return self.out(self.between(self, torch.tanh(self.layer(x))))


def in_torch(module, **options):
    """A learner of a module."""
    usual = {"loss": functional.cross_entropy, "optimizer": partial(torch.optim.SGD, lr=0.1)}
    return TorchLearner(module, **{**usual, "train": (X, Y), "privacy": PRIVACY} | options)


def in_jax(model, **options):
    """A learner of a model."""
    usual = {"loss": SOFTMAX, "optimizer": optax.sgd(0.1), "train": (X, Y), "privacy": PRIVACY}
    return JaxLearner(model, **usual | options)


def centred(**options):
    """A JAX model that takes means over the batch."""
    params = {"w": np.zeros((6, 2), np.float32)}
    return in_jax(from_function(params, lambda params, x: (x - x.mean(0)) @ params["w"]), **options)


def shut():
    """A layer that lets nothing pass as long as it is not trained."""
    layer = nn.Linear(8, 8)
    nn.init.zeros_(layer.weight)
    nn.init.zeros_(layer.bias)
    return layer


def remember(module, x):
    """Add what the last batch left."""
    last, module.last = module.last, x.mean(0)
    return x + last


MIXES, DIFFERS = "mixes the samples of a batch", "differently each time"
OWN = {
    "centred": (lambda module, x: x - x.mean(0), MIXES),
    "by the largest": (lambda module, x: x / x.abs().max(), MIXES),
    "barely": (lambda module, x: x + 1e-8 * x.mean(0), MIXES),
    "not at first": (lambda module, x: x + module.gate(x.mean(0).expand_as(x)), MIXES),
    "the one before": (lambda module, x: x + x.roll(1, 0), MIXES),
    "the one behind": (lambda module, x: torch.cat([x[:-1] + x[1:], x[-1:]]), MIXES),
    "all before": (lambda module, x: x.cumsum(0), MIXES),
    "among each other": (lambda module, x: torch.softmax(x @ x.T, 1) @ x, MIXES),
    "by a condition": (lambda module, x: x * (2 if x.sum() > 0 else 1), MIXES),
    "over time": (remember, DIFFERS),
    "at random": (lambda module, x: functional.dropout(x), DIFFERS),
}


@pytest.mark.parametrize("name", OWN)
def test_what_mixes_in_torch_is_refused_before_there_is_a_budget(name, tmp_path):
    """However it hides that a record shows in another's loss."""
    between, reason = OWN[name]
    budget = tmp_path / "budget.sqlite"
    privacy = Privacy(votes=VOTES, budget=budget, witness=tmp_path / "witness")
    gate = shut() if name == "not at first" else None
    with pytest.raises(UnsupportedModel, match=f"TorchLearner cannot vote privately, .*{reason}"):
        in_torch(Own(between, gate), privacy=privacy)
    assert not budget.exists()


@pytest.mark.parametrize("train", [None, DiffPrivConfig(8.0, 1e-4)])
def test_what_mixes_in_jax_is_refused(train):
    """Where training is private, too: that takes each record alone, and a vote does not."""
    with pytest.raises(UnsupportedModel, match=f"JaxLearner cannot vote privately, .*{MIXES}"):
        centred(privacy=Privacy(train=train, votes=VOTES))


def test_a_preset_is_refused_before_anyone_joins():
    """What `init` asks says so of votes as of training."""
    with pytest.raises(UnsupportedModel, match="cannot vote privately"):
        protectable(centred(privacy=None), "standard")


def test_without_the_refusal_a_record_would_move_the_vote():
    """By more than the two that noise is reckoned for: what the trial is for."""
    one = centred(privacy=None, train=(X[:100], Y[:100]), vote=(X[100:].copy(), Y[100:]))
    weights = Weights({"params/w": np.float32([[-3, 3]] + [[0, 0]] * 5)})
    gains = [gain(*one.vote_losses(weights), 0.0)]
    one.vote_samples[0][7] = 1e4
    one.hold(one.train_samples, one.vote_samples)
    gains.append(gain(*one.vote_losses(weights), 0.0))
    assert abs(gains[1] - gains[0]) > 10 * 2 * 2**20


class Normed(linen.Module):
    """Normalises by running statistics where it does not train."""

    @linen.compact
    def __call__(self, x, *, train=False):
        return linen.Dense(2)(linen.BatchNorm(use_running_average=not train)(x))


BATCH_NORM = {
    "torch": lambda: in_torch(nn.Sequential(nn.BatchNorm1d(6), nn.Linear(6, 2))),
    "jax": lambda: in_jax(from_linen(Normed(), Normed().init(jax.random.key(0), X[:2]))),
}


@pytest.mark.parametrize("framework", BATCH_NORM)
def test_means_of_training_are_no_mixing(framework):
    """Running statistics judge each sample alone; those of the batch at hand are refused."""
    one = BATCH_NORM[framework]()
    assert type(one.mli_test_weights(one.mli_propose_weights()).vote) is bool
    if framework == "torch":
        with pytest.raises(UnsupportedModel, match=MIXES):
            in_torch(nn.Sequential(nn.BatchNorm1d(6, track_running_stats=False), nn.Linear(6, 2)))


class Named(nn.Module):
    """Takes two inputs by name, one of them token ids."""

    def __init__(self, *, mixing):
        super().__init__()
        self.words, self.layer, self.out = nn.Embedding(5, 4), nn.Linear(6, 4), nn.Linear(4, 2)
        self.mixing = mixing

    def forward(self, ids, x):
        words = self.words(ids).mean(1)
        return self.out(self.layer(x) + (words.mean(0) if self.mixing else words))


def pairs(rows):
    """Samples as a dataset with entries by name."""
    ids = RNG.integers(5, size=(rows, 3))
    return [({"ids": ids[row], "x": X[row]}, Y[row]) for row in range(rows)]


@pytest.mark.parametrize("mixing", [True, False])
@pytest.mark.parametrize("form", ["token ids", "loader", "by name"])
def test_all_forms_of_samples_are_tried(form, mixing):
    """Token ids, which no number stands out from; what a loader reads; entries by name."""
    between = OWN["by a condition"][0] if mixing else lambda module, x: x.tanh()
    if form == "token ids":
        words = nn.Sequential(nn.Embedding(5, 6), nn.Flatten(), nn.Linear(18, 6))
        module = nn.Sequential(words, Own(OWN["centred"][0] if mixing else between))
        make = partial(in_torch, module, train=(RNG.integers(5, size=(200, 3)), Y))
    elif form == "loader":
        data = TensorDataset(torch.from_numpy(X), torch.from_numpy(Y))
        make = partial(in_torch, Own(between), train=DataLoader(data, batch_size=8))
    else:
        make = partial(in_torch, Named(mixing=mixing), train=DataLoader(pairs(200)))
    if mixing:
        with pytest.raises(UnsupportedModel, match=MIXES):
            make()
    else:
        one = make()
        assert type(one.mli_test_weights(one.mli_get_current_weights()).vote) is bool


@pytest.mark.filterwarnings("ignore:Using a target size:UserWarning")
def test_losses_that_mix_are_refused():
    """Such as the squared error of outputs (n, 1) and targets (n,), which compares all pairs."""
    numbers, how = X[:, 0], {"loss": functional.mse_loss}
    with pytest.raises(UnsupportedModel, match=f"{MIXES}.* targets in the outputs' shape"):
        in_torch(nn.Linear(6, 1), train=(X, numbers), **how)
    in_torch(nn.Linear(6, 1), train=(X, numbers[:, None]), **how)


def test_an_error_that_mixes_is_refused_where_votes_go_by_it():
    """With the policy ``accuracy``; where losses are compared nobody asks for it."""

    def error(outputs, targets):
        return (outputs.argmax(1) != targets).double() - outputs.mean()

    with pytest.raises(UnsupportedModel, match=MIXES):
        in_torch(nn.Linear(6, 2), error=error, policy="accuracy")
    in_torch(nn.Linear(6, 2), error=error, policy="loss")


def test_weights_are_left_as_they_are():
    """To the last bit, of whatever is protected and however often votes were tried."""
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.Linear(8, 2))
    learners = [
        in_torch(network, privacy=None),
        in_torch(network.bfloat16(), privacy=None),
        ForestLearner(RandomForestClassifier(max_depth=4), train=(X, Y), trees_per_round=3),
    ]
    for one in learners:
        one.mli_accept_weights(one.mli_propose_weights())
        current = one.mli_get_current_weights().weights
        before = {name: tensor.tobytes() for name, tensor in current.items()}
        one.load(current)
        one.protect(PRIVACY)
        for tensors in (one.tensors(), one.mli_get_current_weights().weights):
            assert {name: tensor.tobytes() for name, tensor in tensors.items()} == before
        assert one.mli_get_current_weights().weights is current


def test_large_features_are_no_mixing():
    """Where losses overflow at other weights, they are tried nearer to the given ones."""

    def exponential(rest, params, x):
        return jnp.exp(x @ params["w"] + rest * abs(x).sum(1, keepdims=True))

    params, train = {"w": np.zeros((6, 2), np.float32)}, (X * 1e4, Y)
    in_jax(from_function(params, partial(exponential, 0)), train=train)
    with pytest.raises(UnsupportedModel, match="losses of some samples are not finite; scale"):
        in_jax(from_function(params, partial(exponential, 1)), train=train)


def test_a_model_that_cannot_be_tried_is_refused():
    """In one line, with what it said."""
    with pytest.raises(
        UnsupportedModel, match="cannot vote privately, not yet: the losses .* cannot be tried, mat"
    ) as refusal:
        in_torch(nn.Linear(5, 2))
    assert "\n" not in str(refusal.value)


class Particular(TorchLearner):
    """Takes no other weights than those it began with."""

    def load(self, tensors):
        """Refuse others."""
        if not np.array_equal(tensors["weight"], self.tensors()["weight"]):
            raise UnusableWeights("these weights are not mine")
        super().load(tensors)


def test_a_learner_that_takes_no_other_weights_is_refused():
    """It was not tried, and the error is about its votes rather than about weights."""
    with pytest.raises(UnsupportedModel, match="cannot be tried, these weights are not mine"):
        Particular(
            nn.Linear(6, 2),
            loss=functional.cross_entropy,
            optimizer=partial(torch.optim.SGD, lr=0.1),
            train=(X, Y),
            privacy=PRIVACY,
        )


def test_a_protected_learner_is_given_no_other_samples():
    """Its budget accounts for those that it has; an unprotected one may be given others."""
    one = in_torch(nn.Linear(6, 2), privacy=None)
    one.hold((X[:50], Y[:50]), (X[50:], Y[50:]))
    one.protect(PRIVACY)
    with pytest.raises(ConfigError, match="hides its records, .* make a learner of other samples"):
        one.hold((X[:50], Y[:50]), (X[50:], Y[50:]))
