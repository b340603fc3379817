"""Collective learning: train one model together, judge every step on private data.

Names are loaded when they are first used, so that ``import colearn`` costs nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from colearn.collective import Collective
    from colearn.driver import run, run_one_round
    from colearn.errors import ColearnError
    from colearn.learners.base import FrameworkLearner
    from colearn.learners.forest import ForestLearner
    from colearn.learners.lightgbm import LightGBMLearner
    from colearn.learners.sklearn import SklearnLearner
    from colearn.learners.torch import TorchLearner
    from colearn.learners.xgboost import XGBoostLearner
    from colearn.ml_interface import (
        ColearnModel,
        DiffPrivBudget,
        DiffPrivConfig,
        ErrorCodes,
        MachineLearningInterface,
        ModelFormat,
        ProposedWeights,
        TrainingSummary,
        Weights,
    )
    from colearn.records import Rule
    from colearn.report.result import Result, Round

_HOMES = {
    "Collective": "collective",
    "ColearnError": "errors",
    "ColearnModel": "ml_interface",
    "DiffPrivBudget": "ml_interface",
    "DiffPrivConfig": "ml_interface",
    "ErrorCodes": "ml_interface",
    "ForestLearner": "learners.forest",
    "FrameworkLearner": "learners.base",
    "LightGBMLearner": "learners.lightgbm",
    "MachineLearningInterface": "ml_interface",
    "ModelFormat": "ml_interface",
    "ProposedWeights": "ml_interface",
    "Result": "report.result",
    "Round": "report.result",
    "Rule": "records",
    "SklearnLearner": "learners.sklearn",
    "TorchLearner": "learners.torch",
    "TrainingSummary": "ml_interface",
    "Weights": "ml_interface",
    "XGBoostLearner": "learners.xgboost",
    "run": "driver",
    "run_one_round": "driver",
}

__all__ = [
    "ColearnError",
    "ColearnModel",
    "Collective",
    "DiffPrivBudget",
    "DiffPrivConfig",
    "ErrorCodes",
    "ForestLearner",
    "FrameworkLearner",
    "LightGBMLearner",
    "MachineLearningInterface",
    "ModelFormat",
    "ProposedWeights",
    "Result",
    "Round",
    "Rule",
    "SklearnLearner",
    "TorchLearner",
    "TrainingSummary",
    "Weights",
    "XGBoostLearner",
    "run",
    "run_one_round",
]


def __getattr__(name: str) -> Any:
    try:
        home = _HOMES[name]
    except KeyError:
        raise AttributeError(f"module 'colearn' has no attribute {name!r}") from None
    value = getattr(import_module(f"colearn.{home}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
