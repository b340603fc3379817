"""A random forest on iris, written directly against the interface.

The forest is one array of trees: a row of a tree is a node, with a feature, a
threshold, the rows of two children, and the shares of the three species. A leaf
is its own child, so walking on stays there. At first every tree is a single leaf
that knows nothing; every proposal grows the next ten.

Arrays are trusted here. `colearn.ForestLearner` also checks what it receives.
"""

import numpy as np
from sklearn.datasets import load_iris
from sklearn.ensemble import RandomForestClassifier

from colearn import Collective, MachineLearningInterface, ProposedWeights, Weights

TREES, DEPTH = 60, 4
NODES = 2 ** (DEPTH + 1) - 1


class IrisForest(MachineLearningInterface):
    def __init__(self, x, y):
        self.x, self.vote_x, self.y, self.vote_y = x[::2], x[1::2], y[::2], y[1::2]
        empty = np.zeros((TREES, NODES, 7))
        empty[:, :, 4:] = 1 / 3
        self.weights = Weights({"trees": empty})

    def probabilities(self, trees, x):
        sample, tree = np.ogrid[: len(x), :TREES]
        at = np.zeros((len(x), TREES), int)
        for _ in range(DEPTH):
            feature, threshold, left, right = np.moveaxis(trees[tree, at, :4], -1, 0)
            goes_left = x[sample, feature.astype(int)] <= threshold
            at = np.where(goes_left, left, right).astype(int)
        return trees[tree, at, 4:].mean(axis=1)

    def loss(self, weights):
        shares = self.probabilities(weights.weights["trees"], self.vote_x)
        return -np.log(shares[np.arange(len(self.vote_y)), self.vote_y] + 1e-6).mean()

    def mli_propose_weights(self):
        trees = self.weights.weights["trees"].copy()
        free = np.flatnonzero(trees[:, 0, 2] == 0)[:10]
        forest = RandomForestClassifier(10, max_depth=DEPTH, random_state=0).fit(self.x, self.y)
        for place, grown in zip(free, forest.estimators_, strict=False):
            tree, here = grown.tree_, np.arange(grown.tree_.node_count)
            leaf = tree.children_left < 0
            nodes = np.zeros((NODES, 7))
            nodes[here, 0] = np.where(leaf, 0, tree.feature)
            nodes[here, 1] = tree.threshold
            nodes[here, 2] = np.where(leaf, here, tree.children_left)
            nodes[here, 3] = np.where(leaf, here, tree.children_right)
            nodes[here[:, None], 4 + forest.classes_] = tree.value[:, 0]
            trees[place] = nodes
        return Weights({"trees": trees})

    def mli_test_weights(self, weights):
        before, after = self.loss(self.weights), self.loss(weights)
        return ProposedWeights(weights.weights, vote_score=-after, vote=bool(after < before))

    def mli_accept_weights(self, weights):
        self.weights = weights

    def mli_get_current_weights(self):
        return self.weights


flowers, species = load_iris(return_X_y=True)
order = np.random.default_rng(0).permutation(len(flowers))
(test_x, test_y), *private = [(flowers[part], species[part]) for part in np.array_split(order, 4)]
learners = [IrisForest(x, y) for x, y in private]


def accuracy():
    trees = learners[0].weights.weights["trees"]
    return (learners[0].probabilities(trees, test_x).argmax(axis=1) == test_y).mean()


print(f"before: {accuracy():.1%} of unseen flowers are named correctly")
result = Collective(learners).run(rounds=6)
print(f"after {len(result.rounds)} rounds: {accuracy():.1%}")
