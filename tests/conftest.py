"""What all tests share: Hypothesis profiles and the rule for optional parts."""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable, Generator
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


MAY_LACK = "may lack: "
"""How the reason begins where a test is skipped in CI as well."""


def _judged(report: pytest.TestReport | pytest.CollectReport) -> None:
    """Let what was skipped for a missing part fail in CI, where all parts are to be."""
    if IN_CI and report.skipped and isinstance(report.longrepr, tuple):
        *place, reason = report.longrepr
        if not reason.removeprefix("Skipped: ").startswith(MAY_LACK):
            report.outcome = "failed"
            report.longrepr = f"{place[0]}:{place[1]} is skipped, which CI does not do: {reason}"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Judge a test that was skipped."""
    report = yield
    _judged(report)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """Judge a module that was skipped as a whole."""
    report = yield
    _judged(report)
    return report


@pytest.fixture
def optional() -> Callable[[str], ModuleType]:
    """Import an optional part; where it is missing, the test is skipped."""

    def load(name: str) -> ModuleType:
        try:
            return importlib.import_module(name)
        except ModuleNotFoundError as reason:
            pytest.skip(f"{name} is not installed ({reason}): pip install -e '.[test]'")

    return load


@pytest.fixture(scope="session")
def anvil_program() -> Path:
    """The program of anvil; where it is missing, the test is skipped."""
    program = find_anvil()
    if program is None:
        pytest.skip(f"anvil is not installed: {INSTALL}, or set {VARIABLE} to its program")
    return program
