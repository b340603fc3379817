"""How long a charge takes, and whether a budget survives kill -9.

python benchmarks/budget.py                # 1,000 kills, about two minutes
python benchmarks/budget.py --kills 100
"""

from __future__ import annotations

import argparse
import hashlib
import os
import random
import secrets
import signal
import statistics
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

from colearn.privacy.accounting import Event
from colearn.privacy.budget import TRAIN, VOTES, Budget, Cap

VOTE, TRAINING = Event(21.6), Event(2.0, 0.05, 30)
VOTES_PLANNED, TRAININGS = 100, 10
LIMIT_MS = 25.0


def opened(folder: Path, most: float) -> Budget:
    caps = {TRAIN: Cap(most, 1e-5), VOTES: Cap(most, 1e-5)}
    return Budget(
        folder / "budget.sqlite", fingerprint="data", caps=caps, witness=folder / "witness"
    )


def measured(act: Callable[[], object]) -> float:
    began = time.perf_counter()
    act()
    return 1e3 * (time.perf_counter() - began)


def measure_charges(folder: Path) -> None:
    budget = opened(folder, 8.0)
    body = os.urandom(318_000)  # as many bytes as a perceptron 784-100-10 has
    rows: dict[str, list[float]] = defaultdict(list)
    for purse, event, times in ((TRAIN, TRAINING, TRAININGS), (VOTES, VOTE, VOTES_PLANNED)):
        name = f"foresee {times} releases of {purse}"
        rows[name].append(measured(lambda: budget.foresee(purse, event, times)))  # noqa: B023
    for number in range(VOTES_PLANNED):
        key = f"vote {number}"
        rows["charge a vote"].append(measured(lambda: budget.charge(VOTES, key, VOTE)))  # noqa: B023
        rows["keep a vote"].append(measured(lambda: budget.release(key, b"approve")))  # noqa: B023
    for number in range(TRAININGS):
        key = f"training {number}"
        rows["charge a training"].append(measured(lambda: budget.charge(TRAIN, key, TRAINING)))  # noqa: B023
        rows["keep a training of 318 kB"].append(measured(lambda: budget.release(key, body)))  # noqa: B023
    print(f"{'milliseconds':32}{'median':>9}{'largest':>9}{'limit':>8}")
    for name, times in rows.items():
        limit = f"{LIMIT_MS:8.0f}" if name.startswith("charge") else ""
        print(f"{name:32}{statistics.median(times):9.2f}{max(times):9.2f}{limit}")


def member(folder: Path, pipe: int, start: int) -> None:
    """Release one thing after another, each asked for twice, until killed."""
    budget = opened(folder, 1e6)
    for number in range(start, 10**9):
        for _ in range(2):
            purse, event = (VOTES, VOTE) if number % 3 else (TRAIN, TRAINING)
            key = str(number)
            body = budget.charge(purse, key, event)
            if body is None:
                os.write(pipe, b"touched %d -\n" % number)
                body = secrets.token_bytes(16 if purse == VOTES else 50_000)
                body = budget.release(key, body)
            digest = hashlib.sha256(body).hexdigest().encode()
            os.write(pipe, b"published %d %s\n" % (number, digest))


def kill_once(folder: Path, start: int) -> list[bytes]:
    """What one life of the member did, until a kill -9 at a random moment."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reader)
        member(folder, writer, start)
    os.close(writer)
    time.sleep(random.uniform(0.0, 0.25))  # noqa: S311 - when to kill
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    with os.fdopen(reader, "rb") as lines:
        return lines.read().splitlines()


def measure_kills(folder: Path, kills: int) -> None:
    published: dict[str, set[bytes]] = defaultdict(set)
    touched: set[str] = set()
    before = fell = 0
    for _ in range(kills):
        newest = max((int(key) for key in published), default=0)
        for line in kill_once(folder, max(0, newest - 2)):
            what, key, digest = line.split()
            if what == b"published":
                published[key.decode()].add(digest)
            else:
                touched.add(key.decode())
        with opened(folder, 1e6) as budget:
            now = budget.charges(VOTES) + budget.charges(TRAIN)
        fell += now < before
        before = now
    charged = {str(number) for number in range(before)}
    print(f"{'kill -9':32}{kills:9}{'at least 1000':>16}")
    print(f"{'releases published':32}{len(published):9}")
    rows = {
        "contradictory releases": sum(len(each) > 1 for each in published.values()),
        "uncharged releases": len(set(published) - charged),
        "data touched uncharged": len(touched - charged),
        "times the charges fell": fell,
    }
    for name, count in rows.items():
        print(f"{name:32}{count:9}{0:16}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=1_000)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        measure_charges(Path(folder))
    print()
    with tempfile.TemporaryDirectory() as folder:
        measure_kills(Path(folder), options.kills)


if __name__ == "__main__":
    main()
