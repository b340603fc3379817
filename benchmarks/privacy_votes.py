"""What private votes cost in accuracy, training being plain.

Run as ``python benchmarks/privacy_votes.py FOLDER`` with MNIST's four idx files in the folder:
five learners with 1,000 pictures each, a perceptron 784-100-10, thirty rounds, and the common
test pictures; votes of epsilon 2 for all rounds against plain votes, by the plain protocol and
by ``fast``. Seeds 0 to 9, run once; nothing was tuned, the settings are those of the task.
"""

from __future__ import annotations

import argparse
import logging
import math
from pathlib import Path

import numpy as np
from threadpoolctl import threadpool_limits

from colearn.collective import Collective
from colearn.learners.base import FrameworkLearner
from colearn.privacy.config import Privacy, VotePrivacy, planned_votes
from colearn.tasks import Dataset, get

LEARNERS, EACH, ROUNDS, EPSILON, DELTA, MOST = 5, 1_000, 30, 2.0, 1e-5, 1.0


def score(data: Dataset, seed: int, method: str, *, private: bool) -> float:
    task = get("mnist")
    order = np.random.default_rng(seed).permutation(len(data.x_train))
    learners: dict[str, FrameworkLearner] = {}
    for index in range(LEARNERS):
        rows = order[index * EACH : (index + 1) * EACH]
        x, y = data.x_train[rows], data.y_train[rows]
        held = EACH // 5
        learner = task.learner(
            (x[held:], y[held:]),
            (x[:held], y[:held]),
            seed=seed,
            policy="loss" if method == "plain" else "not-worse",
        )
        if private:
            votes = planned_votes(ROUNDS, LEARNERS)
            learner.protect(Privacy(votes=VotePrivacy(epsilon=EPSILON, delta=DELTA, votes=votes)))
        learners[f"learner-{index}"] = learner
    first = learners["learner-0"]
    with Collective(learners, seed=seed, method=method) as collective:
        collective.run(ROUNDS)
        return 100 * first.evaluate(first.mli_get_current_weights(), (data.x_test, data.y_test))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seeds", type=int, default=10)
    options = parser.parse_args()
    logging.disable()
    data = get("mnist").load(options.folder)
    print(
        f"{'method':8}{'plain votes':>12}{'epsilon 2':>11}{'cost':>7}{'95 %':>8}   at most {MOST}"
    )
    with threadpool_limits(1):
        for method in ("plain", "fast"):
            found = np.array(
                [
                    [score(data, seed, method, private=private) for private in (False, True)]
                    for seed in range(options.seeds)
                ]
            )
            cost = found[:, 0] - found[:, 1]
            error = 1.96 * cost.std(ddof=1) / math.sqrt(len(cost))
            plain, private = found.mean(axis=0)
            verdict = "ok" if cost.mean() <= MOST else "MISSED"
            line = f"{method:8}{plain:12.2f}{private:11.2f}{cost.mean():7.2f}  ± {error:.2f}"
            print(f"{line}   {verdict}", flush=True)


if __name__ == "__main__":
    main()
