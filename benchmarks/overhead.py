"""What the protocol costs on top of a bare loop: time and memory of a round.

Training adds 1 and testing approves, so that nothing but the machinery is timed.
The floor is `run_one_round` plus one blake3 digest and one finite scan of the
weights, which no collective that commits by digest and lets no NaN pass can do
without. Floor and collective take turns, round by round, in one process.

    python benchmarks/overhead.py            # the table of times
    python benchmarks/overhead.py --memory   # peak memory at 100 MB, a process each
"""

from __future__ import annotations

import argparse
import gc
import resource
import statistics
import subprocess
import sys
import time

import numpy as np
from blake3 import blake3
from holding import Holding

from colearn import Collective, Rule, Weights, run_one_round
from colearn.weights import Schema, encode

LEARNERS = 10
MEGABYTE = 1_000_000


class AddOne(Holding):
    """Trains by adding 1, approves everything, keeps no copy unless told to."""

    def __init__(self, size_bytes: int, *, copies: bool = False) -> None:
        super().__init__(Weights({"w": np.zeros(size_bytes // 4, np.float32)}))
        self.copies = copies

    def mli_propose_weights(self) -> Weights:
        return Weights({"w": self.current.weights["w"] + np.float32(1)})

    def mli_accept_weights(self, weights: Weights) -> None:
        if self.copies:
            weights = Weights({"w": weights.weights["w"].copy()})
        super().mli_accept_weights(weights)


def floor_round(index: int, learners: list[AddOne], schema: Schema) -> None:
    """One round of the readable twin, plus one digest and one finite scan."""
    verdicts, _ = run_one_round(index, learners)
    encoded = encode(verdicts[0].weights, schema)  # the finite scan; copies nothing
    hasher = blake3()
    for part in encoded.parts:
        hasher.update(part)
    hasher.hexdigest()


def compare(size_bytes: int, rounds: int) -> tuple[float, float, float]:
    """Median seconds of a floor round and of a collective's, and the median of their ratios."""
    bare = [AddOne(size_bytes) for _ in range(LEARNERS)]
    schema = Schema.of(bare[0].current.weights)
    collective = Collective([AddOne(size_bytes) for _ in range(LEARNERS)], rule=Rule())
    floors, ours = [], []
    for index in range(rounds + 3):
        began = time.perf_counter()
        floor_round(index, bare, schema)
        between = time.perf_counter()
        collective.run(1)
        ended = time.perf_counter()
        if index >= 3:
            floors.append(between - began)
            ours.append(ended - between)
    ratios = [own / floor for own, floor in zip(ours, floors, strict=True)]
    return statistics.median(floors), statistics.median(ours), statistics.median(ratios)


def time_table() -> None:
    print(f"{LEARNERS} learners, medians")
    print("   size       floor   collective   ratio   above the floor, a learner")
    for size_bytes, rounds in ((MEGABYTE // 10, 2000), (10 * MEGABYTE, 60), (100 * MEGABYTE, 12)):
        floor, own, ratio = compare(size_bytes, rounds)
        print(
            f"{size_bytes / MEGABYTE:5.1f} MB  {floor * 1e3:7.3f} ms  {own * 1e3:7.3f} ms"
            f"   {ratio:5.3f}   {(own - floor) / LEARNERS * 1e6:8.1f} µs"
        )
        gc.collect()


def peak_megabytes() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / MEGABYTE


def measure_peak(size_bytes: int, *, copies: bool) -> None:
    """Print the peak memory of a process that runs ten rounds."""
    shared = AddOne(size_bytes).current
    learners = [AddOne(0, copies=copies) for _ in range(LEARNERS)]
    for learner in learners:
        learner.mli_accept_weights(shared)
    del shared
    Collective(learners).run(10)
    print(peak_megabytes())


def memory_table() -> None:
    print(f"{LEARNERS} learners, 100 MB of weights, ten rounds: peak above the same run at 0 MB")
    for mode, allowed in (("copies", LEARNERS + 2), ("shares", 3)):
        empty, full = (
            float(
                subprocess.run(
                    [sys.executable, __file__, "--peak", mode, "--size", str(size_bytes)],
                    capture_output=True,
                    text=True,
                    check=True,
                ).stdout
            )
            for size_bytes in (0, 100 * MEGABYTE)
        )
        print(f"  learners that keep {mode}: {full - empty:.1f} MB, allowed {allowed * 100} MB")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--memory", action="store_true")
    parser.add_argument("--peak", choices=["copies", "shares"], help=argparse.SUPPRESS)
    parser.add_argument("--size", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.peak:
        measure_peak(options.size, copies=options.peak == "copies")
    elif options.memory:
        memory_table()
    else:
        time_table()


if __name__ == "__main__":
    main()
