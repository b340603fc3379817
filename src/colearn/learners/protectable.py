"""Which learners can be put under a preset of privacy; to ask needs no extra."""

from __future__ import annotations

from colearn.errors import UnsupportedModel
from colearn.learners.base import FrameworkLearner
from colearn.ml_interface import MachineLearningInterface
from colearn.privacy.config import check_name


def protectable(learner: MachineLearningInterface, name: str) -> FrameworkLearner:
    """The learner, if the preset of that name can protect it, or its owner has done so.

    Raises:
        ConfigError: There is no such preset.
        UnsupportedModel: The learner cannot be protected.
        MissingExtra: What would train its model privately is not installed.
    """
    own = from_outside(learner, name)
    if own.privacy is None:
        check_private_training(own)
        check_private_votes(own)
    return own


def from_outside(learner: MachineLearningInterface, name: str) -> FrameworkLearner:
    """The learner, if it is of a kind that a preset can be put on.

    Raises:
        ConfigError: There is no such preset.
        UnsupportedModel: It is not.
    """
    check_name(name)
    if not isinstance(learner, FrameworkLearner):
        raise UnsupportedModel(
            f"privacy {name!r} is refused for a {type(learner).__name__}: only learners built on "
            "colearn.learners.base.FrameworkLearner can be protected from outside"
        )
    return learner


def check_private_training(learner: FrameworkLearner) -> None:
    """Raise `UnsupportedModel` if a learner cannot train privately."""
    if reason := learner.no_private_training():
        raise UnsupportedModel(f"{type(learner).__name__} cannot train privately, {reason}")


def check_private_votes(learner: FrameworkLearner) -> None:
    """Raise `UnsupportedModel` if a learner cannot vote privately."""
    if reason := learner.no_private_votes():
        raise UnsupportedModel(f"{type(learner).__name__} cannot vote privately, {reason}")
