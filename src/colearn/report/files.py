"""The files of a run: settings, rounds, comparison, picture, model."""

from __future__ import annotations

import csv
import json
import math
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import IO, Any

import msgspec

from colearn.errors import ConfigError
from colearn.ml_interface import Weights
from colearn.records import Buffer
from colearn.report.result import DEEDS, Comparison, Row
from colearn.report.trainings import Training
from colearn.weights import Schema, encode

SETTINGS_FILE = "run.toml"
ROUNDS_FILE = "rounds.csv"
COMPARISON_FILE = "comparison.json"
PLOT_FILE = "curve.png"
TRAININGS_FILE = "trainings.jsonl"
WEIGHTS_FILE = "weights.safetensors"

_COLUMNS = (
    "round",
    "proposer",
    "decision",
    "approvals",
    "needed",
    "score",
    "model",
    "seconds",
)


def write_settings(folder: Path, settings: Mapping[str, Any]) -> None:
    """Write ``run.toml``: flat, one line a setting; None is left out."""
    lines = [
        f"{name} = {json.dumps(value)}\n" for name, value in settings.items() if value is not None
    ]
    _replace(folder / SETTINGS_FILE, "".join(lines).encode())


def read_settings(folder: Path) -> dict[str, Any]:
    """Read ``run.toml``.

    Raises:
        ConfigError: The folder is no run, or the file is not TOML.
    """
    path = folder / SETTINGS_FILE
    try:
        return tomllib.loads(path.read_text())
    except FileNotFoundError:
        raise no_run(folder, SETTINGS_FILE) from None
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as reason:
        raise ConfigError(f"{path} cannot be read: {reason}") from None


class TrainingsFile:
    """Writes ``trainings.jsonl``, a line at a time; those that are there stay.

    Attributes:
        done: All that the file holds.
    """

    def __init__(self, folder: Path) -> None:
        self.done = list(read_trainings(folder))
        path = folder / TRAININGS_FILE
        _replace(path, *(_line(each) for each in self.done))  # without what a crash tore
        self._file: IO[bytes] = path.open("ab")

    def add(self, training: Training) -> None:
        """Write one training."""
        self.done.append(training)
        self._file.write(_line(training))
        self._file.flush()

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def read_trainings(folder: Path) -> Iterator[Training]:
    """Read ``trainings.jsonl``, without a last line that was torn; none if there is no file.

    Raises:
        ConfigError: It is not such a file.
    """
    path = folder / TRAININGS_FILE
    try:
        lines = path.read_bytes().splitlines(keepends=True)
    except FileNotFoundError:
        return
    for line in lines:
        if not line.endswith(b"\n"):
            return
        try:
            yield msgspec.convert(_numbers(msgspec.json.decode(line)), Training)
        except (msgspec.MsgspecError, ValueError) as reason:
            raise ConfigError(f"{path} cannot be read: {reason}") from None


def _line(training: Training) -> bytes:
    values = msgspec.structs.asdict(training).items()
    known = {name: value for name, value in values if value is not None}
    return msgspec.json.encode(known) + b"\n"


class RoundsFile:
    """Writes ``rounds.csv``, a row at a time, so that a run cut short leaves its rows."""

    def __init__(self, folder: Path, members: tuple[str, ...], rows: Iterable[Row]) -> None:
        self._members = members
        self._file: IO[str] = (folder / ROUNDS_FILE).open("w", newline="", encoding="utf-8")
        self._writer = csv.writer(self._file)
        self._writer.writerow([*_COLUMNS, *members])
        for row in rows:
            self.add(row)

    def add(self, row: Row) -> None:
        """Write one round."""
        cells = [getattr(row, column) for column in _COLUMNS]
        self._writer.writerow(
            ["" if isinstance(cell, float) and math.isnan(cell) else cell for cell in cells]
            + [row.did.get(member, "") for member in self._members]
        )
        self._file.flush()

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def read_rounds(folder: Path) -> tuple[tuple[str, ...], list[Row]]:
    """Read ``rounds.csv``: the members and the rounds.

    Raises:
        ConfigError: It is missing, or not such a file.
    """
    path = folder / ROUNDS_FILE
    try:
        with path.open(newline="", encoding="utf-8") as file:
            lines = list(csv.DictReader(file))
        if not lines:
            raise ConfigError(f"{path} holds no round yet: there is nothing to draw")
        members = tuple(name for name in lines[0] if name not in _COLUMNS)
        return members, [
            Row(
                round=int(line["round"]),
                proposer=line["proposer"],
                decision=line["decision"],
                approvals=int(line["approvals"]),
                needed=int(line["needed"]),
                score=float(line["score"] or math.nan),
                model=line["model"],
                seconds=float(line["seconds"] or math.nan),
                did={member: _deed(line[member]) for member in members if line[member]},
            )
            for line in lines
        ]
    except FileNotFoundError:
        raise no_run(folder, ROUNDS_FILE) from None
    except (OSError, KeyError, TypeError, ValueError) as reason:
        raise ConfigError(f"{path} is not a table of rounds: {reason}") from None


def no_run(folder: Path, missing: str) -> ConfigError:
    """The error of naming a folder that is no run's."""
    return ConfigError(
        f"{folder} holds no run, for there is no {missing} in it: "
        "name the folder that the run printed"
    )


def _deed(word: str) -> str:
    if word not in DEEDS:
        raise ValueError(f"{word!r} is none of {', '.join(DEEDS)}")
    return word


def write_comparison(folder: Path, comparison: Comparison) -> None:
    """Write ``comparison.json``: what the collective is compared with."""
    _replace(folder / COMPARISON_FILE, msgspec.json.format(msgspec.json.encode(comparison)))


def read_comparison(folder: Path) -> Comparison | None:
    """Read ``comparison.json``; None if the run ended before there was one.

    Raises:
        ConfigError: It is not such a file.
    """
    path = folder / COMPARISON_FILE
    try:
        return msgspec.convert(_numbers(msgspec.json.decode(path.read_bytes())), Comparison)
    except FileNotFoundError:
        return None
    except (OSError, msgspec.MsgspecError, ValueError) as reason:
        raise ConfigError(f"{path} cannot be read: {reason}") from None


def _numbers(value: Any) -> Any:
    """Read null as NaN: JSON has no other way to write what is no finite number."""
    if isinstance(value, dict):
        return {name: _numbers(part) for name, part in value.items()}
    if isinstance(value, list):
        return [_numbers(part) for part in value]
    return math.nan if value is None else value


def write_weights(folder: Path, weights: Weights) -> None:
    """Write a model's canonical bytes as ``weights.safetensors``."""
    tensors = weights.weights
    _replace(folder / WEIGHTS_FILE, *encode(tensors, Schema.of(tensors)).parts)


def write_model(path: Path, model: bytes) -> None:
    """Write an exported model."""
    _replace(path, model)


def _replace(path: Path, *parts: Buffer) -> None:
    """Write a file so that a reader sees the old content or the new, never a part."""
    draft = path.with_name(f"{path.name}.part")
    try:
        with draft.open("wb") as file:
            file.writelines(parts)
        draft.replace(path)
    except OSError as reason:
        raise ConfigError(f"{path} cannot be written: {reason.strerror}") from None
