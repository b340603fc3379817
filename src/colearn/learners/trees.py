"""Trees as flat node arrays: checked, and predicting without the library that grew them.

A tree is a run of consecutive nodes, its root first. ``left`` and ``right`` count
from the root and lie behind their parent, so no walk can loop. A leaf has -1 in
``feature``, ``left`` and ``right``. A sample goes left where its feature, in
float32, is at most the threshold.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from colearn.errors import LearnerError, UnusableWeights
from colearn.weights import Schema, TensorSpec

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from numpy.typing import NDArray

MAX_DEPTH = 64
"""Most splits from a root to its deepest leaf: what bounds the time of a prediction."""

_LEAF = -1
_ROUNDING = 1e-6
_VALUES_AT_ONCE = 1 << 17  # what a processor's cache holds


NO_PRIVATE_TREES = (
    "never: a tree's splits and leaves are made of single records, so there is no "
    "gradient to clip; protect its votes alone, or train a linear model or a perceptron"
)
"""Why no learner of trees trains privately."""


def forest_schema(outputs: int, *, max_trees: int, max_nodes: int) -> Schema:
    """Return the schema of forests whose nodes hold ``outputs`` values each."""
    nodes = ("nodes",)
    return Schema(
        {
            "feature": TensorSpec("int32", nodes),
            "left": TensorSpec("int32", nodes),
            "nodes_per_tree": TensorSpec("int32", ("trees",)),
            "right": TensorSpec("int32", nodes),
            "threshold": TensorSpec("float64", nodes),
            "value": TensorSpec("float64", ("nodes", outputs)),
        },
        {"nodes": max_nodes, "trees": max_trees},
    )


def boosted_schema(*, max_trees: int, max_nodes: int) -> Schema:
    """Return the schema of boosted trees, whose nodes hold one value each."""
    schema = forest_schema(1, max_trees=max_trees, max_nodes=max_nodes)
    value = {"value": TensorSpec("float64", ("nodes",))}
    return Schema({**schema.tensors, **value}, schema.bounds)


def boosted_outputs(classes: NDArray[Any] | None) -> int:
    """How many margins there are: one for numbers and for two classes, else one a class."""
    return 1 if classes is None or len(classes) == 2 else len(classes)


def no_trees(outputs: int) -> dict[str, NDArray[Any]]:
    """Return the tensors of a forest without trees."""
    shapes = {"feature": (0,), "left": (0,), "nodes_per_tree": (0,), "right": (0,)}
    return {
        **{name: np.zeros(shape, np.int32) for name, shape in shapes.items()},
        "threshold": np.zeros(0),
        "value": np.zeros((0, outputs)),
    }


class Nodes:
    """Checked trees, and where samples end in them.

    Args:
        tensors: As in `forest_schema`; kept by reference, never written.
        features: Number of columns of x.

    Raises:
        LearnerError: The arrays are not those of trees.
    """

    def __init__(self, tensors: Mapping[str, Any], features: int) -> None:
        self.tensors = tensors
        self.features = features
        sizes = tensors["nodes_per_tree"].astype(np.int64)
        if (sizes < 1).any() or sizes.sum() != len(tensors["feature"]):
            raise refused("nodes_per_tree does not add up to its nodes")
        if not (np.isfinite(tensors["value"]).all() and np.isfinite(tensors["threshold"]).all()):
            raise refused("a threshold or value is not finite")
        self._roots = np.cumsum(sizes) - sizes
        self._is_leaf = tensors["left"] == _LEAF
        places = np.arange(len(self._is_leaf))
        offsets = np.repeat(self._roots, sizes)
        # A leaf is its own child, so that a walk may go on until the deepest has ended.
        children = tuple(
            np.where(self._is_leaf, places, tensors[side] + offsets) for side in ("left", "right")
        )
        self._check_splits(children, ends=offsets + np.repeat(sizes, sizes))
        self._depth = self._checked_depth(children)
        left, right = children
        self._next = np.stack([right, left], axis=1).ravel()
        self._feature = np.where(self._is_leaf, 0, tensors["feature"]).astype(np.int64)

    def __len__(self) -> int:
        """How many trees there are."""
        return len(self._roots)

    def leaves(self, x: NDArray[Any], width: int) -> Iterator[tuple[slice, NDArray[np.int64]]]:
        """Yield where samples end in each tree, shape (part, trees), and which samples.

        Args:
            x: Samples of shape (n, features).
            width: Values the caller takes of each leaf, so that a part fits in memory.

        Raises:
            LearnerError: x has another shape.
        """
        if x.ndim != 2 or x.shape[1] != self.features:
            raise LearnerError(f"x has shape {x.shape}: expected (n, {self.features})")
        x = x.astype(np.float32)
        size = max(1, _VALUES_AT_ONCE // (max(1, len(self)) * width))
        for start in range(0, len(x), size):
            part = slice(start, start + size)
            yield part, self._walked(x[part])

    def _walked(self, x: NDArray[np.float32]) -> NDArray[np.int64]:
        threshold = self.tensors["threshold"]
        values = x.ravel()
        rows = np.arange(0, x.size, max(1, x.shape[1]))[:, None]
        at = np.tile(self._roots, (len(x), 1))
        for _ in range(self._depth):
            goes_left = values.take(rows + self._feature.take(at)) <= threshold.take(at)
            at = self._next.take(2 * at + goes_left)
        return at

    def _check_splits(self, children: Sequence[NDArray[np.int64]], ends: NDArray[np.int64]) -> None:
        """Raise unless the nodes form trees; ``ends`` says where each node's tree ends."""
        feature, is_leaf = self.tensors["feature"], self._is_leaf
        if any(((self.tensors[name] == _LEAF) != is_leaf).any() for name in ("feature", "right")):
            raise refused("a node is half a leaf")
        inner = np.flatnonzero(~is_leaf)
        if ((feature[inner] < 0) | (feature[inner] >= self.features)).any():
            raise refused(f"a split is by a feature outside 0 to {self.features - 1}")
        parents = np.zeros(len(feature), np.int64)
        parents[self._roots] = 1
        for child in children:
            if ((child[inner] <= inner) | (child[inner] >= ends[inner])).any():
                raise refused("a child does not lie behind its parent in the same tree")
            parents += np.bincount(child[inner], minlength=len(feature))
        if (parents != 1).any():
            raise refused("a node has no parent, or two")

    def _checked_depth(self, children: Sequence[NDArray[np.int64]]) -> int:
        level = self._roots
        for depth in range(MAX_DEPTH + 1):
            inner = level[~self._is_leaf[level]]
            if not len(inner):
                return depth
            level = np.concatenate([child[inner] for child in children])
        raise refused(f"a tree is deeper than {MAX_DEPTH} splits")


class Forest:
    """A forest that predicts; without trees it predicts the uniform distribution, or 0.

    Args:
        tensors: As in `forest_schema`; kept by reference, never written.
        features: Number of columns of x.
        classes: The sorted labels; None where numbers are predicted.

    Raises:
        LearnerError: The arrays are not those of a forest.
    """

    def __init__(
        self, tensors: Mapping[str, Any], *, features: int, classes: NDArray[Any] | None
    ) -> None:
        self.tensors = tensors
        self.features = features
        self.classes = classes
        self._nodes = Nodes(tensors, features)
        value = tensors["value"]
        if classes is not None and (
            (value < 0).any() or (abs(value.sum(axis=1) - 1) > _ROUNDING).any()
        ):
            raise refused("a node's values are no probabilities")

    def predict(self, x: NDArray[Any]) -> NDArray[Any]:
        """Predict a label or a number for each row of x, shape (n,)."""
        outputs = self.outputs(x)
        return outputs[:, 0] if self.classes is None else self.classes[outputs.argmax(axis=1)]

    def predict_proba(self, x: NDArray[Any]) -> NDArray[np.float64]:
        """Predict the classes' probabilities for each row of x, shape (n, classes)."""
        if self.classes is None:
            raise LearnerError("this forest predicts numbers: call predict")
        return self.outputs(x)

    def outputs(self, x: NDArray[Any]) -> NDArray[np.float64]:
        """Mean over the trees of the leaves' values, shape (n, outputs)."""
        value = self.tensors["value"]
        outputs: int = value.shape[1]
        result = np.full((len(x), outputs), 0.0 if self.classes is None else 1.0 / outputs)
        for part, leaves in self._nodes.leaves(x, outputs):
            if len(self._nodes):
                result[part] = value[leaves].mean(axis=1)
        return result


class Boosted:
    """Trees whose leaves add up to margins; tree number i adds to output i mod outputs.

    Margins become a probability by the logistic function, probabilities by softmax,
    or are the numbers predicted.

    Args:
        tensors: As in `boosted_schema`; kept by reference, never written.
        features: Number of columns of x.
        classes: The sorted labels; None where numbers are predicted.
        base: Where margins begin.

    Raises:
        LearnerError: The arrays are not those of boosted trees.
    """

    def __init__(
        self,
        tensors: Mapping[str, Any],
        *,
        features: int,
        classes: NDArray[Any] | None,
        base: float = 0.0,
    ) -> None:
        self.tensors = tensors
        self.features = features
        self.classes = classes
        self.base = base
        self.outputs = boosted_outputs(classes)
        self._nodes = Nodes(tensors, features)
        if len(self._nodes) % self.outputs:
            raise refused(f"there are {len(self._nodes)} trees, not some for each class")

    def margins(self, x: NDArray[Any]) -> NDArray[np.float64]:
        """Sum of the leaves, shape (n, outputs)."""
        result = np.full((len(x), self.outputs), self.base)
        for part, leaves in self._nodes.leaves(x, 1):
            values = self.tensors["value"][leaves].reshape(len(leaves), -1, self.outputs)
            result[part] += values.sum(axis=1)
        return result

    def predict_proba(self, x: NDArray[Any]) -> NDArray[np.float64]:
        """Predict the classes' probabilities for each row of x, shape (n, classes)."""
        if self.classes is None:
            raise LearnerError("these trees predict numbers: call predict")
        margins = self.margins(x)
        if self.outputs == 1:
            margins = np.concatenate([np.zeros_like(margins), margins], axis=1)
        shares = np.exp(margins - margins.max(axis=1, keepdims=True))
        probabilities: NDArray[np.float64] = shares / shares.sum(axis=1, keepdims=True)
        return probabilities

    def predict(self, x: NDArray[Any]) -> NDArray[Any]:
        """Predict a label or a number for each row of x, shape (n,)."""
        if self.classes is None:
            return self.margins(x)[:, 0]
        labels: NDArray[Any] = self.classes[self.predict_proba(x).argmax(axis=1)]
        return labels


def refused(reason: str) -> UnusableWeights:
    """Return the error of weights that are no trees."""
    return UnusableWeights(f"these weights are no forest: {reason}; refuse them")
