"""MNIST and Fashion-MNIST from the shipped subset and from idx files."""

from __future__ import annotations

import hashlib
import struct
import sys
from pathlib import Path

import numpy as np
import pytest

from colearn import tasks
from colearn.errors import ConfigError

ROOT = Path(__file__).parents[2]
SHIPPED = ROOT / "src/colearn/tasks/data/fashion-mnist.npz"


def write_set(folder: Path, *, train: int = 30, test: int = 10, grey: int = 51) -> Path:
    """A full set of four idx files, all pixels of one grey."""
    folder.mkdir()
    for part, n in (("train", train), ("t10k", test)):
        images = np.full((n, 28, 28), grey, np.uint8)
        labels = (np.arange(n) % 10).astype(np.uint8)
        (folder / f"{part}-images-idx3-ubyte").write_bytes(
            struct.pack(">4I", 0x803, n, 28, 28) + images.tobytes()
        )
        (folder / f"{part}-labels-idx1-ubyte").write_bytes(
            struct.pack(">2I", 0x801, n) + labels.tobytes()
        )
    return folder


def test_shipped_subset_is_small_balanced_and_scaled() -> None:
    """6,000 images come with colearn, equally many of each class, in at most 3 MB."""
    assert SHIPPED.stat().st_size <= 3_000_000
    data = tasks.get("fashion-mnist").load()
    assert data.x_train.shape == (5000, 784)
    assert data.x_test.shape == (1000, 784)
    assert np.bincount(data.y_train).tolist() == [500] * 10
    assert np.bincount(data.y_test).tolist() == [100] * 10
    assert data.x_train.dtype == np.float32
    assert (data.x_train.min(), data.x_train.max()) == (0, 1)


def test_no_test_image_is_a_train_image() -> None:
    """The common test set of the shipped subset holds nothing that a learner holds."""
    data = tasks.get("fashion-mnist").load()
    train = {hashlib.sha256(image).digest() for image in data.x_train}
    assert not any(hashlib.sha256(image).digest() in train for image in data.x_test)


def test_licence_is_shipped_with_the_images() -> None:
    """Who takes the images gets the notice that their licence asks for."""
    notice = (SHIPPED.parent / "LICENSE.fashion-mnist").read_text()
    assert "Copyright (c) 2017 Zalando SE" in notice


@pytest.mark.parametrize("name", ["mnist", "fashion-mnist"])
def test_reads_a_folder(name: str, tmp_path: Path) -> None:
    """With a data folder, all samples come from it, scaled by 255."""
    data = tasks.get(name).load(write_set(tmp_path / "set"))
    assert (data.x_train.shape, data.x_test.shape) == ((30, 784), (10, 784))
    assert (data.x_train == np.float32(0.2)).all()
    assert data.y_train.tolist() == [*range(10)] * 3


@pytest.mark.parametrize("name", ["mnist", "fashion-mnist"])
def test_reads_the_test_part_from_elsewhere(name: str, tmp_path: Path) -> None:
    """A test folder replaces the test part alone."""
    train, test = write_set(tmp_path / "a", grey=0), write_set(tmp_path / "b", grey=255)
    data = tasks.get(name).load(train, test)
    assert (data.x_train.max(), data.x_test.min()) == (0, 1)


def test_mnist_without_a_folder_says_what_it_needs() -> None:
    """MNIST is not shipped; the message says which files to give."""
    assert tasks.get("mnist").needs_data
    with pytest.raises(ConfigError, match="train-images-idx3-ubyte"):
        tasks.get("mnist").load()


def test_packing_again_gives_the_same_subset(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The script takes the first images of each class in file order, byte for byte the same."""
    monkeypatch.syspath_prepend(ROOT / "scripts")
    import pack_fashion_mnist  # noqa: PLC0415 - a script, found only now

    source = write_set(tmp_path / "set", train=6000, test=1200)
    paths = [tmp_path / "one.npz", tmp_path / "two.npz"]
    for path in paths:
        monkeypatch.setattr(sys, "argv", ["pack", str(source), str(path)])
        pack_fashion_mnist.main()
    assert paths[0].read_bytes() == paths[1].read_bytes()
    with np.load(paths[0], allow_pickle=False) as packed:
        assert np.array_equal(packed["train_labels"], np.arange(5000) % 10)
        assert packed["test_images"].shape == (1000, 28, 28)
