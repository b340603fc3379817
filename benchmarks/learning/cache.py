"""Results on disk: one file for each cell, seed and state of the code that they depend on."""

from __future__ import annotations

import ast
import json
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import Any

import colearn
from benchmarks.learning.cells import Cell
from colearn.records import digest_of

_PRODUCT = (
    "methods",
    "voting",
    "compact.py",
    "kinds.py",
    *("rules.py", "state.py", "records.py", "committee.py"),
    "learners/measures.py",
    *("tasks/splits.py", "tasks/idx.py", "tasks/tables.py", "tasks/tabular.py"),
)
_ENGINE = ("attacks.py", "baselines.py", "data.py", "network.py", "play.py")


def path(folder: Path, cell: Cell, seed: int) -> Path:
    """Where a run's result lies. Code that changes gives another name; its comments do not."""
    text = json.dumps([_code(), asdict(cell), seed], sort_keys=True)
    return folder / f"{digest_of((text.encode(),))[:24]}.json"


def read(file: Path) -> dict[str, Any] | None:
    """The result in a file, or None."""
    try:
        result: dict[str, Any] = json.loads(file.read_text("utf-8"))
    except FileNotFoundError:
        return None
    return result


def write(file: Path, result: dict[str, Any]) -> None:
    """Put a result in place whole."""
    part = file.with_suffix(".part")
    part.write_text(json.dumps(result), "utf-8")
    part.replace(file)


@cache
def _code() -> str:
    product, engine = Path(colearn.__file__).parent, Path(__file__).parent
    named = [product / name for name in _PRODUCT] + [engine / name for name in _ENGINE]
    files = [
        file for each in named for file in sorted(each.rglob("*.py") if each.is_dir() else [each])
    ]
    return digest_of(_bare(file).encode() for file in files)


def _bare(file: Path) -> str:
    """A module's meaning: its syntax without comments and docstrings."""
    tree = ast.parse(file.read_text("utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            node.value = ast.Constant(None)
    return ast.dump(tree)
