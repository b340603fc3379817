"""A folder on a disk that may lose power: what is left of it then."""

from __future__ import annotations

import os
import random
import stat
from collections.abc import Callable
from pathlib import Path

SECTOR_BYTES = 512


class Disk:
    """Follows what of a folder is durable, by the syncs that this process asks for.

    Bytes are durable once their file was synced, names once their directory was. When
    power is lost all else may be there, in part, or not: a file's tail may be missing from
    any byte on, or be zeros from there on, as file systems leave it that note a file's
    length before its bytes.

    Args:
        folder: It is empty, and its own name is durable.
        monkeypatch: Replaces `os.fsync` until the test ends.

    Attributes:
        before_sync: Called before each sync takes effect: the moments at which a power
            cut does most harm.
    """

    def __init__(self, folder: Path, monkeypatch) -> None:
        self._folder = folder
        self._names: dict[int, dict[str, int]] = {}
        self._bytes: dict[int, bytes] = {}
        self.before_sync: Callable[[], None] = lambda: None
        fsync = os.fsync

        def followed(descriptor: int) -> None:
            self.before_sync()
            fsync(descriptor)
            self._sync(Path(f"/proc/self/fd/{descriptor}").readlink())

        monkeypatch.setattr(os, "fsync", followed)

    def _sync(self, path: Path) -> None:
        status = path.stat()
        if stat.S_ISDIR(status.st_mode):
            self._names[status.st_ino] = _entries(path)
        else:
            self._bytes[status.st_ino] = path.read_bytes()

    def lose_power(self, left: Path, rng: random.Random | None = None) -> Path:
        """Make a folder of what is left; all that may be lost is, unless chance decides."""
        now = {path.stat().st_ino: path for path in (self._folder, *self._folder.rglob("*"))}
        left.mkdir()
        self._leave(self._folder.stat().st_ino, left, now, rng)
        return left

    def _leave(
        self, directory: int, left: Path, now: dict[int, Path], rng: random.Random | None
    ) -> None:
        synced, current = self._names.get(directory, {}), _entries(now[directory])
        for name in sorted(synced.keys() | current.keys()):
            inode = current.get(name) if rng and rng.random() < 0.5 else synced.get(name)
            if inode not in now:
                continue
            if now[inode].is_dir():
                (left / name).mkdir()
                self._leave(inode, left / name, now, rng)
            else:
                durable, written = self._bytes.get(inode, b""), now[inode].read_bytes()
                (left / name).write_bytes(torn(durable, written, rng) if rng else durable)


def torn(durable: bytes, written: bytes, rng: random.Random) -> bytes:
    """What may be left of an appended file, of which a first part was durable."""
    assert written.startswith(durable)
    kept = written[: rng.randint(len(durable), len(written))]
    return kept + bytes(rng.choice([0, 0, len(written) - len(kept)]))


def _entries(path: Path) -> dict[str, int]:
    return {each.name: each.stat().st_ino for each in path.iterdir()}
