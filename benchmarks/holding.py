"""A learner to measure with: what is the same in all of them."""

from __future__ import annotations

from abc import abstractmethod

from colearn import MachineLearningInterface, ProposedWeights, Weights


class Holding(MachineLearningInterface):
    """Holds the weights that it accepted last, and approves all; a subclass trains."""

    def __init__(self, initial: Weights) -> None:
        self.current = initial

    @abstractmethod
    def mli_propose_weights(self) -> Weights: ...

    def mli_test_weights(self, weights: Weights) -> ProposedWeights:
        return ProposedWeights(weights.weights, vote=True)

    def mli_accept_weights(self, weights: Weights) -> None:
        self.current = weights

    def mli_get_current_weights(self) -> Weights:
        return self.current
