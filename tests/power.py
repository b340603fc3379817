"""What a disk may hold after a power cut, by replaying what a program wrote to it.

`strace` tells every write and every flush. A cut may come between any two calls; then
what was not flushed may be lost, or there in any part and in any order, by sectors. A
name is there for certain only once its directory was flushed.
"""

from __future__ import annotations

import random
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

SECTOR_BYTES = 512
_CALLS = (
    "openat,write,pwrite64,writev,fsync,fdatasync,ftruncate,rename,renameat,renameat2,"
    "link,linkat,unlink,unlinkat,lseek,mkdir,mkdirat,dup,dup2"
)
_LINE = re.compile(r"(\w+)\((.*)\)\s+= (-?\d+|0x[0-9a-f]+)(?:<(.*)>)?")


@dataclass
class File:
    """A file's bytes: those that are certain, and what may have come after them.

    A directory has none; what is in it is there only if it is.
    """

    certain: bytearray = field(default_factory=bytearray)
    uncertain: list[tuple[int, bytes | None]] = field(default_factory=list)
    directory: bool = False

    def size(self) -> int:
        """How many bytes a running program sees."""
        size = len(self.certain)
        for offset, written in self.uncertain:
            size = offset if written is None else max(size, offset + len(written))
        return size

    def flush(self) -> None:
        """Make all of it certain."""
        for offset, written in self.uncertain:
            _put(self.certain, offset, written)
        self.uncertain.clear()

    def after_a_cut(self, chance: random.Random, kept: float) -> bytes:
        """What may be found: each sector of what was not flushed is there, or not."""
        found = bytearray(self.certain)
        for offset, written in self.uncertain:
            if written is None:
                if chance.random() < kept:
                    _put(found, offset, None)
                continue
            for start in range(0, len(written), SECTOR_BYTES):
                if chance.random() < kept:
                    _put(found, offset + start, written[start : start + SECTOR_BYTES])
        return bytes(found)


@dataclass
class Disk:
    """Files by their names: those that are certain, and the names as a program sees them."""

    seen: dict[str, File] = field(default_factory=dict)
    certain: dict[str, File] = field(default_factory=dict)
    said: list[str] = field(default_factory=list)

    def flush(self, path: str) -> None:
        """A file's bytes become certain, or the names in a directory."""
        if path in self.seen and not self.seen[path].directory:
            self.seen[path].flush()
            return
        for names, others in ((self.seen, self.certain), (self.certain, self.seen)):
            for name in [each for each in names if str(Path(each).parent) == path]:
                if names is self.seen:
                    self.certain[name] = self.seen[name]
                elif name not in others:
                    del self.certain[name]

    def after_a_cut(self, folder: Path, chance: random.Random) -> None:
        """Write what may be found into a folder."""
        kept = chance.choice([0.0, 0.5, 0.9, 1.0])
        names = dict(self.certain)
        for name in self.seen.keys() ^ self.certain.keys():
            if chance.random() < kept:
                names.pop(name, None) if name in names else names.update({name: self.seen[name]})
        for name in self.seen.keys() & self.certain.keys():
            if self.seen[name] is not self.certain[name] and chance.random() < kept:
                names[name] = self.seen[name]
        for name in sorted(names):
            path, file = folder / name, names[name]
            if not path.parent.is_dir():
                continue
            if file.directory:
                path.mkdir()
            else:
                path.write_bytes(file.after_a_cut(chance, kept))


def disks(code: str, folder: Path, *arguments: str) -> Iterator[Disk]:
    """Run a program in a folder; yield the disk after each of its calls, always the same one."""
    folder.mkdir()
    trace = folder.parent / "trace"
    program = [sys.executable, "-c", code, *arguments]
    command = ["strace", "-y", "-xx", "-s", "10000000", "-e", f"trace={_CALLS}", "-o", str(trace)]
    done = subprocess.run(
        [*command, *program], cwd=folder, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    replay = _Replay()
    for line in trace.read_text().splitlines():
        call = _read(line, str(folder))
        if call is not None and replay.happens(call):
            yield replay.disk


@dataclass
class _Call:
    """A call that did something, as strace tells of it."""

    name: str
    arguments: str
    result: int
    number: str
    held: str | None
    texts: list[bytes]
    paths: list[str]
    opened: str | None

    @property
    def last(self) -> int:
        """Its last argument, where that is a number."""
        return int(self.arguments.rsplit(",", 1)[1], 0)


def _read(line: str, folder: str) -> _Call | None:
    """Read a line of strace's; None where the call failed or is about other files."""
    found = _LINE.match(line)
    if found is None or found[3].startswith("-"):
        return None
    name, arguments, result, opened = found.groups()
    texts = [_bytes(each) for each in re.findall(r'"((?:\\x[0-9a-f]{2})*)"', arguments)]
    of_descriptor = re.match(r"(\d+)<(.*?)>", arguments)
    return _Call(
        name=name.replace("at2", "").removesuffix("at"),
        arguments=arguments,
        result=int(result, 0),
        number=of_descriptor[1] if of_descriptor else "",
        held=_within(folder, _bytes(of_descriptor[2]).decode()) if of_descriptor else None,
        texts=texts,
        paths=[_within(folder, each.decode(errors="replace")) or "" for each in texts],
        opened=_within(folder, _bytes(opened).decode()) if opened else None,
    )


class _Replay:
    """Lets calls happen to a disk."""

    def __init__(self) -> None:
        self.disk = Disk()
        self._offsets: dict[str, int] = {}

    def happens(self, call: _Call) -> bool:
        """Let a call happen; return whether it did something to the disk, or said something."""
        if call.name == "write" and call.number == "1":
            self.disk.said += call.texts[0].decode().split()
            return True
        if call.name == "open":
            return self._open(call)
        if call.name in ("rename", "link", "unlink", "mkdir"):
            return self._name(call)
        if call.held is None:
            return False
        if call.name in ("fsync", "fdatasync"):
            self.disk.flush(call.held)
            return True
        if call.name == "lseek":
            self._offsets[call.number] = call.result
        return call.held in self.disk.seen and self._write(call, self.disk.seen[call.held])

    def _open(self, call: _Call) -> bool:
        path = call.opened
        if path is None or "O_DIRECTORY" in call.arguments:
            return False
        if "O_CREAT" in call.arguments:
            self.disk.seen.setdefault(path, File())
        if path not in self.disk.seen:
            return False
        if "O_TRUNC" in call.arguments:
            self.disk.seen[path].uncertain.append((0, None))
        self._offsets[str(call.result)] = -1 if "O_APPEND" in call.arguments else 0
        return True

    def _name(self, call: _Call) -> bool:
        seen, (path, *other) = self.disk.seen, call.paths
        if call.name == "mkdir" and path:
            seen[path] = File(directory=True)
        elif path not in seen:
            return False
        elif call.name == "unlink":
            del seen[path]
        else:
            seen[other[0]] = seen[path] if call.name == "link" else seen.pop(path)
        return True

    def _write(self, call: _Call, file: File) -> bool:
        if call.name == "ftruncate":
            file.uncertain.append((call.last, None))
        elif call.name == "pwrite64":
            file.uncertain.append((call.last, call.texts[0][: call.result]))
        elif call.name in ("write", "writev"):
            offset = self._offsets.get(call.number, -1)
            written = b"".join(call.texts)[: call.result]
            file.uncertain.append((file.size() if offset < 0 else offset, written))
            if offset >= 0:
                self._offsets[call.number] = offset + call.result
        else:
            return False
        return True


def _within(folder: str, path: str) -> str | None:
    """A path as the folder's own; None where it lies elsewhere."""
    path = path.removesuffix(" (deleted)")
    if not path.startswith("/"):
        return path
    if path == folder:
        return "."
    return path.removeprefix(folder + "/") if path.startswith(folder + "/") else None


def _bytes(text: str) -> bytes:
    return bytes.fromhex(text.replace("\\x", "")) if text.startswith("\\x") else text.encode()


def _put(content: bytearray, offset: int, written: bytes | None) -> None:
    """Write at an offset, zeros between; None cuts off, or fills up, to it."""
    end = offset if written is None else offset + len(written)
    if written is None:
        del content[end:]
    if len(content) < end:
        content.extend(bytes(end - len(content)))
    if written is not None:
        content[offset:end] = written
