"""Models of tables: boosted trees that grow together, as learners."""

from __future__ import annotations

from typing import TYPE_CHECKING, Unpack

import numpy as np

from colearn.tasks.registry import Given, Task

if TYPE_CHECKING:
    from colearn.learners.boosted import BoostedLearner

# By XGBoost's names, which LightGBM takes too. Rows and columns are drawn anew for each tree,
# so that who was outvoted has another try.
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
) -> BoostedLearner:
    """Make a learner of a task; see `Task.learner`."""
    params = {**_PARAMS[task.name], "eta": learning_rate}
    if task.framework == "lightgbm":
        params |= {"num_leaves": 2 ** _PARAMS[task.name]["max_depth"], "subsample_freq": 1}
    return _library(task.framework)(
        params=params,
        classes=None if task.classes is None else np.arange(task.classes),
        numbers=task.classes is None,
        rounds_per_proposal=task.steps,
        **given,
    )


def _library(framework: str) -> type[BoostedLearner]:
    if framework == "lightgbm":
        from colearn.learners.lightgbm import LightGBMLearner  # noqa: PLC0415 - needs an extra

        return LightGBMLearner
    from colearn.learners.xgboost import XGBoostLearner  # noqa: PLC0415 - as above

    return XGBoostLearner
