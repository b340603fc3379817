"""What the collective is compared with: one learner that trains alone, and a trusted server.

Who trains alone gets as many turns as the collective took rounds, and is judged at the
round its own vote samples like best, as an owner without partners would choose it. A
server averages what all trained, whatever it is (federated averaging, arXiv 1602.05629).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from colearn.errors import ConfigError
from colearn.methods import method
from colearn.ml_interface import MachineLearningInterface, Weights
from colearn.protocols import Seeded, Trained
from colearn.trainee import training_seed, training_size


class SoloLearner(Protocol):
    """What training alone needs of a learner; every framework learner has it."""

    def set_seed(self, seed: int) -> None:
        """Draw all randomness from here on from this seed."""
        ...

    def mli_propose_weights(self) -> Weights:
        """Train from the current weights."""
        ...

    def mli_accept_weights(self, weights: Weights) -> None:
        """Make weights the current ones."""
        ...

    def mli_get_current_weights(self) -> Weights:
        """Return the current weights."""
        ...

    def vote_loss(self, weights: Weights) -> float:
        """Mean loss on the learner's own vote samples."""
        ...


@dataclass(frozen=True, slots=True)
class Alone:
    """How a learner did on its own.

    Attributes:
        score: Test score after ``best_round``.
        best_round: The round after which the loss on the own vote samples was lowest,
            counted from 0; the first such round.
        curve: Test score after each round.
    """

    score: float
    best_round: int
    curve: tuple[float, ...]


def train_alone(
    learner: SoloLearner, rounds: int, evaluate: Callable[[Weights], float], *, seed: int = 0
) -> Alone:
    """Let one learner accept each of its own proposals; it ends with the weights it had before.

    Runs in a process pool too if ``learner`` and ``evaluate`` can be pickled.

    Args:
        learner: Trains from its current weights.
        rounds: Proposals it makes, at least 1.
        evaluate: Test score of weights, higher is better.
        seed: Fixes the training of every round.

    Returns:
        Its test scores, and the one that it would have chosen itself.

    Raises:
        ConfigError: There is no round.
    """
    if rounds < 1:
        raise ConfigError(f"{rounds} rounds of training alone are none: take at least 1")
    initial = learner.mli_get_current_weights()
    curve: list[float] = []
    losses: list[float] = []
    for round_index in range(rounds):
        learner.set_seed(_seed_of(seed, round_index))
        weights = learner.mli_propose_weights()
        learner.mli_accept_weights(weights)
        losses.append(learner.vote_loss(weights))
        curve.append(evaluate(weights))
    learner.mli_accept_weights(initial)
    best = int(np.argmin(np.nan_to_num(losses, nan=np.inf, posinf=np.inf)))
    return Alone(curve[best], best, tuple(curve))


def federated_averaging(
    learners: Mapping[str, MachineLearningInterface],
    rounds: int,
    evaluate: Callable[[Weights], float],
    *,
    seed: int = 0,
) -> tuple[float, ...]:
    """Let a server average the weights that all learners train, round after round, unasked.

    Args:
        learners: All that train, by name, as members of a collective would.
        rounds: How many.
        evaluate: Test score of weights, higher is better.
        seed: Seed of the run; each training's is that of a collective's member.

    Returns:
        The test score after each round.
    """
    average = method("average")
    current = next(iter(learners.values())).mli_get_current_weights()
    curve = []
    for round_index in range(rounds):
        updates = []
        for name, learner in learners.items():
            if isinstance(learner, Seeded):
                learner.set_seed(training_seed(seed, name, round_index))
            trained = learner.mli_propose_weights()
            updates.append(Trained(name, trained.weights, *training_size(learner, trained)))
        current = Weights(average.merge(current.weights, {}, updates))
        for learner in learners.values():
            learner.mli_accept_weights(current)
        curve.append(evaluate(current))
    return tuple(curve)


def _seed_of(seed: int, round_index: int) -> int:
    state = np.random.SeedSequence([seed, round_index]).generate_state(1, np.uint64)
    return int(state[0] >> 1)
