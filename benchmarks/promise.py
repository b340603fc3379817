"""Is the collective better than any of its members alone? Measured over seeds 0 to 19.

Every run is the demo's: five learners, the task's own settings, each solo given as
many training steps as the whole collective and judged at the round that its own vote
samples like best, all on a common test set. The task's settings were chosen on seeds
100 to 109.

    python benchmarks/promise.py                          # the whole table, some minutes
    python benchmarks/promise.py digits:iid --seeds 5     # one row
"""

from __future__ import annotations

import argparse
import math
import statistics
from concurrent.futures import ProcessPoolExecutor
from functools import partial

from colearn.baselines import train_alone
from colearn.simulation import Settings, simulate

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


def measure(row: str, seed: int) -> tuple[float, float, float, float]:
    """Test scores of one run: collective, best solo, mean solo, pooled."""
    task, split = row.split(":", 1)
    simulation = simulate(Settings(task=task, split=split, seed=seed))
    setting = simulation.setting
    solo = []
    for learner in setting.learners:
        evaluate = partial(learner.evaluate, samples=setting.test)
        solo.append(train_alone(learner, simulation.rounds, evaluate, seed=seed).score)
    evaluate = partial(setting.pooled.evaluate, samples=setting.test)
    pooled = train_alone(setting.pooled, simulation.rounds, evaluate, seed=seed).score
    collective = simulation.collective.run(simulation.rounds).final_score
    return collective, max(solo), statistics.mean(solo), pooled


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("rows", nargs="*", default=ROWS, metavar="TASK:SPLIT")
    parser.add_argument("--seeds", type=int, choices=sorted(T_95), default=20)
    options = parser.parse_args()
    print(f"{options.seeds} seeds, five learners, test score × 100; R² for diabetes")
    print(f"{'':28}collective  best solo  mean solo  pooled   collective - best solo   ahead in")
    with ProcessPoolExecutor(2) as pool:
        for row in options.rows:
            runs = list(pool.map(partial(measure, row), range(options.seeds)))
            means = [100 * statistics.mean(column) for column in zip(*runs, strict=True)]
            ahead = [100 * (collective - best) for collective, best, *_ in runs]
            half = T_95[options.seeds] * statistics.stdev(ahead) / math.sqrt(len(ahead))
            print(
                f"{row:28}{means[0]:10.2f}{means[1]:11.2f}{means[2]:11.2f}{means[3]:8.2f}"
                f"   {statistics.mean(ahead):+7.2f} ± {half:4.2f}"
                f"        {sum(each > 0 for each in ahead):3} of {len(ahead)}",
                flush=True,
            )


if __name__ == "__main__":
    main()
