"""JAX models as learners."""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor

import jax
import numpy as np
import optax
import pytest
from flax import linen, nnx

from colearn.collective import Collective
from colearn.errors import (
    ColearnError,
    ConfigError,
    LearnerError,
    SchemaMismatch,
    UnsupportedModel,
    UnusableWeights,
)
from colearn.kinds import counts, statistics
from colearn.learners import jax as learners
from colearn.learners.flax import from_linen, from_nnx
from colearn.learners.frozen import FROZEN
from colearn.learners.jax import JaxLearner, from_function
from colearn.ml_interface import ModelFormat, Weights
from colearn.testing import check_learner

SGD = optax.sgd(0.2, momentum=0.9)
LOSS = optax.softmax_cross_entropy_with_integer_labels
RNG = np.random.default_rng(0)
X = RNG.normal(size=(200, 6)).astype(np.float32)
Y = (X[:, 0] * X[:, 1] > 0).astype(np.int64) + (X[:, 2] > 1)
PARTS = {"train": (X[:96], Y[:96]), "vote": (X[96:150], Y[96:150]), "test": (X[150:], Y[150:])}


class Linen(linen.Module):
    """A small network with every kind of state."""

    @linen.compact
    def __call__(self, x, *, train=False):
        x = linen.BatchNorm(use_running_average=not train)(linen.Dense(16)(x))
        return linen.Dense(3)(linen.Dropout(0.1, deterministic=not train)(linen.relu(x)))


class Nnx(nnx.Module):
    """The same in Flax's other interface."""

    def __init__(self, rngs):
        self.hidden = nnx.Linear(6, 16, rngs=rngs)
        self.norm = nnx.BatchNorm(16, rngs=rngs)
        self.dropout = nnx.Dropout(0.1, rngs=rngs)
        self.out = nnx.Linear(16, 3, rngs=rngs)

    def __call__(self, x):
        return self.out(self.dropout(nnx.relu(self.norm(self.hidden(x)))))


LINEN = from_linen(Linen(), Linen().init(jax.random.key(3), X[:2]))
NNX = from_nnx(Nnx(nnx.Rngs(3)))
SIMPLE = from_nnx(nnx.Linear(6, 3, rngs=nnx.Rngs(3)))
PLAIN = from_function(
    {"w": np.zeros((6, 3), np.float32), "b": [np.zeros(3, np.float32)]},
    lambda params, x: x @ params["w"] + params["b"][0],
)
MODELS = {"linen": LINEN, "nnx": NNX, "nnx without modes": SIMPLE, "plain": PLAIN}


def learner(model=PLAIN, **options):
    """Return a learner that trains eight mini-batches a proposal."""
    usual = {"loss": LOSS, "optimizer": SGD, "steps": 8, **PARTS}
    return JaxLearner(model, **usual | options)


def content(weights):
    """Return all bytes, by name."""
    return {name: tensor.tobytes() for name, tensor in weights.weights.items()}


@pytest.mark.parametrize("kind", MODELS)
def test_keeps_every_promise(kind):
    """The learner passes the check that all learners must, whatever made its model."""
    check_learner(lambda: learner(MODELS[kind]))


@pytest.mark.parametrize("kind", ["linen", "nnx"])
def test_statistics_travel(kind):
    """Running statistics change with training, are known as such, and votes are cast with them."""
    one = learner(MODELS[kind])
    proposed = one.mli_propose_weights().weights
    mean, var = statistics(proposed)
    assert "mean" in mean
    assert proposed[mean].any()
    assert not counts(proposed)
    spoilt = Weights({**proposed, var: np.full(16, 1e9, np.float32)})
    assert one.vote_loss(spoilt) != one.vote_loss(Weights(proposed))


def test_learns():
    """Accepted proposals lower the loss and raise the accuracy."""
    one = learner(LINEN, steps=40)
    before = one.evaluate(one.mli_get_current_weights(), one.test_samples)
    for _ in range(5):
        verdict = one.mli_test_weights(one.mli_propose_weights())
        if verdict.vote:
            one.mli_accept_weights(verdict)
    after = one.mli_test_weights(one.mli_get_current_weights())
    assert after.test_score == one.evaluate(after, one.test_samples) > before + 0.2


def test_same_weights_as_a_loop_by_hand():
    """A proposal is what the usual training loop makes of the same batches."""
    one = learner(seed=5)
    rng = np.random.default_rng((5, 0))
    rng.integers(2**31)  # the model's own randomness, of which it has none
    params = PLAIN.params
    state = SGD.init(params)

    @jax.jit
    def step(params, state, x, y):
        gradient = jax.grad(lambda own: LOSS(x @ own["w"] + own["b"][0], y).mean())(params)
        updates, state = SGD.update(gradient, state, params)
        return optax.apply_updates(params, updates), state

    for rows in one.batches(rng):
        params, state = step(params, state, X[:96][rows], Y[:96][rows])
    proposed = one.mli_propose_weights().weights
    assert proposed.keys() == {"params/w", "params/b/0"}
    assert np.array_equal(proposed["params/w"], params["w"])


@pytest.mark.parametrize("method", ["plain", "fast", "shield"])
def test_methods_carry_it(method):
    """Every method learns with it; under drift correction each step is corrected."""
    rounds = []
    members = [
        learner(
            LINEN,
            train=(X[:192][part::3], Y[:192][part::3]),
            vote=PARTS["vote"],
            test=None,
            policy="not-worse",
            optimizer=optax.sgd(0.05),
        )
        for part in range(3)
    ]
    inner = members[0].set_offset
    members[0].set_offset = lambda offset: (rounds.append(offset), inner(offset))
    with Collective(members, method=method, seed=1) as collective:
        before = members[0].vote_loss(collective.result.weights)
        result = collective.run(3)
    assert members[0].vote_loss(result.weights) < before
    assert any(offset for offset in rounds) == (method != "plain")


def test_offset_shifts_parameters_after_each_step():
    """With a learning rate of zero an offset is added once a step, to parameters alone."""
    one = learner(LINEN, optimizer=optax.sgd(0.0))
    start = one.mli_get_current_weights().weights
    kernel, mean = "params/Dense_0/kernel", "batch_stats/BatchNorm_0/mean"
    change = np.full((6, 16), 0.25, np.float32)
    change.flags.writeable = False
    one.set_offset({kernel: change, mean: np.full(16, 9, np.float32)})
    shifted = one.mli_propose_weights().weights
    assert np.allclose(shifted[kernel], start[kernel] + 8 * 0.25)
    assert abs(shifted[mean]).max() < 9
    assert np.array_equal(shifted["params/Dense_1/kernel"], start["params/Dense_1/kernel"])
    one.set_offset(None)
    assert np.array_equal(one.mli_propose_weights().weights[kernel], start[kernel])
    with pytest.raises(SchemaMismatch):
        one.set_offset({kernel: np.zeros(3, np.float32)})


def test_frozen_parameters_stay():
    """Parameters that are not trained neither travel nor change, nor mix with others."""

    def half_frozen(seed):
        module = Nnx(nnx.Rngs(3))
        module.hidden = nnx.Linear(6, 16, rngs=nnx.Rngs(seed))
        return from_nnx(module, wrt=nnx.All(nnx.Param, nnx.PathContains("out")))

    one, same, other = (learner(half_frozen(seed)) for seed in (1, 1, 2))
    proposed = one.mli_propose_weights()
    assert FROZEN in proposed.weights
    assert not any("hidden" in name for name in proposed.weights)
    assert same.mli_test_weights(proposed).vote is not None
    with pytest.raises(UnusableWeights, match="frozen"):
        other.mli_test_weights(proposed)


def test_compiled_once_for_all():
    """Neither more rounds nor more learners of one model compile anything again."""
    learner(LINEN).mli_test_weights(learner(LINEN).mli_propose_weights())
    functions = (learners._stepped, learners._predicted, learners._judged)
    compiled = [each._cache_size() for each in functions]
    for other in (learner(LINEN, seed=1), learner(LINEN, seed=2)):
        for _ in range(2):
            other.mli_accept_weights(other.mli_test_weights(other.mli_propose_weights()))
    assert [each._cache_size() for each in functions] == compiled


def test_threads_do_not_disturb_each_other():
    """Learners that train at once, with dropout, get what they get one after the other."""
    made = [learner(LINEN, seed=seed) for seed in range(4)]
    with ThreadPoolExecutor(4) as pool:
        together = [content(each) for each in pool.map(JaxLearner.mli_propose_weights, made)]
    alone = [content(learner(LINEN, seed=seed).mli_propose_weights()) for seed in range(4)]
    assert together == alone
    assert len({str(each) for each in alone}) == 4


def test_numbers_are_predicted():
    """With float targets votes compare squared errors, and the score is R²."""
    parts = {name: (x, x[:, :1] * 2 - x[:, 1:2]) for name, (x, _) in PARTS.items()}
    line = from_function(np.zeros((6, 1), np.float32), lambda w, x: x @ w)
    one = learner(line, loss=optax.squared_error, optimizer=optax.adam(0.1), **parts)
    for _ in range(10):
        one.mli_accept_weights(one.mli_propose_weights())
    verdict = one.mli_test_weights(one.mli_get_current_weights())
    assert verdict.test_score > 0.95
    assert verdict.vote_score == pytest.approx(-one.losses(*one.vote_samples).mean())


def test_two_classes_by_one_score():
    """One score a sample stands for two classes, and one's own error may say otherwise."""
    parts = {name: (x, (y > 0).astype(np.int64)) for name, (x, y) in PARTS.items()}
    line = from_function(np.zeros(6, np.float32), lambda w, x: x @ w)
    one = learner(line, loss=optax.sigmoid_binary_cross_entropy, policy="accuracy", **parts)
    moved = one.mli_propose_weights()
    verdict = one.mli_test_weights(moved)
    x, y = one.vote_samples
    assert verdict.vote_score == -(((x @ moved.weights["params"]) > 0) != (y > 0)).mean()
    own = learner(line, loss=optax.sigmoid_binary_cross_entropy, error=lambda o, y: 0 * y, **parts)
    assert own.mli_test_weights(moved).test_score == 1.0


def test_half_precision_travels_as_it_is():
    """Parameters in bfloat16 stay so, and the learner passes the check."""
    half = from_function(
        jax.numpy.zeros((6, 3), jax.numpy.bfloat16), lambda w, x: x @ w.astype(np.float32)
    )
    assert learner(half).mli_propose_weights().weights["params"].dtype.name == "bfloat16"
    check_learner(lambda: learner(half, steps=2))


def test_absurd_weights_are_rejected_quietly():
    """Finite weights that overflow in the model lose the vote, without a warning."""
    one = learner(LINEN)
    absurd = {
        name: np.full_like(tensor, 3e38)
        for name, tensor in one.mli_get_current_weights().weights.items()
    }
    assert one.mli_test_weights(Weights(absurd)).vote is False


def test_the_model_comes_back():
    """The framework's own object predicts what the current weights make."""
    one = learner(LINEN)
    one.mli_accept_weights(one.mli_propose_weights())
    model = one.mli_get_current_model(ModelFormat.NATIVE).model
    right = np.asarray(model(one.test_samples[0])).argmax(1) == one.test_samples[1]
    score = one.evaluate(one.mli_get_current_weights(), one.test_samples)
    assert right.mean() == pytest.approx(score)
    with pytest.raises(UnsupportedModel, match="NATIVE"):
        one.mli_get_current_model()


@pytest.mark.parametrize(
    ("options", "error", "said"),
    [
        ({"model": Linen()}, UnsupportedModel, "expected a JaxModel"),
        ({"model": from_function({}, lambda params, x: x)}, UnsupportedModel, "no parameters"),
        (
            {"model": from_function({"n": np.zeros(3, int)}, lambda params, x: x)},
            UnsupportedModel,
            "'params/n' is int64",
        ),
        (
            {"model": from_function({"n": np.zeros(3, complex)}, lambda params, x: x)},
            UnsupportedModel,
            "complex128",
        ),
        (
            {"model": from_function(np.zeros((5, 3), np.float32), lambda w, x: x @ w)},
            LearnerError,
            "cannot be tried",
        ),
        ({"loss": 3}, ConfigError, "refused"),
        ({"loss": lambda outputs, y: outputs.sum()}, LearnerError, "one for each"),
        ({"optimizer": 3}, ConfigError, "optax.adam"),
        ({"train": (X, X.astype(str))}, LearnerError, "expected numbers"),
        ({"train": (X, Y[:3])}, LearnerError, "shape"),
    ],
)
def test_what_cannot_learn_is_refused_at_once(options, error, said):
    """Each mistake gets one line when the learner is made, not in its first round."""
    with pytest.raises(error, match=re.escape(said)) as refusal:
        learner(**options)
    assert isinstance(refusal.value, ColearnError)
    assert "\n" not in str(refusal.value)


def test_unknown_variables_are_refused():
    """A linen module that keeps other state says which."""
    with pytest.raises(UnsupportedModel, match="'cache'"):
        from_linen(Linen(), {"params": {}, "cache": {}})
