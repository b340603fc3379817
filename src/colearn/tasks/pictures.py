"""CIFAR-10 and chest X-rays: pictures that the user has fetched.

Pictures lie in folders named by class, ``train/CLASS/*`` and ``test/CLASS/*``, as
png or jpeg files. CIFAR-10 may also be the ``.bin`` files of its authors.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from colearn.errors import ConfigError, MissingExtra
from colearn.tasks.datasets import Dataset

try:
    from PIL import Image
except ModuleNotFoundError:
    raise MissingExtra("reading pictures", "pillow", "demo") from None

_SUFFIXES = {".png", ".jpg", ".jpeg"}
_WHITE = np.float32(255)
_CIFAR_SIDE = 32
_CIFAR_PIXELS = 3 * _CIFAR_SIDE**2
_CIFAR_CLASSES = (
    *("airplane", "automobile", "bird", "cat", "deer"),
    *("dog", "frog", "horse", "ship", "truck"),
)
_XRAY_SIDE = 64
_XRAY_CLASSES = ("NORMAL", "PNEUMONIA")

Part = tuple[NDArray[np.float32], NDArray[np.int64]]


def cifar10(data_dir: Path | None, test_dir: Path | None) -> Dataset:
    """Read CIFAR-10 (Krizhevsky 2009): 32 × 32 pixels in three colours, ten classes.

    Raises:
        ConfigError: No folder is given, or its files cannot be used.
    """
    if data_dir is None:
        raise ConfigError(
            "the task cifar10 brings no data: fetch "
            "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz, unpack it, and name its "
            "folder with --data-dir (or one of pictures, train/airplane/*.png and so on)"
        )
    test_dir = test_dir or data_dir
    if (data_dir / "data_batch_1.bin").exists():
        batches = [_cifar_batch(data_dir / f"data_batch_{part}.bin") for part in range(1, 6)]
        x, y = (np.concatenate(parts) for parts in zip(*batches, strict=True))
        return _dataset((x, y), _cifar_batch(test_dir / "test_batch.bin"), _CIFAR_CLASSES)
    read = partial(read_folder, classes=_CIFAR_CLASSES, side=_CIFAR_SIDE, mode="RGB")
    return _dataset(read(data_dir / "train"), read(test_dir / "test"), _CIFAR_CLASSES)


def xray(data_dir: Path | None, test_dir: Path | None) -> Dataset:
    """Read chest X-rays of children (Kermany 2018), shrunk to 64 × 64 grey pixels.

    Raises:
        ConfigError: No folder is given, or its files cannot be used.
    """
    if data_dir is None:
        raise ConfigError(
            "the task xray brings no data: fetch paultimothymooney/chest-xray-pneumonia from "
            "kaggle.com, unpack it, and name its folder chest_xray, which holds "
            "train/NORMAL/*.jpeg and so on, with --data-dir"
        )
    read = partial(read_folder, classes=_XRAY_CLASSES, side=_XRAY_SIDE, mode="L")
    return _dataset(read(data_dir / "train"), read((test_dir or data_dir) / "test"), _XRAY_CLASSES)


LOADERS = {"cifar10": cifar10, "xray": xray}


def read_folder(folder: Path, *, classes: tuple[str, ...], side: int, mode: str) -> Part:
    """Read pictures from folders named by class.

    Args:
        folder: Holds a folder for each class.
        classes: Their names; a label is a place in them.
        side: Pixels along an edge, to which pictures are scaled.
        mode: ``L`` for grey, ``RGB`` for colour.

    Returns:
        Pictures, float32 in 0 … 1, of shape (n, channels · side · side), channel by
        channel; and labels of shape (n,).

    Raises:
        ConfigError: A folder is missing or empty, or a picture cannot be read.
    """
    pictures: list[NDArray[np.uint8]] = []
    labels: list[int] = []
    for label, name in enumerate(classes):
        if not (folder / name).is_dir():
            raise ConfigError(
                f"{folder} holds no folder {name}: it should hold one for each class, "
                f"{', '.join(classes)}"
            )
        paths = sorted(
            path for path in (folder / name).iterdir() if path.suffix.lower() in _SUFFIXES
        )
        if not paths:
            raise ConfigError(f"{folder / name} holds no picture: expected png or jpeg files")
        pictures += [_read_picture(path, side, mode) for path in paths]
        labels += [label] * len(paths)
    x = np.stack(pictures).reshape(len(labels), -1).astype(np.float32)
    return x / _WHITE, np.array(labels, np.int64)


def _read_picture(path: Path, side: int, mode: str) -> NDArray[np.uint8]:
    try:
        with Image.open(path, formats=["PNG", "JPEG"]) as picture:
            scaled = picture.convert(mode).resize((side, side), Image.Resampling.BOX)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as reason:
        raise ConfigError(f"{path} cannot be read as a picture: {reason}") from None
    pixels = np.asarray(scaled)
    return pixels if pixels.ndim == 2 else np.moveaxis(pixels, -1, 0)


def _cifar_batch(path: Path) -> Part:
    """Read rows of one label and 3,072 pixels, a byte each."""
    try:
        content = np.fromfile(path, np.uint8)
    except OSError as reason:
        raise ConfigError(
            f"{path} cannot be read ({reason.strerror}): unpack the whole archive"
        ) from None
    if not len(content) or len(content) % (1 + _CIFAR_PIXELS):
        raise ConfigError(
            f"{path} has {len(content)} bytes: expected a multiple of {1 + _CIFAR_PIXELS}; "
            "fetch the binary version of CIFAR-10 again"
        )
    rows = content.reshape(-1, 1 + _CIFAR_PIXELS)
    if rows[:, 0].max() >= len(_CIFAR_CLASSES):
        raise ConfigError(f"{path} holds the label {rows[:, 0].max()}: expected 0 to 9")
    return rows[:, 1:].astype(np.float32) / _WHITE, rows[:, 0].astype(np.int64)


def _dataset(train: Part, test: Part, classes: tuple[str, ...]) -> Dataset:
    return Dataset(*train, *test, classes=np.arange(len(classes)))
