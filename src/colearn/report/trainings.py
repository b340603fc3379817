"""What several ways to learn came to, over several seeds, and the table made of it."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import msgspec

from colearn.report.result import BEST_SOLO, at_worst

MEAN_SOLO = "mean solo"
SOLO = "learner-"
"""What the names of those begin with who train alone."""


class Training(msgspec.Struct, frozen=True, kw_only=True):
    """How one way to learn did with one seed.

    Attributes:
        seed: The run's seed.
        way: A method's name, ``FedAvg``, ``pooled``, or the learner who trained alone.
        score: Test score: of a collective after the last round, of who trains alone after
            the round that the own vote samples like best.
        curve: Test score after each of as many turns as a member takes.
        accepted: Share of the proposals that were accepted; None where nobody votes.
        bytes_moved: What a network would have carried; None where nobody proposes.
    """

    seed: int
    way: str
    score: float
    curve: tuple[float, ...]
    accepted: float | None = None
    bytes_moved: int | None = None


@dataclass(frozen=True, slots=True)
class Line:
    """A way to learn in numbers: a line of the table.

    Attributes:
        way: Its name; of all who train alone the best of each seed, and their mean.
        scores: Test scores, a seed each.
        ahead: How far each is above the best solo of its seed; empty for solos.
        curves: Test scores after each turn, a seed each; empty for the mean solo.
        accepted: Mean share of proposals accepted, or None.
        megabytes: What a network would have carried, on average, or None.
    """

    way: str
    scores: tuple[float, ...]
    ahead: tuple[float, ...] = ()
    curves: tuple[tuple[float, ...], ...] = ()
    accepted: float | None = None
    megabytes: float | None = None

    @property
    def mean(self) -> float:
        """Mean score."""
        return statistics.mean(self.scores)

    @property
    def spread(self) -> float | None:
        """Standard deviation of the scores; None of a single one."""
        return statistics.stdev(self.scores) if len(self.scores) > 1 else None

    @property
    def won(self) -> int:
        """In how many seeds it is above the best solo."""
        return sum(each > 0 for each in self.ahead)


def table(trainings: Iterable[Training], ways: Sequence[str]) -> list[Line]:
    """The table, in the order of the ways; the solos stand last, as their best and their mean.

    Only seeds of which every way is done count, and there may be none yet.
    """
    by_seed: dict[int, dict[str, Training]] = {}
    for each in trainings:
        by_seed.setdefault(each.seed, {})[each.way] = each
    whole = [done for _, done in sorted(by_seed.items()) if set(ways) <= set(done)]
    if not whole:
        return []
    together = [way for way in ways if not way.startswith(SOLO)]
    solos = [[done[way] for way in ways if way.startswith(SOLO)] for done in whole]
    best = [max(each, key=lambda run: at_worst(run.score)) for each in solos]
    means = tuple(statistics.mean(run.score for run in each) for each in solos)
    return [
        *(_line(way, [done[way] for done in whole], best) for way in together),
        Line(BEST_SOLO, tuple(run.score for run in best), curves=tuple(run.curve for run in best)),
        Line(MEAN_SOLO, means),
    ]


def _line(way: str, runs: Sequence[Training], best: Sequence[Training]) -> Line:
    accepted = [run.accepted for run in runs if run.accepted is not None]
    moved = [run.bytes_moved / 1e6 for run in runs if run.bytes_moved is not None]
    return Line(
        way,
        tuple(run.score for run in runs),
        tuple(run.score - alone.score for run, alone in zip(runs, best, strict=True)),
        tuple(run.curve for run in runs),
        statistics.mean(accepted) if accepted else None,
        statistics.mean(moved) if moved else None,
    )
