"""The same seed twice: the same digest in every round, also across processes.

python benchmarks/repeat.py
"""

from __future__ import annotations

from concurrent.futures import ProcessPoolExecutor

from colearn import tasks
from colearn.simulation import Settings, simulate


def digests(task: str) -> list[str]:
    """The digest of everyone's model after each round, seed 7."""
    simulation = simulate(Settings(task=task, seed=7))
    return [each.model for each in simulation.collective.run(simulation.rounds).rounds]


def main() -> None:
    for name in tasks.names():
        if tasks.get(name).needs_data:
            continue
        runs = []
        for _ in range(2):
            with ProcessPoolExecutor(1) as fresh:
                runs.append(fresh.submit(digests, name).result())
        same = sum(one == other for one, other in zip(*runs, strict=True))
        print(f"{name:15} {same} of {len(runs[0])} rounds have the same digest")


if __name__ == "__main__":
    main()
