"""Models of tables: boosted trees that grow together, as learners."""

from __future__ import annotations

import numpy as np

from colearn.learners.base import Samples
from colearn.learners.xgboost import XGBoostLearner
from colearn.tasks.registry import Task

_PARAMS = {
    "credit": {"max_depth": 4},
    "fraud": {"max_depth": 6},
    "housing": {"max_depth": 6},
    "scania": {"max_depth": 6},
}


def learner(
    task: Task,
    *,
    train: Samples,
    vote: Samples,
    test: Samples | None,
    seed: int,
    learning_rate: float,
    batch_size: None,  # noqa: ARG001 - trees take all samples at once
    policy: str,
) -> XGBoostLearner:
    """Make a learner of a task; see `Task.learner`."""
    return XGBoostLearner(
        params={**_PARAMS[task.name], "eta": learning_rate},
        classes=None if task.classes is None else np.arange(task.classes),
        numbers=task.classes is None,
        rounds_per_proposal=task.steps,
        train=train,
        vote=vote,
        test=test,
        policy=policy,
        seed=seed,
    )
