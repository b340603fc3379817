"""Packs the subset of Fashion-MNIST that colearn ships.

It takes the first images of each class in file order, so the same files always
give the same subset. Debian's package ``dataset-fashion-mnist`` has the files::

    python scripts/pack_fashion_mnist.py /usr/share/datasets/fashion-mnist
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from colearn.tasks.idx import read_images

TARGET = Path(__file__).parents[1] / "src/colearn/tasks/data/fashion-mnist.npz"
TRAIN_PER_CLASS = 500
TEST_PER_CLASS = 100


def first_of_each_class(labels: NDArray[np.uint8], per_class: int) -> NDArray[np.intp]:
    """Return positions of the first samples of every class, in file order."""
    firsts = [np.flatnonzero(labels == label)[:per_class] for label in np.unique(labels)]
    return np.sort(np.concatenate(firsts))


def pack(source: Path, target: Path) -> None:
    """Write the subset of the four idx files in ``source`` to ``target``."""
    train_images, train_labels = read_images(source, "train")
    test_images, test_labels = read_images(source, "t10k")
    train = first_of_each_class(train_labels, TRAIN_PER_CLASS)
    test = first_of_each_class(test_labels, TEST_PER_CLASS)
    np.savez_compressed(
        target,
        train_images=train_images[train],
        train_labels=train_labels[train],
        test_images=test_images[test],
        test_labels=test_labels[test],
    )


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("source", type=Path, help="folder with the four idx files")
    parser.add_argument("target", type=Path, nargs="?", default=TARGET)
    arguments = parser.parse_args()
    pack(arguments.source, arguments.target)
    print(f"{arguments.target}: {arguments.target.stat().st_size} bytes")


if __name__ == "__main__":
    main()
