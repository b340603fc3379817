"""Per-sample losses and scores, the same for every framework.

Sums and means are left to the caller: a vote compares sample by sample.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from colearn.errors import LearnerError

if TYPE_CHECKING:
    from numpy.typing import NDArray


def label_index(y: NDArray[Any], classes: NDArray[Any]) -> NDArray[np.intp]:
    """Each label's place in the sorted ``classes``, shape (n,).

    Raises:
        LearnerError: A label is none of the classes.
    """
    index = np.minimum(np.searchsorted(classes, y), len(classes) - 1)
    unknown = classes[index] != y
    if unknown.any():
        raise LearnerError(
            f"label {y[unknown][0].item()!r} is none of the classes {classes.tolist()}: "
            "pass all labels of the experiment as classes="
        )
    return index


def log_loss(probabilities: NDArray[Any], index: NDArray[np.intp]) -> NDArray[np.float64]:
    """Minus the log of the true class's probability; shapes (n, classes), (n,).

    At most log(2 · classes): a sample that the model is sure and wrong about counts
    little more than a guess, so that no single sample decides a vote.
    """
    true = probabilities[np.arange(len(index)), index].astype(np.float64)
    losses: NDArray[np.float64] = -np.log(np.maximum(true, 0.5 / probabilities.shape[1]))
    return losses


def hinge_loss(decisions: NDArray[Any], index: NDArray[np.intp]) -> NDArray[np.float64]:
    """Sum of the one-against-rest hinge losses; decisions of shape (n,) or (n, classes)."""
    if decisions.ndim == 1:
        decisions = decisions[:, None]
        signs = np.where(index == 1, 1.0, -1.0)[:, None]
    else:
        signs = np.where(np.arange(decisions.shape[1]) == index[:, None], 1.0, -1.0)
    losses: NDArray[np.float64] = np.maximum(0.0, 1.0 - signs * decisions).sum(axis=1)
    return losses


def wrong(scores: NDArray[Any], index: NDArray[np.intp]) -> NDArray[np.float64]:
    """1 where the highest score is not the true class's, or not a number; else 0.

    Scores have shape (n, classes), or (n,) with two classes and 0 between them.
    """
    guess = scores > 0 if scores.ndim == 1 else scores.argmax(axis=1)
    finite = np.isfinite(scores.reshape(len(index), -1)).all(axis=1)
    right: NDArray[np.bool_] = (guess == index) & finite
    return 1.0 - right.astype(np.float64)


def squared_error(predictions: NDArray[Any], y: NDArray[Any]) -> NDArray[np.float64]:
    """Squared distance of each prediction from the truth, shape (n,)."""
    difference: NDArray[np.float64] = predictions.astype(np.float64) - y
    return difference**2


def absolute_error(predictions: NDArray[Any], y: NDArray[Any]) -> NDArray[np.float64]:
    """Distance of each prediction from the truth, shape (n,)."""
    difference: NDArray[np.float64] = predictions.astype(np.float64) - y
    return abs(difference)


def r_squared(predictions: NDArray[Any], y: NDArray[Any]) -> float:
    """Share of the variance of y explained; 0 for the mean itself, NaN if y never varies."""
    residual = squared_error(predictions, y).sum()
    total = squared_error(np.full(len(y), y.mean()), y).sum()
    return float(1.0 - residual / total) if total > 0 else float("nan")
