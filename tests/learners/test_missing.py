"""Without scikit-learn, the learners that need it say how to get it."""

from __future__ import annotations

import importlib
import sys

import pytest

from colearn.errors import MissingExtra


@pytest.mark.parametrize("module", ["sklearn", "forest"])
def test_missing_scikit_learn_names_the_command(module, monkeypatch):
    """The error on import holds the exact install command."""
    for name in ("sklearn", "sklearn.base"):
        monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.delitem(sys.modules, f"colearn.learners.{module}", raising=False)
    with pytest.raises(MissingExtra, match=r"pip install 'colearn-protocol\[demo\]'"):
        importlib.import_module(f"colearn.learners.{module}")
