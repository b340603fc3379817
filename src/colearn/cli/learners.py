"""The learner of whoever runs a command, for an experiment that somebody else wrote down."""

from __future__ import annotations

from pathlib import Path

from colearn.errors import ConfigError, UnsupportedModel
from colearn.experiment import Agreement
from colearn.methods import method
from colearn.ml_interface import MachineLearningInterface
from colearn.privacy.config import unprotected
from colearn.shares import make_learner
from colearn.tasks import get as named_task
from colearn.tasks.own import is_factory

BUDGET_FILE = "budget.sqlite"
NO_PRIVACY = "none"


def learner_for(
    agreement: Agreement, own: str | None, share: tuple[int, int], data_dir: Path | None
) -> MachineLearningInterface:
    """Make a learner; code is only taken from where its owner says.

    Args:
        agreement: What the members agreed on.
        own: ``module:function`` that the member names.
        share: Which part of a task's own data is its.
        data_dir: Folder of its data.

    Raises:
        ConfigError: The experiment asks for code that the member did not name.
    """
    if is_factory(agreement.task) and own is None:
        raise ConfigError(
            f"the experiment names code to make learners with, {agreement.task}: look at it, "
            f"then say --learner {agreement.task}, or name your own"
        )
    if own is not None and not is_factory(own):
        raise ConfigError(f"--learner {own!r} is refused: write it module:function")
    return make_learner(
        own or agreement.task,
        options=agreement.options,
        seed=agreement.seed,
        share=share,
        data_dir=data_dir,
    )


def protected(
    agreement: Agreement, learner: MachineLearningInterface, own: str | None, budget: Path
) -> str | None:
    """Put a learner under the privacy that its owner chose, else that of the experiment.

    Args:
        agreement: What the members agreed on.
        learner: Its data is about to be told of by proposals and votes.
        own: A preset's name, or ``none``; None leaves it to the experiment.
        budget: The file that accounts for its data.

    Returns:
        What to warn the owner of; None where all is well.

    Raises:
        ConfigError: There is no such preset.
        UnsupportedModel: The learner cannot be protected.
        BudgetError: The budget's file cannot be used.
    """
    name = agreement.privacy if own is None else None if own == NO_PRIVACY else own
    if name is not None:
        from colearn.learners.private import protect  # noqa: PLC0415 - needs an extra

        budget.parent.mkdir(parents=True, exist_ok=True)
        try:
            protect(
                learner,
                name,
                rounds=agreement.rounds,
                members=len(agreement.experiment.members),
                all_train=method(agreement.method).all_train,
                rule=agreement.rule,
                budget=budget,
            )
        except UnsupportedModel as reason:
            raise UnsupportedModel(f"{reason}{_agreed_norm(agreement)}") from None
    return unprotected(getattr(learner, "privacy", None))


def _agreed_norm(agreement: Agreement) -> str:
    """What keeps a task's network from private training, and only all members can change."""
    if is_factory(agreement.task):
        return ""
    framework = agreement.options.get("learner")
    task = named_task(agreement.task, None if framework is None else str(framework))
    if agreement.options.get("norm", task.norm) != "batch":
        return ""
    return (
        "; all members train the network that they agreed on: for private training write the "
        "experiment anew, with colearn init --privacy, or --option norm=group"
    )


def hides_training(learner: MachineLearningInterface) -> bool:
    """Whether training takes from a budget of privacy."""
    return getattr(getattr(learner, "privacy", None), "train", None) is not None


def share_of(agreement: Agreement, me: str, share: str | None) -> tuple[int, int]:
    """Position and number of parts of a task's data.

    Raises:
        ConfigError: It cannot be read, or has to be given.
    """
    if share is None:
        if me in agreement.members:
            return agreement.members.index(me), len(agreement.members)
        if is_factory(agreement.task):
            return 0, 1
        raise ConfigError(
            f"{me} is not among the members the experiment began with: "
            f"say which part of the data of {agreement.task} is yours, such as --share 2/3"
        )
    number, _, parts = share.partition("/")
    if not (number.isdecimal() and parts.isdecimal() and 1 <= int(number) <= int(parts)):
        raise ConfigError(f"--share {share!r} is refused: write it 2/3, for the second of three")
    return int(number) - 1, int(parts)
