"""The idx reader takes exactly what the format says, and names every other file."""

from __future__ import annotations

import gzip
import struct
from pathlib import Path

import numpy as np
import pytest

from colearn.errors import ConfigError
from colearn.tasks import idx

IMAGES = "train-images-idx3-ubyte"
LABELS = "train-labels-idx1-ubyte"


def encoded(array: np.ndarray) -> bytes:
    """An idx file written without the reader's code."""
    return struct.pack(f">I{array.ndim}I", 0x800 + array.ndim, *array.shape) + array.tobytes()


def write_part(folder: Path, part: str = "train", n: int = 20, *, zipped: bool = False) -> None:
    """The two files of a part: image i is all i, and labels run through 0 … 9."""
    folder.mkdir(parents=True, exist_ok=True)
    images = np.repeat(np.arange(n, dtype=np.uint8), 28 * 28).reshape(n, 28, 28)
    labels = np.arange(n, dtype=np.uint8) % 10
    for name, array in (("images-idx3", images), ("labels-idx1", labels)):
        raw = encoded(array)
        if zipped:
            (folder / f"{part}-{name}-ubyte.gz").write_bytes(gzip.compress(raw))
        else:
            (folder / f"{part}-{name}-ubyte").write_bytes(raw)


@pytest.mark.parametrize("zipped", [False, True])
@pytest.mark.parametrize("inside", [".", "data"])
def test_reads_what_was_written(tmp_path: Path, inside: str, zipped: bool) -> None:
    """Pixels and labels come back in order, gzipped or not, also from a folder data."""
    write_part(tmp_path / inside, zipped=zipped)
    images, labels = idx.read_images(tmp_path, "train")
    assert images.shape == (20, 28, 28)
    assert images.dtype == labels.dtype == np.uint8
    assert images[:, 0, 0].tolist() == images[:, 27, 27].tolist() == list(range(20))
    assert labels.tolist() == [*range(10), *range(10)]


def assert_refused(folder: Path, *words: str) -> None:
    """Reading the train part fails in one line that holds these words."""
    with pytest.raises(ConfigError) as caught:
        idx.read_images(folder, "train")
    message = str(caught.value)
    assert "\n" not in message
    for word in words:
        assert word in message


def test_missing_folder_is_named(tmp_path: Path) -> None:
    """A path that is no folder is the first thing to say."""
    assert_refused(tmp_path / "nowhere", "nowhere is not a folder", IMAGES)


def test_missing_file_is_named(tmp_path: Path) -> None:
    """The message says which of the files is missing."""
    write_part(tmp_path)
    (tmp_path / LABELS).unlink()
    assert_refused(tmp_path, "neither", LABELS)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda raw: b"", ["begins with nothing", "expected 00000803"]),
        (lambda raw: raw[:9], ["not an idx file"]),
        (lambda raw: b"\x89PNG" + raw[4:], ["89504e47", "expected 00000803"]),
        (lambda raw: raw[:3] + b"\x01" + raw[4:], ["00000801", "expected 00000803"]),
        (lambda raw: raw[:2] + b"\x0d" + raw[3:], ["00000d03", "expected 00000803"]),
        (lambda raw: raw[:-1], ["should hold 15680 bytes", "only 15679"]),
        (lambda raw: raw + b"\0", ["should hold 15680 bytes", "holds more"]),
        (lambda raw: raw[:4] + b"\xff" * 12 + raw[16:], ["at most 536870912"]),
        (lambda raw: encoded(np.zeros((20, 14, 56), np.uint8)), ["(20, 14, 56)", "28 × 28"]),
        (lambda raw: encoded(np.zeros((0, 28, 28), np.uint8)), ["(0, 28, 28)", "at least one"]),
        (lambda raw: encoded(np.zeros((19, 28, 28), np.uint8)), ["19 images", "20 labels"]),
    ],
)
@pytest.mark.parametrize("zipped", [False, True])
def test_damaged_images_are_refused(tmp_path: Path, change, words: list[str], zipped: bool) -> None:
    """Magic number, dimensions, length and size limit are all checked, in one line each."""
    write_part(tmp_path)
    path = tmp_path / IMAGES
    raw = change(path.read_bytes())
    path.unlink()
    if zipped:
        (tmp_path / f"{IMAGES}.gz").write_bytes(gzip.compress(raw))
    else:
        path.write_bytes(raw)
    assert_refused(tmp_path, IMAGES, *words)


def test_label_above_nine_is_refused(tmp_path: Path) -> None:
    """A label that no class has is named."""
    write_part(tmp_path)
    (tmp_path / LABELS).write_bytes(encoded(np.full(20, 10, np.uint8)))
    assert_refused(tmp_path, LABELS, "label 10", "0 to 9")


@pytest.mark.parametrize(
    "damage",
    [
        lambda raw: raw[: len(raw) // 2],
        lambda raw: raw[:-4],
        lambda raw: b"plain" + raw,
        lambda raw: raw[:10] + b"\xff" * 20 + raw[30:],
        lambda raw: raw[:-8] + bytes(byte ^ 1 for byte in raw[-8:]),
    ],
    ids=["half", "trailer", "not gzip", "body", "checksum"],
)
def test_damaged_gzip_is_refused(tmp_path: Path, damage) -> None:
    """A gzip file that is cut off or altered is one clear line, not a stack of zlib errors."""
    write_part(tmp_path, zipped=True)
    path = tmp_path / f"{IMAGES}.gz"
    path.write_bytes(damage(path.read_bytes()))
    assert_refused(tmp_path, path.name, "fetch it again")
