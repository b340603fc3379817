"""``colearn join``."""

from __future__ import annotations

import signal
from contextlib import ExitStack
from pathlib import Path
from types import FrameType
from typing import NoReturn

from colearn import experiment as files
from colearn.cli.feed import Feed
from colearn.cli.options import Rpc
from colearn.errors import ConfigError, StoreError
from colearn.member import Watcher, take_part
from colearn.shares import is_factory, make_learner

WEIGHTS_FILE = "weights.safetensors"


def join(
    experiment: Path = Path("experiment.toml"),
    /,
    *,
    key: Path,
    password_file: Path | None = None,
    rpc: Rpc = (),
    data_dir: Path | None = None,
    learner: str | None = None,
    share: str | None = None,
    state_dir: Path | None = None,
    store: Path | None = None,
    health: str | None = None,
    json: bool = False,
) -> None:
    """Take part in an experiment, until its last round.

    May be stopped at any moment, by Ctrl-C too; the same command goes on.

    Args:
        experiment: The experiment's file, with M₀ beside it.
        key: Your keystore file, as colearn keys new made it.
        password_file: File with its password, instead of COLEARN_PASSWORD or being asked.
        rpc: URL of a node of the experiment's chain; several, to believe what they agree on.
        data_dir: Folder of your data.
        learner: Your own function that makes a learner, module:function. Needed where
            the experiment names one: whose code runs here is for you to say.
        share: Which part of a task's own data is yours, such as 2/3; by default your
            place among the members.
        state_dir: Folder for your journal and blobs; by default one beside the
            experiment, named by your address.
        store: Folder of blobs that all members share.
        health: HOST:PORT at which to serve /health and /metrics.
        json: Print one JSON object a line, for machines.
    """
