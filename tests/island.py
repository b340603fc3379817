"""A network of its own for one process: it reaches others, and they it, by bridges only."""

from __future__ import annotations

import ctypes
import os
import subprocess
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Self, TypeVar

_NETWORK = 0x40000000  # CLONE_NEWNET
_KEEP = "ip link set lo up && echo up && exec sleep infinity"
_T = TypeVar("_T")


def may_found_islands() -> bool:
    """Whether this machine lets this user make network namespaces, and has the programs."""
    try:
        with Island() as island:
            subprocess.run([*island.prefix, "true"], check=True, capture_output=True)
            island.call(lambda: None)
    except (OSError, subprocess.CalledProcessError):
        return False
    return True


class Island:
    """A network namespace with a loopback interface, and nothing else."""

    def __init__(self) -> None:
        self._keeper = subprocess.Popen(
            ["unshare", "--net", "sh", "-c", _KEEP],  # noqa: S607 - wherever it is
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        assert self._keeper.stdout is not None
        if self._keeper.stdout.readline() != b"up\n":
            self.__exit__()
            raise OSError("no network namespace can be made")
        self._path = Path(f"/proc/{self._keeper.pid}/ns/net")
        self.prefix = ["nsenter", f"--net={self._path}"]
        """What to put before a command line to run it there."""

    def call(self, function: Callable[[], _T]) -> _T:
        """Call a function there; sockets that it makes stay there."""
        with ThreadPoolExecutor(1) as thread:  # a thread may leave its network for ever
            return thread.submit(self._enter_and, function).result()

    def _enter_and(self, function: Callable[[], _T]) -> _T:
        descriptor = os.open(self._path, os.O_RDONLY)
        try:
            if ctypes.CDLL(None, use_errno=True).setns(descriptor, _NETWORK):
                raise OSError(ctypes.get_errno(), "the network namespace cannot be entered")
        finally:
            os.close(descriptor)
        return function()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._keeper.kill()
        self._keeper.wait()
        self._keeper.stdout.close()
