"""The examples do what they say."""

from __future__ import annotations

import re
import runpy
from pathlib import Path

import pytest

EXAMPLES = sorted((Path(__file__).parents[1] / "examples").glob("*.py"))


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_example_learns(example, capsys):
    """Run as a script, every example ends well above the accuracy it begins with."""
    runpy.run_path(str(example), run_name="__main__")
    shown = [float(share) for share in re.findall(r"([\d.]+)%", capsys.readouterr().out)]
    assert shown[-1] > shown[0] + 50


def test_examples_are_found():
    """The test above runs the examples that the documentation names."""
    assert {"own_learner", "iris_forest", "jax_digits", "keras_digits"} <= {
        path.stem for path in EXAMPLES
    }
