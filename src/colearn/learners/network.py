"""What learners of networks share that judge by outputs in arrays, one for each sample."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Unpack

import numpy as np

from colearn.errors import ColearnError, ConfigError, LearnerError
from colearn.learners.base import FrameworkLearner, Options
from colearn.learners.frozen import FROZEN, check_frozen
from colearn.learners.measures import absolute_error, r_squared, wrong
from colearn.learners.samples import Samples, checked_samples
from colearn.learners.supervised import one_line
from colearn.protocols import Tensors

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from colearn.privacy.guard import NoisySteps

_JUDGED_AT_ONCE = 4  # times the batch size: without gradients there is room for more

SampleErrors = Callable[["NDArray[Any]", "NDArray[Any]"], "NDArray[Any]"]
"""(outputs, targets) → each sample's error, all as arrays."""


class NetworkLearner(FrameworkLearner):
    """Judges a network by its `outputs`; a subclass fills the other hooks.

    Labels are whole numbers; outputs then hold the classes' scores along axis 1, or,
    one a sample, a score that is above `boundary` for label 1. Floating targets are
    numbers to predict.

    Args:
        train: As in `FrameworkLearner`; y may have more axes than one.
        error: Each sample's error, from outputs and targets, for the ``accuracy``
            policy and for scores; by default 1 for a wrong label, the absolute error
            of numbers.
        frozen: Digest of the parameters that are not trained.
        options: As in `FrameworkLearner`.

    Raises:
        LearnerError: The samples cannot be learned from.
        ConfigError: An option cannot be used.
    """

    boundary = 0.0
    """What the score of label 1 is above, where there is one score a sample."""

    def __init__(
        self,
        *,
        train: Samples,
        error: SampleErrors | None,
        frozen: NDArray[np.uint8] | None,
        **options: Unpack[Options],
    ) -> None:
        self._sample_errors = error
        self._frozen = frozen
        super().__init__(train=train, **options)
        try:
            self.try_out(*self.take(self.vote_samples, np.zeros(2, np.intp)))
        except ColearnError:
            raise
        except Exception as reason:
            raise LearnerError(
                f"the model cannot be tried on vote samples: {one_line(reason):.300}; "
                "model, loss, optimiser and samples must fit together"
            ) from reason

    @abstractmethod
    def own_tensors(self) -> dict[str, NDArray[np.generic]]:
        """Return copies of trained parameters and statistics, C-contiguous."""

    @abstractmethod
    def outputs(self, x: NDArray[Any]) -> NDArray[Any]:
        """Return what the working model makes of some samples, shape (n, ...)."""

    @abstractmethod
    def sample_losses(self, outputs: NDArray[Any], y: NDArray[Any]) -> NDArray[Any]:
        """Return the losses of outputs, shape (n, ...)."""

    @abstractmethod
    def try_out(self, x: NDArray[Any], y: NDArray[Any]) -> None:
        """Raise now, by two samples, what would otherwise go wrong in the first round."""

    def checked(self, name: str, samples: Samples, *, like: Samples | None = None) -> Samples:
        """Return arrays of numbers; y may have more axes than one."""
        x, y = checked_samples(name, samples, like=like, many_targets=True)
        if y.dtype.kind not in "biuf":
            raise LearnerError(f"y of the {name} samples is {y.dtype}: expected numbers")
        return x, y

    def tensors(self) -> dict[str, NDArray[np.generic]]:
        """Return copies of the trained parameters and the statistics."""
        tensors = self.own_tensors()
        if self._frozen is not None:
            tensors[FROZEN] = self._frozen.copy()
        return tensors

    def check(self, tensors: Tensors) -> None:
        """Raise `SchemaMismatch`, or `UnusableWeights` if they go with other frozen values."""
        super().check(tensors)
        check_frozen(tensors, self._frozen)

    def train(
        self, tensors: Tensors, rng: np.random.Generator, plan: NoisySteps | None = None
    ) -> dict[str, NDArray[np.generic]]:
        """Return new tensors, trained from those given: a pure function with the data."""
        with _told():
            return super().train(tensors, rng, plan)

    def losses(self, x: NDArray[Any], y: NDArray[Any]) -> NDArray[np.float64]:
        """Each sample's loss; where it has many targets, their mean."""
        return _each(self.sample_losses(self._predictions(x), y), len(x))

    def errors(self, x: NDArray[Any], y: NDArray[Any]) -> NDArray[np.float64]:
        """Each sample's error; where it has many targets, their mean."""
        return self._errors(self._predictions(x), y)

    def score(self, x: NDArray[Any], y: NDArray[Any]) -> float:
        """Return 1 − the mean error: the share of labels that are right; or R² of numbers."""
        outputs = self._predictions(x)
        if self._sample_errors is None and y.dtype.kind == "f":
            return r_squared(outputs.reshape(-1), y.reshape(-1))
        return 1.0 - float(self._errors(outputs, y).mean())

    def _errors(self, outputs: NDArray[Any], y: NDArray[Any]) -> NDArray[np.float64]:
        if self._sample_errors is not None:
            values = self._sample_errors(outputs, y)
        elif y.dtype.kind == "f":
            values = absolute_error(outputs.reshape(y.shape), y)
        elif outputs.size == y.size:
            values = wrong(outputs.reshape(-1) - self.boundary, y.reshape(-1)).reshape(y.shape)
        else:
            scores = np.moveaxis(outputs, 1, -1).reshape(-1, outputs.shape[1])
            values = wrong(scores, y.reshape(-1)).reshape(y.shape)
        return _each(values, len(outputs))

    def _predictions(self, x: NDArray[Any]) -> NDArray[Any]:
        """Outputs of all samples, judged in parts of one size: it is compiled for that alone."""
        size = _JUDGED_AT_ONCE * self.batch_size
        parts = []
        for start in range(0, len(x), size):
            rows = np.minimum(np.arange(start, start + size), len(x) - 1)
            parts.append(self.outputs(x[rows])[: len(x) - start])
        return np.concatenate(parts)


@contextmanager
def _told() -> Iterator[None]:
    """Say in one line what a framework says in many."""
    try:
        yield
    except ColearnError:
        raise
    except Exception as reason:
        raise LearnerError(f"training failed: {one_line(reason):.300}") from reason


def _each(values: NDArray[Any], samples: int) -> NDArray[np.float64]:
    """One value a sample, shape (n,), from those of all its targets."""
    if np.ndim(values) < 1 or len(values) != samples:
        raise LearnerError(
            f"the loss or error of {samples} samples has shape {np.shape(values)}: "
            "it must give one for each, shape (n,)"
        )
    each: NDArray[np.float64] = np.asarray(values).astype(np.float64).reshape(samples, -1).mean(1)
    return each


def no_optimiser(reason: Exception, example: str) -> ConfigError:
    """Return the error of an optimiser that cannot be used."""
    return ConfigError(
        f"the optimiser cannot start: {one_line(reason):.200}; give one such as {example}"
    )
