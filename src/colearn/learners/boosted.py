"""Boosted trees that grow together: each proposal adds trees.

A proposal's trees are grown by the proposer's own library, on top of the margins
that everybody's trees give its samples. They travel as flat node arrays, which are
checked and walked here (`colearn.learners.trees`): no library ever reads what
another member sent.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, TypedDict

import numpy as np

from colearn.errors import ConfigError, LearnerError
from colearn.learners.measures import label_index
from colearn.learners.samples import Samples, whole_number
from colearn.learners.supervised import SupervisedLearner, checked_table, one_line
from colearn.learners.trees import (
    MAX_DEPTH,
    NO_PRIVATE_TREES,
    Boosted,
    boosted_outputs,
    boosted_schema,
)
from colearn.protocols import Tensors

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from colearn.privacy.config import Privacy
    from colearn.protocols import Policy

_ALIKE = 1e-4
"""How far from a library's margins, in float32, those of its trees may lie, as a share."""

Tree = dict[str, "NDArray[Any]"]
"""``feature``, ``left``, ``right``, ``threshold`` and ``value`` of one tree's nodes."""


class Grown(NamedTuple):
    """New trees, and what they make of the samples that they grew on, shape (n, outputs)."""

    trees: Sequence[Tree]
    margins: NDArray[Any]


class BoostedOptions(TypedDict, total=False):
    """Options of every learner of boosted trees; `BoostedLearner` explains them."""

    params: Mapping[str, Any] | None
    classes: NDArray[Any] | Sequence[Any] | None
    numbers: bool
    base: float
    rounds_per_proposal: int
    max_trees: int
    max_nodes: int
    vote: Samples | None
    test: Samples | None
    policy: str | Policy
    seed: int
    privacy: Privacy | None


class BoostedLearner(SupervisedLearner):
    """Base of the learners of boosted trees.

    No tree is ever removed: once there is no room for another, a proposal equals the
    current weights, and voters reject it. Features are compared in float32.

    Args:
        train: As in `FrameworkLearner`; x of shape (n, features).
        params: The library's own parameters, the same kind of trees for all. What the
            learner decides itself is refused: see `decided`.
        classes: All labels of the experiment; by default those in ``train``.
        numbers: Predict numbers rather than labels.
        base: Where margins begin, the same for all; for numbers, a usual value.
        rounds_per_proposal: Boosting rounds that a proposal adds, each one tree, or
            one for each class where there are three or more.
        max_trees: Trees there may be; the same for all learners.
        max_nodes: Nodes there may be, all trees together; the same for all.
        vote: As in `FrameworkLearner`.
        test: As in `FrameworkLearner`.
        policy: As in `FrameworkLearner`.
        seed: As in `FrameworkLearner`.
        privacy: As in `FrameworkLearner`; for votes alone.

    Raises:
        LearnerError: The samples cannot be learned from.
        ConfigError: An option cannot be used.
    """

    decided: frozenset[str]
    """Parameters that the learner sets, and the caller may not."""

    def __init__(
        self,
        *,
        train: Samples,
        params: Mapping[str, Any] | None = None,
        classes: NDArray[Any] | Sequence[Any] | None = None,
        numbers: bool = False,
        base: float = 0.0,
        rounds_per_proposal: int = 10,
        max_trees: int = 2_000,
        max_nodes: int = 1_000_000,
        vote: Samples | None = None,
        test: Samples | None = None,
        policy: str | Policy = "loss",
        seed: int = 0,
        privacy: Privacy | None = None,
    ) -> None:
        self.params = dict(params or {})
        if taken := sorted(self.decided & self.params.keys()):
            raise ConfigError(
                f"the parameter {taken[0]!r} is the learner's to set: leave it out of params"
            )
        self.base = base
        self.max_trees = whole_number("max_trees", max_trees, least=1)
        self.max_nodes = whole_number("max_nodes", max_nodes, least=1)
        x, y, self.classes = checked_table(train, classes, numbers=numbers)
        self._features = x.shape[1]
        self._outputs = boosted_outputs(self.classes)
        self.load(_joined([]))
        super().__init__(
            train=(x, y),
            vote=vote,
            test=test,
            steps=whole_number("rounds_per_proposal", rounds_per_proposal, least=1),
            policy=policy,
            seed=seed,
            privacy=privacy,
        )
        self._schema = boosted_schema(max_trees=self.max_trees, max_nodes=self.max_nodes)

    @abstractmethod
    def grow(
        self,
        x: NDArray[np.float32],
        y: NDArray[Any],
        margins: NDArray[np.float64],
        *,
        rounds: int,
        seed: int,
    ) -> Grown:
        """Grow trees on top of margins.

        Args:
            x: Samples of shape (n, features).
            y: Places in ``classes``, or numbers, of shape (n,).
            margins: What the present trees give them, shape (n, outputs).
            rounds: Boosting rounds.
            seed: Of anything random, below 2**31.

        Returns:
            Trees of each round, one for each output in order; and the margins that the
            library says they give x.
        """

    def tensors(self) -> dict[str, NDArray[np.generic]]:
        """Return copies of the node arrays."""
        return {name: np.array(tensor) for name, tensor in self._trees.tensors.items()}

    def load(self, tensors: Tensors) -> None:
        """Set the trees, by reference.

        Raises:
            LearnerError: The arrays are not those of boosted trees.
        """
        self._trees = Boosted(
            tensors, features=self._features, classes=self.classes, base=self.base
        )

    def check(self, tensors: Tensors) -> None:
        """Raise `SchemaMismatch` or `LearnerError` unless the tensors are boosted trees."""
        super().check(tensors)
        Boosted(tensors, features=self._features, classes=self.classes)

    def begin(self, rng: np.random.Generator) -> None:
        """Keep the generator: growing may be random."""
        self._rng = rng

    def batches(self, rng: np.random.Generator) -> Iterator[NDArray[np.intp]]:  # noqa: ARG002
        """Yield all rows, once: boosting takes them all."""
        yield np.arange(len(self.train_samples[0]))

    def step(self, x: NDArray[Any], y: NDArray[Any]) -> None:
        """Add trees grown on these samples, as many rounds as there is room for."""
        old = self._trees.tensors
        rounds = min(self.steps, (self.max_trees - len(old["nodes_per_tree"])) // self._outputs)
        if rounds < 1:
            return
        target = y if self.classes is None else label_index(y, self.classes)
        margins = self._trees.margins(x)
        try:
            grown, theirs = self.grow(
                x.astype(np.float32),
                target,
                margins,
                rounds=rounds,
                seed=int(self._rng.integers(2**31)),
            )
        except Exception as reason:
            raise LearnerError(
                f"growing trees failed: {one_line(reason):.200}; change params or the samples"
            ) from reason
        new = Boosted(_joined(grown), features=self._features, classes=self.classes)
        ours = margins + new.margins(x)
        largest = max(1.0, float(np.abs(ours).max()))
        if len(grown) > rounds * self._outputs or np.abs(ours - theirs).max() > _ALIKE * largest:
            raise LearnerError(
                "params ask for trees that do not add up to the library's own predictions, such as "
                "more than one a round, or splits by categories: leave that out"
            )
        kept = [old]
        room = self.max_nodes - len(old["feature"])
        for start in range(0, len(grown), self._outputs):
            trees = grown[start : start + self._outputs]
            room -= sum(len(tree["feature"]) for tree in trees)
            if room < 0:
                break
            kept.append(_joined(trees))
        self.load({name: np.concatenate([part[name] for part in kept]) for name in old})

    def no_private_training(self) -> str | None:
        """Trees cannot: their splits and leaves are made of single samples."""
        return NO_PRIVATE_TREES

    def no_private_votes(self) -> str | None:
        """Trees can always vote privately: they judge each sample alone."""
        return None

    def outputs(self, x: NDArray[Any]) -> NDArray[np.float64]:
        """Return probabilities or predicted numbers."""
        return self._trees.predict(x) if self.classes is None else self._trees.predict_proba(x)

    def native(self) -> Boosted:
        """Return the current `Boosted`, which has ``predict`` and ``predict_proba``."""
        return self._trees

    def onnx(self) -> bytes:
        """Return the trees as ONNX."""
        from colearn.learners.onnx_trees import from_boosted  # noqa: PLC0415 - needs another extra

        return from_boosted(self._trees)


def depth_limit(depth: int | None) -> int:
    """Return a depth of trees that can travel; None, 0 and less ask for no limit."""
    return MAX_DEPTH if depth is None or depth <= 0 else min(depth, MAX_DEPTH)


def in_order(tree: Tree) -> Tree:
    """Return a tree's nodes renumbered so that children lie behind their parent.

    Nodes that the root does not lead to are dropped; a leaf has -1 in ``left``.
    """
    order = [0]
    for node in order:
        if tree["left"][node] >= 0:
            order += [int(tree["left"][node]), int(tree["right"][node])]
    place = np.full(len(tree["left"]) + 1, -1)  # the last stands for no child, -1
    place[order] = np.arange(len(order))
    return {
        name: place[array[order]] if name in ("left", "right") else array[order]
        for name, array in tree.items()
    }


def _joined(trees: Sequence[Tree]) -> dict[str, NDArray[Any]]:
    """Return trees as the tensors of `boosted_schema`."""
    dtypes = {
        "feature": np.int32,
        "left": np.int32,
        "right": np.int32,
        "threshold": np.float64,
        "value": np.float64,
    }
    sizes = np.array([len(tree["feature"]) for tree in trees], np.int32)
    return {
        "nodes_per_tree": sizes,
        **{
            name: np.concatenate([np.zeros(0), *(tree[name] for tree in trees)]).astype(dtype)
            for name, dtype in dtypes.items()
        },
    }
