"""Hostile trees against the learners that walk them.

Run as ``python benchmarks/hostile_trees.py [MUTANTS]``: so many mutants of the
canonical bytes of real forests and boosted trees, each decoded and, if the container
takes it, put to the vote. Every mutant must be refused by an error of colearn or end
in a vote, and none may take long.
"""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Callable

import numpy as np
from sklearn.datasets import load_digits
from sklearn.ensemble import RandomForestClassifier

from colearn.errors import ColearnError
from colearn.learners.base import FrameworkLearner
from colearn.learners.forest import ForestLearner
from colearn.learners.lightgbm import LightGBMLearner
from colearn.learners.xgboost import XGBoostLearner
from colearn.ml_interface import Weights
from colearn.weights import decode, encode

LIMIT_SECONDS = 1.0
DIGITS = load_digits(return_X_y=True)
SMALL = (DIGITS[0][:100], DIGITS[1][:100])
SPECIAL = (0, 1, 2, 127, 128, 254, 255)


def learners() -> dict[str, FrameworkLearner]:
    samples = {"train": DIGITS, "vote": SMALL}
    return {
        "forest": ForestLearner(RandomForestClassifier(max_depth=6), trees_per_round=4, **samples),
        "xgboost": XGBoostLearner(rounds_per_proposal=2, **samples),
        "lightgbm": LightGBMLearner(rounds_per_proposal=2, **samples),
    }


def flipped(content: bytearray, rng: np.random.Generator) -> None:
    for place in rng.integers(len(content), size=rng.integers(1, 9)):
        content[place] ^= 1 << rng.integers(8)


def special(content: bytearray, rng: np.random.Generator) -> None:
    for place in rng.integers(len(content), size=rng.integers(1, 9)):
        content[place] = rng.choice(SPECIAL)


def word(content: bytearray, rng: np.random.Generator) -> None:
    place = 4 * int(rng.integers(len(content) // 4))
    content[place : place + 4] = int(rng.integers(-3, 300)).to_bytes(4, "little", signed=True)


def copied(content: bytearray, rng: np.random.Generator) -> None:
    size = int(rng.integers(4, 64))
    source, target = rng.integers(len(content) - size, size=2)
    content[target : target + size] = content[source : source + size]


def cut(content: bytearray, rng: np.random.Generator) -> None:
    del content[int(rng.integers(len(content))) :]


MUTATIONS: tuple[Callable[[bytearray, np.random.Generator], None], ...] = (
    flipped,
    special,
    word,
    copied,
    cut,
)


def main(mutants: int) -> int:
    failures = 0
    print(
        f"{'format':<10} mutants  refused   voted  slowest  (limits: no crash, {LIMIT_SECONDS} s)"
    )
    for name, learner in learners().items():
        schema = learner.schema()
        encoded = encode(learner.mli_propose_weights().weights, schema)
        original = b"".join(encoded.parts)
        header = len(original) - sum(tensor.nbytes for tensor in encoded.tensors.values())
        rng = np.random.default_rng(0)
        ends: Counter[str] = Counter()
        slowest = 0.0
        for number in range(mutants):
            # Most mutants spare the header, which the container compares and refuses.
            spared = header if number % 10 else 0
            content = bytearray(original[spared:])
            MUTATIONS[number % len(MUTATIONS)](content, rng)
            began = time.perf_counter()
            try:
                parts = (original[:spared], bytes(content))
                tensors = decode(parts, schema, encoded.dims, digest=None)
                learner.mli_test_weights(Weights(tensors))
                ends["voted"] += 1
            except ColearnError:
                ends["refused"] += 1
            except Exception as crash:  # noqa: BLE001 - what is looked for
                ends["crashed"] += 1
                print(f"{name}, mutant {number}: {type(crash).__name__}: {crash}")
            slowest = max(slowest, time.perf_counter() - began)
        failures += ends["crashed"] + (slowest > LIMIT_SECONDS)
        print(
            f"{name:<10} {mutants:>7}  {ends['refused']:>7} {ends['voted']:>7}  {slowest:6.3f} s"
            f"  {'MISSED' if ends['crashed'] or slowest > LIMIT_SECONDS else 'ok'}"
        )
    return failures


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else 10_000) > 0)
