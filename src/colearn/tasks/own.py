"""Tasks of the user's own: ``module:factory``, a function that makes a learner.

It is the function that `colearn join` takes, called with ``seed`` and ``data_dir``. A
simulation calls it once for each learner, takes the samples of one of them, sets a fifth
apart as the common test set, and shares out the rest.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from colearn.errors import ColearnError, ConfigError
from colearn.learners.base import FrameworkLearner
from colearn.learners.samples import Samples
from colearn.learners.supervised import SupervisedLearner, one_line
from colearn.ml_interface import MachineLearningInterface
from colearn.tasks.datasets import Dataset, set_apart
from colearn.tasks.registry import Task
from colearn.voting import policy as named_policy

_METHODS = (
    "mli_propose_weights",
    "mli_test_weights",
    "mli_accept_weights",
    "mli_get_current_weights",
)


def is_factory(task: str) -> bool:
    """Whether a task's name stands for code: ``module:factory``."""
    return ":" in task


def made(name: str, /, **arguments: Any) -> MachineLearningInterface:
    """Call a factory.

    Raises:
        ConfigError: There is none of that name, it raised an error that is none of this
            package's, or what it makes is no learner.
    """
    factory = _factory(name)
    try:
        learner = factory(**arguments)
    except ColearnError:
        raise
    except Exception as reason:
        given = ", ".join(f"{key}={value}" for key, value in arguments.items())
        raise ConfigError(
            f"{name}, called with {given}, raised {_told(reason)} ({_where(reason)})"
        ) from reason
    missing = [each for each in _METHODS if not callable(getattr(learner, each, None))]
    if missing:
        raise ConfigError(
            f"{name} made a {type(learner).__name__}, which lacks {', '.join(missing)}: "
            "it must return a learner, with the methods of colearn.MachineLearningInterface"
        )
    return cast("MachineLearningInterface", learner)


def _factory(name: str) -> Callable[..., object]:
    module_name, _, attribute = name.partition(":")
    if "" not in sys.path:
        sys.path.insert(0, "")  # as `python -m` does: the module may lie in this folder
    try:
        found: Any = importlib.import_module(module_name)
    except ColearnError:
        raise
    except Exception as reason:
        if isinstance(reason, ModuleNotFoundError) and reason.name == module_name.partition(".")[0]:
            raise ConfigError(
                f"there is no module {module_name!r}, which {name} is to come from: "
                "run this in its folder, or install it"
            ) from None
        raise ConfigError(
            f"the module {module_name!r}, which {name} is to come from, raised {_told(reason)}"
        ) from reason
    factory = getattr(found, attribute, None)
    if not callable(factory):
        raise ConfigError(f"{found.__file__} has no function {attribute!r}: check {name}")
    return cast("Callable[..., object]", factory)


def _told(reason: Exception) -> str:
    return f"{type(reason).__name__}: {one_line(reason)}"


def _where(reason: Exception) -> str:
    """The line of the factory that an error came through, if it was called at all."""
    inside = reason.__traceback__ and reason.__traceback__.tb_next
    if inside is None:
        return "it must take these by name"
    return f"{Path(inside.tb_frame.f_code.co_filename).name}, line {inside.tb_lineno}"


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnTask(Task):
    """A task whose data and model are those of the learners that a factory makes.

    Attributes:
        data_dir: The folder that the factory is given.
    """

    data_dir: Path | None

    def load(self, data_dir: Path | None = None, test_dir: Path | None = None) -> Dataset:  # noqa: ARG002 - its own
        """Take the samples of a learner, and set a fifth of them apart as test samples."""
        if test_dir is not None:
            raise ConfigError(
                f"{self.name} reads no test folder, but got {test_dir}: leave it out, "
                "as a fifth of its samples is set apart"
            )
        learner = _divisible(self.name, self.data_dir, seed=0)
        return set_apart(*_samples(learner), _classes(learner))

    def framework_module(self) -> None:
        """Loaded already, when it was looked at what the factory makes."""

    def learner(
        self,
        train: Samples,
        vote: Samples,
        test: Samples | None = None,  # noqa: ARG002 - decides nothing
        *,
        seed: int,
        learning_rate: float | None = None,
        batch_size: int | None = None,
        policy: str = "loss",
    ) -> FrameworkLearner:
        """Have a learner made, which begins with the factory's weights, and give it samples."""
        for what, given in (("learning rate", learning_rate), ("batch size", batch_size)):
            if given is not None:
                raise ConfigError(
                    f"{self.name} decides its {what} itself, but got {given}: leave it out"
                )
        learner = _divisible(self.name, self.data_dir, seed=seed)
        learner.hold(train, vote)
        learner.policy = named_policy(policy)
        return learner


@cache
def own_task(name: str, data_dir: Path | None) -> OwnTask:
    """Look at what a factory makes.

    Raises:
        ConfigError: There is no such factory, or its learner's samples cannot be shared out.
    """
    learner = _divisible(name, data_dir, seed=0)
    x, y = _samples(learner)
    classes = _classes(learner)
    return OwnTask(
        name=name,
        home="own",
        framework="own",
        summary=f"{len(y):,} samples of shape {x.shape[1:]}",
        kind="regression" if classes is None else "classification",
        classes=None if classes is None else len(classes),
        model=type(learner).__name__,
        rounds=0,
        steps=learner.steps,
        batch_size=None if learner.schema().bounds else learner.batch_size,
        learning_rate=None,
        data_dir=data_dir,
    )


def _divisible(name: str, data_dir: Path | None, *, seed: int) -> FrameworkLearner:
    learner = made(name, seed=seed, data_dir=data_dir)
    if not isinstance(learner, FrameworkLearner):
        raise ConfigError(
            f"{name} made a {type(learner).__name__}, whose samples cannot be shared out: "
            "return a learner of one of colearn's frameworks, such as SklearnLearner"
        )
    if learner.privacy is not None:
        raise ConfigError(
            f"{name} made a learner whose records are hidden already: "
            "leave its privacy out, and say --privacy where a command has it"
        )
    for samples in (learner.train_samples, learner.vote_samples):
        if not all(isinstance(part, np.ndarray) for part in samples) or samples[1].ndim != 1:
            raise ConfigError(
                f"{name} made a {type(learner).__name__} whose samples are no arrays with one "
                "target each: give it x of shape (n, ...) and y of shape (n,), so that they can "
                "be shared out"
            )
    return learner


def _samples(learner: FrameworkLearner) -> Samples:
    return learner.joined([learner.train_samples, learner.vote_samples])


def _classes(learner: FrameworkLearner) -> NDArray[Any] | None:
    """The labels, in ascending order; None for numbers."""
    if isinstance(learner, SupervisedLearner):
        return None if learner.classes is None else np.asarray(learner.classes)
    _, y = _samples(learner)
    return None if y.dtype.kind == "f" else np.unique(y)
