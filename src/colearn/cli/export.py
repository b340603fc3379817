"""``colearn export``."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from colearn import experiment as agreements
from colearn.cli.folders import state_folder, the_state_folder
from colearn.cli.lab import is_lab
from colearn.cli.learners import learner_for, share_of
from colearn.collective import STORE_FOLDER
from colearn.errors import ConfigError, UnsupportedModel, WeightsError, WrongDigest
from colearn.experiment import Agreement, check_schema
from colearn.learners.base import OTHER_FORMS
from colearn.ml_interface import ColearnModel, MachineLearningInterface, ModelFormat, Weights
from colearn.records import digest_of
from colearn.report import files
from colearn.schema import Schema, schema_of_bytes
from colearn.simulation import settings_from, simulate
from colearn.stores.directory import DirectoryStore
from colearn.weights import decode

_TENSORS_ALONE = "take its tensors alone, with --format safetensors"

Format = Annotated[Literal["onnx", "safetensors"], Parameter(name="--format")]


def export(
    run: Path,
    /,
    *,
    model_format: Format = "onnx",
    out: Path | None = None,
    learner: str | None = None,
    data_dir: Path | None = None,
    share: str | None = None,
    state_dir: Path | None = None,
) -> None:
    """Write the model of a run, or of an experiment, as a file that other programs read.

    Args:
        run: The run's folder; or an experiment's file, for the model that a member ended on.
        model_format: onnx, a model that predicts in any ONNX runtime; or safetensors, its
            tensors alone.
        out: The file; by default model.onnx or model.safetensors in the folder of the run
            or of the member.
        learner: Of an experiment: your own function that makes a learner, as for colearn
            join; needed for onnx where the experiment names one.
        data_dir: Of an experiment: folder of your data, as for colearn join.
        share: Of an experiment: which part of a task's own data is yours; by default your
            place among the members.
        state_dir: Of an experiment: the folder that colearn join kept; by default the one
            beside the experiment.
    """
    if run.is_file() or (run.suffix == ".toml" and not run.exists()):
        agreement = agreements.read(run)
        folder = state_dir or the_state_folder(run)
        raw = _final(folder)
        weights = _checked(agreement, raw, folder)
        if model_format == "safetensors":
            model = raw
        else:
            made = learner_for(agreement, learner, _share(agreement, folder, share), data_dir)
            check_schema(agreement, made)
            made.mli_accept_weights(weights)
            model = _model(made, ModelFormat.ONNX)
    else:
        _no_options(run, learner=learner, data_dir=data_dir, share=share, state_dir=state_dir)
        folder = run
        model = _model(_of_run(run), ModelFormat[model_format.upper()])
    path = out or folder / f"model.{model_format}"
    files.write_model(path, model)
    print(path)


def _no_options(run: Path, **given: object) -> None:
    for name, value in given.items():
        if value is not None:
            option = f"--{name.replace('_', '-')}"
            raise ConfigError(f"{run} is no file: {option} goes with experiment.toml")


def _of_run(run: Path) -> MachineLearningInterface:
    """A learner that holds the model that a run ended on."""
    if not (run / files.SETTINGS_FILE).exists() and (run / files.WEIGHTS_FILE).exists():
        raise ConfigError(
            f"{run} is what a member keeps: name the experiment, "
            f"colearn export experiment.toml --state-dir {run}"
        )
    settings = files.read_settings(run)
    if is_lab(settings):
        raise ConfigError(
            f"{run} is a cell of the laboratory, which keeps no model: "
            "train one with colearn demo, and export its run"
        )
    simulation = simulate(settings_from(settings), run)
    with simulation.collective as collective:
        simulation.setting.pooled.mli_accept_weights(collective.result.weights)
    return simulation.setting.pooled


def _final(folder: Path) -> bytes:
    """The bytes of the model that a member ended on, if they are of one that it accepted.

    Where members meet in a bucket, nothing here tells which ones it accepted.
    """
    path = folder / files.WEIGHTS_FILE
    try:
        raw = path.read_bytes()
    except FileNotFoundError:
        raise ConfigError(
            f"{folder} holds no final model yet, for there is no {path.name} in it: "
            "colearn join writes it after the last round"
        ) from None
    except OSError as reason:
        raise ConfigError(f"{path} cannot be read: {reason.strerror}") from None
    store = folder / STORE_FOLDER
    digest = digest_of((raw,))
    if store.is_dir() and digest not in DirectoryStore(store):
        raise WrongDigest(
            f"{path} was changed: its digest {digest[:12]} is of no weights in {store}; "
            "remove it, and colearn join writes it again"
        )
    return raw


def _checked(agreement: Agreement, raw: bytes, folder: Path) -> Weights:
    """A final model's weights.

    Raises:
        WeightsError: They are not of the experiment's schema.
    """
    schema = agreement.schema
    try:
        return Weights(decode((raw,), schema, _dims(raw, schema), None))
    except WeightsError as reason:
        raise type(reason)(
            f"{folder / files.WEIGHTS_FILE} is no model of this experiment: {reason}"
        ) from None


def _dims(raw: bytes, schema: Schema) -> dict[str, int]:
    """Sizes of the dimensions that may grow, off the bytes' own header."""
    if not schema.bounds:
        return {}
    found = schema_of_bytes((memoryview(raw),)).tensors
    return {
        dim: size
        for name, spec in schema.tensors.items()
        if name in found
        for dim, size in zip(spec.shape, found[name].shape, strict=False)
        if isinstance(dim, str) and isinstance(size, int)
    }


def _share(agreement: Agreement, folder: Path, share: str | None) -> tuple[int, int]:
    """Whose part of a task's own data to make the learner with; any has the same model."""
    mine = [each for each in agreement.members if folder.name == state_folder(folder, each).name]
    if share is None and not mine:
        return 0, max(1, len(agreement.members))
    return share_of(agreement, mine[0] if mine else "", share)


def _model(learner: MachineLearningInterface, model_format: ModelFormat) -> bytes:
    """A learner's current model.

    Raises:
        UnsupportedModel: It has no such form.
    """
    give: Callable[..., ColearnModel] = learner.mli_get_current_model
    if not inspect.signature(give).parameters:
        raise UnsupportedModel(
            f"{type(learner).__name__} gives no ONNX: its mli_get_current_model takes no format; "
            f"{_TENSORS_ALONE}"
        )
    try:
        model: bytes = give(model_format).model
    except UnsupportedModel as reason:
        raise UnsupportedModel(str(reason).replace(OTHER_FORMS, _TENSORS_ALONE)) from None
    return model
