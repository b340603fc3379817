"""XGBoost's trees, grown together (arXiv 1603.02754)."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np

from colearn.errors import MissingExtra
from colearn.learners.boosted import BoostedLearner, Grown, Tree, depth_limit, in_order

try:
    import xgboost
except ModuleNotFoundError:
    raise MissingExtra("XGBoostLearner", "xgboost", "xgboost") from None

if TYPE_CHECKING:
    from numpy.typing import NDArray


class XGBoostLearner(BoostedLearner):
    """Gradient-boosted trees of XGBoost behind the Machine Learning Interface.

    ``params`` are those of `xgboost.train`, such as ``max_depth`` and ``eta``.
    """

    decided = frozenset(
        {"objective", "num_class", "base_score", "booster", "tree_method", "seed", "multi_strategy"}
    )

    def grow(
        self,
        x: NDArray[np.float32],
        y: NDArray[Any],
        margins: NDArray[np.float64],
        *,
        rounds: int,
        seed: int,
    ) -> Grown:
        """Grow trees with XGBoost's histogram method."""
        outputs = margins.shape[1]
        params: dict[str, Any] = {"verbosity": 0, "nthread": 1, **self.params}
        params |= {"tree_method": "hist", "seed": seed, "base_score": 0.5}
        params["max_depth"] = depth_limit(params.get("max_depth", 6))
        if self.classes is None:
            params["objective"] = "reg:squarederror"
        elif outputs == 1:
            params["objective"] = "binary:logistic"
        else:
            params |= {"objective": "multi:softprob", "num_class": outputs}
        samples = xgboost.DMatrix(x, y, base_margin=margins if outputs > 1 else margins[:, 0])
        booster = xgboost.train(params, samples, num_boost_round=rounds)
        model = json.loads(booster.save_raw("json"))
        trees = model["learner"]["gradient_booster"]["model"]["trees"]
        theirs = booster.predict(samples, output_margin=True).reshape(margins.shape)
        return Grown([_flat(tree) for tree in trees], theirs)


def _flat(grown: dict[str, Any]) -> Tree:
    """Return a tree of XGBoost's own arrays as ours."""
    left = np.array(grown["left_children"])
    condition = np.array(grown["split_conditions"], np.float32)
    is_leaf = left < 0
    # Left is below the condition here, and at most the threshold in our arrays.
    below = np.nextafter(condition, np.float32(-np.inf))
    return in_order(
        {
            "feature": np.where(is_leaf, -1, np.array(grown["split_indices"])),
            "left": left,
            "right": np.where(is_leaf, -1, np.array(grown["right_children"])),
            "threshold": np.where(is_leaf, 0.0, below),
            "value": np.where(is_leaf, condition, 0.0),
        }
    )
