"""Speed of the strict container at 100 MB of float32, beside memcpy in the same run.

Run: python benchmarks/container.py

Exits with 1 if encode + digest or decode + check is slower than both 1.5 GB/s
and half the speed of memcpy.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable

import numpy as np

from colearn.compact import compact, restored
from colearn.records import digest_of
from colearn.weights import Schema, decode, encode

SIZE_BYTES = 100_000_000
REPEATS = 15
REQUIRED_GB_PER_SECOND = 1.5
REQUIRED_OF_MEMCPY = 0.5


def seconds(work: Callable[[], object]) -> float:
    """Return the median wall-clock seconds of some runs, after one to warm up."""
    times = []
    for _ in range(REPEATS + 1):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return statistics.median(times[1:])


def main() -> int:
    """Print the table and return the exit status."""
    rng = np.random.default_rng(0)
    shapes = {"embedding": (8_000, 1_000), "hidden": (3_400, 5_000), "bias": (1,)}
    tensors = {name: rng.standard_normal(shape, np.float32) for name, shape in shapes.items()}
    schema = Schema.of(tensors)
    encoded = encode(tensors, schema)
    digest = digest_of(encoded.parts)
    blob = memoryview(b"".join(encoded.parts))
    copy = np.empty(len(blob), np.uint8)
    source = np.frombuffer(blob, np.uint8)

    moved = {name: tensor + np.float32(0.1) for name, tensor in tensors.items()}
    sent = compact(tensors, moved)

    rows = {
        "memcpy": lambda: np.copyto(copy, source),
        "encode + digest": lambda: digest_of(encode(tensors, schema).parts),
        "decode + check (digest too)": lambda: decode([blob], schema, {}, digest),
        "decode + check (store's digest)": lambda: decode([blob], schema, {}, None),
        "compact, of these bytes": lambda: compact(tensors, moved),
        "restored, to these bytes": lambda: restored(tensors, sent),
        "blake3 alone": lambda: digest_of([blob]),
        "numpy.isfinite alone": lambda: [np.isfinite(array).all() for array in tensors.values()],
    }
    speeds = {name: len(blob) / 1e9 / seconds(work) for name, work in rows.items()}
    for name, speed in speeds.items():
        print(f"{name:32} {speed:6.2f} GB/s  {speed / speeds['memcpy']:5.2f} x memcpy")

    required = min(REQUIRED_GB_PER_SECOND, REQUIRED_OF_MEMCPY * speeds["memcpy"])
    slowest = min(speeds["encode + digest"], speeds["decode + check (digest too)"])
    print(f"required: {required:.2f} GB/s, slowest of encode and decode: {slowest:.2f} GB/s")
    return 0 if slowest >= required else 1


if __name__ == "__main__":
    sys.exit(main())
