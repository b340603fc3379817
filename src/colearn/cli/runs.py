"""``colearn plot`` and ``colearn tasks``."""

from __future__ import annotations

from pathlib import Path

from colearn import tasks as registry
from colearn.report.plot import redraw


def plot(run: Path, /) -> None:
    """Draw a run again, from its files.

    Args:
        run: The run's folder.
    """
    print(redraw(run))


def tasks() -> None:
    """List the tasks of the demo."""
    for name in registry.names():
        task = registry.get(name)
        print(f"{name:15} {task.summary}\n{'':15} {task.model}")
