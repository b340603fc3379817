"""Tables and plots of what the cells gave."""

from __future__ import annotations

import csv
import statistics
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

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


def plot(results: Results, folder: Path) -> list[Path]:
    """Mean test accuracy by round: a picture for each group and setting."""
    import matplotlib as mpl  # noqa: PLC0415 - only for plots

    mpl.use("Agg")
    from matplotlib import pyplot as plt  # noqa: PLC0415

    pictures: dict[tuple[str, str], list[str]] = {}
    for name in results:
        group, _, what = name.split("/", 2)
        pictures.setdefault((group, what), []).append(name)
    files = []
    for (group, what), names in pictures.items():
        figure, axes = plt.subplots(figsize=(7, 4.5), layout="constrained")
        for name in names:
            curves = [run["curve"] for run in results[name].values()]
            mean = [100 * statistics.mean(each) for each in zip(*curves, strict=True)]
            share = [index / (len(mean) - 1) for index in range(len(mean))]
            axes.plot(share, mean, label=name.split("/")[1])
        axes.set(
            xlabel="share of the training done", ylabel="test accuracy, %", title=f"{group}: {what}"
        )
        axes.legend()
        file = folder / f"{group}-{what}.png".replace(" ", "-").replace(":", "-").replace("%", "")
        figure.savefig(file, dpi=120)
        plt.close(figure)
        files.append(file)
    return files
