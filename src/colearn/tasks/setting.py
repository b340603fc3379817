"""A whole setting: a task's samples shared out, and a learner for each share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from colearn.errors import ConfigError
from colearn.learners.base import FrameworkLearner
from colearn.learners.samples import Samples
from colearn.tasks import splits
from colearn.tasks.datasets import Dataset
from colearn.tasks.registry import Task

_VOTE_SHARE = 5  # one sample of a learner in five
_BINS = 5


@dataclass(frozen=True, slots=True, eq=False)
class Setting:
    """Learners that are about to learn together, and what to compare them with.

    Attributes:
        learners: Each with train and vote samples of its own.
        pooled: One learner with everybody's train and everybody's vote samples.
        test: The common test samples, which no learner holds.
        counts: Samples each learner holds of each class, before any labels are
            flipped; of shape (learners, classes), or for numbers (learners,
            quantile bins).
        dataset: Where it all comes from.
    """

    learners: list[FrameworkLearner]
    pooled: FrameworkLearner
    test: Samples
    counts: NDArray[np.int64]
    dataset: Dataset


def build(
    task: Task,
    *,
    learners: int,
    split: str,
    seed: int,
    learning_rate: float | None = None,
    batch_size: int | None = None,
    policy: str = "loss",
    data_dir: Path | None = None,
    test_dir: Path | None = None,
    flipped: frozenset[int] = frozenset(),
) -> Setting:
    """Build a setting; the same arguments give the same arrays.

    Each learner votes with a fifth of its share and trains on the rest.

    Args:
        task: Says which data and which model.
        learners: How many.
        split: ``iid``, ``dirichlet:A``, ``classes:K`` or ``sizes:A``; see
            `colearn.tasks.splits.parse`.
        seed: Fixes the shares and the initial weights.
        learning_rate: Instead of the task's own.
        batch_size: Instead of the task's own.
        policy: Name of the voting policy.
        data_dir: Folder of the data, where the task takes one.
        test_dir: Folder of the test part, if it is another one.
        flipped: Positions of learners who attack by flipping the labels of all that
            they hold: the first class becomes the last and so on, and numbers are
            mirrored at their median.

    Raises:
        ConfigError: Something here cannot be used.
        MissingExtra: scikit-learn is not installed.
    """
    unknown = sorted(learner for learner in flipped if not 0 <= learner < learners)
    if unknown:
        raise ConfigError(f"learner {unknown[0]} cannot attack: there are {learners}, from 0")
    share_out = splits.parse(split)
    dataset = task.load(data_dir, test_dir)
    if dataset.classes is None:
        groups, kinds = splits.quantile_bins(dataset.y_train, _BINS), _BINS
    else:
        groups, kinds = np.searchsorted(dataset.classes, dataset.y_train), len(dataset.classes)
    rng = np.random.default_rng(seed)
    shares = share_out(groups, learners, rng)
    counts = np.array([np.bincount(groups[share], minlength=kinds) for share in shares])

    def make(train: Samples, vote: Samples) -> FrameworkLearner:
        return task.learner(
            train,
            vote,
            seed=seed,
            learning_rate=learning_rate,
            batch_size=batch_size,
            policy=policy,
        )

    parts = []
    for position, share in enumerate(shares):
        shuffled = rng.permutation(share)
        held = len(share) // _VOTE_SHARE
        flip = position in flipped
        parts.append(
            (_take(dataset, shuffled[held:], flip=flip), _take(dataset, shuffled[:held], flip=flip))
        )
    trains, votes = zip(*parts, strict=True)
    return Setting(
        learners=[make(train, vote) for train, vote in parts],
        pooled=make(_join(trains), _join(votes)),
        test=(dataset.x_test, dataset.y_test),
        counts=counts,
        dataset=dataset,
    )


def _take(dataset: Dataset, indices: splits.Indices, *, flip: bool) -> Samples:
    y = dataset.y_train[indices]
    if flip:
        if dataset.classes is None:
            y = (2 * np.median(dataset.y_train) - y).astype(y.dtype)
        else:
            y = dataset.classes[::-1][np.searchsorted(dataset.classes, y)]
    return dataset.x_train[indices], y


def _join(parts: Sequence[Samples]) -> Samples:
    return np.concatenate([x for x, _ in parts]), np.concatenate([y for _, y in parts])
