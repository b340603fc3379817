"""Keras models as ONNX, by way of torch."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import keras
import numpy as np

from colearn.errors import MissingExtra, UnsupportedModel
from colearn.learners.base import OTHER_FORMS
from colearn.learners.onnx import quietly
from colearn.learners.supervised import one_line

if TYPE_CHECKING:
    from numpy.typing import NDArray

_CONVERT = """
import sys, keras, numpy
model = keras.models.load_model(sys.argv[1], compile=False)
model.predict_on_batch(numpy.load(sys.argv[2]))
model.export(sys.argv[3], format="onnx", verbose=False)
"""


def from_keras(model: Any, example: NDArray[Any]) -> bytes:
    """Export a model, for any number of samples.

    Keras exports well on the torch backend. On another one, a process of its own reads
    the model into Keras on torch.

    Args:
        model: Built.
        example: Two samples.

    Raises:
        UnsupportedModel: It does something that ONNX cannot say.
        MissingExtra: torch or onnx is not installed.
    """
    for package, extra in (("onnx", "onnx"), ("torch", "torch")):
        try:
            __import__(package)
        except ModuleNotFoundError:
            raise MissingExtra("ONNX export of Keras models", package, extra) from None
    with TemporaryDirectory() as folder:
        file = Path(folder, "model.onnx")
        try:
            if keras.backend.backend() == "torch":
                model.predict_on_batch(example)
                with quietly():
                    model.export(file, format="onnx", verbose=False)
            else:
                _convert(model, example, file)
        except Exception as reason:
            raise UnsupportedModel(
                f"{type(model).__name__} has no ONNX form: {one_line(reason):.200}; {OTHER_FORMS}"
            ) from reason
        return file.read_bytes()


def _convert(model: Any, example: NDArray[Any], file: Path) -> None:
    saved = file.with_suffix(".keras")
    model.save(saved)
    samples = file.with_suffix(".npy")
    np.save(samples, example)
    done = subprocess.run(  # noqa: S603 - our own words, in our own interpreter
        [sys.executable, "-c", _CONVERT, saved, samples, file],
        env={**os.environ, "KERAS_BACKEND": "torch"},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(done.stderr.strip().rpartition("\n")[2])
