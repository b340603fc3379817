"""JAX models whose data stays private: clipping, noise, budgets, refusals."""

from __future__ import annotations

from functools import partial

import jax
import numpy as np
import optax
import pytest
from flax import linen, nnx

from colearn.collective import Collective
from colearn.errors import LearnerError, UnsupportedModel
from colearn.learners.flax import from_linen, from_nnx
from colearn.learners.jax import JaxLearner, from_function
from colearn.learners.jax_private import Compiled, Part, model_sum, noisy_mean, noisy_step
from colearn.ml_interface import DiffPrivConfig, ErrorCodes
from colearn.privacy.config import Privacy, VotePrivacy
from colearn.privacy.guard import NoisySteps
from colearn.testing import check_learner

RNG = np.random.default_rng(0)
X = RNG.normal(size=(300, 6)).astype(np.float32)
Y = (X[:, 0] > 0).astype(np.int64) + (X[:, 1] > 1)
LOSS = optax.softmax_cross_entropy_with_integer_labels
PRIVACY = Privacy(train=DiffPrivConfig(50.0, 1e-4, noise_multiplier=1.0), releases=3)


class Normed(linen.Module):
    """Normalises by itself, or by its batch."""

    by_batch: bool = False

    @linen.compact
    def __call__(self, x, *, train=False):
        x = linen.Dense(16)(x)
        x = linen.BatchNorm(use_running_average=not train)(x) if self.by_batch else x
        return linen.Dense(3)(linen.relu(linen.LayerNorm()(x)))


def mixed(params, x):
    """Outputs that depend on all samples of a batch."""
    return (x - x.mean(0)) @ params["w"] + x @ params["v"]


PERCEPTRON = from_linen(Normed(), Normed().init(jax.random.key(3), X[:2]))
WEIGHTS = {name: RNG.normal(size=(6, 3)).astype(np.float32) for name in "vw"}
MODELS = {
    "perceptron": PERCEPTRON,
    "nnx": from_nnx(nnx.Linear(6, 3, rngs=nnx.Rngs(3))),
    "mixes a batch": from_function(WEIGHTS, mixed),
}


def learner(model=PERCEPTRON, **options):
    """A learner that trains four mini-batches a proposal, privately."""
    usual = {
        "loss": LOSS,
        "optimizer": optax.sgd(0.2),
        "train": (X, Y),
        "steps": 4,
        "privacy": PRIVACY,
    }
    return JaxLearner(model, **usual | options)


def sums(model, x, y, bound, *, count=9):
    """The sum of the clipped gradients of the first nine samples or fewer, in one vector."""
    rows = Part(x[:9], y[:9], np.zeros(9, np.uint32), np.arange(9) < count)
    tree = model_sum(model.train, LOSS, model.params, rows, bound)
    return np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(tree)])


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("bound", [0.3, 1e9])
def test_gradients_are_those_of_single_samples(name, bound):
    """Clipped or not: the sum that a loop over batches of one gives."""
    model, expected = MODELS[name], 0

    @jax.jit
    @jax.grad
    def alone(params, x, y):
        return LOSS(model.train(params, {}, x, jax.random.key(0))[0], y)[0]

    for row in range(9):
        leaves = jax.tree.leaves(alone(model.params, X[row : row + 1], Y[row : row + 1]))
        whole = np.concatenate([np.ravel(leaf) for leaf in leaves])
        expected = expected + whole * min(1.0, bound / np.linalg.norm(whole))
    np.testing.assert_allclose(sums(model, X, Y, bound), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("size", [1.0, 1e30, np.inf, np.nan])
def test_one_record_moves_the_sum_by_no_more_than_the_bound(name, size):
    """Whatever it holds, infinities and NaN included, and the others' part stays the same."""
    x = X[:9].copy()
    x[8, 0] *= size
    moved = sums(MODELS[name], x, Y, 0.5) - sums(MODELS[name], x, Y, 0.5, count=8)
    assert np.linalg.norm(moved) <= 0.5 + 1e-5


def mean(model, samples, plan, rows=1_000):
    """What a step makes of a batch, and the tree that it is like."""
    gradients = partial(model_sum, model.train, LOSS, model.params)

    def step(part, noise, bound, size):
        return noisy_mean(gradients(part, bound), noise, size)

    compiled = Compiled(gradients, step, rows)
    return noisy_step(compiled, model.params, samples, plan, np.random.default_rng(0))


@pytest.mark.parametrize("count", [0, 3, 9])
@pytest.mark.parametrize("rows", [1_000, 4, 1])
def test_batches_of_all_sizes(count, rows):
    """In one part or several: the sum of the batch alone, divided by the planned size."""
    plan = NoisySteps(0.5, 0.0, samples=300, batch_size=16, steps=1)
    found = mean(PERCEPTRON, (X[:count], Y[:count]), plan, rows)
    whole = np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(found)])
    expected = sums(PERCEPTRON, X, Y, 0.5, count=count) / 16
    np.testing.assert_allclose(whole, expected, rtol=1e-4, atol=1e-6)


def test_noise_has_the_deviation_asked_for():
    """On every entry, even where no record fell into the batch."""
    params = {"w": np.zeros((6, 3_000), np.float32), "b": np.zeros(30_000, np.float32)}
    model = from_function(params, lambda params, x: x @ params["w"] + params["b"][:3_000])
    plan = NoisySteps(2.0, 3.0, samples=300, batch_size=4, steps=1)
    found = mean(model, (X[:0], Y[:0]), plan)
    for leaf in found.values():
        assert leaf.std() == pytest.approx(6.0 / 4, rel=0.03)
        assert leaf.dtype == np.float32


def test_without_noise_or_clipping_a_step_is_a_plain_one():
    """It moves the weights as the optimiser does by the mean loss's gradient."""
    moved = []
    for private in (False, True):
        one = learner(privacy=None, optimizer=optax.adam(0.01), batch_size=32)
        one.begin(np.random.default_rng(0))
        if private:
            plan = NoisySteps(1e9, 0.0, samples=300, batch_size=32, steps=1)
            one.noisy_step(X[:32], Y[:32], plan, np.random.default_rng(0))
        else:
            one.step(X[:32], Y[:32])
        moved.append(one.tensors())
    for name, value in moved[0].items():
        np.testing.assert_allclose(moved[1][name], value, atol=1e-4)


def test_each_sample_draws_for_itself():
    """Dropout differs among the samples of a batch."""

    def train(params, stats, x, key):
        return x @ params["w"] * jax.random.bernoulli(key, 0.5), stats

    model = from_function({"w": WEIGHTS["w"]}, lambda params, x: x @ params["w"])
    rows = Part(
        *(X[:1].repeat(64, 0), Y[:1].repeat(64, 0)),
        *(np.arange(64, dtype=np.uint32), np.ones(64, np.bool_)),
    )
    (total,) = jax.tree.leaves(model_sum(train, LOSS, model.params, rows, 1.0))
    assert 0.2 < np.linalg.norm(total) / 64 < 0.8


def test_learns():
    """With enough budget a private learner learns."""
    one = learner(steps=20, batch_size=100, optimizer=optax.sgd(0.5))
    before = one.evaluate(one.mli_get_current_weights(), (X, Y))
    for _ in range(3):
        one.mli_accept_weights(one.mli_propose_weights())
    assert one.evaluate(one.mli_get_current_weights(), (X, Y)) > before + 0.2


def test_the_budget_is_charged_before_the_data_is_touched():
    """A training that fails has cost all the same; when all is spent, none begins."""
    one = learner(privacy=Privacy(train=DiffPrivConfig(2.0, 1e-4), releases=1))

    def fail(*_):
        raise RuntimeError("no memory")

    one.noisy_step = fail
    with pytest.raises(LearnerError, match="training failed: no memory"):
        one.mli_propose_weights()
    one.noisy_step = one.step = lambda *_: pytest.fail("the data was touched")
    last = one.mli_propose_weights()
    assert last.training_summary.error_code is ErrorCodes.DP_BUDGET_EXCEEDED
    assert 0 < last.training_summary.dp_budget.consumed_epsilon <= 2.0
    assert last.weights is one.mli_get_current_weights().weights


def test_private_and_plain_learners_mix():
    """A group in which only some are private learns by one protocol, under one schema."""
    learners = {
        "private": learner(train=(X[:150], Y[:150])),
        "plain": learner(train=(X[150:], Y[150:]), privacy=None),
    }
    with Collective(learners, method="fast") as collective:
        assert len(collective.run(3).rounds) == 3


BATCHES = from_linen(Normed(by_batch=True), Normed(by_batch=True).init(jax.random.key(3), X[:2]))
HALF = from_function(
    {"w": np.zeros((6, 3), np.float16)}, lambda params, x: x @ params["w"].astype(np.float32)
)
PAIRS = from_function(
    {"w": np.zeros((6, 3), np.float32)},
    lambda params, x: (x.reshape(-1, 2, 6) @ params["w"]).reshape(-1, 3),
)


@pytest.mark.parametrize(
    ("model", "reason"),
    [
        (BATCHES, "never with batch_stats: .* take GroupNorm"),
        (HALF, "not yet with parameters such as 'params/w', float16"),
        (PAIRS, "not yet: JAX gives no gradients of its single samples"),
    ],
)
def test_what_refuses_says_why(model, reason):
    """When the learner is made, in one line, with what to do instead."""
    with pytest.raises(UnsupportedModel, match=f"JaxLearner cannot train privately, {reason}"):
        learner(model)


def test_keeps_the_promises(tmp_path):
    """A private learner passes the checks of the interface, with its budget on disk."""
    privacy = Privacy(
        train=DiffPrivConfig(50.0, 1e-4, noise_multiplier=1.0),
        releases=40,
        votes=VotePrivacy(epsilon=50.0, delta=1e-4, votes=40),
        budget=tmp_path / "budget.sqlite",
        witness=tmp_path / "witness",
    )
    check_learner(lambda: learner(privacy=privacy, steps=2))
