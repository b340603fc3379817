"""One learner of five flips its labels: does the vote keep it out? Seeds 0 to 19.

python benchmarks/liar.py                # digits and fashion-mnist, iid
python benchmarks/liar.py digits --seeds 5
"""

from __future__ import annotations

import argparse
import statistics
from concurrent.futures import ProcessPoolExecutor
from functools import partial

from colearn.simulation import Settings, simulate


def measure(task: str, seed: int) -> tuple[float, float, int, int]:
    """Final score without and with the liar; its proposals, and how many were rejected."""
    honest = simulate(Settings(task=task, seed=seed))
    calm = honest.collective.run(honest.rounds).final_score
    attacked = simulate(Settings(task=task, seed=seed, attackers=1, attack="label-flip"))
    result = attacked.collective.run(attacked.rounds)
    proposed = [each for each in result.rounds if each.decision.proposer in attacked.attackers]
    return calm, result.final_score, len(proposed), sum(not each.accepted for each in proposed)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("tasks", nargs="*", default=("digits", "fashion-mnist"))
    parser.add_argument("--seeds", type=int, default=20)
    options = parser.parse_args()
    print(f"{options.seeds} seeds, five learners, iid, one flips its labels; test accuracy × 100")
    print(f"{'':15}no attack   attacked   difference   the liar's proposals rejected")
    with ProcessPoolExecutor(2) as pool:
        for task in options.tasks:
            runs = list(pool.map(partial(measure, task), range(options.seeds)))
            calm, attacked = (
                100 * statistics.mean(column) for column in list(zip(*runs, strict=True))[:2]
            )
            proposed, rejected = (sum(column) for column in list(zip(*runs, strict=True))[2:])
            print(
                f"{task:15}{calm:9.2f}{attacked:11.2f}{attacked - calm:+13.2f}"
                f"   {rejected} of {proposed}, {rejected / proposed:.1%}",
                flush=True,
            )


if __name__ == "__main__":
    main()
