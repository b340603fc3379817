"""Learners of labels or numbers from tables: one row a sample, one column a feature."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, Unpack

import numpy as np

from colearn.errors import ConfigError, LearnerError
from colearn.learners.base import FrameworkLearner, Options
from colearn.learners.measures import (
    absolute_error,
    hinge_loss,
    label_index,
    log_loss,
    r_squared,
    squared_error,
    wrong,
)
from colearn.learners.samples import Samples, checked_samples

if TYPE_CHECKING:
    from numpy.typing import NDArray

_PROBE_SAMPLES = 4


class Table(NamedTuple):
    """Checked train samples: x (n, features), y (n,); classes sorted, None for numbers."""

    x: NDArray[Any]
    y: NDArray[Any]
    classes: NDArray[Any] | None


def checked_table(
    train: Samples, classes: NDArray[Any] | Sequence[Any] | None, *, numbers: bool
) -> Table:
    """Return train samples and the experiment's classes, by default those of ``train``.

    Args:
        train: Samples, x of shape (n, features).
        classes: All labels of the experiment.
        numbers: Whether y holds numbers to predict rather than labels.

    Raises:
        LearnerError: The samples cannot be learned from.
        ConfigError: Classes are given where numbers are predicted.
    """
    x, y = checked_samples("train", train)
    if x.ndim != 2:
        raise LearnerError(f"x of the train samples has shape {x.shape}: expected (n, features)")
    if numbers:
        if classes is not None:
            raise ConfigError("classes are given, but the model predicts numbers: leave them out")
        if y.dtype.kind not in "fiu":
            raise LearnerError(f"y of the train samples is {y.dtype}: expected numbers")
        return Table(x, y, None)
    known = np.unique(y if classes is None else np.asarray(classes))
    if len(known) < 2:
        raise LearnerError(
            f"there is one class, {known.tolist()}: pass all labels of the experiment as classes="
        )
    return Table(x, y, known)


class SupervisedLearner(FrameworkLearner):
    """Judges a model by its `outputs`; a subclass fills the other hooks.

    A subclass sets ``classes``, and ``has_probabilities`` to False where outputs
    are decisions, before it calls ``super().__init__``.
    """

    classes: NDArray[Any] | None
    has_probabilities: bool = True

    def __init__(self, *, train: Samples, **options: Unpack[Options]) -> None:
        super().__init__(train=train, **options)
        if self.classes is not None:
            for samples in (self.train_samples, self.vote_samples, self.test_samples):
                if samples is not None:
                    label_index(samples[1], self.classes)

    @abstractmethod
    def outputs(self, x: NDArray[Any]) -> NDArray[Any]:
        """Return what the working model makes of x.

        Probabilities of shape (n, classes); or decisions, of that shape or (n,)
        for two classes; or predicted numbers of shape (n,).
        """

    def probe(self, seed: int) -> NDArray[Any]:
        """Outputs of the current model for 4 samples drawn from this seed; none is anyone's.

        Floats are drawn from a standard normal distribution, all else is 0 or 1.
        """
        x = self.train_samples[0]
        rng = np.random.default_rng(seed)
        shape = (_PROBE_SAMPLES, *x.shape[1:])
        drawn = rng.standard_normal(shape) if x.dtype.kind == "f" else rng.integers(0, 2, shape)
        self.load(self.mli_get_current_weights().weights)
        with np.errstate(all="ignore"):
            return self.outputs(drawn.astype(x.dtype))

    def losses(self, x: NDArray[Any], y: NDArray[Any]) -> NDArray[np.float64]:
        """Log loss of probabilities, hinge loss of decisions, squared error of numbers."""
        outputs = self.outputs(x)
        if self.classes is None:
            return squared_error(outputs, y)
        loss = log_loss if self.has_probabilities else hinge_loss
        return loss(outputs, label_index(y, self.classes))

    def errors(self, x: NDArray[Any], y: NDArray[Any]) -> NDArray[np.float64]:
        """1 where the label predicted is not the true one; absolute error of numbers."""
        outputs = self.outputs(x)
        if self.classes is None:
            return absolute_error(outputs, y)
        return wrong(outputs, label_index(y, self.classes))

    def score(self, x: NDArray[Any], y: NDArray[Any]) -> float:
        """Return the accuracy, or R² for numbers."""
        if self.classes is None:
            return r_squared(self.outputs(x), y)
        return 1.0 - float(self.errors(x, y).mean())


def one_line(reason: object) -> str:
    """What a library says went wrong, as part of a line of ours."""
    return " ".join(str(reason).split()).removesuffix(".")
