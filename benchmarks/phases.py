"""What would it save to train on M′ while the vote on it runs?

    python benchmarks/phases.py [--rounds 8]

Five members are processes that talk to anvil and to each other over HTTP. Their learners
only sleep, so that the machine's two cores do not matter, and write down when they train,
test and accept. A member that has voted is idle until it sees the decision; it could have
begun to train on M′, and would have dropped that work after a rejection. From the moments
written down follows by how much the next updates would have been ready sooner, had
everybody done so: by as much as the last of them.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from itertools import pairwise
from pathlib import Path

import numpy as np
from killing import finished, prepare

from colearn import MachineLearningInterface, ProposedWeights, Weights
from colearn.ledgers.anvil import Anvil
from colearn.records import Rule

MEMBERS = 5
LIMIT_SECONDS = 400
_FILE = "phases.jsonl"


class Sleeper(MachineLearningInterface):
    """Trains and tests by sleeping, approves all, and writes down when."""

    def __init__(self, train_seconds: float, test_seconds: float, file: Path | None) -> None:
        self._seconds = {"train": train_seconds, "test": test_seconds, "accept": 0.0}
        self._file = file
        self._current = Weights({"at": np.zeros(20_000)})

    def _spend(self, phase: str) -> None:
        began = time.monotonic()
        time.sleep(self._seconds[phase])
        if self._file is not None:
            with self._file.open("a") as out:
                out.write(json.dumps([phase, began, time.monotonic()]) + "\n")

    def mli_propose_weights(self) -> Weights:
        self._spend("train")
        return Weights({"at": self._current.weights["at"] + 1})

    def mli_test_weights(self, weights: Weights) -> ProposedWeights:
        self._spend("test")
        return ProposedWeights(weights.weights, vote=True)

    def mli_accept_weights(self, weights: Weights) -> None:
        self._spend("accept")
        self._current = weights

    def mli_get_current_weights(self) -> Weights:
        return self._current


def make(
    train_seconds: float,
    test_seconds: float,
    data_dir: Path | None,
    seed: int,  # noqa: ARG001 - what `join` gives
) -> Sleeper:
    """What `colearn join --learner phases:make` calls."""
    return Sleeper(train_seconds, test_seconds, data_dir and data_dir / _FILE)


def rounds_of(folder: Path) -> list[dict[str, tuple[float, float]]]:
    """A member's phases, round by round: each begins with the acceptance of the last M′."""
    rounds: list[dict[str, tuple[float, float]]] = []
    for line in (folder / _FILE).read_text().splitlines():
        phase, began, ended = json.loads(line)
        if phase == "accept":
            rounds.append({})
        rounds[-1][phase] = (began, ended)
    return rounds


def saved(
    now: list[dict[str, tuple[float, float]]], then: list[dict[str, tuple[float, float]]]
) -> float:
    """By how much those who train in a round would have been ready sooner, in seconds.

    Args:
        now: By member, the phases of a round in which all of them voted, but its proposer.
        then: Those of the round after it.
    """
    shown = min(each["test"][0] for each in now if "test" in each)
    ready, sooner = [], []
    for before, after in zip(now, then, strict=True):
        if "train" in after:
            free = before["test"][1] if "test" in before else shown
            took = after["train"][1] - after["train"][0]
            ready.append(after["train"][1])
            sooner.append(max(after["accept"][1], free + took))
    return max(ready) - max(sooner)


def measure(
    block_seconds: int | None, method: str, train_seconds: float, test_seconds: float, rounds: int
) -> tuple[float, float]:
    """Median length of a round, and what would be saved of it, in seconds."""
    with tempfile.TemporaryDirectory() as name, Anvil(block_seconds=block_seconds) as node:
        _, group = prepare(
            Path(name),
            node,
            MEMBERS,
            rounds,
            task="phases:make",
            method=method,
            options={"train_seconds": train_seconds, "test_seconds": test_seconds},
            rule=Rule(propose_seconds=60, vote_seconds=60),
        )
        try:
            for each in group:
                each.start()
            end = time.monotonic() + LIMIT_SECONDS
            while not all(map(finished, group)) and time.monotonic() < end:
                time.sleep(0.2)
        finally:
            for each in group:
                if each.alive():
                    each.kill()
        by_member = [rounds_of(each.folder)[:rounds] for each in group]
    by_round = [list(each) for each in zip(*by_member, strict=True)][2:]  # warm
    began = [max(each["accept"][1] for each in phases) for phases in by_round]
    return (
        statistics.median(later - earlier for earlier, later in pairwise(began)),
        statistics.median(saved(now, then) for now, then in pairwise(by_round)),
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=8)
    options = parser.parse_args()
    print(
        f"{'blocks':8}{'method':10}{'training':>10}{'test':>8}{'a round':>10}{'saved':>10}{'':>8}"
    )
    for block_seconds in (None, 1, 12):
        for method in ("average", "plain"):
            for train_seconds in (0.2, 2.0, 10.0):
                if block_seconds == 12 and train_seconds < 10:
                    continue
                test_seconds = train_seconds / 10
                a_round, less = measure(
                    block_seconds, method, train_seconds, test_seconds, options.rounds
                )
                blocks = "at once" if block_seconds is None else f"{block_seconds} s"
                print(
                    f"{blocks:8}{method:10}{train_seconds:8.1f} s{test_seconds:6.2f} s"
                    f"{a_round:8.2f} s{less:8.2f} s{less / a_round:8.0%}",
                    flush=True,
                )


if __name__ == "__main__":
    main()
