"""The documentation is true: its code runs, and nothing public is left out of it."""

from __future__ import annotations

import os
import re
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

import colearn
from colearn.cli import app

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text("utf-8")
REFERENCE = (ROOT / "docs" / "reference.md").read_text("utf-8")


def blocks_of(page):
    """The python blocks of a page, in order."""
    text = (ROOT / page).read_text("utf-8")
    return re.findall(r"^```python\n(.*?)^```", text, re.DOTALL | re.MULTILINE)


@pytest.mark.parametrize("page", ["README.md", "docs/tutorial.md"])
def test_python_code_runs(page, tmp_path, monkeypatch, capsys):
    """A reader who types a page's python blocks, in order, meets no error."""
    monkeypatch.chdir(tmp_path)
    namespace = {"__name__": "__main__"}
    for number, block in enumerate(blocks_of(page), start=1):
        exec(compile(block, f"{page}, block {number}", "exec"), namespace)  # noqa: S102


EXTRAS = {
    "flower": "flwr",
    "jax": "flax",
    "lightgbm": "lightgbm",
    "lora": "peft",
    "sklearn": "skl2onnx",
    "torch": "torch",
    "xgboost": "xgboost",
}


@pytest.mark.parametrize("page", EXTRAS)
def test_code_for_extras_runs(page, optional, tmp_path, monkeypatch, capsys):
    """So do the pages about what needs an extra."""
    optional(EXTRAS[page])
    test_python_code_runs(f"docs/{page}.md", tmp_path, monkeypatch, capsys)


@pytest.mark.parametrize("backend", ["jax", "torch"])
def test_code_for_keras_runs(backend, tmp_path):
    """So does that about Keras, on each backend, of which a process has one."""
    done = subprocess.run(
        [sys.executable, "-c", "".join(blocks_of("docs/keras.md"))],
        env={**os.environ, "KERAS_BACKEND": backend},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("name", colearn.__all__)
def test_public_name_is_documented(name):
    """Every public name has a docstring of its own, and its module stands in the reference."""
    value = getattr(colearn, name)
    generated = f"{name}("  # what a dataclass writes where its author wrote nothing
    assert value.__doc__
    assert not value.__doc__.startswith(generated)
    assert f"::: {value.__module__}\n" in REFERENCE


def test_state_table_is_the_codes():
    """The state table in the docs is what the rules do today."""
    script = runpy.run_path(str(ROOT / "scripts" / "rules_table.py"))
    page = script["PAGE"].read_text("utf-8")
    assert script["refreshed"](page) == page, "run: python scripts/rules_table.py"


@pytest.mark.parametrize("goal", ["colearn demo", "python -m pytest"])
def test_ci_runs_the_readmes_commands(goal):
    """The pattern by which .ci/run finds a command matches one line of the README."""
    ci = (ROOT / ".ci" / "run").read_text("utf-8")
    assert f"readme_command '{goal}'" in ci
    assert len(re.findall(rf"^pip install -e .* && {goal}$", README, re.MULTILINE)) == 1


@pytest.mark.parametrize("recipe", ["lint", "types", "imports", "docs"])
def test_ci_runs_the_recipes(recipe):
    """Every check a contributor can run is one that CI runs."""
    loop = re.search(
        r"^for recipe in (.*); do$", (ROOT / ".ci" / "run").read_text("utf-8"), re.MULTILINE
    )
    assert loop
    assert recipe in loop[1].split()
    assert re.search(rf"^{recipe}:", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE)


def commands(root, *before):
    """All commands below an application, by the words that call them."""
    for name in root:
        if name.startswith("-"):
            continue
        words, below = (*before, name), root[name]
        if below.default_command is None:
            yield from commands(below, *words)
        else:
            yield " ".join(words), below


def test_commands_are_documented():
    """Every command of the command line, with every option of it, stands on its page."""
    page = (ROOT / "docs" / "commands.md").read_text("utf-8")
    sections = dict(
        re.findall(r"^## colearn ([^\n]+)\n(.*?)(?=^## |\Z)", page, re.DOTALL | re.MULTILINE)
    )
    found = dict(commands(app))
    assert set(sections) == set(found)
    for words, command in found.items():
        for argument in command.assemble_argument_collection():
            name = argument.names[0]
            if name != "*":  # options in a group stand for themselves
                assert re.search(rf"{name}\b", sections[words]), f"colearn {words} {name}"
