"""``colearn export``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from colearn.ml_interface import ModelFormat
from colearn.report import files
from colearn.simulation import settings_from, simulate

Format = Annotated[Literal["onnx", "safetensors"], Parameter(name="--format")]


def export(run: Path, /, *, model_format: Format = "onnx", out: Path | None = None) -> None:
    """Write a run's model as a file that other programs read.

    Args:
        run: The run's folder.
        model_format: onnx, a model that predicts in any ONNX runtime; or safetensors, its
            tensors alone.
        out: The file; by default model.onnx or model.safetensors in the run's folder.
    """
    simulation = simulate(settings_from(files.read_settings(run)), run)
    with simulation.collective as collective:
        learner = simulation.setting.pooled
        learner.mli_accept_weights(collective.result.weights)
    model = learner.mli_get_current_model(ModelFormat[model_format.upper()]).model
    path = out or run / f"model.{model_format}"
    files.write_model(path, model)
    print(path)
