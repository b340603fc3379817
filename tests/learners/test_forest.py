"""Random forests that grow together."""

from __future__ import annotations

import copy

import numpy as np
import pytest
from sklearn.datasets import load_diabetes, load_digits
from sklearn.ensemble import (
    ExtraTreesClassifier,
    ExtraTreesRegressor,
    GradientBoostingClassifier,
    RandomForestClassifier,
    RandomForestRegressor,
)

from colearn.errors import (
    ConfigError,
    LearnerError,
    SchemaMismatch,
    UnsupportedModel,
    UnusableWeights,
)
from colearn.learners.forest import ForestLearner
from colearn.learners.trees import MAX_DEPTH
from colearn.ml_interface import ModelFormat, Weights
from colearn.testing import check_learner

DIGITS = load_digits(return_X_y=True)
DIABETES = load_diabetes(return_X_y=True)
MODELS = {
    "forest": (RandomForestClassifier(), DIGITS),
    "extra": (ExtraTreesClassifier(max_leaf_nodes=40), DIGITS),
    "numbers": (RandomForestRegressor(max_depth=6), DIABETES),
    "extra-numbers": (ExtraTreesRegressor(), DIABETES),
}


def split(data):
    """Return 200 train, 100 vote and 100 test samples."""
    parts = ((0, 200), (200, 300), (300, 400))
    train, vote, test = ((data[0][a:b], data[1][a:b]) for a, b in parts)
    return {"train": train, "vote": vote, "test": test}


@pytest.fixture(params=MODELS)
def learner(request):
    """Return a learner of each supported kind."""
    estimator, data = MODELS[request.param]
    return ForestLearner(estimator, **split(data), trees_per_round=3)


def iris_like(**options):
    """Return a small, quick learner."""
    return ForestLearner(RandomForestClassifier(max_depth=3), **split(DIGITS), **options)


def sizes(weights):
    """Return the numbers of trees and nodes."""
    return len(weights.weights["nodes_per_tree"]), len(weights.weights["feature"])


@pytest.mark.parametrize("kind", MODELS)
def test_keeps_every_promise(kind):
    """The learner passes the check that all learners must."""
    estimator, data = MODELS[kind]
    check_learner(lambda: ForestLearner(estimator, **split(data), trees_per_round=2))


def test_learns(learner):
    """A forest grown by three proposals is accepted, and better than one without trees."""
    empty = learner.mli_get_current_weights()
    for _ in range(3):
        verdict = learner.mli_test_weights(learner.mli_propose_weights())
        if verdict.vote:
            learner.mli_accept_weights(verdict)
    grown = learner.mli_get_current_weights()
    assert sizes(empty) == (0, 0)
    assert sizes(grown)[0] >= 3
    assert learner.evaluate(grown, learner.test_samples) > 0.2 + learner.evaluate(
        empty, learner.test_samples
    )


@pytest.mark.parametrize("kind", MODELS)
def test_predicts_like_scikit_learn(kind):
    """The arrays predict what the very trees predict in scikit-learn."""
    estimator, data = MODELS[kind]
    parts = split(data)
    learner = ForestLearner(estimator, **parts, trees_per_round=7, seed=2)
    learner.mli_accept_weights(learner.mli_propose_weights())
    drawn = int(np.random.default_rng((2, 0)).integers(2**31))
    theirs = copy.deepcopy(estimator).set_params(
        n_estimators=7, random_state=drawn, max_depth=estimator.max_depth or MAX_DEPTH
    )
    theirs.fit(*parts["train"])
    ours = learner.mli_get_current_model(ModelFormat.NATIVE).model
    x = parts["test"][0]
    if data is DIGITS:
        assert np.allclose(ours.predict_proba(x), theirs.predict_proba(x), atol=1e-12)
    else:
        assert np.allclose(ours.predict(x), theirs.predict(x))


def test_proposals_append(learner):
    """A proposal begins with the current trees, unchanged, and adds as many as asked."""
    first = learner.mli_propose_weights()
    learner.mli_accept_weights(first)
    second = learner.mli_propose_weights()
    trees, nodes = sizes(first)
    assert (trees, sizes(second)[0]) == (3, 6)
    for name, tensor in first.weights.items():
        kept = trees if name == "nodes_per_tree" else nodes
        assert np.array_equal(second.weights[name][:kept], tensor)


def test_training_is_a_pure_function(learner):
    """The same forest and seed grow the same trees; without a new seed, other ones."""
    learner.set_seed(8)
    first = learner.mli_propose_weights()
    other = learner.mli_propose_weights()
    learner.mli_test_weights(other)
    learner.set_seed(8)
    again = learner.mli_propose_weights()
    for name, tensor in first.weights.items():
        assert tensor.tobytes() == again.weights[name].tobytes()
    assert first.weights["threshold"].tobytes() != other.weights["threshold"].tobytes()


def test_a_single_tree_can_win_the_vote():
    """One deep tree, sure of all it says and often wrong, still beats knowing nothing."""
    learner = ForestLearner(RandomForestClassifier(), **split(DIGITS), trees_per_round=1)
    verdict = learner.mli_test_weights(learner.mli_propose_weights())
    assert 0.4 < verdict.test_score < 0.8
    assert verdict.vote is True


def test_no_room_for_trees():
    """At the bound a proposal adds what fits, then equals the current forest and is rejected."""
    learner = iris_like(trees_per_round=4, max_trees=6)
    for expected in (4, 6, 6):
        verdict = learner.mli_test_weights(learner.mli_propose_weights())
        assert sizes(verdict)[0] == expected
        unchanged = sizes(verdict) == sizes(learner.mli_get_current_weights())
        learner.mli_accept_weights(verdict)
    assert unchanged
    assert learner.mli_test_weights(learner.mli_propose_weights()).vote is False


def test_no_room_for_nodes():
    """Trees that would pass the bound on nodes are left out whole."""
    learner = iris_like(trees_per_round=4, max_nodes=40)
    weights = learner.mli_propose_weights()
    assert 0 < sizes(weights)[0] < 4
    assert sizes(weights)[1] <= 40
    learner.mli_accept_weights(weights)


def test_bounds_are_checked():
    """A forest larger than agreed is refused by its dimension's name."""
    large, small = iris_like(trees_per_round=4), iris_like(max_trees=3)
    with pytest.raises(SchemaMismatch, match="trees"):
        small.mli_test_weights(large.mli_propose_weights())


def test_hostile_forests_are_refused():
    """Arrays of the right form that are no forest are neither tested nor accepted."""
    learner = iris_like()
    tensors = dict(learner.mli_propose_weights().weights)
    tensors["left"] = np.zeros_like(tensors["left"])
    for act in (learner.mli_test_weights, learner.mli_accept_weights):
        with pytest.raises(UnusableWeights, match="no forest"):
            act(Weights(tensors))
    assert sizes(learner.mli_get_current_weights()) == (0, 0)


def test_a_learner_may_lack_labels():
    """Trees of a learner with one label fit the forest of all labels."""
    x, y = DIGITS
    threes = (x[y == 3], y[y == 3])
    learner = ForestLearner(RandomForestClassifier(), train=threes, classes=range(10))
    verdict = learner.mli_test_weights(learner.mli_propose_weights())
    assert verdict.vote is True
    assert verdict.weights["value"].shape[1] == 10
    assert (
        learner.mli_get_current_model(ModelFormat.NATIVE).model.predict_proba(x[:2]) == 0.1
    ).all()


def test_deep_estimators_are_cut():
    """An estimator that would grow deeper than the bound still grows trees that are accepted."""
    estimator = RandomForestRegressor(max_depth=10_000, max_features=1)
    x = np.arange(300.0)[:, None]
    learner = ForestLearner(estimator, train=(x, 2.0 ** (x[:, 0] % 50)), trees_per_round=1)
    learner.mli_accept_weights(learner.mli_propose_weights())


@pytest.mark.parametrize("estimator", [GradientBoostingClassifier(), RandomForestClassifier, 7])
def test_other_models_are_refused(estimator):
    """Only instances of random forests grow; others are told what to use."""
    with pytest.raises(UnsupportedModel, match=r"not yet.*use SklearnLearner"):
        ForestLearner(estimator, **split(DIGITS))


def test_options_that_cannot_be_used_are_refused():
    """Bounds and numbers of trees are whole and positive."""
    for options in ({"trees_per_round": 0}, {"max_trees": 0}, {"max_nodes": 1.5}):
        with pytest.raises(ConfigError, match=next(iter(options))):
            iris_like(**options)


def test_growing_that_fails_says_why():
    """What scikit-learn refuses while growing is reported in one line."""
    estimator = RandomForestClassifier(min_samples_split=-3)
    with pytest.raises(LearnerError, match=r"growing trees failed.*min_samples_split"):
        ForestLearner(estimator, **split(DIGITS)).mli_propose_weights()
