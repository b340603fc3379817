"""What a round costs when a few of many vote: members drawn of a hundred, and of a thousand.

Collectives of the product, on the local ledger; each member learns a linear model of its
own hundred samples by gradient descent, corrected by the method, and votes on ten
others. Prints a table, and fails if a round of a thousand members costs more than one and
a half times what a round of a hundred costs.

    python benchmarks/committee.py            # 100 steps a training
    python benchmarks/committee.py --steps 1  # training that costs nothing
"""

from __future__ import annotations

import argparse
import sys
import time

import numpy as np
from holding import Holding
from numpy.typing import NDArray

from colearn import Collective, ProposedWeights, Rule, Weights
from colearn.voting import policy

COMMITTEE = 64
ROUNDS = 40
WARM = 100
MOST = 1.5
FEATURES, SAMPLES, VOTING, RATE = 400, 100, 10, 0.01
NOT_WORSE = policy("not-worse")

Array = NDArray[np.float32]


class Linear(Holding):
    """Least squares on a few private samples."""

    def __init__(self, seed: int, truth: Array, steps: int) -> None:
        super().__init__(Weights({"w": np.zeros(FEATURES, np.float32)}))
        rng = np.random.default_rng((1, seed))
        self._steps = steps
        self._x = rng.normal(size=(SAMPLES + VOTING, FEATURES)).astype(np.float32)
        self._x /= np.float32(np.sqrt(FEATURES))
        self._y = self._x @ truth + rng.normal(0, 0.1, SAMPLES + VOTING).astype(np.float32)
        self._offset: Array = np.zeros(FEATURES, np.float32)

    def set_offset(self, offset: dict[str, Array] | None) -> None:
        self._offset = np.zeros(FEATURES, np.float32) if offset is None else offset["w"]

    def training_size(self) -> tuple[int, int]:
        return self._steps, SAMPLES

    def mli_propose_weights(self) -> Weights:
        x, y, w = self._x[:-VOTING], self._y[:-VOTING], self.current.weights["w"]
        for _ in range(self._steps):
            w = w - np.float32(RATE) * (x.T @ (x @ w - y)) + self._offset
        return Weights({"w": w})

    def mli_test_weights(self, weights: Weights) -> ProposedWeights:
        before, after = (self._losses(each) for each in (self.current, weights))
        vote = NOT_WORSE.vote(before, after, self._y[-VOTING:])
        return ProposedWeights(weights.weights, vote=vote)

    def _losses(self, weights: Weights) -> Array:
        return (self._x[-VOTING:] @ weights.weights["w"] - self._y[-VOTING:]) ** 2


def measure(method: str, members: int, steps: int) -> tuple[float, int, int]:
    """Seconds of a round, the median; rounds accepted; and tensors in the method's state."""
    truth = np.random.default_rng(0).normal(size=FEATURES).astype(np.float32)
    learners = [Linear(index, truth, steps) for index in range(members)]
    collective = Collective(learners, rule=Rule(committee=COMMITTEE), method=method)
    seconds = []
    rounds = collective.play(WARM + ROUNDS)
    while len(seconds) < WARM + ROUNDS:
        began = time.process_time()
        next(rounds)
        seconds.append(time.process_time() - began)
    rounds.close()
    result, course = collective.result, collective._course  # noqa: SLF001
    kept = 0 if course is None else len(course.state)
    return float(np.median(seconds[WARM:])), result.accepted, kept


def main() -> int:
    """Print the table; the number of methods that miss the goal."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--methods", nargs="+", default=["plain", "fast"])
    parser.add_argument("--steps", type=int, default=100, help="of a training")
    options = parser.parse_args()
    steps = options.steps
    print(f"{COMMITTEE} drawn, processor time of a round, median of {ROUNDS}")
    missed = 0
    for method in options.methods:
        few, many = measure(method, 100, steps), measure(method, 1_000, steps)
        ratio = many[0] / few[0]
        missed += ratio > MOST
        print(
            f"{method:8} 100 members {1e3 * few[0]:7.1f} ms   1,000 members "
            f"{1e3 * many[0]:7.1f} ms   ratio {ratio:.2f} (at most {MOST})   "
            f"accepted {many[1]} of {WARM + ROUNDS}, {many[2]} tensors remembered",
            flush=True,
        )
    return missed


if __name__ == "__main__":
    sys.exit(main())
