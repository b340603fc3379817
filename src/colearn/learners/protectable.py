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
    check_name(name)
    if not isinstance(learner, FrameworkLearner):
        raise UnsupportedModel(
            f"privacy {name!r} is refused for a {type(learner).__name__}: only learners built on "
            "colearn.learners.base.FrameworkLearner can be protected from outside"
        )
    if learner.privacy is None:
        check_private_training(learner)
    return learner


def check_private_training(learner: FrameworkLearner) -> None:
    """Raise `UnsupportedModel` if a learner cannot train privately."""
    if reason := learner.no_private_training():
        raise UnsupportedModel(f"{type(learner).__name__} cannot train privately, {reason}")
