"""Framework learners whose data stays private: clipping, noise, budgets, refusals."""

from __future__ import annotations

from functools import partial
from itertools import product

import numpy as np
import pytest
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import Perceptron, SGDClassifier, SGDRegressor
from sklearn.neural_network import MLPClassifier, MLPRegressor

from colearn import Collective
from colearn.errors import LearnerError, UnsupportedModel
from colearn.learners.forest import ForestLearner
from colearn.learners.lightgbm import LightGBMLearner
from colearn.learners.sklearn import SklearnLearner
from colearn.learners.sklearn_private import Layer, noisy_sums
from colearn.learners.xgboost import XGBoostLearner
from colearn.ml_interface import DiffPrivConfig, ErrorCodes, Weights
from colearn.privacy.config import Privacy, VotePrivacy
from colearn.privacy.guard import NoisySteps
from colearn.testing import check_learner

RNG = np.random.default_rng(1)
X = RNG.normal(size=(200, 4))
CLASSES = (X @ [1.0, -2.0, 0.5, 0.0] > 0).astype(int)
THREE = np.digitize(X[:, 0], [-0.5, 0.5])
NUMBERS = X @ [1.0, -2.0, 0.5, 0.0]
NO_NOISE = NoisySteps(1e9, 0.0, samples=200, batch_size=8, steps=1)

TRAIN = DiffPrivConfig(8.0, 1e-4)
VOTES = VotePrivacy(epsilon=2.0, delta=1e-4, votes=5)
LINEAR = SGDClassifier(loss="log_loss", learning_rate="constant", eta0=0.1)


def learner(estimator=LINEAR, y=CLASSES, privacy=None, **options):
    """A learner of 200 records in batches of 8."""
    return SklearnLearner(estimator, train=(X, y), privacy=privacy, batch_size=8, **options)


TREES = [partial(ForestLearner, RandomForestClassifier()), XGBoostLearner, LightGBMLearner]

MODELS = {
    "logistic": (LINEAR, CLASSES),
    "logistic of three": (LINEAR, THREE),
    "hinge": (SGDClassifier(learning_rate="constant", eta0=0.1, penalty=None), CLASSES),
    "no intercept": (
        SGDClassifier(loss="log_loss", learning_rate="constant", eta0=0.1, fit_intercept=False),
        CLASSES,
    ),
    "squared": (SGDRegressor(), NUMBERS),
    "huber": (SGDRegressor(loss="huber", epsilon=0.3, learning_rate="constant"), NUMBERS),
    "adam": (MLPClassifier((5, 3), random_state=1), THREE),
    "binary": (MLPClassifier((5,), solver="sgd", activation="tanh"), CLASSES),
    "logistic units": (MLPClassifier((5,), activation="logistic", alpha=0.1), CLASSES),
    "identity units": (MLPRegressor(hidden_layer_sizes=(5,), activation="identity"), NUMBERS),
}


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_without_noise_or_clipping_a_step_is_the_estimators_own(name, dtype):
    """A noiseless, unclipped step moves the weights as scikit-learn's partial_fit does."""
    estimator, y = MODELS[name]
    x, y = X.astype(dtype), y if y.dtype.kind == "i" else y.astype(dtype)
    rows = slice(0, 8 if "MLP" in type(estimator).__name__ else 1)
    moved = []
    for private in (False, True):
        made = SklearnLearner(estimator, train=(x, y), vote=(x, y), batch_size=8)
        start = {
            key: np.asarray(value + 0.1 * np.random.default_rng(2).normal(size=value.shape), dtype)
            if key != "samples_seen"
            else value
            for key, value in made.mli_get_current_weights().weights.items()
        }
        made.load(start)
        made.begin(np.random.default_rng(0))
        if private:
            plan = NO_NOISE if rows.stop == 8 else NoisySteps(1e9, 0.0, 200, 1, 1)
            made.noisy_step(x[rows], y[rows], plan, np.random.default_rng(0))
        else:
            made.step(x[rows], y[rows])
        moved.append(made.tensors())
    tolerance = 1e-9 if dtype is np.float64 else 2e-5
    for key, value in moved[0].items():
        np.testing.assert_allclose(moved[1][key], value, rtol=tolerance, atol=tolerance)
        assert moved[1][key].dtype == value.dtype
    assert any(not np.array_equal(moved[0][key], start[key]) for key in start)


def test_each_sample_is_clipped_over_all_layers():
    """The sum is that of every sample's whole gradient, formed singly and clipped."""
    layers = [
        Layer(RNG.normal(size=(20, 3)), RNG.normal(size=(20, 5))),
        Layer(RNG.normal(size=(20, 5)), RNG.normal(size=(20, 2))),
    ]
    plan = NoisySteps(1.5, 0.0, samples=200, batch_size=20, steps=1)
    expected = 0
    for row in range(20):
        parts = [np.outer(a[row], e[row]).ravel() for a, e in layers] + [e[row] for _, e in layers]
        whole = np.concatenate(parts)
        expected = expected + whole * min(1.0, 1.5 / np.linalg.norm(whole))
    sums = noisy_sums(layers, plan, np.random.default_rng(0))
    got = np.concatenate([weight.ravel() for weight, _ in sums] + [bias for _, bias in sums])
    np.testing.assert_allclose(got, expected)


@pytest.mark.parametrize("rows", [0, 1, 30])
def test_one_record_moves_the_sum_by_no_more_than_the_bound(rows):
    """Whatever it holds, infinities and NaN included, and the others' part stays the same."""
    plan = NoisySteps(1.0, 0.0, samples=200, batch_size=20, steps=1)
    others = [RNG.normal(size=(rows, width)) for width in (3, 2)]
    for size, wrong in product((1.0, 1e200, np.inf, np.nan), (0, 1)):
        record = [RNG.normal(size=(1, width)) for width in (3, 2)]
        record[wrong][0, 0] = size
        sums = [
            noisy_sums([Layer(*arrays)], plan, np.random.default_rng(0))[0]
            for arrays in (
                others,
                [np.concatenate(pair) for pair in zip(others, record, strict=True)],
            )
        ]
        moved = np.concatenate([(b - a).ravel() for a, b in zip(*sums, strict=True)])
        assert np.linalg.norm(moved) <= 1 + 1e-12


def test_noise_has_the_deviation_asked_for():
    """On every entry of every layer, even where no record fell into the batch."""
    plan = NoisySteps(2.0, 3.0, samples=200, batch_size=20, steps=1)
    layers = [Layer(np.zeros((0, 100)), np.zeros((0, 200)))]
    ((weight, bias),) = noisy_sums(layers, plan, np.random.default_rng(0))
    assert weight.std() == pytest.approx(6.0, rel=0.02)
    assert bias.std() == pytest.approx(6.0, rel=0.2)


@pytest.mark.parametrize("name", MODELS)
def test_every_model_trains_privately(name):
    """A private proposal differs from the current weights, and says what it cost."""
    estimator, y = MODELS[name]
    made = learner(estimator, y, Privacy(train=TRAIN, releases=3), steps=5)
    proposal = made.mli_propose_weights()
    current = made.mli_get_current_weights().weights
    assert any(not np.array_equal(proposal.weights[key], current[key]) for key in current)
    spent = proposal.training_summary.dp_budget
    assert 0 < spent.consumed_epsilon < 8.0 == spent.target_epsilon
    assert spent.consumed_delta == spent.target_delta == 1e-4


def test_training_uses_no_seed():
    """Two learners alike in data and seed propose differently: the noise is their own."""
    one, two = (learner(privacy=Privacy(train=TRAIN), steps=5) for _ in range(2))
    assert not np.array_equal(
        one.mli_propose_weights().weights["coef"], two.mli_propose_weights().weights["coef"]
    )


def test_the_same_turn_is_sent_again(tmp_path):
    """After a restart the same proposal comes back, bit for bit, and costs nothing more."""
    privacy = Privacy(
        train=TRAIN, releases=3, budget=tmp_path / "budget.sqlite", witness=tmp_path / "witness"
    )
    first, again = (learner(privacy=privacy, steps=5) for _ in range(2))
    for made in (first, again):
        made.set_seed(77)
    one, two = first.mli_propose_weights(), again.mli_propose_weights()
    assert np.array_equal(one.weights["coef"], two.weights["coef"])
    assert one.training_summary == two.training_summary
    assert np.array_equal(first.train_samples[0], again.train_samples[0])
    third = again.mli_propose_weights()
    assert not np.array_equal(third.weights["coef"], two.weights["coef"])


def test_budget_exceeded_means_no_training():
    """With the budget spent the data is not touched: an error code, and the weights as they are."""
    made = learner(privacy=Privacy(train=TRAIN, releases=2), steps=5)
    accepted = [made.mli_propose_weights() for _ in range(2)][-1]
    made.mli_accept_weights(accepted)
    made.noisy_step = made.step = lambda *_: pytest.fail("the data was touched")
    last = made.mli_propose_weights()
    assert last.training_summary.error_code is ErrorCodes.DP_BUDGET_EXCEEDED
    assert last.training_summary.dp_budget.consumed_epsilon <= 8.0
    assert last.weights is accepted.weights


def test_whoever_planned_too_few_trainings_is_told(caplog):
    """Left at its default, releases is spent after one proposal; one line names it, once."""
    made = learner(privacy=Privacy(train=TRAIN), steps=5)
    names = [f"learner-{index}" for index in range(3)]
    learners = {names[0]: made} | {name: learner(steps=5) for name in names[1:]}
    Collective(learners).run(9)
    (line,) = [each.message for each in caplog.records if "proposing no more" in each.message]
    assert "budget for train is spent" in line
    assert "trainings charged: 1, planned: releases=1; Privacy(releases=...)" in line


def test_whoever_comes_back_with_a_spent_budget_is_told_at_once(tmp_path, caplog):
    """Where no training fits any more one line says so; where one does, none."""
    privacy = Privacy(
        train=TRAIN, releases=2, budget=tmp_path / "budget.sqlite", witness=tmp_path / "witness"
    )
    learner(privacy=privacy, steps=5).mli_propose_weights()
    made = learner(privacy=privacy, steps=5)
    made.set_seed(7)
    made.mli_propose_weights()
    told = "trainings charged: 2, and no other fits: from here on it only votes"
    assert told not in caplog.text
    made = learner(privacy=privacy, steps=5)
    assert [each.message for each in caplog.records if told in each.message] == [
        f"budget {tmp_path / 'budget.sqlite'}: {told}"
    ]


def test_rejected_proposals_cost():
    """A proposal that nobody accepts was published all the same: each costs more."""
    made = learner(privacy=Privacy(train=TRAIN, releases=3), steps=5)
    costs = [
        made.mli_propose_weights().training_summary.dp_budget.consumed_epsilon for _ in range(3)
    ]
    assert costs[0] < costs[1] < costs[2] <= 8.0


def test_private_votes_repeat_and_run_out(caplog):
    """The same question gets the same answer for nothing; after the last vote it abstains."""
    made = learner(privacy=Privacy(votes=VOTES))
    asked = [
        Weights({"coef": np.full((1, 4), float(value)), "intercept": np.zeros(1)})
        for value in range(7)
    ]
    answers = [made.mli_test_weights(each).vote for each in asked]
    assert all(type(vote) is bool for vote in answers[:5])
    assert answers[5:] == [None, None]
    assert [made.mli_test_weights(each).vote for each in asked] == answers
    assert sum("abstaining" in record.message for record in caplog.records) == 1


def test_no_score_is_measured():
    """Where votes are private, the verdict holds no score."""
    made = learner(privacy=Privacy(votes=VOTES), test=(X, CLASSES))
    verdict = made.mli_test_weights(made.mli_get_current_weights())
    assert np.isnan(verdict.vote_score)
    assert np.isnan(verdict.test_score)


def test_records_are_in_one_part_only():
    """Train and vote records are disjoint and complete, duplicates stand together."""
    x, y = np.concatenate([X, X]), np.concatenate([CLASSES, CLASSES])
    made = SklearnLearner(
        LINEAR, train=(x[:250], y[:250]), vote=(x[250:], y[250:]), privacy=Privacy(votes=VOTES)
    )
    train, vote = ({row.tobytes() for row in made.train_samples[0]}, made.vote_samples[0])
    assert not any(row.tobytes() in train for row in vote)
    assert len(made.train_samples[0]) + len(vote) == 400
    assert len(train) + len({row.tobytes() for row in vote}) == 200
    assert 30 <= len(vote) <= 140


def test_what_refuses_says_why():
    """Trees never train privately; losses and rates that do not suit say what to use."""
    privacy = Privacy(train=TRAIN)
    for make in TREES:
        with pytest.raises(
            UnsupportedModel, match="cannot train privately, never: a tree's splits"
        ):
            make(train=(X, CLASSES), privacy=privacy)
    for estimator, reason in (
        (SGDClassifier(loss="log_loss"), "learning_rate='optimal'"),
        (Perceptron(), "perceptron"),
        (MLPRegressor(loss="poisson"), "poisson"),
        (LINEAR.__class__(**{**LINEAR.get_params(), "penalty": "l1"}), "penalty='l1'"),
        (LINEAR.__class__(**{**LINEAR.get_params(), "class_weight": {0: 2.0}}), "class_weight"),
    ):
        with pytest.raises(UnsupportedModel, match=f"cannot train privately, not yet .*{reason}"):
            learner(estimator, privacy=privacy)
    with pytest.raises(LearnerError, match="too few"):
        SklearnLearner(LINEAR, train=(X[:1], CLASSES[:1]), classes=[0, 1], privacy=privacy)


@pytest.mark.parametrize("make", TREES)
def test_trees_vote_privately(make):
    """Learners that cannot train privately can still hide their votes, with trees and without."""
    made = make(train=(X, CLASSES), privacy=Privacy(votes=VOTES))
    for _ in range(2):
        proposed = made.mli_propose_weights()
        verdict = made.mli_test_weights(proposed)
        assert type(verdict.vote) is bool
        assert np.isnan(verdict.vote_score)
        made.mli_accept_weights(proposed)
    later = make(train=(X, CLASSES))
    later.mli_accept_weights(proposed)
    later.protect(Privacy(votes=VOTES))
    assert type(later.mli_test_weights(later.mli_propose_weights()).vote) is bool


def test_keeps_the_promises(tmp_path):
    """A private learner passes the checks of the interface, with its budget on disk."""
    privacy = Privacy(
        train=DiffPrivConfig(50.0, 1e-4),
        releases=40,
        votes=VotePrivacy(epsilon=50.0, delta=1e-4, votes=40),
        budget=tmp_path / "budget.sqlite",
        witness=tmp_path / "witness",
    )
    check_learner(lambda: learner(privacy=privacy, steps=2))
