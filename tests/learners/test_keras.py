"""Keras models as learners; Keras has one backend a process, so each has a process here."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

BACKEND = """
import os, sys
sys.modules.update(dict.fromkeys(sys.argv[1:]))
import colearn
assert "KERAS_BACKEND" not in os.environ
import colearn.learners.keras, keras
print(keras.backend.backend())
"""
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


@pytest.mark.parametrize(
    ("written", "lacking", "expected"),
    [
        (None, ["tensorflow"], "jax"),
        ("tensorflow", ["tensorflow", "jax"], "torch"),
        ("torch", ["tensorflow"], "torch"),
    ],
)
def test_where_no_backend_was_chosen_an_installed_one_is(tmp_path, written, lacking, expected):
    """TensorFlow, which Keras asks for, need not be there; what Keras's own file names stays."""
    if written is not None:
        (tmp_path / "keras.json").write_text(json.dumps({"backend": written}))
    environment = {name: value for name, value in os.environ.items() if name != "KERAS_BACKEND"}
    done = subprocess.run(
        [sys.executable, "-c", BACKEND, *lacking],
        env={**environment, "KERAS_HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, f"{expected}\n"), done.stderr


def test_a_backend_that_is_not_installed():
    """The error says which variable to set."""
    done = run("tensorflow", "-c", "import colearn.learners.keras")
    last = done.stderr.strip().splitlines()[-1]
    assert "ConfigError" in last
    assert "KERAS_BACKEND" in last
