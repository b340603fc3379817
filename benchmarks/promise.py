"""Is the collective better than any of its members alone? Measured over seeds 0 to 19.

Every run is the demo's: five learners, the task's own settings and test set. The collective
learns by the method for members who trust each other, and by the plain protocol. Each solo
gets as many turns as the plain protocol takes rounds, which is three times what a member
of `fast` trains, and is judged at the round that its own vote samples like best; so does
who has all data pooled. The task's settings were chosen on seeds 100 to 109.

    python benchmarks/promise.py                          # the whole table, some minutes
    python benchmarks/promise.py digits:iid --seeds 5     # one row
"""

from __future__ import annotations

import argparse
import math
import statistics
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial

from colearn.baselines import train_alone
from colearn.records import PLAIN
from colearn.simulation import Settings, build, resolved, simulate

ROWS = (
    "digits:iid",
    "fashion-mnist:iid",
    "breast-cancer:iid",
    "diabetes:iid",
    "iris:iid",
    "digits:dirichlet:1",
    "digits:dirichlet:0.3",
    "digits:classes:2",
    "fashion-mnist:dirichlet:0.3",
)

T_95 = {5: 2.776, 10: 2.262, 20: 2.093}
"""Two-sided 95 % points of Student's t, by number of seeds."""


def measure(row: str, seed: int) -> tuple[float, ...]:
    """Test scores of one run: usual method, plain, best solo, mean solo, pooled."""
    task, split = row.split(":", 1)
    plain = simulate(Settings(task=task, split=split, seed=seed, method=PLAIN))
    usual = simulate(Settings(task=task, split=split, seed=seed))
    scores = [each.collective.run(each.rounds).final_score for each in (usual, plain)]
    setting = build(plain.settings)
    *solo, pooled = (
        train_alone(
            learner, plain.rounds, partial(learner.evaluate, samples=setting.test), seed=seed
        ).score
        for learner in (*setting.learners, setting.pooled)
    )
    return (*scores, max(solo), statistics.mean(solo), pooled)


def ahead(scores: Sequence[float], best: Sequence[float]) -> str:
    """How far a method is above the best solo: mean, 95 % interval, and in how many seeds."""
    by = [100 * (one - other) for one, other in zip(scores, best, strict=True)]
    half = T_95[len(by)] * statistics.stdev(by) / math.sqrt(len(by))
    wins = f"{sum(each > 0 for each in by)} of {len(by)}"
    return f"{statistics.mean(by):+7.2f} ± {half:5.2f} {wins:>9}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("rows", nargs="*", default=ROWS, metavar="TASK:SPLIT")
    parser.add_argument("--seeds", type=int, choices=sorted(T_95), default=20)
    options = parser.parse_args()
    print(f"{options.seeds} seeds, five learners, test score × 100; R² for diabetes")
    print(
        f"{'':28}{'':12}   usual   plain  best solo  mean solo  pooled"
        f"{'usual - best solo':>26}{'plain - best solo':>26}"
    )
    with ProcessPoolExecutor(2) as pool:
        for row in options.rows:
            task, split = row.split(":", 1)
            runs = list(pool.map(partial(measure, row), range(options.seeds)))
            columns = list(zip(*runs, strict=True))
            usual, plain, best, mean, pooled = (100 * statistics.mean(each) for each in columns)
            print(
                f"{row:28}{resolved(Settings(task=task, split=split)).method:12}"
                f"{usual:8.2f}{plain:8.2f}{best:11.2f}{mean:11.2f}{pooled:8.2f}"
                f"{ahead(columns[0], columns[2]):>26}{ahead(columns[1], columns[2]):>26}",
                flush=True,
            )


if __name__ == "__main__":
    main()
