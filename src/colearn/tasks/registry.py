"""The tasks by name, each with the settings that suit it.

Settings were chosen on seeds 100 to 109, so that results on other seeds are
not the ones they were chosen for.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path
from typing import Any, Literal, TypedDict

from colearn.errors import ConfigError
from colearn.learners.base import FrameworkLearner
from colearn.learners.samples import Samples
from colearn.tasks.datasets import Dataset

_MODELS = {
    "jax": "jax_models",
    "keras": "keras_models",
    "lightgbm": "boosted_models",
    "lora": "lora_models",
    "sklearn": "models",
    "torch": "torch_models",
    "xgboost": "boosted_models",
}
"""By framework, the module here that makes a task's model a learner."""

_NORMS = ("batch", "group")
GROUPS = 4  # of a layer's channels, where its network normalises over groups


class Given(TypedDict):
    """What all learners of a task are given alike; see `Task.learner`."""

    train: Samples
    vote: Samples
    test: Samples | None
    policy: str
    seed: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """A dataset and a model, with settings under which learning together pays.

    Attributes:
        name: What the command line calls it.
        home: Module here that loads the data; all but ``tabular`` read a folder.
        framework: What the model is written in; a name may have one task for each.
        summary: The data, in one line.
        kind: Whether labels or numbers are predicted.
        classes: Labels are 0 … classes − 1; None for numbers.
        model: The model, in one line.
        rounds: Rounds the collective takes.
        steps: Mini-batches a turn; for trees, how many of them, a class each.
        batch_size: Samples in a mini-batch; None for trees.
        learning_rate: The optimiser's step size, or how much boosted trees count; None for a
            forest.
        needs_data: The samples must come from a folder the user names.
        picture: Channels, 1 for grey and 3 for colour, and pixels along an edge; zeros
            where the model need not know.
        norm: What a network's layers are normalised over: ``batch``, or ``group``, channels
            of one sample, without which it cannot train privately; empty without such layers.
    """

    name: str
    home: str
    framework: str = "sklearn"
    summary: str
    kind: Literal["classification", "regression"] = "classification"
    classes: int | None
    model: str
    rounds: int
    steps: int
    batch_size: int | None
    learning_rate: float | None
    needs_data: bool = False
    picture: tuple[int, int] = (0, 0)
    norm: str = ""

    def normalised(self, norm: str) -> Task:
        """The task whose network normalises over batches or groups.

        Raises:
            ConfigError: There is no such way, or the model does not normalise.
        """
        if not self.norm:
            raise ConfigError(
                f"norm {norm!r} is refused: the task {self.name} in {self.framework} has a "
                f"{self.model}, which normalises nothing; leave it out"
            )
        if norm not in _NORMS:
            raise ConfigError(f"norm {norm!r} is refused: take {' or '.join(_NORMS)}")
        return replace(self, norm=norm)

    def privately(self) -> Task:
        """The task with a model that can train privately, if only its normalisation could not."""
        return self.normalised("group") if self.norm else self

    def load(self, data_dir: Path | None = None, test_dir: Path | None = None) -> Dataset:
        """Load the samples.

        Args:
            data_dir: Folder of the data, where the task takes one.
            test_dir: Folder of the test part, if it is another one.

        Raises:
            ConfigError: The task takes no folder, needs one, or cannot use its files.
            MissingExtra: A package that reads the data is not installed.
        """
        load: Callable[..., Dataset] = import_module(f"colearn.tasks.{self.home}").LOADERS[
            self.name
        ]
        if self.home != "tabular":
            return load(data_dir, test_dir)
        if data_dir or test_dir:
            readers = dict.fromkeys(task.name for task in _TASKS if task.home != "tabular")
            raise ConfigError(
                f"the task {self.name} brings its own data and reads no folder, but got "
                f"{data_dir or test_dir}: leave it out, or take {' or '.join(readers)}"
            )
        return load()

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
            MissingExtra: The model's framework is not installed.
        """
        self._check(learning_rate, batch_size)
        make: Callable[..., FrameworkLearner] = self.framework_module().learner
        return make(
            self,
            **Given(train=train, vote=vote, test=test, policy=policy, seed=seed),
            learning_rate=self.learning_rate if learning_rate is None else learning_rate,
            batch_size=self.batch_size if batch_size is None else batch_size,
        )

    def framework_module(self) -> Any:
        """What makes the learners, with the framework that they are written in.

        Raises:
            MissingExtra: It is not installed.
        """
        return import_module(f"colearn.tasks.{_MODELS[self.framework]}")

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


_CONVOLUTIONAL = (
    Task(
        name="fashion-mnist",
        home="images",
        framework="torch",
        summary="6,000 pictures of clothes, 28 × 28 pixels; all 70,000 with a data folder",
        classes=10,
        model="convolutional network, 16-32-64, Adam",
        rounds=40,
        steps=25,
        batch_size=32,
        learning_rate=0.002,
        picture=(1, 28),
        norm="batch",
    ),
    Task(
        name="mnist",
        home="images",
        framework="torch",
        summary="70,000 handwritten digits of 28 × 28 pixels, from a data folder",
        classes=10,
        model="convolutional network, 16-32-64, Adam",
        rounds=30,
        steps=75,
        batch_size=128,
        learning_rate=0.002,
        needs_data=True,
        picture=(1, 28),
        norm="batch",
    ),
    Task(
        name="cifar10",
        home="pictures",
        framework="torch",
        summary="60,000 photographs of ten kinds of things, 32 × 32 pixels, from a data folder",
        classes=10,
        model="convolutional network, 16-32-64, Adam",
        rounds=60,
        steps=75,
        batch_size=128,
        learning_rate=0.002,
        needs_data=True,
        picture=(3, 32),
        norm="batch",
    ),
    Task(
        name="xray",
        home="pictures",
        framework="torch",
        summary="5,856 chest X-rays, normal or pneumonia, at 64 × 64 pixels, from a data folder",
        classes=2,
        model="convolutional network, 16-32-64, Adam",
        rounds=30,
        steps=26,
        batch_size=32,
        learning_rate=0.001,
        needs_data=True,
        picture=(1, 64),
        norm="batch",
    ),
)

_TABLES = (
    Task(
        name="credit",
        home="tables",
        framework="xgboost",
        summary="30,000 clients of a bank, who pay or not, by 20 numbers, from a data folder",
        classes=2,
        model="boosted trees of depth 4, grown together, XGBoost",
        rounds=40,
        steps=4,
        batch_size=None,
        learning_rate=0.1,
        needs_data=True,
    ),
    Task(
        name="housing",
        home="tables",
        framework="xgboost",
        summary="20,640 districts of California, by 8 numbers; predicts prices, from a data folder",
        kind="regression",
        classes=None,
        model="boosted trees of depth 6, grown together, XGBoost",
        rounds=40,
        steps=10,
        batch_size=None,
        learning_rate=0.1,
        needs_data=True,
    ),
    Task(
        name="fraud",
        home="tables",
        framework="xgboost",
        summary="590,540 payments by card, fraud or not, by 92 columns, from a data folder",
        classes=2,
        model="boosted trees of depth 6, grown together, XGBoost",
        rounds=30,
        steps=8,
        batch_size=None,
        learning_rate=0.1,
        needs_data=True,
    ),
    Task(
        name="scania",
        home="tables",
        framework="xgboost",
        summary="76,000 trucks whose brakes have air or fail, by 170 sensors, from a data folder",
        classes=2,
        model="boosted trees of depth 6, grown together, XGBoost",
        rounds=30,
        steps=8,
        batch_size=None,
        learning_rate=0.1,
        needs_data=True,
    ),
)
_TASKS = (
    Task(
        name="digits",
        home="tabular",
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
        home="tabular",
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
        home="tabular",
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
        home="tabular",
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
        home="images",
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
        home="images",
        summary="70,000 handwritten digits of 28 × 28 pixels, from a data folder",
        classes=10,
        model="multilayer perceptron, 784-100-10, Adam",
        rounds=60,
        steps=40,
        batch_size=64,
        learning_rate=0.001,
        needs_data=True,
    ),
    *_CONVOLUTIONAL,
    *(
        replace(task, framework=framework)
        for framework in ("keras", "jax")
        for task in _CONVOLUTIONAL
    ),
    Task(
        name="spam",
        home="mails",
        framework="lora",
        summary="1,000 mails, wanted or not, by their first 32 tokens, from a data folder",
        classes=2,
        model="sentence transformer of 22.7 million weights, adapters of rank 8, Adam",
        rounds=24,
        steps=6,
        batch_size=16,
        learning_rate=0.003,
        needs_data=True,
    ),
    *_TABLES,
    *(
        replace(task, framework="lightgbm", model=task.model.replace("XGBoost", "LightGBM"))
        for task in _TABLES
    ),
)


def names() -> tuple[str, ...]:
    """Names of all tasks."""
    return tuple(dict.fromkeys(task.name for task in _TASKS))


def frameworks(name: str) -> tuple[str, ...]:
    """What a task's model can be written in, the usual one first."""
    return tuple(task.framework for task in _TASKS if task.name == name)


def get(name: str, framework: str | None = None) -> Task:
    """The task of that name, with its usual model or the one written in a framework.

    Raises:
        ConfigError: There is none; the message lists what there is.
    """
    if name not in names():
        close = difflib.get_close_matches(name, names(), n=1)
        choose = f"did you mean {close[0]}? Choose" if close else "choose"
        raise ConfigError(f"no task is called {name!r}: {choose} one of {', '.join(names())}")
    for task in _TASKS:
        if task.name == name and framework in (None, task.framework):
            return task
    raise ConfigError(
        f"the task {name} has no model for {framework!r}: choose {' or '.join(frameworks(name))}"
    )
