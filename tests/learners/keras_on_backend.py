"""Keras models as learners, on the backend of this process; `test_keras` runs it on several."""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor

import keras
import numpy as np
import onnxruntime
import pytest
from keras import layers, losses, optimizers

from colearn.collective import Collective
from colearn.errors import ColearnError, LearnerError, UnsupportedModel, UnusableWeights
from colearn.kinds import statistics
from colearn.learners.frozen import FROZEN
from colearn.learners.keras import KerasLearner
from colearn.ml_interface import DiffPrivConfig, ErrorCodes, ModelFormat, Weights
from colearn.privacy.config import Privacy, VotePrivacy
from colearn.privacy.guard import NoisySteps
from colearn.testing import check_learner

RNG = np.random.default_rng(0)
X = RNG.normal(size=(200, 6)).astype(np.float32)
Y = (X[:, 0] * X[:, 1] > 0).astype(np.int64) + (X[:, 2] > 1)
PARTS = {"train": (X[:96], Y[:96]), "vote": (X[96:150], Y[96:150]), "test": (X[150:], Y[150:])}
LOGITS = losses.SparseCategoricalCrossentropy(from_logits=True)


def network(*, optimizer=None, loss=LOGITS, scale=1.0, freeze=False, dropout=0.1):
    """Return the same small network each time, with every kind of state."""
    keras.utils.set_random_seed(3)
    model = keras.Sequential(
        [
            keras.Input((6,)),
            layers.Dense(16),
            layers.BatchNormalization(),
            layers.ReLU(),
            layers.Dropout(dropout),
            layers.Dense(3),
        ]
    )
    first = model.layers[0]
    first.kernel.assign(first.kernel.value * scale)
    first.trainable = not freeze
    model.compile(optimizer=optimizer or optimizers.SGD(0.2, momentum=0.9), loss=loss)
    return model


def small(outputs=1, **how):
    """Return a compiled linear model."""
    keras.utils.set_random_seed(3)
    model = keras.Sequential(
        [keras.Input((6,)), layers.Dense(outputs, activation=how.pop("act", None))]
    )
    model.compile(**{"optimizer": "adam", "loss": LOGITS} | how)
    return model


def learner(model=None, **options):
    """Return a learner that trains eight mini-batches a proposal."""
    return KerasLearner(network() if model is None else model, **{"steps": 8, **PARTS} | options)


def values(model):
    """Return copies of a model's weights."""
    return [np.array(keras.ops.convert_to_numpy(each.value)) for each in model.weights]


def content(weights):
    """Return all bytes, by name."""
    return {name: tensor.tobytes() for name, tensor in weights.weights.items()}


def test_keeps_every_promise():
    """The learner passes the check that all learners must."""
    check_learner(learner)


def test_learns():
    """Accepted proposals lower the loss and raise the accuracy."""
    one = learner(steps=40)
    before = one.evaluate(one.mli_get_current_weights(), one.test_samples)
    for _ in range(5):
        verdict = one.mli_test_weights(one.mli_propose_weights())
        if verdict.vote:
            one.mli_accept_weights(verdict)
    after = one.mli_test_weights(one.mli_get_current_weights())
    assert after.test_score == one.evaluate(after, one.test_samples) > before + 0.2


def test_same_weights_as_keras_itself():
    """A proposal is what train_on_batch makes of the same batches, bit for bit."""
    model = network(dropout=0.0)
    one, rng = learner(model, seed=5), np.random.default_rng((5, 0))
    rng.integers(2**31)  # what the model draws from: nothing
    for rows in one.batches(rng):
        model.train_on_batch(X[:96][rows], Y[:96][rows])
    proposed = list(one.mli_propose_weights().weights.values())
    assert all(np.array_equal(*pair) for pair in zip(proposed, values(model), strict=True))


def test_names_do_not_depend_on_what_was_built_before():
    """A second model of the same kind has tensors of the same names."""
    assert learner(network()).tensors().keys() == learner(network()).tensors().keys()
    assert set(statistics(learner().tensors())) == {"4.moving_mean", "5.moving_variance"}


def test_statistics_travel():
    """Running statistics change with training, and are those that votes are cast with."""
    one = learner()
    proposed = one.mli_propose_weights()
    assert proposed.weights["4.moving_mean"].any()
    spoilt = Weights({**proposed.weights, "5.moving_variance": np.full(16, 1e9, np.float32)})
    assert one.vote_loss(spoilt) != one.vote_loss(proposed)


def test_frozen_layers_stay():
    """Frozen weights neither travel nor change, and weights made around others are refused."""
    one, same, other = (learner(network(scale=scale, freeze=True)) for scale in (1, 1, 2))
    proposed = one.mli_propose_weights()
    assert FROZEN in proposed.weights
    assert "0.kernel" not in proposed.weights
    assert same.mli_test_weights(proposed).vote is not None
    with pytest.raises(UnusableWeights, match="frozen"):
        other.mli_test_weights(proposed)


@pytest.mark.parametrize("method", ["fast", "shield"])
def test_methods_carry_it(method):
    """Methods that correct each step learn with it."""
    model = network(optimizer=optimizers.SGD(0.05))
    members = [
        learner(model, train=(X[:192][part::3], Y[:192][part::3]), test=None, policy="not-worse")
        for part in range(3)
    ]
    rounds, inner = [], members[0].set_offset
    members[0].set_offset = lambda offset: (rounds.append(offset), inner(offset))
    with Collective(members, method=method, seed=1) as collective:
        before = members[0].vote_loss(collective.result.weights)
        result = collective.run(3)
    assert members[0].vote_loss(result.weights) < before
    assert any(rounds)


def test_offset_shifts_trained_weights_after_each_step():
    """With a learning rate of zero an offset is added once a step, to trained weights alone."""
    one = learner(network(optimizer=optimizers.SGD(0.0)))
    start = one.mli_get_current_weights().weights
    change = np.full((6, 16), 0.25, np.float32)
    change.flags.writeable = False
    one.set_offset({"0.kernel": change, "4.moving_mean": np.full(16, 9, np.float32)})
    shifted = one.mli_propose_weights().weights
    assert np.allclose(shifted["0.kernel"], start["0.kernel"] + 8 * 0.25)
    assert abs(shifted["4.moving_mean"]).max() < 9
    one.set_offset(None)
    assert np.array_equal(one.mli_propose_weights().weights["0.kernel"], start["0.kernel"])


def test_threads_do_not_disturb_each_other():
    """Learners that train at once, with dropout, get what they get one after the other."""
    model = network()
    made = [learner(model, seed=seed) for seed in range(3)]
    with ThreadPoolExecutor(3) as pool:
        together = [content(each) for each in pool.map(KerasLearner.mli_propose_weights, made)]
    alone = [content(learner(model, seed=seed).mli_propose_weights()) for seed in range(3)]
    assert together == alone
    assert len({str(each) for each in alone}) == 3


def test_the_given_model_is_left_alone():
    """Neither training nor accepting changes the caller's model."""
    model = network()
    before = values(model)
    one = learner(model)
    one.mli_accept_weights(one.mli_propose_weights())
    assert all(np.array_equal(*pair) for pair in zip(before, values(model), strict=True))
    native = one.mli_get_current_model(ModelFormat.NATIVE).model
    right = native.predict_on_batch(one.test_samples[0]).argmax(1) == one.test_samples[1]
    assert right.mean() == pytest.approx(
        one.evaluate(one.mli_get_current_weights(), one.test_samples)
    )


@pytest.mark.parametrize(
    ("loss", "act"), [("binary_crossentropy", "sigmoid"), (losses.BinaryCrossentropy(True), None)]
)
def test_two_classes_by_one_score(loss, act):
    """A probability is above one half for label 1, a logit above zero."""
    parts = {name: (x, (y > 0).astype(np.int64)[:, None]) for name, (x, y) in PARTS.items()}
    one = learner(small(loss=loss, act=act), policy="accuracy", **parts)
    moved = one.mli_propose_weights()
    x, y = one.vote_samples
    scores = x @ moved.weights["0.kernel"] + moved.weights["1.bias"]
    assert one.mli_test_weights(moved).vote_score == -((scores > 0) != (y > 0)).mean()


def test_numbers_are_predicted():
    """With float targets votes compare squared errors, and the score is R²."""
    parts = {name: (x, x[:, :1] * 2 - x[:, 1:2]) for name, (x, _) in PARTS.items()}
    one = learner(small(loss="mse", optimizer=optimizers.Adam(0.1)), **parts)
    for _ in range(10):
        one.mli_accept_weights(one.mli_propose_weights())
    verdict = one.mli_test_weights(one.mli_get_current_weights())
    assert verdict.test_score > 0.95
    assert verdict.vote_score == pytest.approx(-one.losses(*one.vote_samples).mean())


PRIVACY = Privacy(train=DiffPrivConfig(50.0, 1e-4, noise_multiplier=1.0), releases=2)
ON_JAX = pytest.mark.skipif(
    keras.backend.backend() != "jax", reason="may lack: JAX, on which alone training can be private"
)


def secretive(*, dropout=0.1, **options):
    """Return a learner of a model that can be trained privately."""
    keras.utils.set_random_seed(3)
    model = keras.Sequential(
        [
            keras.Input((6,)),
            layers.Dense(16, kernel_regularizer="l2"),
            layers.LayerNormalization(),
            layers.ReLU(),
            layers.Dropout(dropout),
            layers.Dense(3),
        ]
    )
    model.compile(optimizer=optimizers.Adam(0.05), loss=LOGITS)
    return learner(model, **{"privacy": PRIVACY} | options)


def steps(one, x, y, *, bound, noise=0.0):
    """Return by how much a plain step of gradient descent moves all weights, in one vector."""
    plan = NoisySteps(bound, noise, samples=96, batch_size=32, steps=1)
    one.load(one.mli_get_current_weights().weights)
    one.begin(np.random.default_rng(0))
    before = one.tensors()
    one.noisy_step(x, y, plan, np.random.default_rng(0))
    return np.concatenate([(value - before[name]).ravel() for name, value in one.tensors().items()])


@ON_JAX
def test_private_without_noise_or_clipping_is_train_on_batch():
    """Regularisers included."""
    one = secretive(dropout=0.0)
    private = steps(one, X[:32], Y[:32], bound=1e9)
    one.load(one.mli_get_current_weights().weights)
    one.begin(np.random.default_rng(0))
    before = one.tensors()
    one.step(X[:32], Y[:32])
    plain = [(value - before[name]).ravel() for name, value in one.tensors().items()]
    np.testing.assert_allclose(private, np.concatenate(plain), atol=2e-3)


@ON_JAX
def test_private_steps_are_clipped_and_noisy():
    """One record moves the gradient by no more than the bound; the noise is as asked for."""
    model = small(optimizer=optimizers.SGD(1.0), outputs=3)
    one = learner(model, privacy=PRIVACY)
    plain = steps(one, X[:8], Y[:8], bound=0.5)
    for size in (1.0, 1e30, np.inf, np.nan):
        x = X[:9].copy()
        x[8, 0] *= size
        moved = steps(one, x, Y[:9], bound=0.5) - plain
        assert np.linalg.norm(moved) <= (0.5 + 1e-5) / 32
    wide = keras.Sequential([keras.Input((6,)), layers.Dense(3000)])
    wide.compile(optimizer=optimizers.SGD(1.0), loss=LOGITS)
    one = learner(wide, privacy=PRIVACY)
    assert steps(one, X[:0], Y[:0], bound=2.0, noise=3.0).std() == pytest.approx(6 / 32, rel=0.03)


@ON_JAX
def test_private_gradients_of_dense_layers_are_known_in_factors():
    """Whatever Keras makes of a layer, those of single samples are not formed."""
    from colearn.learners.jax_dense import sample_gradients  # noqa: PLC0415 - needs jax

    model = keras.Sequential(
        [keras.Input((6,)), layers.Dense(8, "relu"), layers.Dropout(0.1), layers.Dense(3)]
    )

    def loss(trained, x, y, draw):
        seeds = [draw.repeat(2) for _ in model.non_trainable_variables]
        return LOGITS(y, model.stateless_call(trained, seeds, x, training=True)[0])

    trained = [each.value for each in model.trainable_variables]
    found = sample_gradients(loss, trained, (X[:4], Y[:4], np.arange(4, dtype=np.uint32)))
    assert [each.outer is not None for each in found] == [True, False, True, False]


@ON_JAX
def test_private_training_is_paid_for():
    """A private learner learns until its budget is spent, and then passes."""
    one = secretive(steps=30, batch_size=48)
    before = one.evaluate(one.mli_get_current_weights(), (X, Y))
    for _ in range(2):
        one.mli_accept_weights(one.mli_propose_weights())
    assert one.evaluate(one.mli_get_current_weights(), (X, Y)) > before + 0.1
    one = secretive(privacy=Privacy(train=DiffPrivConfig(2.0, 1e-4), releases=1))
    one.mli_propose_weights()
    one.noisy_step = one.step = lambda *_: pytest.fail("the data was touched")
    last = one.mli_propose_weights()
    assert last.training_summary.error_code is ErrorCodes.DP_BUDGET_EXCEEDED


@ON_JAX
def test_private_learner_keeps_every_promise(tmp_path):
    """It passes the check that all learners must, with its budget on disk."""
    privacy = Privacy(
        train=DiffPrivConfig(50.0, 1e-4, noise_multiplier=1.0),
        releases=40,
        budget=tmp_path / "budget.sqlite",
        witness=tmp_path / "witness",
    )
    check_learner(lambda: secretive(privacy=privacy, steps=2))


def test_private_training_is_refused_where_it_cannot_be():
    """By a layer that mixes samples, and on another backend, in one line."""
    said = "never with BatchNormalization .* take GroupNormalization"
    if keras.backend.backend() != "jax":
        said = "not yet on torch: set the environment variable KERAS_BACKEND to jax"
    with pytest.raises(UnsupportedModel, match=f"KerasLearner cannot train privately, {said}"):
        learner(privacy=PRIVACY)


@keras.saving.register_keras_serializable()
class Centred(layers.Layer):
    """Takes means over the batch."""

    def call(self, x):
        return x - keras.ops.mean(x, axis=0, keepdims=True)


def test_private_votes_are_refused_to_what_mixes_samples():
    """A layer with means of the batch at hand is refused; one with running means votes."""
    votes = VotePrivacy(epsilon=50.0, delta=1e-4, votes=2)
    one = learner(privacy=Privacy(votes=votes))
    assert type(one.mli_test_weights(one.mli_get_current_weights()).vote) is bool
    mixing = keras.Sequential([keras.Input((6,)), Centred(), layers.Dense(3)])
    mixing.compile(optimizer="sgd", loss=LOGITS)
    train = PRIVACY.train if keras.backend.backend() == "jax" else None
    with pytest.raises(UnsupportedModel, match="KerasLearner cannot vote privately, .*mixes the"):
        learner(mixing, privacy=Privacy(train=train, votes=votes))


def test_predicts_the_same_as_onnx():
    """Any number of samples gives the model's own outputs but for rounding."""
    one = learner()
    one.mli_accept_weights(one.mli_propose_weights())
    session = onnxruntime.InferenceSession(one.mli_get_current_model().model)
    native = one.mli_get_current_model(ModelFormat.NATIVE).model
    for count in (1, 7):
        (outputs,) = session.run(None, {session.get_inputs()[0].name: X[:count]})
        assert np.allclose(outputs, native.predict_on_batch(X[:count]), atol=1e-5)


class Unsized(keras.Model):
    pass


@pytest.mark.parametrize(
    ("make", "error", "said"),
    [
        (lambda: keras.Sequential, UnsupportedModel, "expected an instance"),
        (Unsized, UnsupportedModel, "without a shape"),
        (
            lambda: keras.Sequential([keras.Input((6,)), layers.Dense(3)]),
            UnsupportedModel,
            "compile(",
        ),
        (lambda: small(loss=[LOGITS]), UnsupportedModel, "several losses"),
        (
            lambda: small(loss=lambda y, outputs: keras.ops.sum(outputs)),
            LearnerError,
            "one for each",
        ),
        (lambda: small(loss="mse", outputs=4), LearnerError, "cannot be tried"),
    ],
)
def test_what_cannot_learn_is_refused_at_once(make, error, said):
    """Each mistake gets one line when the learner is made, not in its first round."""
    with pytest.raises(error, match=re.escape(said)) as refusal:
        learner(make())
    assert isinstance(refusal.value, ColearnError)
    assert "\n" not in str(refusal.value)
