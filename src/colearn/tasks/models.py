"""Models in scikit-learn: one for each task, as a learner."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Unpack

import numpy as np

from colearn.errors import MissingExtra
from colearn.learners.base import FrameworkLearner
from colearn.tasks.registry import Given, Task

try:
    from sklearn.ensemble import RandomForestClassifier
    from sklearn.linear_model import SGDClassifier, SGDRegressor
    from sklearn.neural_network import MLPClassifier

    from colearn.learners.forest import ForestLearner
    from colearn.learners.sklearn import SklearnLearner
except ModuleNotFoundError:
    raise MissingExtra("this task's model", "scikit-learn", "demo") from None


def learner(
    task: Task,
    *,
    learning_rate: float | None,
    batch_size: int | None,
    **given: Unpack[Given],
) -> FrameworkLearner:
    """Make a learner of a task; see `Task.learner`."""
    classes = None if task.classes is None else np.arange(task.classes)
    if batch_size is None:
        return ForestLearner(
            RandomForestClassifier(random_state=given["seed"]),
            classes=classes,
            trees_per_round=task.steps,
            **given,
        )
    return SklearnLearner(
        _ESTIMATORS[task.name](learning_rate, given["seed"]),
        classes=classes,
        steps=task.steps,
        batch_size=batch_size,
        **given,
    )


def _perceptron(hidden: int) -> Callable[[float | None, int], Any]:
    def make(learning_rate: float | None, seed: int) -> Any:
        return MLPClassifier(
            hidden_layer_sizes=(hidden,), learning_rate_init=learning_rate, random_state=seed
        )

    return make


def _logistic_regression(learning_rate: float | None, seed: int) -> Any:
    return SGDClassifier(
        loss="log_loss", learning_rate="constant", eta0=learning_rate, random_state=seed
    )


def _linear_regression(learning_rate: float | None, seed: int) -> Any:
    return SGDRegressor(learning_rate="constant", eta0=learning_rate, random_state=seed)


_ESTIMATORS = {
    "digits": _perceptron(64),
    "breast-cancer": _logistic_regression,
    "diabetes": _linear_regression,
    "fashion-mnist": _perceptron(100),
    "mnist": _perceptron(100),
}
