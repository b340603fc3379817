"""Splits share samples out disjointly, reproducibly, and as skewed as they say."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from colearn.errors import ConfigError
from colearn.tasks.splits import MIN_SAMPLES, parse, quantile_bins

LABELS = np.arange(1000) % 10


def share_out(text: str, labels: np.ndarray = LABELS, learners: int = 5, seed: int = 0):
    """Shares under a split."""
    return parse(text)(labels, learners, np.random.default_rng(seed))


def histogram(shares, labels: np.ndarray = LABELS) -> np.ndarray:
    """Samples of each class by learner, shape (learners, 10)."""
    return np.array([np.bincount(labels[share], minlength=10) for share in shares])


@given(
    text=st.sampled_from(
        ["iid", "dirichlet:0.5", "dirichlet:100", "classes:10", "classes:3", "sizes:2"]
    ),
    learners=st.integers(1, 12),
    seed=st.integers(0, 2**32),
)
def test_shares_are_disjoint_and_large_enough(text: str, learners: int, seed: int) -> None:
    """No sample is given twice, all are given if every class has a holder, none starves."""
    shares = share_out(text, learners=learners, seed=seed)
    given_away = np.concatenate(shares)
    assert len(shares) == learners
    assert len(np.unique(given_away)) == len(given_away)
    assert min(map(len, shares)) >= MIN_SAMPLES
    if text != "classes:3" or learners >= 4:
        assert len(given_away) == len(LABELS)


@pytest.mark.parametrize("text", ["iid", "dirichlet:0.5", "classes:2", "sizes:0.5"])
def test_the_seed_decides(text: str) -> None:
    """The same seed gives the same shares; another one gives others."""
    first, again, other = (
        np.concatenate(share_out(text, seed=seed)).tolist() for seed in (1, 1, 2)
    )
    assert first == again != other


def test_iid_shares_are_equal() -> None:
    """Learners get equally many samples, give or take one."""
    sizes = [len(share) for share in share_out("iid", learners=7)]
    assert max(sizes) - min(sizes) <= 1


def test_dirichlet_skews_more_the_smaller_its_number() -> None:
    """The spread of a class over learners falls from 0.2 over 2 to nearly none at 10,000."""
    spreads = [
        np.mean([histogram(share_out(text, seed=seed)).std(axis=0) for seed in range(20)])
        for text in ("dirichlet:0.2", "dirichlet:2", "dirichlet:1e4")
    ]
    assert spreads[0] > 1.5 * spreads[1] > 1.5 * spreads[2]
    assert spreads[2] < 1


def test_dirichlet_draws_the_variance_it_says() -> None:
    """A class's share has the Dirichlet distribution's variance, (n − 1) / n² / (n·A + 1)."""
    shares = np.concatenate(
        [histogram(share_out("dirichlet:2", seed=seed)).ravel() for seed in range(200)]
    )
    assert (shares / 100).var() == pytest.approx(4 / 25 / 11, rel=0.1)


def test_sizes_differ_and_classes_do_not() -> None:
    """Learners' sizes vary as drawn, and each holds the classes in proportion, but for chance."""
    tables = [histogram(share_out("sizes:2", seed=seed)) for seed in range(400)]
    sizes = np.array([table.sum(axis=1) for table in tables])
    assert (sizes / 1000).var() == pytest.approx(4 / 25 / 11, rel=0.1)
    large = [row / row.sum() for table in tables for row in table if row.sum() > 400]
    assert np.std(large) < 0.02


@pytest.mark.parametrize(("held", "learners"), [(1, 10), (2, 5), (3, 4), (4, 10), (10, 3)])
def test_classes_gives_each_learner_so_many_and_each_class_a_holder(
    held: int, learners: int
) -> None:
    """Learners hold exactly K classes, and no class is left out where there are enough places."""
    holds = histogram(share_out(f"classes:{held}", learners=learners)) > 0
    assert (holds.sum(axis=1) == held).all()
    assert holds.any(axis=0).all()


def test_classes_are_shared_evenly() -> None:
    """Those who hold a class have equally much of it, and classes have equally many holders."""
    counts = histogram(share_out("classes:3", learners=7))
    holders = (counts > 0).sum(axis=0)
    assert holders.max() - holders.min() <= 1
    for column in counts.T:
        held = column[column > 0]
        assert held.max() - held.min() <= 1


def test_classes_that_nobody_holds_are_left_out() -> None:
    """With fewer places than classes, each place is another class and the rest is unused."""
    counts = histogram(share_out("classes:2", learners=3))
    assert (counts.sum(axis=0) > 0).sum() == 6
    assert counts.sum() == 600


@pytest.mark.parametrize(
    "text",
    ["", "IID", "iid:2", "dirichlet", "dirichlet:", "dirichlet:0", "dirichlet:-1", "dirichlet:nan",
     "dirichlet:inf", "dirichlet:x", "classes", "classes:0", "classes:-1", "classes:1.5", "sizes",
     "sizes:0", "other"],
)  # fmt: skip
def test_wrong_names_are_refused(text: str) -> None:
    """The message repeats what was given and shows what may be written."""
    with pytest.raises(ConfigError, match="classes:2") as caught:
        parse(text)
    assert repr(text) in str(caught.value)


@pytest.mark.parametrize("text", ["iid", "dirichlet:1", "classes:2"])
@pytest.mark.parametrize(("learners", "words"), [(101, "at most 100"), (0, "at least 1")])
def test_too_many_or_too_few_learners(text: str, learners: int, words: str) -> None:
    """The message says how many learners there may be."""
    with pytest.raises(ConfigError, match=words):
        share_out(text, learners=learners)


@pytest.mark.parametrize(
    ("samples", "ends"),
    [(9, "give 50 or more"), (45, "give 50 or more, or take at most 4 learners")],
)
def test_too_few_samples(samples: int, ends: str) -> None:
    """The message says how many are needed, and never that nobody is to learn."""
    with pytest.raises(ConfigError, match=f"{ends}$"):
        share_out("iid", labels=np.zeros(samples, dtype=np.int64), learners=5)


def test_a_split_that_starves_a_learner_says_what_to_change() -> None:
    """Skew that leaves somebody with next to nothing is refused, not handed out."""
    with pytest.raises(ConfigError, match=r"larger number than 0\.001, or fewer than 20 learners"):
        share_out("dirichlet:0.001", learners=20)
    rare = np.array([0] * 95 + [1] * 5)
    with pytest.raises(ConfigError, match="more classes each"):
        share_out("classes:1", labels=rare, learners=2)
    with pytest.raises(ConfigError, match="classes:2 or fewer"):
        share_out("classes:3", labels=rare, learners=2)


def test_quantile_bins_are_equally_full_and_in_order() -> None:
    """Numbers are grouped by size, the same number in each group."""
    numbers = np.random.default_rng(0).normal(size=100)
    bins = quantile_bins(numbers, 5)
    assert np.bincount(bins).tolist() == [20] * 5
    assert (np.diff(bins[np.argsort(numbers)]) >= 0).all()
