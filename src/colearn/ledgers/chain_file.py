"""The file that anvil keeps its chain in, and the last whole copy of it, which lies beside it.

anvil writes the file anew in place, every time. So one that it was killed over is cut short,
and anvil does not start from it.
"""

from __future__ import annotations

import logging
import shutil
import time
from datetime import datetime
from pathlib import Path
from threading import Event, Thread

import msgspec

from colearn.errors import LedgerError

_SHORTEST_PAUSE_SECONDS = 0.2
_SHARE_OF_TIME = 20
_log = logging.getLogger(__name__)


def copy_of(file: Path) -> Path:
    """Where the last whole copy lies."""
    return file.with_name(f"{file.name}.whole")


def mend(file: Path) -> None:
    """Put the last whole copy in the place of a file that is not whole; say so in one line.

    Raises:
        LedgerError: No copy is whole.
    """
    copy = copy_of(file)
    if _is_whole(_read(file)) or not (file.exists() or copy.exists()):
        return
    what = (
        f"{file} is cut short, as when anvil is killed while it writes it"
        if file.exists()
        else f"{file} is missing"
    )
    if not _is_whole(_read(copy)):
        raise LedgerError(
            f"{what}, and no whole copy lies beside it: this chain is lost; remove the folder "
            f"{file.parent} to begin anew, or take another"
        )
    shutil.copyfile(copy, file)
    when = datetime.fromtimestamp(copy.stat().st_mtime).astimezone()
    _log.warning("%s: the chain goes on from its copy of %s", what, f"{when:%Y-%m-%d %H:%M:%S}")


class Keeper:
    """Copies the file whenever it has changed and is whole, until it is closed.

    Args:
        file: The file; it need not be there yet.
    """

    def __init__(self, file: Path) -> None:
        self._file = file
        self._copied: tuple[int, int] | None = None
        self._closed = Event()
        self._thread = Thread(target=self._run, name="chain-file", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """End; the last copy stays."""
        self._closed.set()
        self._thread.join()

    def _run(self) -> None:
        pause = _SHORTEST_PAUSE_SECONDS
        while not self._closed.wait(pause):
            began = time.monotonic()
            try:
                self._copy()
            except OSError as reason:
                _log.warning("%s cannot be copied: %s", self._file, reason.strerror)
            spent = time.monotonic() - began
            pause = max(_SHORTEST_PAUSE_SECONDS, _SHARE_OF_TIME * spent)

    def _copy(self) -> None:
        before = _stamp(self._file)
        if before is None or before == self._copied:
            return
        raw = _read(self._file)
        if _stamp(self._file) != before or not _is_whole(raw):
            return  # it is being written
        copy = copy_of(self._file)
        fresh = copy.with_name(f"{copy.name}.new")
        fresh.write_bytes(raw)
        fresh.replace(copy)
        self._copied = before


def _stamp(file: Path) -> tuple[int, int] | None:
    try:
        found = file.stat()
    except FileNotFoundError:
        return None
    return found.st_mtime_ns, found.st_size


def _read(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except FileNotFoundError:
        return b""


def _is_whole(raw: bytes) -> bool:
    try:
        msgspec.json.decode(raw, type=dict[str, msgspec.Raw])
    except (msgspec.DecodeError, ValueError):
        return False
    return True
