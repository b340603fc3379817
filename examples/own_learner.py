"""Bring your own learner: plain numpy, written directly against the interface.

Softmax regression on scikit-learn's digits. Five learners share the images out
among them; none sees another's, and together they train one model.
"""

import numpy as np
from sklearn.datasets import load_digits

from colearn import Collective, MachineLearningInterface, ProposedWeights, Weights


class SoftmaxRegression(MachineLearningInterface):
    def __init__(self, x, y):
        self.x, self.vote_x = np.split(x, [len(x) * 4 // 5])
        self.y, self.vote_y = np.split(y, [len(y) * 4 // 5])
        self.weights = Weights({"w": np.zeros((64, 10)), "b": np.zeros(10)})

    def probabilities(self, weights, x):
        scores = x @ weights["w"] + weights["b"]
        scores = np.exp(scores - scores.max(axis=1, keepdims=True))
        return scores / scores.sum(axis=1, keepdims=True)

    def loss(self, weights):
        shares = self.probabilities(weights.weights, self.vote_x)
        return -np.log(shares[np.arange(len(self.vote_y)), self.vote_y] + 1e-12).mean()

    def mli_propose_weights(self):
        new = {name: tensor.copy() for name, tensor in self.weights.weights.items()}
        for _ in range(20):
            gradient = (self.probabilities(new, self.x) - np.eye(10)[self.y]) / len(self.y)
            new["w"] -= 0.5 * self.x.T @ gradient
            new["b"] -= 0.5 * gradient.sum(axis=0)
        return Weights(new)

    def mli_test_weights(self, weights):
        before, after = self.loss(self.weights), self.loss(weights)
        return ProposedWeights(weights.weights, vote_score=-after, vote=bool(after < before))

    def mli_accept_weights(self, weights):
        self.weights = weights

    def mli_get_current_weights(self):
        return self.weights


images, labels = load_digits(return_X_y=True)
images /= 16
parts = zip(np.array_split(images, 6), np.array_split(labels, 6), strict=True)
(test_x, test_y), *private = parts
learners = [SoftmaxRegression(x, y) for x, y in private]


def accuracy():
    probabilities = learners[0].probabilities(learners[0].weights.weights, test_x)
    return (probabilities.argmax(axis=1) == test_y).mean()


print(f"before: {accuracy():.1%} of unseen digits are read correctly")
result = Collective(learners).run(rounds=20)
print(f"after {len(result.rounds)} rounds: {accuracy():.1%}")
