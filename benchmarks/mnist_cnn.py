"""The convolutional network of ``colearn demo mnist --learner torch``, on all of MNIST.

Five learners with equal shares of the 60,000 training pictures, by the task's own settings;
accuracy on the 10,000 official test pictures. A solo takes as many training steps as one
learner of the collective, from the same weights and on the same samples, and is judged at the
round that its own vote samples like best.

    python benchmarks/mnist_cnn.py FOLDER                     # seeds 0 to 2
    python benchmarks/mnist_cnn.py FOLDER --seeds 100 --curve # how settings were chosen
"""

from __future__ import annotations

import argparse
import time
from functools import partial

import torch

from colearn.baselines import train_alone
from colearn.simulation import Settings, simulate

LEAST = 98.5


def run(
    folder: str, seed: int, rounds: int, learning_rate: float | None, *, curve: bool
) -> tuple[float, list[float]]:
    """Accuracy in per cent: the collective's, and each solo's."""
    simulation = simulate(
        Settings(
            task="mnist",
            learner="torch",
            split="iid",
            seed=seed,
            rounds=rounds,
            learning_rate=learning_rate,
            data_dir=folder,
        )
    )
    setting = simulation.setting
    solo = []
    for learner in setting.learners:
        evaluate = partial(learner.evaluate, samples=setting.test)
        alone = train_alone(learner, rounds, evaluate, seed=seed)
        if curve:
            print("solo      ", *(f"{100 * score:.2f}" for score in alone.curve), flush=True)
        solo.append(100 * alone.score)
    with simulation.collective as collective:
        scores = collective.run(rounds).scores
    if curve:
        print("collective", *(f"{100 * score:.2f}" for score in scores), flush=True)
    return 100 * scores[-1], solo


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", help="of MNIST's four idx files")
    parser.add_argument("--seeds", type=int, nargs="*", default=[0, 1, 2])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--learning-rate", type=float, help="by default the task's own")
    parser.add_argument("--curve", action="store_true", help="print every round")
    options = parser.parse_args()
    torch.set_num_threads(1)
    print(
        f"{'seed':>4}{'collective':>12}{'best solo':>11}{'mean solo':>11}{'CPU s':>8}", flush=True
    )
    reached = True
    for seed in options.seeds:
        began = time.process_time()
        collective, solo = run(
            options.folder, seed, options.rounds, options.learning_rate, curve=options.curve
        )
        seconds = time.process_time() - began
        mean = sum(solo) / len(solo)
        print(
            f"{seed:>4}{collective:>12.2f}{max(solo):>11.2f}{mean:>11.2f}{seconds:>8.0f}",
            flush=True,
        )
        reached &= collective >= LEAST and collective > max(solo)
    verdict = "ok" if reached else "MISSED"
    print(f"at least {LEAST} and above the best solo in every seed: {verdict}")


if __name__ == "__main__":
    main()
