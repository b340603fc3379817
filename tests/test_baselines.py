"""Training alone: as many turns, judged where the learner itself would stop."""

from __future__ import annotations

import math
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import numpy as np
import pytest

from colearn.baselines import train_alone
from colearn.errors import ConfigError
from colearn.ml_interface import Weights


class Walker:
    """Takes a step each round; its vote loss follows a list."""

    def __init__(self, losses: list[float]) -> None:
        self.losses = losses
        self.seeds: list[int] = []
        self.current = Weights({"at": np.zeros(1)})

    def set_seed(self, seed: int) -> None:
        self.seeds.append(seed)

    def mli_propose_weights(self) -> Weights:
        return Weights({"at": self.current.weights["at"] + 1})

    def mli_accept_weights(self, weights: Weights) -> None:
        self.current = weights

    def mli_get_current_weights(self) -> Weights:
        return self.current

    def vote_loss(self, weights: Weights) -> float:
        return self.losses[round(position(weights)) - 1]


def position(weights: Weights) -> float:
    """How many steps were taken."""
    return float(weights.weights["at"][0])


def test_accepts_every_own_proposal() -> None:
    """Each round goes on from the one before, whatever the vote samples say."""
    alone = train_alone(Walker([3.0, 2.0, 9.0]), 3, position)
    assert alone.curve == (1.0, 2.0, 3.0)


def test_is_judged_where_the_vote_loss_is_lowest() -> None:
    """The score is the test score at the learner's own best round, not the best test score."""
    alone = train_alone(Walker([3.0, 1.0, 2.0]), 3, position)
    assert (alone.best_round, alone.score) == (1, 2.0)


def test_first_of_equal_rounds_counts() -> None:
    """A later round with the same loss is no better."""
    assert train_alone(Walker([2.0, 1.0, 1.0]), 3, position).best_round == 1


@pytest.mark.parametrize("broken", [math.nan, math.inf, -math.nan])
def test_a_diverged_round_is_never_best(broken: float) -> None:
    """A loss that is no number does not win against one that is."""
    assert train_alone(Walker([broken, 5.0, broken]), 3, position).best_round == 1


def test_all_rounds_diverged_still_gives_a_score() -> None:
    """A learner that only ever diverges is judged at its first round."""
    assert train_alone(Walker([math.nan, math.nan]), 2, position).best_round == 0


def test_learner_ends_as_it_began() -> None:
    """The learner can take part in a collective afterwards."""
    learner = Walker([1.0, 1.0])
    initial = learner.current
    train_alone(learner, 2, position)
    assert learner.current is initial


def test_each_round_has_a_seed_of_its_own() -> None:
    """Seeds differ by round and by run, repeat with the run, and fit 63 bits."""
    drawn = []
    for seed in (1, 1, 2):
        learner = Walker([1.0] * 4)
        train_alone(learner, 4, position, seed=seed)
        drawn.append(learner.seeds)
    first, again, other = drawn
    assert first == again
    assert len({*first, *other}) == 8
    assert all(0 <= seed < 2**63 for seed in first)


def test_no_round_is_refused() -> None:
    """Nothing can be judged after no round."""
    with pytest.raises(ConfigError, match="at least 1"):
        train_alone(Walker([]), 0, position)


def test_runs_in_a_process_pool() -> None:
    """Arguments and result travel between processes, and the result is the same there."""
    with ProcessPoolExecutor(1, mp_context=get_context("fork")) as pool:
        there = pool.submit(train_alone, Walker([2.0, 1.0]), 2, position, seed=3).result()
    assert there == train_alone(Walker([2.0, 1.0]), 2, position, seed=3)
