"""``colearn plot`` and ``colearn tasks``."""

from __future__ import annotations

from pathlib import Path

from colearn import tasks as registry
from colearn.cli.lab import is_lab, redraw_lab
from colearn.report import files
from colearn.report.plot import redraw


def plot(run: Path, /) -> None:
    """Draw a run again, from its files.

    Args:
        run: The run's folder.
    """
    settings = files.read_settings(run)
    print(redraw_lab(settings, run) if is_lab(settings) else redraw(run))


def tasks() -> None:
    """List the tasks of the demo."""
    for name in registry.names():
        frameworks = registry.frameworks(name)
        print(f"{name:15} {registry.get(name).summary}")
        for framework in frameworks:
            model = registry.get(name, framework).model
            option = f" (--learner {framework})" if framework != frameworks[0] else ""
            print(f"{'':15} {model}{option}")
