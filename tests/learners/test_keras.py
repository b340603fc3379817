"""Keras models as learners; Keras has one backend a process, so each has a process here."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

SUITE = Path(__file__).with_name("keras_on_backend.py")


def run(backend, *arguments):
    """Run Python with Keras on a backend."""
    environment = {**os.environ, "KERAS_BACKEND": backend, "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        [sys.executable, *arguments], env=environment, capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize(
    ("backend", "which"),
    # Compiling makes jax the slow one: there, only what could differ by backend.
    [
        ("torch", ""),
        ("jax", "promise or itself or frozen or offset or fast or onnx or alone or private"),
    ],
)
def test_keras_learners(backend, which):
    """What is promised of Keras learners holds on this backend."""
    done = run(backend, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-k", which, str(SUITE))
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_backend_that_is_not_installed():
    """The error says which variable to set."""
    done = run("tensorflow", "-c", "import colearn.learners.keras")
    last = done.stderr.strip().splitlines()[-1]
    assert "ConfigError" in last
    assert "KERAS_BACKEND" in last
