"""Forests as arrays: they predict like scikit-learn's, and hostile ones are refused."""

from __future__ import annotations

import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from colearn.errors import LearnerError, UnusableWeights
from colearn.learners.trees import MAX_DEPTH, Forest, forest_schema, no_trees

CLASSES = np.array(["no", "yes"])


def tensors():
    """Return two trees over two features: a split of a split, and a single leaf."""
    return {
        "feature": np.array([1, 0, -1, -1, -1, -1], np.int32),
        "left": np.array([1, 2, -1, -1, -1, -1], np.int32),
        "nodes_per_tree": np.array([5, 1], np.int32),
        "right": np.array([4, 3, -1, -1, -1, -1], np.int32),
        "threshold": np.array([0.5, -1.0, 0, 0, 0, 0]),
        "value": np.array([[0.5, 0.5], [0.5, 0.5], [1, 0], [0, 1], [0.25, 0.75], [0.5, 0.5]]),
    }


def forest(**changes):
    """Return the forest of the tensors, some of them replaced."""
    return Forest(tensors() | changes, features=2, classes=CLASSES)


def changed(name, place, value):
    """Return one tensor with one element replaced."""
    tensor = tensors()[name]
    tensor[place] = value
    return {name: tensor}


def test_predicts_by_hand():
    """Walking the two trees by hand gives these probabilities and labels."""
    x = np.array([[-1.0, 0.5], [0.0, 0.5], [0.0, 0.6]])
    assert forest().predict_proba(x).tolist() == [[0.75, 0.25], [0.25, 0.75], [0.375, 0.625]]
    assert forest().predict(x).tolist() == ["no", "yes", "yes"]


def test_without_trees_all_classes_are_alike():
    """The initial forest knows nothing: uniform probabilities, or the number 0."""
    x = np.zeros((3, 2))
    empty = Forest(no_trees(2), features=2, classes=CLASSES)
    assert (empty.predict_proba(x) == 0.5).all()
    numbers = Forest(no_trees(1), features=2, classes=None)
    assert numbers.predict(x).tolist() == [0, 0, 0]
    with pytest.raises(LearnerError, match="call predict"):
        numbers.predict_proba(x)


def test_many_samples_are_predicted_in_parts(monkeypatch):
    """How many samples are walked at once changes no prediction."""
    x = np.random.default_rng(0).normal(size=(50, 2))
    expected = forest().predict_proba(x)
    monkeypatch.setattr("colearn.learners.trees._VALUES_AT_ONCE", 12)
    assert np.array_equal(forest().predict_proba(x), expected)


def test_x_of_another_width_is_refused():
    """Samples with other features than the forest's are refused."""
    with pytest.raises(LearnerError, match=r"expected \(n, 2\)"):
        forest().predict(np.zeros((3, 4)))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (changed("nodes_per_tree", 0, 4), "add up"),
        ({"nodes_per_tree": np.array([6, 0], np.int32)}, "add up"),
        ({"nodes_per_tree": np.array([7, -1], np.int32)}, "add up"),
        (changed("left", 2, 3), "half a leaf"),
        (changed("right", 1, -1), "half a leaf"),
        (changed("feature", 3, 0), "half a leaf"),
        (changed("feature", 0, 2), "outside 0 to 1"),
        (changed("feature", 0, -7), "outside 0 to 1"),
        (changed("left", 1, 0), "behind its parent"),
        (changed("left", 1, 1), "behind its parent"),
        (changed("left", 1, -5), "behind its parent"),
        (changed("right", 0, 5), "behind its parent"),
        (changed("right", 0, 2**31 - 1), "behind its parent"),
        (changed("right", 0, 3), "no parent, or two"),
        (changed("threshold", 0, np.nan), "not finite"),
        (changed("value", (5, 0), np.inf), "not finite"),
        (changed("value", 5, [-0.5, 1.5]), "no probabilities"),
        (changed("value", 5, [0.5, 0.6]), "no probabilities"),
    ],
)
def test_hostile_forests_are_refused(changes, said):
    """Each way in which arrays can fail to be a forest is refused with its reason."""
    with pytest.raises(UnusableWeights, match=said):
        forest(**changes)


def chain(depth):
    """Return a tree whose every left child is a leaf and whose right child splits again."""
    count = 2 * depth + 1
    inner = np.arange(count) % 2 == 0
    inner[-1] = False
    here = np.arange(count)
    return {
        "feature": np.where(inner, 0, -1).astype(np.int32),
        "left": np.where(inner, here + 1, -1).astype(np.int32),
        "nodes_per_tree": np.array([count], np.int32),
        "right": np.where(inner, here + 2, -1).astype(np.int32),
        "threshold": np.zeros(count),
        "value": np.full((count, 2), 0.5),
    }


def test_trees_too_deep_are_refused_quickly():
    """A chain of a million nodes, which would take long to walk, is refused in no time."""
    Forest(chain(MAX_DEPTH), features=1, classes=CLASSES)
    long = chain(500_000)
    start = time.process_time()
    with pytest.raises(UnusableWeights, match="deeper than"):
        Forest(long, features=1, classes=CLASSES)
    assert time.process_time() - start < 2


@given(st.data())
def test_any_change_is_refused_or_predicts(data):
    """Whatever numbers stand in the arrays, a forest is refused or gives probabilities."""
    mutant = tensors()
    for _ in range(data.draw(st.integers(1, 4))):
        name = data.draw(st.sampled_from(sorted(mutant)))
        tensor = mutant[name]
        place = data.draw(st.integers(0, tensor.size - 1))
        small = st.integers(-3, 8)
        number = small | st.integers(-(2**31), 2**31 - 1)
        tensor.flat[place] = data.draw(number if tensor.dtype == np.int32 else small | st.floats())
    try:
        one = Forest(mutant, features=2, classes=CLASSES)
    except UnusableWeights:
        return
    probabilities = one.predict_proba(np.array([[0.0, 0.0], [-2.0, 1.0]]))
    assert probabilities.min() >= 0
    assert np.allclose(probabilities.sum(axis=1), 1)


def test_schema_holds_forests_of_any_size_within_bounds():
    """The schema takes a forest with and without trees, and says the sizes that may grow."""
    schema = forest_schema(2, max_trees=3, max_nodes=9)
    assert schema.dims(tensors()) == {"nodes": 6, "trees": 2}
    assert schema.dims(no_trees(2)) == {"nodes": 0, "trees": 0}
