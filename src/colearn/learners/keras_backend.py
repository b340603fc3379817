"""Which backend Keras runs on, where nobody chose one that is installed."""

from __future__ import annotations

import json
import os
import sys
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path

_VARIABLE = "KERAS_BACKEND"
_PREFERRED = ("jax", "torch")  # on JAX it trains privately, too


def choose_backend() -> None:
    """Have Keras run on JAX, else torch, where it would ask for what is not installed.

    Nothing is done where ``KERAS_BACKEND`` or Keras's own file names a backend that is
    there, or where Keras is imported already: it reads both when it is imported first.
    """
    if os.environ.get(_VARIABLE) or "keras" in sys.modules or _installed(_configured()):
        return
    for name in filter(_installed, _PREFERRED):
        os.environ[_VARIABLE] = name
        return


def _configured() -> str:
    """The backend that Keras takes without the variable."""
    path = Path(os.environ.get("KERAS_HOME", "~/.keras")).expanduser() / "keras.json"
    with suppress(OSError, ValueError, AttributeError):
        return str(json.loads(path.read_text("utf-8")).get("backend", "tensorflow"))
    return "tensorflow"


def _installed(package: str) -> bool:
    return find_spec(package) is not None
