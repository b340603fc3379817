"""Tables and plots of what the cells gave."""

from __future__ import annotations

import csv
import re
import statistics
from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

from benchmarks.learning import network
from benchmarks.learning.baselines import find
from benchmarks.learning.cells import Cell
from colearn.compact import compact
from colearn.methods import METHODS
from colearn.records import PLAIN
from colearn.report.plot import draw_curves

Results = Mapping[str, Mapping[int, dict[str, Any]]]
"""For each cell's name, each seed's result."""

_ROUNDS_SHOWN = 10


def rows(results: Results) -> Iterator[dict[str, Any]]:
    """One row a cell: means over seeds, in per cent, and the worst seed.

    ``least lead`` is by how much a cell ends above the best learner alone, in the seed
    in which that is least; it is there if the solos of the same setting are.
    """
    for name, by_seed in results.items():
        runs = list(by_seed.values())
        finals = [100 * run["curve"][-1] for run in runs]
        rounds = len(runs[0]["curve"]) - 1
        row: dict[str, Any] = {
            "cell": name,
            "seeds": len(runs),
            "final": statistics.mean(finals),
            "worst": min(finals),
            "spread": statistics.stdev(finals) if len(finals) > 1 else 0.0,
            "a third in": statistics.mean(100 * run["curve"][rounds // 3] for run in runs),
            "below peak": statistics.mean(
                100 * (max(run["curve"]) - run["curve"][-1]) for run in runs
            ),
        }
        for extra in ("accepted", "best", "backdoor"):
            if extra in runs[0]:
                values = [run[extra][-1] if extra == "best" else run[extra] for run in runs]
                row[extra] = 100 * statistics.mean(values)
        leads = _leads(name, results)
        if leads:
            row["least lead"] = min(leads)
        row["seconds"] = statistics.mean(run["seconds"] for run in runs)
        yield row


def _leads(name: str, results: Results) -> list[float]:
    """For each seed, how far a cell ends above that seed's best learner alone."""
    group, method, what = name.split("/", 2)
    solos = results.get(f"{group}/solo/{what}", {})
    if method in {"solo", "pooled"}:
        return []
    return [
        100 * (run["curve"][-1] - solos[seed]["best"][-1])
        for seed, run in results[name].items()
        if seed in solos
    ]


def markdown(results: Results) -> str:
    """The rows as a table, group by group."""
    lines, last = [], ""
    columns = (
        "final",
        "worst",
        "spread",
        "a third in",
        "below peak",
        "accepted",
        "best",
        "least lead",
        "backdoor",
    )
    for row in rows(results):
        group, method, what = row["cell"].split("/", 2)
        if group != last:
            seeds = row["seeds"]
            lines += ["", f"### {group} ({seeds} seeds)", ""]
            lines += [
                f"| method | setting | {' | '.join(columns)} |",
                f"|{' --- |' * (2 + len(columns))}",
            ]
            last = group
        numbers = (f"{row[name]:.2f}" if name in row else "" for name in columns)
        lines.append(f"| {method} | {what} | {' | '.join(numbers)} |")
    return "\n".join(lines)


def write_csv(results: Results, file: Path) -> None:
    """The final accuracy of every run, one line each."""
    with file.open("w", newline="", encoding="utf-8") as out:
        writer = csv.writer(out)
        writer.writerow(["cell", "seed", "final", "accepted"])
        for name, by_seed in results.items():
            for seed, run in by_seed.items():
                writer.writerow([name, seed, run["curve"][-1], run.get("accepted", "")])


def equal(results: Results, cells: Mapping[str, Cell]) -> str:
    """Accuracies after equally many rounds, trainings and bytes, setting by setting.

    How many is what every cell of the setting has reached at its end; who learns alone
    moves no bytes and is left out.
    """
    lines = [
        "",
        "### Accuracy where all have had as much (P: the bytes of a model)",
        "",
        "| setting | method | equal rounds | equal trainings | equal bytes |",
        f"|{' --- |' * 5}",
    ]
    for what, names in _settings(results).items():
        together = [name for name in names if cells[name].method not in ("solo", "pooled")]
        longest = _longest(together, cells)
        if len(longest) < 2:
            continue
        costs = {
            name: (1.0, _trainings(cells[name]), _models_moved(cells[name])) for name in longest
        }
        least = [
            min(cells[name].rounds * costs[name][kind] for name in longest) for kind in range(3)
        ]
        as_much = "{:.0f} rounds, {:.0f} trainings, {:.0f} P".format(*least)
        for name in longest:
            reached = (
                f"{_mean_after(results[name], most / cost):.2f}"
                for most, cost in zip(least, costs[name], strict=True)
            )
            lines.append(f"| {what}: {as_much} | {name.split('/')[1]} | {' | '.join(reached)} |")
    return "\n".join(lines) if len(lines) > 5 else ""


def _settings(results: Results) -> dict[str, list[str]]:
    """The cells of each group and setting, which are compared with each other."""
    settings: dict[str, list[str]] = {}
    for name in results:
        group, _, what = name.split("/", 2)
        settings.setdefault(f"{group}, {what}", []).append(name)
    return settings


def _longest(names: list[str], cells: Mapping[str, Cell]) -> list[str]:
    """Without cells that are others cut short."""
    rounds: dict[Cell, int] = {}
    for name in names:
        one = replace(cells[name], rounds=0)
        rounds[one] = max(rounds.get(one, 0), cells[name].rounds)
    return [name for name in names if rounds[replace(cells[name], rounds=0)] == cells[name].rounds]


def _trainings(cell: Cell) -> float:
    """How many members train in a round."""
    members = cell.committee + 1 if cell.committee else cell.learners
    return (1 - cell.absent) * members if find(cell.method, cell.liars).all_train else 1.0


def _models_moved(cell: Cell) -> float:
    """Bytes of a round, in models.

    The product's methods send each update, rounded, to all others; ``plain`` sends weights
    as they are; through a server, as in federated averaging, weights go there and back, and
    SCAFFOLD's common control with them.
    """
    trainings = _trainings(cell)
    if cell.method not in METHODS:
        return (1 + (cell.method == "scaffold")) * 2 * trainings
    return trainings * (cell.learners - 1) * (1.0 if cell.method == PLAIN else _rounded())


@cache
def _rounded() -> float:
    """An update's size in few bits, in models."""
    model = network.initial(features=196, seed=0)
    sent = compact(model, model)
    return sum(each.nbytes for each in sent.values()) / sum(each.nbytes for each in model.values())


def _mean_after(by_seed: Mapping[int, dict[str, Any]], rounds: float) -> float:
    return statistics.mean(100 * run["curve"][int(rounds + 1e-9)] for run in by_seed.values())


def plot(results: Results, folder: Path) -> list[Path]:
    """Test accuracy as training goes on: a picture for each group and setting."""
    files = []
    for what, names in _with_liars_gone(_settings(results)).items():
        curves = {}
        for name in names:
            runs = [_thinned(run["curve"]) for run in results[name].values()]
            final = statistics.mean(run[-1] for run in runs)
            curves[f"{name.split('/')[1]}  {final:.1f}"] = runs
        seeds = len(results[names[0]])
        file = folder / (re.sub(r"[^\w.]+", "-", what).strip("-") + ".png")
        draw_curves(
            curves,
            title=f"{what}: mean and range of {seeds} seed{'s' if seeds > 1 else ''}",
            xlabel="share of the training done",
            ylabel="test accuracy, %",
            ends=1.0,
            apart=[each for each in curves if each.split()[0] in ("solo", "pooled", "gone")],
            path=file,
        )
        files.append(file)
    return files


def _with_liars_gone(settings: dict[str, list[str]]) -> dict[str, list[str]]:
    """Show what there was without attackers beside each attack, not by itself."""
    gone = {
        what.removesuffix(" gone"): names
        for what, names in settings.items()
        if what.endswith(" gone")
    }
    return {
        what: names + gone.get(what.rpartition(" ")[0], [])
        for what, names in settings.items()
        if not what.endswith(" gone")
    }


def _thinned(curve: list[float]) -> list[float]:
    """In per cent, at about thirty places: a curve of 300 rounds hides the others."""
    return [100 * each for each in curve[:: max(1, (len(curve) - 1) // 30)]]
