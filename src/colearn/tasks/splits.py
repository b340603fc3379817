"""How samples are shared out: ``iid``, ``dirichlet:A``, ``classes:K``, ``sizes:A``."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from colearn.errors import ConfigError

MIN_SAMPLES = 10
"""A learner's smallest share: 8 samples to train on and 2 to vote with."""

Indices = NDArray[np.intp]
Split = Callable[[NDArray[np.int64], int, np.random.Generator], list[Indices]]
"""Shares out samples: (labels of shape (samples,), learners, rng) → indices per learner."""

_REDRAWS = 100


def parse(text: str) -> Split:
    """Turn a split's name into the function that shares samples out.

    - ``iid``: everybody gets equally many samples, drawn at random.
    - ``dirichlet:A``: each class is shared out in proportions drawn from a symmetric
      Dirichlet distribution of concentration A > 0 (arXiv 1905.12022; 1909.06335
      draws proportions of classes for each learner instead). The smaller A, the more
      the learners' classes differ.
    - ``classes:K``: each learner holds K classes, and each class is shared evenly by
      those who hold it. All classes are held by somebody if there are enough places.
    - ``sizes:A``: samples are drawn at random, but how many each learner gets is drawn from
      a symmetric Dirichlet distribution of concentration A > 0 (arXiv 2102.02079). The
      smaller A, the more the learners' sizes differ.

    The indices are disjoint. They cover all samples, except those of classes that
    nobody holds.

    Raises:
        ConfigError: The text names no split.
    """
    name, _, amount = text.partition(":")
    if text == "iid":
        return _iid
    if name == "dirichlet" and _number(amount) > 0:
        return partial(_dirichlet, _number(amount))
    if name == "sizes" and _number(amount) > 0:
        return partial(_sizes, _number(amount))
    if name == "classes" and amount.isdecimal() and int(amount) > 0:
        return partial(_classes, int(amount))
    raise ConfigError(
        f"no split is called {text!r}: write iid, dirichlet:A or sizes:A with a number A above 0 "
        "(such as dirichlet:0.5), or classes:K with a whole number K (such as classes:2)"
    )


def _number(text: str) -> float:
    """Read a finite number; NaN, above nothing, stands for anything else."""
    try:
        number = float(text)
    except ValueError:
        return math.nan
    return number if math.isfinite(number) else math.nan


def quantile_bins(numbers: NDArray[Any], bins: int) -> NDArray[np.int64]:
    """Label numbers by the quantile they lie in, so that splits can skew them like classes.

    Args:
        numbers: Of shape (samples,).
        bins: How many equally full bins.

    Returns:
        Labels 0 … bins − 1, of shape (samples,).
    """
    edges = np.quantile(numbers, np.arange(1, bins) / bins)
    return np.searchsorted(edges, numbers, side="right").astype(np.int64)


def _iid(labels: NDArray[np.int64], learners: int, rng: np.random.Generator) -> list[Indices]:
    _check_enough(len(labels), learners)
    return np.array_split(rng.permutation(len(labels)), learners)


def _dirichlet(
    concentration: float, labels: NDArray[np.int64], learners: int, rng: np.random.Generator
) -> list[Indices]:
    return _drawn("dirichlet", concentration, labels, learners, rng)


def _sizes(
    concentration: float, labels: NDArray[np.int64], learners: int, rng: np.random.Generator
) -> list[Indices]:
    alike = np.zeros_like(labels)
    return _drawn("sizes", concentration, alike, learners, rng)


def _drawn(
    name: str,
    concentration: float,
    labels: NDArray[np.int64],
    learners: int,
    rng: np.random.Generator,
) -> list[Indices]:
    """Draw until nobody starves."""
    _check_enough(len(labels), learners)
    for _ in range(_REDRAWS):
        shares = _draw(concentration, labels, learners, rng)
        if min(map(len, shares)) >= MIN_SAMPLES:
            return shares
    raise ConfigError(
        f"{name}:{concentration:g} left a learner with fewer than {MIN_SAMPLES} samples in each "
        f"of {_REDRAWS} draws: take a larger number than {concentration:g}, or fewer than "
        f"{learners} learners"
    )


def _draw(
    concentration: float, labels: NDArray[np.int64], learners: int, rng: np.random.Generator
) -> list[Indices]:
    shares: list[list[Indices]] = [[] for _ in range(learners)]
    for label in np.unique(labels):
        members = rng.permutation(np.flatnonzero(labels == label))
        proportions = rng.dirichlet(np.full(learners, concentration))
        cuts = np.rint(np.cumsum(proportions)[:-1] * len(members)).astype(np.intp)
        for share, part in zip(shares, np.split(members, cuts), strict=True):
            share.append(part)
    return [np.concatenate(share) for share in shares]


def _classes(
    held: int, labels: NDArray[np.int64], learners: int, rng: np.random.Generator
) -> list[Indices]:
    _check_enough(len(labels), learners)
    present = np.unique(labels)
    if held > len(present):
        raise ConfigError(
            f"classes:{held} asks for more classes than the {len(present)} there are: "
            f"take classes:{len(present)} or fewer"
        )
    owners: list[list[int]] = [[] for _ in present]
    for learner in range(learners):
        rarest = np.lexsort((rng.random(len(present)), np.array([*map(len, owners)])))
        for position in rarest[:held]:
            owners[position].append(learner)
    shares: list[list[Indices]] = [[] for _ in range(learners)]
    for label, owner in zip(present, owners, strict=True):
        if owner:
            members = rng.permutation(np.flatnonzero(labels == label))
            for learner, part in zip(owner, np.array_split(members, len(owner)), strict=True):
                shares[learner].append(part)
    joined = [np.concatenate(share) for share in shares]
    if min(map(len, joined)) < MIN_SAMPLES:
        raise ConfigError(
            f"classes:{held} leaves a learner with fewer than {MIN_SAMPLES} samples: "
            f"take fewer than {learners} learners, or more classes each"
        )
    return joined


def _check_enough(samples: int, learners: int) -> None:
    if learners < 1:
        raise ConfigError(f"{learners} learners cannot learn: take at least 1")
    if samples < MIN_SAMPLES * learners:
        enough_for = samples // MIN_SAMPLES
        fewer = f", or take at most {enough_for} learners" if enough_for > 1 else ""
        raise ConfigError(
            f"{learners} learners are too many for {samples} samples, those to test with not "
            f"counted, as each needs {MIN_SAMPLES}: give {MIN_SAMPLES * learners} or more{fewer}"
        )
