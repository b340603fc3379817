"""Importing costs what it must: heavy packages come in only when they are used."""

from __future__ import annotations

import subprocess
import sys

import pytest

SHOW = "\nimport sys; print(*sorted(sys.modules))"


def modules_after(code: str) -> set[str]:
    """Top-level names of all modules that a fresh interpreter holds after some code."""
    done = subprocess.run(
        [sys.executable, "-c", code + SHOW], capture_output=True, text=True, check=True, timeout=60
    )
    return {name.partition(".")[0] for name in done.stdout.splitlines()[-1].split()}


def test_import_colearn_is_light():
    """`import colearn` loads no framework, no plotting, no command line, not even numpy."""
    loaded = modules_after("import colearn")
    assert "colearn" in loaded
    assert not loaded & {"cyclopts", "matplotlib", "numpy", "pandas", "rich", "scipy", "sklearn"}


@pytest.mark.parametrize("name", ["Collective", "Rule", "MachineLearningInterface", "run"])
def test_core_names_load_no_framework(name):
    """What every user needs comes without scikit-learn, plotting or command line."""
    loaded = modules_after(f"from colearn import {name}")
    assert not loaded & {"cyclopts", "matplotlib", "scipy", "sklearn"}


def test_help_loads_no_numpy():
    """`colearn --help` answers without numpy and what builds on it."""
    loaded = modules_after(
        "import sys\n"
        "from colearn.cli import main\n"
        "sys.argv[1:] = ['--help']\n"
        "try:\n    main()\n"
        "except SystemExit:\n    pass"
    )
    assert "cyclopts" in loaded
    assert not loaded & {"matplotlib", "numpy", "scipy", "sklearn"}
