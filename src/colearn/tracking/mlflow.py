"""Tracking in MLflow: an SQLite file, or a tracking server."""

from __future__ import annotations

import logging
import time
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from colearn.errors import ConfigError, MissingExtra
from colearn.learners.supervised import one_line

try:
    import alembic  # noqa: F401 - mlflow-skinny leaves out what its SQLite files need
    import sqlalchemy  # noqa: F401
    from mlflow import MlflowClient
    from mlflow.entities import Metric, Param, RunStatus
    from mlflow.exceptions import MlflowException
except ModuleNotFoundError as reason:
    raise MissingExtra("tracking in MLflow", reason.name or "mlflow", "mlflow") from None

_log = logging.getLogger(__name__)

EXPERIMENT = "colearn"
"""Name of the MLflow experiment that all runs belong to."""


class MlflowTracker:
    """A `colearn.tracking.Tracker` that writes one run of MLflow's.

    Args:
        place: An SQLite file, made if there is none; or a server's URL.
        name: The run's name.
        settings: Kept as the run's parameters.

    Raises:
        ConfigError: MLflow cannot write there.
    """

    def __init__(self, place: Path | str, name: str, settings: Mapping[str, object]) -> None:
        try:
            if isinstance(place, Path):
                place.parent.mkdir(parents=True, exist_ok=True)
                place = f"sqlite:///{place.resolve()}"
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # between MLflow and what it builds on
                logging.getLogger("mlflow.store.db.utils").setLevel(logging.WARNING)
                self._client = MlflowClient(place)
                found = self._client.get_experiment_by_name(EXPERIMENT)
                experiment = (
                    self._client.create_experiment(EXPERIMENT)
                    if found is None
                    else found.experiment_id
                )
                run = self._client.create_run(experiment, run_name=name)
        except (OSError, MlflowException) as reason:
            raise ConfigError(f"MLflow cannot write to {place}: {one_line(reason):.200}") from None
        self._run = run.info.run_id
        self._batch(params=[Param(key, str(value)) for key, value in settings.items()])

    def log(self, round_index: int, numbers: Mapping[str, float]) -> None:
        """Keep finite numbers of a round, by name."""
        now = round(time.time() * 1_000)
        metrics = [Metric(key, value, now, round_index) for key, value in numbers.items()]
        try:
            self._batch(metrics=metrics)
        except MlflowException as reason:  # a run does not end because nobody writes it down
            _log.warning("round %d is not tracked: %s", round_index, one_line(reason))

    def close(self) -> None:
        """Mark the run as finished."""
        try:
            self._client.set_terminated(self._run, RunStatus.to_string(RunStatus.FINISHED))
        except MlflowException as reason:
            _log.warning("the run's end is not tracked: %s", one_line(reason))

    def _batch(self, **values: Any) -> None:
        self._client.log_batch(self._run, **values)
