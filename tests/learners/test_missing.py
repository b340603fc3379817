"""Without its framework, a learner's module says how to get it."""

from __future__ import annotations

import importlib
import sys

import pytest

from colearn.errors import MissingExtra

MODULES = {
    "sklearn": ("sklearn", "demo"),
    "forest": ("sklearn", "demo"),
    "flower": ("flwr", "flower"),
    "flax": ("flax", "jax"),
    "jax": ("jax", "jax"),
    "jax_private": ("jax_privacy", "privacy-jax"),
    "keras": ("keras", "keras"),
    "lightgbm": ("lightgbm", "lightgbm"),
    "lora": ("peft", "lora"),
    "torch": ("torch", "torch"),
    "torch_opacus": ("opacus", "privacy-torch"),
    "xgboost": ("xgboost", "xgboost"),
}


@pytest.mark.parametrize("module", MODULES)
def test_missing_package_names_the_command(module, monkeypatch):
    """The error on import holds the exact install command."""
    package, extra = MODULES[module]
    for name in {name for name in sys.modules if name.partition(".")[0] == package} | {package}:
        monkeypatch.setitem(sys.modules, name, None)
    for name in [name for name in sys.modules if name.startswith(f"colearn.learners.{module}")]:
        monkeypatch.delitem(sys.modules, name)
    with pytest.raises(MissingExtra, match=rf"pip install 'colearn-protocol\[{extra}\]'"):
        importlib.import_module(f"colearn.learners.{module}")
