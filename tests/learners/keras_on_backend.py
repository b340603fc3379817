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
from colearn.ml_interface import ModelFormat, Weights
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
