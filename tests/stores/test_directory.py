"""The store in a directory, also when it is damaged, killed or short of room."""

from __future__ import annotations

import fcntl
import os
import resource
import subprocess
import sys
import time
from itertools import count
from pathlib import Path

import pytest

from colearn.errors import BlobCorrupt, BlobMissing, StoreError
from colearn.records import digest_of
from colearn.stores.directory import DirectoryStore
from colearn.testing import check_store

PUT = """
import os, sys
from pathlib import Path
from colearn.stores.directory import DirectoryStore

store = DirectoryStore(Path(sys.argv[1]))
print("ready", flush=True)
while True:
    print(store.put([os.urandom(1000), bytes(3_000_000)]), flush=True)
"""


def files(folder: Path) -> list[Path]:
    """All files below a folder."""
    return [path for path in folder.rglob("*") if path.is_file()]


def test_keeps_the_promises(tmp_path: Path) -> None:
    """The conformance kit passes."""
    numbers = count()
    check_store(lambda: DirectoryStore(tmp_path / "deep" / str(next(numbers))))


def test_a_blob_is_one_file_named_by_its_content(tmp_path: Path) -> None:
    """Anybody can check a store with a hash tool: names say what the bytes must be."""
    digest = DirectoryStore(tmp_path).put([b"some", b"thing"])
    assert files(tmp_path) == [tmp_path / digest[:2] / digest]
    assert files(tmp_path)[0].read_bytes() == b"something"


def test_a_blob_that_is_held_is_not_written_again(tmp_path: Path) -> None:
    """Putting a held blob leaves its file alone, also from another store on the directory."""
    digest = DirectoryStore(tmp_path).put([b"blob"])
    file = tmp_path / digest[:2] / digest
    os.utime(file, (1, 1))
    assert DirectoryStore(tmp_path).put([b"blob"]) == digest
    assert file.stat().st_mtime == 1


@pytest.mark.parametrize("damage", [b"", b"blo", b"blob!", b"Blob"])
def test_damage_is_found(tmp_path: Path, damage: bytes) -> None:
    """A blob that was changed, cut or lengthened is never given out; put anew, it is well."""
    store = DirectoryStore(tmp_path)
    digest = store.put([b"blob"])
    (tmp_path / digest[:2] / digest).write_bytes(damage)
    with pytest.raises(BlobCorrupt, match="drop the blob and put it again"):
        store.open(digest)
    store.drop(digest)
    store.put([b"blob"])
    assert bytes(store.open(digest)[0]) == b"blob"


def test_a_digest_cannot_lead_out_of_the_directory(tmp_path: Path) -> None:
    """What is not 64 hex digits names no blob, whatever file it would lead to."""
    outside = tmp_path / "outside"
    outside.write_bytes(b"secret")
    store = DirectoryStore(tmp_path / "store")
    for name in ("../outside", str(outside), "..", "", "/", "x" * 64, "../" * 20 + "etc/passwd"):
        assert name not in store
        with pytest.raises(BlobMissing):
            store.open(name)
        store.drop(name)
    assert outside.exists()


@pytest.mark.parametrize("delay_seconds", [0.0, 0.003, 0.011])
def test_a_kill_leaves_no_half_blob(tmp_path: Path, delay_seconds: float) -> None:
    """Killed inside put(), every blob to be seen is whole, and the rest is cleaned up."""
    with subprocess.Popen(
        [sys.executable, "-c", PUT, str(tmp_path)], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        for _ in range(3):
            process.stdout.readline()
        time.sleep(delay_seconds)
        process.kill()
        promised = process.stdout.read().split("\n")[:-1]
    store = DirectoryStore(tmp_path)
    held = [path.name for path in files(tmp_path)]
    assert len(held) >= 2
    assert set(promised) <= set(held)
    for digest in held:
        assert len(store.open(digest)[0]) == 3_001_000


def test_what_a_crash_left_is_cleaned_up_unless_somebody_is_writing(tmp_path: Path) -> None:
    """Unfinished files go when a store is opened, but never under another one's hands."""
    left = tmp_path / "unfinished-0123"
    left.touch()
    descriptor = os.open(tmp_path, os.O_RDONLY)
    fcntl.flock(descriptor, fcntl.LOCK_SH)
    DirectoryStore(tmp_path)
    assert left.exists()
    os.close(descriptor)
    DirectoryStore(tmp_path)
    assert not left.exists()


def test_a_full_disk_is_one_line_and_leaves_nothing(tmp_path: Path) -> None:
    """A blob that does not fit is not held, and what was written of it is gone."""
    store = DirectoryStore(tmp_path)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, hard))
    try:
        with pytest.raises(StoreError, match="cannot hold blob") as caught:
            store.put([bytes(100_000)])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert "\n" not in str(caught.value)
    assert files(tmp_path) == []
    assert digest_of([bytes(100_000)]) not in store


def test_what_cannot_be_opened_or_written_says_so(tmp_path: Path) -> None:
    """A path through a file, or a directory that is gone, is one clear line."""
    (tmp_path / "file").touch()
    for path in (tmp_path / "file", tmp_path / "file" / "store"):
        with pytest.raises(StoreError, match="cannot be opened"):
            DirectoryStore(path)
    store = DirectoryStore(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    with pytest.raises(StoreError, match="cannot hold blob .* No such file"):
        store.put([b"blob"])


def test_what_is_mapped_survives_the_drop(tmp_path: Path) -> None:
    """A voter may go on reading weights that the store has let go."""
    store = DirectoryStore(tmp_path)
    digest = store.put([bytes(5000)])
    blob = store.open(digest)
    store.drop(digest)
    assert files(tmp_path) == []
    assert bytes(blob[0]) == bytes(5000)
