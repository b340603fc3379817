"""LightGBM's trees, grown together (Ke et al., NeurIPS 2017)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from colearn.errors import MissingExtra
from colearn.learners.boosted import BoostedLearner, Grown, Tree, depth_limit

try:
    import lightgbm
except ModuleNotFoundError:
    raise MissingExtra("LightGBMLearner", "lightgbm", "lightgbm") from None

if TYPE_CHECKING:
    from numpy.typing import NDArray


class LightGBMLearner(BoostedLearner):
    """Gradient-boosted trees of LightGBM behind the Machine Learning Interface.

    ``params`` are those of `lightgbm.train`, such as ``num_leaves`` and
    ``learning_rate``.
    """

    decided = frozenset(
        {
            *("objective", "num_class", "boosting", "boost_from_average", "linear_tree", "seed"),
            "categorical_feature",
        }
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
        """Grow trees with LightGBM."""
        outputs = margins.shape[1]
        params: dict[str, Any] = {"verbosity": -1, "num_threads": 1, **self.params}
        params |= {"seed": seed, "deterministic": True, "boost_from_average": False}
        params["max_depth"] = depth_limit(params.get("max_depth"))
        if self.classes is None:
            params["objective"] = "regression"
        elif outputs == 1:
            params["objective"] = "binary"
        else:
            params |= {"objective": "multiclass", "num_class": outputs}
        samples = lightgbm.Dataset(x, y, init_score=margins if outputs > 1 else margins[:, 0])
        booster = lightgbm.train(params, samples, num_boost_round=rounds)
        trees = [_flat(tree["tree_structure"]) for tree in booster.dump_model()["tree_info"]]
        theirs = np.reshape(booster.predict(x, raw_score=True), margins.shape)
        return Grown(trees, margins + theirs)


def _flat(root: dict[str, Any]) -> Tree:
    """Return a nested tree as arrays, children behind their parent."""
    nodes = [root]
    left: list[int] = []
    right: list[int] = []
    for node in nodes:
        inner = "split_feature" in node
        left.append(len(nodes) if inner else -1)
        right.append(len(nodes) + 1 if inner else -1)
        if inner:
            nodes += [node["left_child"], node["right_child"]]
    return {
        "feature": np.array([node.get("split_feature", -1) for node in nodes]),
        "left": np.array(left),
        "right": np.array(right),
        "threshold": np.array([float(node.get("threshold", 0.0)) for node in nodes]),
        "value": np.array(
            [0.0 if "split_feature" in node else float(node["leaf_value"]) for node in nodes]
        ),
    }
