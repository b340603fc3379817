"""The learner of one member: of a task's data its share, or what a factory of its own makes."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from colearn import tasks
from colearn.errors import ConfigError
from colearn.ml_interface import MachineLearningInterface
from colearn.tasks.own import is_factory, made

_TASK_OPTIONS = {
    "learner": str,
    "split": str,
    "vote": str,
    "learning_rate": float,
    "batch_size": int,
    "norm": str,
}

Options = Mapping[str, str | int | float | bool]


def make_learner(
    task: str,
    *,
    options: Options,
    seed: int,
    share: tuple[int, int],
    data_dir: Path | None = None,
) -> MachineLearningInterface:
    """Make a member's learner, which starts from the experiment's M₀.

    Args:
        task: A task's name, or ``module:factory``. A factory is called with the
            ``options`` by name, ``seed`` and ``data_dir``, and returns a learner.
        options: What the experiment says; for a task ``learner``, ``split``, ``vote``,
            ``learning_rate``, ``batch_size`` and ``norm``.
        seed: The experiment's.
        share: Position of the member, and of how many: which part of a task's data is
            its own. A factory is not told.
        data_dir: The folder of its data.

    Raises:
        ConfigError: There is no such task or factory, or an option cannot be used.
    """
    if is_factory(task):
        for name in ("seed", "data_dir"):
            if name in options:
                raise ConfigError(
                    f"option {name} is refused: {task} is given the {name} of the experiment "
                    "or of the member, so leave it out"
                )
        return made(task, **options, seed=seed, data_dir=data_dir)
    for name, value in options.items():
        kind = _TASK_OPTIONS.get(name)
        if kind is None:
            raise ConfigError(
                f"the task {task} has no option {name!r}: take one of {', '.join(_TASK_OPTIONS)}"
            )
        if type(value) is not kind and not (kind is float and type(value) is int):
            raise ConfigError(f"option {name} = {value!r} is refused: expected a {kind.__name__}")
    given = dict(options)
    framework = given.pop("learner", None)
    position, members = share
    named = tasks.get(task, None if framework is None else str(framework))
    if "norm" in given:
        named = named.normalised(str(given.pop("norm")))
    return tasks.build(
        named,
        learners=members,
        split=str(given.pop("split", "iid")),
        policy=str(given.pop("vote", "loss")),
        seed=seed,
        data_dir=data_dir,
        **given,  # type: ignore[arg-type]  # checked above
    ).learners[position]
