"""Boosted trees on tables: is the collective better than any of its members alone?

As `promise.py`, of tasks whose table is in a folder: the demo's own runs, each solo given as
many proposals as the whole collective and judged at the round that its own vote samples like
best, all on a common test set. Besides the score, for two classes the area under the ROC
curve, which does not depend on where the line between them is drawn. The task's settings were
chosen on seeds 100 to 102, with a fifth of the train samples in place of the test set.

    python benchmarks/tables.py credit FOLDER
    python benchmarks/tables.py credit FOLDER --learners 20 --seeds 5
"""

from __future__ import annotations

import argparse
import math
import statistics
from concurrent.futures import ProcessPoolExecutor
from functools import partial

import numpy as np
from sklearn.metrics import roc_auc_score

from colearn.baselines import train_alone
from colearn.learners.base import FrameworkLearner
from colearn.ml_interface import Weights
from colearn.simulation import Settings, simulate

T_95 = {5: 2.776, 10: 2.262, 20: 2.093}
"""Two-sided 95 % points of Student's t, by number of seeds."""

WAYS = ("collective", "best solo", "mean solo", "pooled")


class Judge:
    """Scores weights, and keeps both measures of each that it scored."""

    def __init__(self, learner: FrameworkLearner, test: tuple[np.ndarray, np.ndarray]) -> None:
        self.learner, self.test = learner, test
        self.measures: list[tuple[float, float]] = []

    def __call__(self, weights: Weights) -> float:
        score = self.learner.evaluate(weights, self.test)  # loads the weights
        x, y = self.test
        area = math.nan
        if self.learner.classes is not None:
            area = roc_auc_score(y, self.learner.outputs(x)[:, 1])
        self.measures.append((score, area))
        return score


def measure(settings: partial[Settings], seed: int) -> list[tuple[float, float]]:
    """Score and area of one run: collective, best solo, mean solo, pooled."""
    simulation = simulate(settings(seed=seed))
    setting, rounds = simulation.setting, simulation.rounds

    def alone(learner: FrameworkLearner) -> tuple[float, float]:
        judge = Judge(learner, setting.test)
        return judge.measures[train_alone(learner, rounds, judge, seed=seed).best_round]

    solo = [alone(learner) for learner in setting.learners]
    pooled = alone(setting.pooled)
    weights = simulation.collective.run(rounds).weights
    judge = Judge(setting.pooled, setting.test)
    judge(weights)
    best = tuple(map(max, zip(*solo, strict=True)))
    mean = tuple(map(statistics.mean, zip(*solo, strict=True)))
    return [judge.measures[-1], best, mean, pooled]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("task")
    parser.add_argument("folder")
    parser.add_argument("--split", default="iid")
    parser.add_argument("--learners", type=int, default=5)
    parser.add_argument("--seeds", type=int, choices=sorted(T_95), default=20)
    options = parser.parse_args()
    settings = partial(
        Settings,
        task=options.task,
        data_dir=options.folder,
        split=options.split,
        learners=options.learners,
    )
    with ProcessPoolExecutor(2) as pool:
        runs = np.array(list(pool.map(partial(measure, settings), range(options.seeds))))
    print(
        f"{options.task}, {options.split}, {options.learners} learners, {options.seeds} seeds, "
        "test score and area under the ROC curve, both × 100"
    )
    for number, measured in enumerate(("score", "area")):
        if np.isnan(runs[:, :, number]).any():  # numbers have no area
            continue
        means = 100 * runs[:, :, number].mean(axis=0)
        ahead = 100 * (runs[:, 0, number] - runs[:, 1, number])
        half = T_95[options.seeds] * ahead.std(ddof=1) / math.sqrt(len(ahead))
        print(
            f"{measured:6}",
            *(f"{way} {mean:.2f}  " for way, mean in zip(WAYS, means, strict=True)),
            f"collective - best solo {ahead.mean():+.2f} ± {half:.2f}, "
            f"ahead in {(ahead > 0).sum()} of {len(ahead)}",
        )


if __name__ == "__main__":
    main()
