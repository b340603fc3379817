"""Losses and scores, against scikit-learn's and by hand."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import hinge_loss as sklearn_hinge
from sklearn.metrics import log_loss as sklearn_log_loss
from sklearn.metrics import r2_score

from colearn.errors import LearnerError
from colearn.learners import measures


@pytest.fixture
def rng():
    """Return a generator that always draws the same."""
    return np.random.default_rng(3)


def test_log_loss_is_sklearns(rng):
    """While no true class is below the bound, the mean is what scikit-learn calls log loss."""
    probabilities = 0.5 / 4 + 0.5 * rng.dirichlet(np.ones(4), 50)
    index = np.arange(50) % 4
    ours = measures.log_loss(probabilities, index)
    assert ours.shape == (50,)
    assert ours.mean() == pytest.approx(sklearn_log_loss(index, probabilities))


@pytest.mark.parametrize("classes", [2, 10, 1000])
def test_log_loss_is_bounded_a_little_above_a_guess(classes):
    """However sure and wrong a model is, one sample costs log 2 more than a guess; NaN stays."""
    probabilities = np.vstack(
        [np.eye(1, classes, 1), np.full((1, classes), 1 / classes), np.full((1, classes), np.nan)]
    )
    sure, guess, broken = measures.log_loss(probabilities, np.zeros(3, int))
    assert sure == pytest.approx(guess + np.log(2))
    assert np.isnan(broken)


def test_hinge_loss_of_two_classes_is_sklearns(rng):
    """With two classes the mean is what scikit-learn calls hinge loss."""
    decisions, index = rng.normal(size=40), np.arange(40) % 2
    assert measures.hinge_loss(decisions, index).mean() == pytest.approx(
        sklearn_hinge(index, decisions)
    )


def test_hinge_loss_adds_up_one_against_rest():
    """With more classes each class's own loss is added."""
    losses = measures.hinge_loss(np.array([[0.5, -3.0, 0.25]]), np.array([0]))
    assert losses == pytest.approx([0.5 + 0 + 1.25])


def test_wrong_never_calls_nan_right():
    """Ties go to the first class; scores that are no numbers are always wrong."""
    scores = np.array([[0.2, 0.8], [0.5, 0.5], [np.nan, 0.1], [np.inf, 0.0]])
    assert measures.wrong(scores, np.array([1, 0, 0, 0])).tolist() == [0, 0, 1, 1]
    decisions = np.array([2.0, -1.0, 0.0, np.nan, np.nan])
    assert measures.wrong(decisions, np.array([1, 1, 0, 0, 1])).tolist() == [0, 1, 0, 1, 1]


def test_r_squared_is_sklearns(rng):
    """R² is scikit-learn's, and NaN where y never varies."""
    y, predictions = rng.normal(size=30), rng.normal(size=30)
    assert measures.r_squared(predictions, y) == pytest.approx(r2_score(y, predictions))
    assert np.isnan(measures.r_squared(predictions, np.ones(30)))


def test_label_index_finds_every_label():
    """Labels of any sorted kind are found, and an unknown one is named."""
    classes = np.array(["ant", "bee", "cow"])
    index = measures.label_index(np.array(["cow", "ant"]), classes)
    assert index.tolist() == [2, 0]
    for unknown in ("cat", "aaa", "zebra"):
        with pytest.raises(LearnerError, match=f"'{unknown}' is none of the classes"):
            measures.label_index(np.array(["ant", unknown]), classes)
