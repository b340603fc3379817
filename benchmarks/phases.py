"""What does it save to train on M′ while the vote on it runs (`colearn join --ahead`)?

    python benchmarks/phases.py [--rounds 8]

Five members are processes that talk to anvil and to each other over HTTP. Their learners
only sleep, so that the machine's two cores do not matter, and approve all, so that it is
the most there is to gain. Each cell is measured twice, the members going ahead or not.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from itertools import pairwise
from pathlib import Path

import numpy as np
from holding import Holding
from killing import finished, prepare

from colearn import ProposedWeights, Weights
from colearn.ledgers.anvil import Anvil
from colearn.records import Rule

MEMBERS = 5
WARM = 2
LIMIT_SECONDS = 400


class Sleeper(Holding):
    """Trains and tests by sleeping, and approves all."""

    def __init__(self, train_seconds: float, test_seconds: float) -> None:
        super().__init__(Weights({"at": np.zeros(20_000)}))
        self._train_seconds, self._test_seconds = train_seconds, test_seconds

    def mli_propose_weights(self) -> Weights:
        time.sleep(self._train_seconds)
        return Weights({"at": self.current.weights["at"] + 1})

    def mli_test_weights(self, weights: Weights) -> ProposedWeights:
        time.sleep(self._test_seconds)
        return super().mli_test_weights(weights)


def make(
    train_seconds: float,
    test_seconds: float,
    data_dir: Path | None,  # noqa: ARG001 - what `join` gives
    seed: int,  # noqa: ARG001
) -> Sleeper:
    """What `colearn join --learner phases:make` calls."""
    return Sleeper(train_seconds, test_seconds)


def measure(
    block_seconds: int | None,
    method: str,
    train_seconds: float,
    rounds: int,
    *,
    ahead: bool,
) -> float:
    """Median seconds from one decision to the next, as a member sees them."""
    with tempfile.TemporaryDirectory() as name, Anvil(block_seconds=block_seconds) as node:
        _, group = prepare(
            Path(name),
            node,
            MEMBERS,
            rounds + WARM,
            task="phases:make",
            method=method,
            options={"train_seconds": train_seconds, "test_seconds": train_seconds / 10},
            rule=Rule(propose_seconds=60, vote_seconds=60),
        )
        try:
            for each in group:
                if ahead:
                    each.command.append("--ahead")
                each.start()
            decided: list[float] = []
            end = time.monotonic() + LIMIT_SECONDS
            while not all(map(finished, group)) and time.monotonic() < end:
                seen = len(group[0].said("decided"))
                decided += [time.monotonic()] * (seen - len(decided))
                time.sleep(0.02)
        finally:
            for each in group:
                if each.alive():
                    each.kill()
    return statistics.median(later - earlier for earlier, later in pairwise(decided[WARM - 1 :]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=8)
    options = parser.parse_args()
    print(f"{'blocks':8}{'method':10}{'training':>10}{'waiting':>10}{'ahead':>10}{'less':>8}")
    for block_seconds in (None, 1, 12):
        for method in ("average", "plain"):
            for train_seconds in (0.2, 2.0, 10.0):
                if block_seconds == 12 and train_seconds < 10:
                    continue
                waiting, ahead = (
                    measure(block_seconds, method, train_seconds, options.rounds, ahead=ahead)
                    for ahead in (False, True)
                )
                blocks = "at once" if block_seconds is None else f"{block_seconds} s"
                print(
                    f"{blocks:8}{method:10}{train_seconds:8.1f} s{waiting:8.2f} s{ahead:8.2f} s"
                    f"{1 - ahead / waiting:8.0%}",
                    flush=True,
                )


if __name__ == "__main__":
    main()
