"""The folder of a run's own."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from itertools import count
from pathlib import Path

from colearn.errors import ConfigError


def state_folder(experiment: Path, me: str) -> Path:
    """Where a member keeps its files, unless it says otherwise."""
    return experiment.parent / f"state-{me[:10]}"


def the_state_folder(experiment: Path) -> Path:
    """The one folder of a member beside an experiment.

    Raises:
        ConfigError: There is none, or there are several.
    """
    found = sorted(path for path in experiment.parent.glob("state-*") if path.is_dir())
    if not found:
        raise ConfigError(
            f"no member's folder lies beside {experiment}: "
            "name the one that colearn join kept with --state-dir"
        )
    if len(found) > 1:
        raise ConfigError(
            f"{len(found)} members' folders lie beside {experiment}: "
            f"say which one with --state-dir: {', '.join(map(str, found))}"
        )
    return found[0]


def new_folder(out: Path, what: str) -> Path:
    """Make a folder for a run, named by what it is and time; a number tells equal names apart.

    Raises:
        ConfigError: It cannot be made.
    """
    name = f"{what}-{datetime.now().astimezone():%Y%m%d-%H%M%S}"
    folder = out / name
    try:
        out.mkdir(parents=True, exist_ok=True)
        for attempt in count(2):
            with suppress(FileExistsError):
                folder.mkdir()
                break
            folder = out / f"{name}-{attempt}"
    except OSError as reason:
        raise ConfigError(
            f"folder {folder} cannot be made: {reason.strerror}; name another with --out"
        ) from None
    return folder


@contextmanager
def removed_on_failure(folder: Path) -> Iterator[None]:
    """Leave no folder of a run behind that could not begin."""
    try:
        yield
    except BaseException:
        shutil.rmtree(folder)
        with suppress(OSError):  # it holds other runs
            folder.parent.rmdir()
        raise
