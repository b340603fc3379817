"""Boosted trees of XGBoost and LightGBM that grow together."""

from __future__ import annotations

from contextlib import suppress

import lightgbm
import numpy as np
import pytest
import xgboost
from hypothesis import given
from hypothesis import strategies as st
from sklearn.datasets import load_breast_cancer, load_diabetes, load_digits

from colearn.errors import ColearnError, ConfigError, LearnerError, UnusableWeights
from colearn.learners.boosted import in_order
from colearn.learners.lightgbm import LightGBMLearner
from colearn.learners.trees import MAX_DEPTH, Boosted
from colearn.learners.xgboost import XGBoostLearner
from colearn.ml_interface import ModelFormat, Weights
from colearn.testing import check_learner

DATA = {
    "two": load_breast_cancer(return_X_y=True),
    "many": load_digits(return_X_y=True),
    "numbers": load_diabetes(return_X_y=True),
}
PARAMS = {
    XGBoostLearner: {"max_depth": 4, "eta": 0.3, "subsample": 0.8},
    LightGBMLearner: {"num_leaves": 8, "min_data_in_leaf": 5, "learning_rate": 0.3},
}
BOTH = pytest.mark.parametrize("make", PARAMS, ids=lambda make: make.__name__)


def learner(make, kind="two", **options):
    """Return a learner of 200 train, 100 vote and 100 test samples."""
    x, y = DATA[kind]
    train, vote, test = ((x[a:b], y[a:b]) for a, b in ((0, 200), (200, 300), (300, 400)))
    usual = {"params": PARAMS[make], "rounds_per_proposal": 4, "numbers": kind == "numbers"}
    return make(train=train, vote=vote, test=test, **usual | options)


@BOTH
@pytest.mark.parametrize("kind", DATA)
def test_keeps_every_promise(make, kind):
    """The learner passes the check that all learners must."""
    check_learner(lambda: learner(make, kind))


@BOTH
@pytest.mark.parametrize("kind", DATA)
def test_learns(make, kind):
    """Three accepted proposals are far better than no trees."""
    base = 150.0 if kind == "numbers" else 0.0
    one = learner(make, kind, rounds_per_proposal=8, base=base)
    empty = one.mli_get_current_weights()
    for _ in range(3):
        verdict = one.mli_test_weights(one.mli_propose_weights())
        if verdict.vote:
            one.mli_accept_weights(verdict)
    grown = one.mli_get_current_weights()
    assert len(grown.weights["nodes_per_tree"]) > len(empty.weights["nodes_per_tree"])
    assert one.evaluate(grown, one.test_samples) > 0.2 + one.evaluate(empty, one.test_samples)


@pytest.mark.parametrize("kind", DATA)
def test_predicts_like_xgboost(kind):
    """The arrays give the margins that XGBoost gives from the very same trees."""
    one = learner(XGBoostLearner, kind)
    one.mli_accept_weights(one.mli_propose_weights())
    x, y = one.train_samples
    objective = {"two": "binary:logistic", "many": "multi:softprob", "numbers": "reg:squarederror"}
    params = PARAMS[XGBoostLearner] | {
        "objective": objective[kind],
        "seed": int(np.random.default_rng((0, 0)).integers(2**31)),
        "tree_method": "hist",
        "nthread": 1,
        **({"num_class": 10} if kind == "many" else {}),
    }
    zero = np.zeros((len(x), 10) if kind == "many" else len(x))
    booster = xgboost.train(params, xgboost.DMatrix(x, y, base_margin=zero), num_boost_round=4)
    seen = DATA[kind][0][200:]
    zero = np.zeros((len(seen), 10) if kind == "many" else len(seen))
    theirs = booster.predict(xgboost.DMatrix(seen, base_margin=zero), output_margin=True)
    ours = one.native().margins(seen)
    assert np.allclose(ours, theirs.reshape(ours.shape), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("kind", DATA)
def test_predicts_like_lightgbm(kind):
    """The arrays give the margins that LightGBM gives from the very same trees."""
    one = learner(LightGBMLearner, kind)
    one.mli_accept_weights(one.mli_propose_weights())
    x, y = one.train_samples
    objective = {"two": "binary", "many": "multiclass", "numbers": "regression"}
    params = PARAMS[LightGBMLearner] | {
        "objective": objective[kind],
        "seed": int(np.random.default_rng((0, 0)).integers(2**31)),
        "boost_from_average": False,
        "deterministic": True,
        "num_threads": 1,
        "verbosity": -1,
        "max_depth": MAX_DEPTH,
        **({"num_class": 10} if kind == "many" else {}),
    }
    booster = lightgbm.train(params, lightgbm.Dataset(x.astype(np.float32), y), num_boost_round=4)
    seen = DATA[kind][0][200:]
    theirs = booster.predict(seen.astype(np.float32), raw_score=True)
    ours = one.native().margins(seen)
    assert np.allclose(ours, theirs.reshape(ours.shape))


@BOTH
def test_proposals_append(make):
    """A proposal begins with the current trees, and stops where there is no more room."""
    one = learner(make, "many", max_trees=95)
    first = one.mli_propose_weights()
    one.mli_accept_weights(first)
    second, kept = one.mli_propose_weights().weights, first.weights
    assert (len(kept["nodes_per_tree"]), len(second["nodes_per_tree"])) == (40, 80)
    for name, tensor in kept.items():
        assert np.array_equal(second[name][: len(tensor)], tensor)
    for _ in range(2):
        one.mli_accept_weights(one.mli_propose_weights())
    full = one.mli_get_current_weights().weights
    assert len(full["nodes_per_tree"]) == 90
    nodes = len(kept["feature"]) + 1
    assert (
        len(learner(make, "many", max_nodes=nodes).mli_propose_weights().weights["feature"]) < nodes
    )


@BOTH
def test_labels_that_one_learner_lacks(make):
    """Who holds some of the classes only grows trees for all that were agreed on."""
    x, y = DATA["many"]
    few = y < 3
    one = make(
        train=(x[few], y[few]), classes=range(10), params=PARAMS[make], rounds_per_proposal=2
    )
    proposed = one.mli_propose_weights()
    assert len(proposed.weights["nodes_per_tree"]) == 20
    assert one.evaluate(proposed, (x[few], y[few])) > 0.9


@BOTH
def test_options_that_cannot_be_used_are_refused(make):
    """What the learner decides, and what the library refuses, is said in one line."""
    with pytest.raises(ConfigError, match="objective"):
        learner(make, params={"objective": "rank:pairwise"})
    for wrong in ({"max_depth": "deep"}, {"subsample": 7.0}):
        with pytest.raises(LearnerError, match="growing trees failed") as refusal:
            learner(make, params=wrong).mli_propose_weights()
        assert "\n" not in str(refusal.value)


@pytest.mark.parametrize(
    ("make", "params"),
    [
        (XGBoostLearner, {"num_parallel_tree": 2}),
        (LightGBMLearner, {"zero_as_missing": True}),
        (LightGBMLearner, {"linear_trees": True}),
        (LightGBMLearner, {"n_estimators": 50}),
    ],
)
def test_trees_that_arrays_cannot_say_are_not_proposed(make, params):
    """Where the arrays would predict otherwise than the library, its owner is told."""
    with pytest.raises(LearnerError, match="do not add up to the library's own"):
        learner(make, "many", params=params).mli_propose_weights()


def test_nodes_are_put_in_order():
    """Children come to lie behind their parent, and what is cut off is dropped."""
    tree = {
        "feature": np.array([0, -1, -1, 1, -1]),
        "left": np.array([3, -1, -1, 2, -1]),
        "right": np.array([1, -1, -1, 4, -1]),
        "threshold": np.array([5.0, 0, 0, 6.0, 0]),
        "value": np.array([0, 1.0, 2.0, 0, 3.0]),
    }
    ordered = in_order(tree)
    assert ordered["left"].tolist() == [1, 3, -1, -1, -1]
    assert ordered["right"].tolist() == [2, 4, -1, -1, -1]
    assert ordered["value"].tolist() == [0, 0, 1, 2, 3]


GROWN = learner(XGBoostLearner, "many", rounds_per_proposal=1)
TENSORS = GROWN.mli_propose_weights().weights


@given(
    name=st.sampled_from(sorted(TENSORS)),
    place=st.integers(0, 10**6),
    value=st.one_of(st.integers(-(2**31), 2**31 - 1), st.floats(width=32)),
)
def test_hostile_trees_do_no_harm(name, place, value):
    """One changed number is refused with an error of ours, or gives a vote."""
    tensor = TENSORS[name].copy()
    with np.errstate(all="ignore"):
        tensor[place % len(tensor)] = np.asarray(value).astype(tensor.dtype)
    with suppress(ColearnError):
        assert GROWN.mli_test_weights(Weights({**TENSORS, name: tensor})).vote in (True, False)


def test_trees_must_be_some_for_each_class():
    """A tree that belongs to no whole round is refused."""
    stump = {name: tensor[:1] for name, tensor in TENSORS.items()} | {
        "feature": np.array([-1], np.int32),
        "left": np.array([-1], np.int32),
        "right": np.array([-1], np.int32),
        "nodes_per_tree": np.array([1], np.int32),
    }
    with pytest.raises(UnusableWeights, match="each class"):
        Boosted(stump, features=64, classes=np.arange(10))
    native = GROWN.mli_get_current_model(ModelFormat.NATIVE).model
    assert native.predict_proba(DATA["many"][0][:2]).tolist() == [[0.1] * 10] * 2
