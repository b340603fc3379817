"""The registry finds tasks by name and refuses what does not fit them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from colearn import tasks
from colearn.errors import ConfigError

SHIPPED = [name for name in tasks.names() if not tasks.get(name).needs_data]


def test_names_are_those_that_are_promised() -> None:
    """Thirteen tasks, of which eight need a folder."""
    assert tasks.names() == (
        "digits", "breast-cancer", "iris", "diabetes", "fashion-mnist", "mnist", "cifar10", "xray",
        "spam", "credit", "housing", "fraud", "scania",
    )  # fmt: skip
    assert set(tasks.names()) - set(SHIPPED) == {
        "mnist", "cifar10", "xray", "spam", "credit", "housing", "fraud", "scania",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("wrong", "meant"), [("digit", "digits"), ("fashion_mnist", "fashion-mnist")]
)
def test_a_misspelt_name_is_guessed(wrong: str, meant: str) -> None:
    """The message suggests the closest name and lists all."""
    with pytest.raises(ConfigError, match=f"did you mean {meant}") as caught:
        tasks.get(wrong)
    assert all(name in str(caught.value) for name in tasks.names())


def test_an_unlike_name_is_not_guessed() -> None:
    """Nothing is suggested for a name that is like none."""
    with pytest.raises(ConfigError) as caught:
        tasks.get("zzz")
    assert "did you mean" not in str(caught.value)


@pytest.mark.parametrize("name", SHIPPED)
def test_data_are_well_formed(name: str) -> None:
    """Shapes agree, values are finite and of order one, and labels are those of the task."""
    task = tasks.get(name)
    data = task.load()
    assert data.x_train.shape[1:] == data.x_test.shape[1:]
    for x, y in ((data.x_train, data.y_train), (data.x_test, data.y_test)):
        assert len(x) == len(y)
        assert np.isfinite(x).all()
        assert x.std() < 3
        assert abs(x.mean()) < 1.5
        if task.classes is None:
            assert (data.classes, y.dtype) == (None, np.float64)
        else:
            assert np.unique(y).tolist() == data.classes.tolist() == [*range(task.classes)]


@pytest.mark.parametrize(("name", "samples"), [
    ("digits", 1797), ("breast-cancer", 569), ("iris", 150), ("diabetes", 442),
])  # fmt: skip
def test_a_fifth_is_for_testing(name: str, samples: int) -> None:
    """No sample is lost, a fifth is the test set, and classes have the same shares in it."""
    data = tasks.get(name).load()
    assert len(data.y_train) + len(data.y_test) == samples
    assert len(data.y_test) == -(-samples // 5)
    if data.classes is not None:
        shares = np.bincount(data.y_train) / len(data.y_train)
        assert np.bincount(data.y_test) / len(data.y_test) == pytest.approx(shares, abs=0.02)


def test_a_folder_for_a_task_that_reads_none_is_refused() -> None:
    """A folder that would be ignored is an error, and the message names tasks that take one."""
    with pytest.raises(ConfigError, match="fashion-mnist or mnist"):
        tasks.get("digits").load(Path("somewhere"))


@pytest.mark.parametrize("option", [{"learning_rate": 0.1}, {"batch_size": 8}])
def test_a_forest_takes_no_setting_of_gradient_descent(option: dict[str, float]) -> None:
    """An option without effect is refused."""
    with pytest.raises(ConfigError, match="iris has no (learning rate|batch size)"):
        tasks.build(tasks.get("iris"), learners=3, split="iid", seed=0, **option)


@pytest.mark.parametrize("option", [
    {"learning_rate": 0.0}, {"learning_rate": -1.0}, {"learning_rate": float("nan")},
    {"learning_rate": float("inf")}, {"batch_size": 0}, {"batch_size": -3},
])  # fmt: skip
def test_impossible_settings_are_refused(option: dict[str, float]) -> None:
    """The message names the option and a value that suits the task."""
    with pytest.raises(ConfigError, match=r"is refused: it must be above 0 \("):
        tasks.build(tasks.get("digits"), learners=3, split="iid", seed=0, **option)
