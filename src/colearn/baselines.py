"""What the collective is compared with: one learner that trains alone.

It gets as many turns as the whole collective took, and is judged at the round its
own vote samples like best, as an owner without partners would choose it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from colearn.errors import ConfigError
from colearn.ml_interface import Weights


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


def _seed_of(seed: int, round_index: int) -> int:
    state = np.random.SeedSequence([seed, round_index]).generate_state(1, np.uint64)
    return int(state[0] >> 1)
