"""Reads the idx files of MNIST and its relatives, plain or gzipped, strictly."""

from __future__ import annotations

import gzip
import math
import struct
import zlib
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from colearn.errors import ConfigError

_MAX_BYTES = 2**29  # ten times MNIST; a file never makes us allocate more
_UNSIGNED_BYTE = 0x08
_SIDE = 28
_CLASSES = 10


def read_images(
    folder: Path, part: Literal["train", "t10k"]
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Read the images and labels of one part.

    Args:
        folder: Holds ``{part}-images-idx3-ubyte`` and ``{part}-labels-idx1-ubyte``,
            each with or without ``.gz``, itself or in a folder ``data``.
        part: Which of the two usual parts.

    Returns:
        Images, uint8, of shape (n, 28, 28), and labels 0 … 9, uint8, of shape (n,).

    Raises:
        ConfigError: A file is missing, unreadable, or not exactly what its name says.
    """
    images_path = find(folder, f"{part}-images-idx3-ubyte")
    labels_path = find(folder, f"{part}-labels-idx1-ubyte")
    images, labels = read(images_path, ndim=3), read(labels_path, ndim=1)
    if images.shape[1:] != (_SIDE, _SIDE) or not len(images):
        raise ConfigError(
            f"{images_path} holds images of shape {images.shape}: expected at least one, "
            f"each {_SIDE} × {_SIDE} pixels"
        )
    if len(images) != len(labels):
        raise ConfigError(
            f"{images_path} holds {len(images)} images, but {labels_path} {len(labels)} labels: "
            "take both files from the same download"
        )
    if labels.max() >= _CLASSES:
        raise ConfigError(f"{labels_path} holds the label {labels.max()}: expected 0 to 9")
    return images, labels


def find(folder: Path, name: str) -> Path:
    """Return the path of a file in a folder, or in its folder ``data``, gzipped or not."""
    if not folder.is_dir():
        raise ConfigError(f"{folder} is not a folder: give the one that holds {name}")
    for parent in (folder, folder / "data"):
        for path in (parent / name, parent / f"{name}.gz"):
            if path.is_file():
                return path
    raise ConfigError(f"{folder} holds neither {name} nor {name}.gz: give the folder that does")


def read(path: Path, *, ndim: int) -> NDArray[np.uint8]:
    """Read one idx file of unsigned bytes.

    Args:
        path: The file; gzipped if its name ends in ``.gz``.
        ndim: Number of dimensions it must have.

    Returns:
        Its array, read-only.

    Raises:
        ConfigError: The file cannot be read, has another magic number, or its
            length differs from what its dimensions say.
    """
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            header = file.read(4 + 4 * ndim)
            shape = _shape(path, header, ndim)
            content = file.read(math.prod(shape) + 1)
    except (OSError, EOFError, zlib.error) as reason:
        raise ConfigError(f"{path} cannot be read ({reason}): fetch it again") from None
    if len(content) != math.prod(shape):
        more = "more" if len(content) > math.prod(shape) else f"only {len(content)}"
        raise ConfigError(
            f"{path} should hold {math.prod(shape)} bytes after its header, "
            f"as its dimensions {shape} say, but holds {more}: fetch it again"
        )
    return np.frombuffer(content, np.uint8).reshape(shape)


def _shape(path: Path, header: bytes, ndim: int) -> tuple[int, ...]:
    magic = bytes((0, 0, _UNSIGNED_BYTE, ndim))
    if len(header) < 4 + 4 * ndim or not header.startswith(magic):
        raise ConfigError(
            f"{path} is not an idx file of bytes in {ndim} dimensions: it begins with "
            f"{header[:4].hex() or 'nothing'}, expected {magic.hex()}"
        )
    shape = struct.unpack(f">{ndim}I", header[4:])
    if math.prod(shape) > _MAX_BYTES:
        raise ConfigError(
            f"{path} says it holds {math.prod(shape)} bytes: at most {_MAX_BYTES} are read"
        )
    return shape
