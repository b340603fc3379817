"""Random forests that grow together: each proposal adds trees.

The trees of one learner see its private data alone; the forest that all vote on
is their union. Trees travel as flat node arrays (`colearn.learners.trees`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from colearn.errors import LearnerError, MissingExtra, UnsupportedModel
from colearn.learners.measures import label_index
from colearn.learners.samples import Samples, whole_number
from colearn.learners.supervised import SupervisedLearner, checked_table, one_line
from colearn.learners.trees import (
    MAX_DEPTH,
    NO_PRIVATE_TREES,
    Forest,
    forest_schema,
    no_trees,
)
from colearn.protocols import Tensors

try:
    from sklearn.base import BaseEstimator, clone, is_regressor
    from sklearn.ensemble import (
        ExtraTreesClassifier,
        ExtraTreesRegressor,
        RandomForestClassifier,
        RandomForestRegressor,
    )
except ModuleNotFoundError:
    raise MissingExtra("ForestLearner", "scikit-learn", "demo") from None

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from colearn.privacy.config import Privacy
    from colearn.protocols import Policy

_FORESTS = (
    RandomForestClassifier,
    ExtraTreesClassifier,
    RandomForestRegressor,
    ExtraTreesRegressor,
)


class ForestLearner(SupervisedLearner):
    """A random forest behind the Machine Learning Interface.

    The initial forest has no trees. No tree is ever removed: once there is no
    room for another, a proposal equals the current weights and voters, who see
    nothing improve, reject it.

    Args:
        estimator: Says how trees are grown; it is cloned and never changed. Its
            ``n_estimators`` and ``random_state`` have no effect, and trees stop at
            `colearn.learners.trees.MAX_DEPTH` splits.
        train: As in `FrameworkLearner`; x of shape (n, features).
        classes: All labels of the experiment; by default those in ``train``.
        trees_per_round: Trees that a proposal adds.
        max_trees: Trees the forest may have; the same for all learners.
        max_nodes: Nodes the forest may have, all trees together; the same for all.
        vote: As in `FrameworkLearner`.
        test: As in `FrameworkLearner`.
        policy: As in `FrameworkLearner`.
        seed: As in `FrameworkLearner`.
        privacy: As in `FrameworkLearner`; for votes alone.

    Raises:
        UnsupportedModel: The estimator is no random forest.
        LearnerError: The samples cannot be learned from.
        ConfigError: An option cannot be used.
    """

    def __init__(
        self,
        estimator: BaseEstimator,
        *,
        train: Samples,
        classes: NDArray[Any] | Sequence[Any] | None = None,
        trees_per_round: int = 10,
        max_trees: int = 1_000,
        max_nodes: int = 1_000_000,
        vote: Samples | None = None,
        test: Samples | None = None,
        policy: str | Policy = "loss",
        seed: int = 0,
        privacy: Privacy | None = None,
    ) -> None:
        _check_supported(estimator)
        self.max_trees = whole_number("max_trees", max_trees, least=1)
        self.max_nodes = whole_number("max_nodes", max_nodes, least=1)
        x, y, self.classes = checked_table(train, classes, numbers=is_regressor(estimator))
        self._estimator = clone(estimator)
        outputs = 1 if self.classes is None else len(self.classes)
        self._features = x.shape[1]
        self.load(no_trees(outputs))
        super().__init__(
            train=(x, y),
            vote=vote,
            test=test,
            steps=whole_number("trees_per_round", trees_per_round, least=1),
            policy=policy,
            seed=seed,
            privacy=privacy,
        )
        self._schema = forest_schema(outputs, max_trees=self.max_trees, max_nodes=self.max_nodes)

    def tensors(self) -> dict[str, NDArray[np.generic]]:
        """Return copies of the forest's node arrays."""
        return {name: np.array(tensor) for name, tensor in self._forest.tensors.items()}

    def load(self, tensors: Tensors) -> None:
        """Set the forest, by reference.

        Raises:
            LearnerError: The arrays are not those of a forest.
        """
        self._forest = Forest(tensors, features=self._features, classes=self.classes)

    def check(self, tensors: Tensors) -> None:
        """Raise `SchemaMismatch` or `LearnerError` unless the tensors are a forest's."""
        super().check(tensors)
        Forest(tensors, features=self._features, classes=self.classes)

    def begin(self, rng: np.random.Generator) -> None:
        """Keep the generator: growing is random."""
        self._rng = rng

    def batches(self, rng: np.random.Generator) -> Iterator[NDArray[np.intp]]:  # noqa: ARG002
        """Yield all rows, once: a tree draws its own."""
        yield np.arange(len(self.train_samples[0]))

    def step(self, x: NDArray[Any], y: NDArray[Any]) -> None:
        """Add trees grown on these samples, as many as there is room for."""
        old = self._forest.tensors
        count = min(self.steps, self.max_trees - len(old["nodes_per_tree"]))
        if count < 1:
            return
        grown = [old]
        room = self.max_nodes - len(old["feature"])
        for tree in self._grow(count, x, y):
            room -= len(tree["feature"])
            if room < 0:
                break
            grown.append(tree)
        self.load({name: np.concatenate([part[name] for part in grown]) for name in old})

    def no_private_training(self) -> str | None:
        """Trees cannot: their splits and leaves are made of single samples."""
        return NO_PRIVATE_TREES

    def no_private_votes(self) -> str | None:
        """Trees can always vote privately: they judge each sample alone."""
        return None

    def outputs(self, x: NDArray[Any]) -> NDArray[np.float64]:
        """Return what is judged: predicted numbers, or smoothed probabilities.

        A few trees often give the true class no chance at all, and log loss would
        punish that without measure. So the uniform distribution counts as one more
        tree, which changes no predicted label.
        """
        outputs = self._forest.outputs(x)
        if self.classes is None:
            return outputs[:, 0]
        trees = len(self._forest.tensors["nodes_per_tree"])
        return (trees * outputs + 1.0 / len(self.classes)) / (trees + 1)

    def native(self) -> Forest:
        """Return the current `Forest`, which has ``predict`` and ``predict_proba``."""
        return self._forest

    def onnx(self) -> bytes:
        """Return the forest as ONNX."""
        from colearn.learners.onnx_trees import from_forest  # noqa: PLC0415 - needs another extra

        return from_forest(self._forest)

    def _grow(
        self, count: int, x: NDArray[Any], y: NDArray[Any]
    ) -> Iterator[dict[str, NDArray[Any]]]:
        """Grow new trees and yield each as node arrays."""
        depth = self._estimator.max_depth
        estimator = clone(self._estimator).set_params(
            n_estimators=count,
            random_state=int(self._rng.integers(2**31)),
            max_depth=MAX_DEPTH if depth is None else min(depth, MAX_DEPTH),
            oob_score=False,
            warm_start=False,
        )
        try:
            estimator.fit(x, y if self.classes is None else label_index(y, self.classes))
        except ValueError as reason:
            raise LearnerError(
                f"growing trees failed: {one_line(reason)}; "
                "change the estimator's parameters or the samples"
            ) from None
        columns = [0] if self.classes is None else estimator.classes_
        for tree in (grown.tree_ for grown in estimator.estimators_):
            is_leaf = tree.children_left < 0
            value = np.zeros((tree.node_count, 1 if self.classes is None else len(self.classes)))
            value[:, columns] = tree.value[:, 0, :]
            yield {
                "feature": np.where(is_leaf, -1, tree.feature).astype(np.int32),
                "left": tree.children_left.astype(np.int32),
                "nodes_per_tree": np.array([tree.node_count], np.int32),
                "right": tree.children_right.astype(np.int32),
                "threshold": np.where(is_leaf, 0.0, tree.threshold),
                "value": value,
            }


def _check_supported(estimator: BaseEstimator) -> None:
    if isinstance(estimator, _FORESTS):
        return
    name = estimator.__name__ if isinstance(estimator, type) else type(estimator).__name__
    raise UnsupportedModel(
        f"{name} cannot grow collectively, not yet: give an instance of one of "
        f"{', '.join(forest.__name__ for forest in _FORESTS)}, "
        "or use SklearnLearner for estimators with partial_fit"
    )
