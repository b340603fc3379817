"""Models of tables: boosted trees that grow together, as learners."""

from __future__ import annotations

from typing import Unpack

import numpy as np

from colearn.learners.xgboost import XGBoostLearner
from colearn.tasks.registry import Given, Task

# Rows and columns are drawn anew for each tree, so that who was outvoted has another try.
_DRAWN = {"subsample": 0.8, "colsample_bytree": 0.5}
_PARAMS = {
    "credit": {"max_depth": 4, "min_child_weight": 20, **_DRAWN},
    "fraud": {"max_depth": 6, **_DRAWN},
    "housing": {"max_depth": 6, **_DRAWN},
    "scania": {"max_depth": 6, **_DRAWN},
}


def learner(
    task: Task,
    *,
    learning_rate: float,
    batch_size: None,  # noqa: ARG001 - trees take all samples at once
    **given: Unpack[Given],
) -> XGBoostLearner:
    """Make a learner of a task; see `Task.learner`."""
    return XGBoostLearner(
        params={**_PARAMS[task.name], "eta": learning_rate},
        classes=None if task.classes is None else np.arange(task.classes),
        numbers=task.classes is None,
        rounds_per_proposal=task.steps,
        **given,
    )
