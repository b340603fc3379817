"""What all tests share: Hypothesis profiles and the rule for optional parts."""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest
from hypothesis import settings

from colearn.ledgers.anvil import INSTALL, VARIABLE, find_anvil

IN_CI = bool(os.environ.get("CI"))

settings.register_profile("few", max_examples=25, deadline=None)
settings.register_profile("many", max_examples=300, deadline=None)
settings.register_profile("very-many", max_examples=3_000, deadline=None)
settings.load_profile("many" if IN_CI else "few")


@pytest.fixture
def optional() -> Callable[[str], ModuleType]:
    """Import an optional part: missing, it skips the test here and fails it in CI."""

    def load(name: str) -> ModuleType:
        try:
            return importlib.import_module(name)
        except ModuleNotFoundError as reason:
            message = f"{name} is not installed ({reason}): pip install -e '.[test]'"
            if IN_CI:
                pytest.fail(message)
            pytest.skip(message)

    return load


@pytest.fixture(scope="session")
def anvil_program() -> Path:
    """The program of anvil: missing, it skips the test here and fails it in CI."""
    program = find_anvil()
    if program is None:
        message = f"anvil is not installed: {INSTALL}, or set {VARIABLE} to its program"
        if IN_CI:
            pytest.fail(message)
        pytest.skip(message)
    return program
