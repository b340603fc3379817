"""Small learners that tests share: quick, deterministic, and easy to reason about."""

from __future__ import annotations

import numpy as np

from colearn import MachineLearningInterface, ProposedWeights, Weights


class Scripted(MachineLearningInterface):
    """Proposes 1, 2, 3 ... times its own stride and votes by a script, round after round."""

    def __init__(self, votes, *, stride=1.0, size=3):
        self.votes = iter(votes)
        self.stride = stride
        self.current = Weights({"w": np.zeros(size)})

    def mli_propose_weights(self):
        return Weights({"w": self.current.weights["w"] + self.stride})

    def mli_test_weights(self, weights):
        return ProposedWeights(weights.weights, vote_score=0.5, vote=next(self.votes))

    def mli_accept_weights(self, weights):
        self.current = Weights(weights.weights)

    def mli_get_current_weights(self):
        return self.current


class Seeking(MachineLearningInterface):
    """Learns the mean of private numbers by noisy steps; all its randomness is seeded."""

    def __init__(self, numbers, noise=0.3):
        self.numbers = np.asarray(numbers, float)
        self.noise = noise
        self.guess = np.zeros(1)
        self.rng = np.random.default_rng(0)

    def set_seed(self, seed):
        self.rng = np.random.default_rng(seed)

    def loss(self, guess):
        return float(((self.numbers - guess) ** 2).mean())

    def mli_propose_weights(self):
        step = 0.5 * (self.numbers.mean() - self.guess)
        return Weights({"guess": self.guess + step + self.rng.normal(0, self.noise, 1)})

    def mli_test_weights(self, weights):
        new = self.loss(weights.weights["guess"])
        return ProposedWeights(weights.weights, vote_score=-new, vote=new < self.loss(self.guess))

    def mli_accept_weights(self, weights):
        self.guess = weights.weights["guess"]

    def mli_get_current_weights(self):
        return Weights({"guess": self.guess})


def seekers():
    """Three learners whose numbers differ."""
    return [Seeking([1, 2, 3]), Seeking([2, 3, 4]), Seeking([1, 3, 5])]
