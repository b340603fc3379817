"""A setting shares data out to learners that start alike, and keeps the test set from them."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest

from colearn import tasks
from colearn.baselines import train_alone
from colearn.errors import ConfigError
from colearn.ml_interface import ModelFormat

SHIPPED = [name for name in tasks.names() if not tasks.get(name).needs_data]
SMALL = [name for name in SHIPPED if name != "fashion-mnist"]


def build(name: str = "digits", **options):
    """A small setting; options replace its own."""
    return tasks.build(tasks.get(name), **{"learners": 4, "split": "iid", "seed": 0, **options})


def rows(*samples) -> list[bytes]:
    """Each sample's x and y as bytes, sorted."""
    return sorted(a.tobytes() + b.tobytes() for x, y in samples for a, b in zip(x, y, strict=True))


@pytest.mark.parametrize("name", SHIPPED)
def test_everything_is_held_once(name: str) -> None:
    """Train and vote samples of all learners are the dataset's train part, no more, no less."""
    setting = build(name)
    held = [part for each in setting.learners for part in (each.train_samples, each.vote_samples)]
    data = setting.dataset
    assert rows(*held) == rows((data.x_train, data.y_train))
    pooled = setting.pooled
    assert rows(pooled.train_samples) == rows(*held[::2])
    assert rows(pooled.vote_samples) == rows(*held[1::2])


def test_a_fifth_votes() -> None:
    """Each learner trains on four fifths of its share and votes with the rest."""
    for learner, count in zip(build().learners, build().counts.sum(axis=1), strict=True):
        assert len(learner.vote_samples[0]) == count // 5
        assert len(learner.train_samples[0]) == count - count // 5


@pytest.mark.parametrize("name", SMALL)
def test_the_test_set_is_the_datasets(name: str) -> None:
    """What the collective is judged by is the test part, which everybody shares and none holds."""
    setting = build(name)
    assert setting.test[0] is setting.dataset.x_test
    assert setting.test[1] is setting.dataset.y_test
    assert all(learner.test_samples is None for learner in setting.learners)


@pytest.mark.parametrize("name", SHIPPED)
def test_all_start_from_the_same_weights(name: str) -> None:
    """Learners of one seed share M₀ bit for bit, whatever classes they hold; pooled too."""
    setting = build(name, split="classes:2", learners=3)
    first, *others = (
        learner.mli_get_current_weights().weights for learner in (*setting.learners, setting.pooled)
    )
    for other in others:
        assert first.keys() == other.keys()
        for key in first:
            assert first[key].dtype == other[key].dtype
            np.testing.assert_array_equal(first[key], other[key], strict=True)


def test_the_seed_fixes_everything() -> None:
    """The same seed gives identical samples and weights; another gives others of both."""
    first, again, other = build(seed=5), build(seed=5), build(seed=6)

    def arrays(setting):
        learner = setting.learners[1]
        weights = learner.mli_get_current_weights().weights
        return [*learner.train_samples, *learner.vote_samples, *weights.values()]

    for a, b, c in zip(arrays(first), arrays(again), arrays(other), strict=True):
        np.testing.assert_array_equal(a, b, strict=True)
        assert not np.array_equal(a, c)


@pytest.mark.parametrize("name", SMALL)
def test_counts_are_what_learners_hold(name: str) -> None:
    """The histogram counts each learner's train and vote samples by class, or by fifth."""
    setting = build(name, split="dirichlet:5")
    for learner, counts in zip(setting.learners, setting.counts, strict=True):
        labels = np.concatenate([learner.train_samples[1], learner.vote_samples[1]])
        assert counts.sum() == len(labels)
        if setting.dataset.classes is not None:
            assert counts.tolist() == [(labels == c).sum() for c in setting.dataset.classes]


def test_flipping_touches_all_labels_of_the_attackers_alone() -> None:
    """Class y becomes classes − 1 − y in train and vote; x, counts and other learners stay."""
    honest, attacked = build(), build(flipped=frozenset({1, 3}))
    np.testing.assert_array_equal(honest.counts, attacked.counts)
    for position, (a, b) in enumerate(zip(honest.learners, attacked.learners, strict=True)):
        for (x, y), (x_attacked, y_attacked) in (
            (a.train_samples, b.train_samples),
            (a.vote_samples, b.vote_samples),
        ):
            np.testing.assert_array_equal(x, x_attacked)
            np.testing.assert_array_equal(9 - y if position in {1, 3} else y, y_attacked)


def test_flipping_mirrors_numbers() -> None:
    """Where numbers are predicted, an attacker's are mirrored at the median of all."""
    honest, attacked = build("diabetes"), build("diabetes", flipped=frozenset({0}))
    both = honest.learners[0].train_samples[1] + attacked.learners[0].train_samples[1]
    np.testing.assert_allclose(both, 2 * np.median(honest.dataset.y_train))


def test_an_attacker_that_is_not_there_is_refused() -> None:
    """An attacker's position lies among the learners."""
    with pytest.raises(ConfigError, match="learner 4 cannot attack"):
        build(flipped=frozenset({4}))


@pytest.mark.parametrize("name", SHIPPED)
def test_the_model_learns(name: str) -> None:
    """With the task's own settings, the pooled learner gets well above guessing in ten rounds."""
    setting = build(name)
    evaluate = partial(setting.pooled.evaluate, samples=setting.test)
    guess = 0.0 if setting.dataset.classes is None else 1 / len(setting.dataset.classes)
    assert train_alone(setting.pooled, 10, evaluate).score > guess + 0.2


def test_options_reach_the_learner() -> None:
    """Batch size, learning rate and policy replace the task's own."""
    learner = build(batch_size=7, learning_rate=0.5, policy="accuracy").learners[0]
    assert learner.batch_size == 7
    assert learner.policy.metric == "error"
    assert learner.mli_get_current_model(ModelFormat.NATIVE).model.learning_rate_init == 0.5
    assert build().learners[0].batch_size == tasks.get("digits").batch_size
