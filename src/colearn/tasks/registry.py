"""The tasks by name, each with the settings that suit it.

Settings were chosen on seeds 100 to 109, so that results on other seeds are
not the ones they were chosen for.
"""

from __future__ import annotations

import difflib
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from colearn.errors import ConfigError
from colearn.learners.base import FrameworkLearner, Samples
from colearn.tasks.datasets import Dataset
from colearn.tasks.images import fashion_mnist, mnist

_FROM_FILES = {"fashion-mnist": fashion_mnist, "mnist": mnist}


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """A dataset and a model, with settings under which learning together pays.

    Attributes:
        name: What the command line calls it.
        summary: The data, in one line.
        kind: Whether labels or numbers are predicted.
        classes: Labels are 0 … classes − 1; None for numbers.
        model: The model, in one line.
        rounds: Rounds the collective takes.
        steps: Mini-batches a turn; for a forest, trees.
        batch_size: Samples in a mini-batch; None for a forest.
        learning_rate: The optimiser's step size; None for a forest.
        needs_data: The samples must come from a folder the user names.
    """

    name: str
    summary: str
    kind: Literal["classification", "regression"] = "classification"
    classes: int | None
    model: str
    rounds: int
    steps: int
    batch_size: int | None
    learning_rate: float | None
    needs_data: bool = False

    def load(self, data_dir: Path | None = None, test_dir: Path | None = None) -> Dataset:
        """Load the samples.

        Args:
            data_dir: Folder of the idx files, where the task takes one.
            test_dir: Folder of the test part, if it is another one.

        Raises:
            ConfigError: The task takes no folder, needs one, or cannot use its files.
            MissingExtra: scikit-learn is not installed.
        """
        if self.name in _FROM_FILES:
            return _FROM_FILES[self.name](data_dir, test_dir)
        if data_dir or test_dir:
            raise ConfigError(
                f"the task {self.name} brings its own data and reads no folder, but got "
                f"{data_dir or test_dir}: leave it out, or take {' or '.join(_FROM_FILES)}"
            )
        from colearn.tasks import tabular  # noqa: PLC0415 - needs scikit-learn

        return tabular.LOADERS[self.name]()

    def learner(
        self,
        train: Samples,
        vote: Samples,
        test: Samples | None = None,
        *,
        seed: int,
        learning_rate: float | None = None,
        batch_size: int | None = None,
        policy: str = "loss",
    ) -> FrameworkLearner:
        """Make a learner; all that are made with the same seed start from the same weights.

        Args:
            train: Samples to train on.
            vote: Samples to vote with, never trained on.
            test: Samples whose score decides nothing.
            seed: Fixes the initial weights.
            learning_rate: Instead of the task's own.
            batch_size: Instead of the task's own.
            policy: Name of the voting policy.

        Raises:
            ConfigError: A setting cannot be used.
            MissingExtra: scikit-learn is not installed.
        """
        self._check(learning_rate, batch_size)
        from colearn.tasks import models  # noqa: PLC0415 - needs scikit-learn

        return models.learner(
            self,
            train=train,
            vote=vote,
            test=test,
            seed=seed,
            learning_rate=self.learning_rate if learning_rate is None else learning_rate,
            batch_size=self.batch_size if batch_size is None else batch_size,
            policy=policy,
        )

    def _check(self, learning_rate: float | None, batch_size: int | None) -> None:
        for what, given, own in (
            ("learning rate", learning_rate, self.learning_rate),
            ("batch size", batch_size, self.batch_size),
        ):
            if given is None:
                continue
            if own is None:
                raise ConfigError(
                    f"the task {self.name} has no {what}, but got {given}: leave it out, "
                    f"as its model is a {self.model}"
                )
            if not 0 < given < math.inf:
                raise ConfigError(
                    f"{what} {given} is refused: it must be above 0 ({own} suits {self.name})"
                )


_TASKS = (
    Task(
        name="digits",
        summary="1,797 handwritten digits of 8 × 8 pixels",
        classes=10,
        model="multilayer perceptron, 64-64-10, Adam",
        rounds=60,
        steps=30,
        batch_size=64,
        learning_rate=0.003,
    ),
    Task(
        name="breast-cancer",
        summary="569 tumours, malignant or benign, by 30 measures of their cell nuclei",
        classes=2,
        model="logistic regression, SGD",
        rounds=30,
        steps=20,
        batch_size=16,
        learning_rate=0.01,
    ),
    Task(
        name="iris",
        summary="150 iris flowers of three species, by 4 lengths",
        classes=3,
        model="random forest, grown tree by tree",
        rounds=15,
        steps=5,
        batch_size=None,
        learning_rate=None,
    ),
    Task(
        name="diabetes",
        summary="442 patients, by 10 measures; predicts how the disease progresses",
        kind="regression",
        classes=None,
        model="linear regression, SGD",
        rounds=30,
        steps=20,
        batch_size=16,
        learning_rate=0.001,
    ),
    Task(
        name="fashion-mnist",
        summary="6,000 pictures of clothes, 28 × 28 pixels; all 70,000 with a data folder",
        classes=10,
        model="multilayer perceptron, 784-100-10, Adam",
        rounds=60,
        steps=40,
        batch_size=64,
        learning_rate=0.001,
    ),
    Task(
        name="mnist",
        summary="70,000 handwritten digits of 28 × 28 pixels, from a data folder",
        classes=10,
        model="multilayer perceptron, 784-100-10, Adam",
        rounds=60,
        steps=40,
        batch_size=64,
        learning_rate=0.001,
        needs_data=True,
    ),
)
_BY_NAME = {task.name: task for task in _TASKS}


def names() -> tuple[str, ...]:
    """Names of all tasks."""
    return tuple(_BY_NAME)


def get(name: str) -> Task:
    """The task of that name.

    Raises:
        ConfigError: There is none; the message lists the names.
    """
    try:
        return _BY_NAME[name]
    except KeyError:
        close = difflib.get_close_matches(name, _BY_NAME, n=1)
        meant = f"did you mean {close[0]}? " if close else ""
        raise ConfigError(
            f"no task is called {name!r}: {meant}Choose one of {', '.join(_BY_NAME)}"
        ) from None
