"""What a cell of the laboratory shows while it runs: a terminal's screen, or lines of JSON."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import msgspec
from rich.console import Console
from rich.table import Table
from rich.text import Text

from colearn.cli.progress import progress_bar
from colearn.cli.screen import member_lines, score_name
from colearn.report import files
from colearn.report.result import number
from colearn.report.trainings import Line, Training
from colearn.simulation import Settings, Simulation


class Cell(Settings, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A cell of the laboratory: a run's settings, but for several methods and seeds.

    Attributes:
        methods: To compare.
        seeds: How many, from ``seed`` on.
    """

    methods: tuple[str, ...]
    seeds: int


class LabScreen(Protocol):
    """Shows a cell as it goes."""

    def begin(
        self, cell: Cell, simulation: Simulation, folder: Path, total: int, done: int
    ) -> None:
        """Say what is about to run."""

    def trained(self, training: Training) -> None:
        """Show what came of one training."""

    def end(self, simulation: Simulation, folder: Path, lines: Sequence[Line]) -> None:
        """Show the table."""

    def stopped(self, folder: Path) -> None:
        """Say that the cell was stopped, and how to go on."""

    def close(self) -> None:
        """Give the terminal back."""


def make_lab_screen(as_json: bool) -> LabScreen:
    """The screen that was asked for."""
    return _Lines() if as_json else _Terminal()


class _Terminal:
    def __init__(self) -> None:
        self._console = Console(highlight=False)
        self._progress = progress_bar(self._console)

    def begin(
        self, cell: Cell, simulation: Simulation, folder: Path, total: int, done: int
    ) -> None:
        task = simulation.task
        seeds = f"{cell.seed} to {cell.seed + cell.seeds - 1}" if cell.seeds > 1 else f"{cell.seed}"
        for line in (
            Text.assemble((task.name, "bold"), f"  {task.summary}"),
            f"  model    {task.model}",
            f"  methods  {', '.join(cell.methods)}; every learner trains {cell.rounds} times",
            f"  seeds    {seeds}, split {cell.split}; with the first",
            *member_lines(simulation),
            f"  run      {folder}",
            "",
        ):
            self._console.print(line, soft_wrap=True)
        self._progress.start()
        self._task = self._progress.add_task("training", total=total, completed=done)

    def trained(self, training: Training) -> None:  # noqa: ARG002
        self._progress.advance(self._task)

    def end(self, simulation: Simulation, folder: Path, lines: Sequence[Line]) -> None:
        self._progress.stop()
        seeds = len(lines[0].scores)
        self._console.print(
            f"{score_name(simulation)} on the common test set, mean"
            f"{' ± standard deviation' if seeds > 1 else ''} of {seeds} seed"
            f"{'s' if seeds > 1 else ''}\n"
        )
        self._console.print(_shown(lines))
        self._console.print(f"\n{_verdict(lines)}\n", soft_wrap=True)
        for name in (files.PLOT_FILE, files.TRAININGS_FILE, files.SETTINGS_FILE):
            self._console.print(f"  {folder / name}", soft_wrap=True)

    def stopped(self, folder: Path) -> None:
        self._progress.stop()
        self._console.print(
            f"\nStopped; what is done is kept. Go on: colearn resume {folder}", soft_wrap=True
        )

    def close(self) -> None:
        self._progress.stop()


class _Lines:
    def begin(
        self, cell: Cell, simulation: Simulation, folder: Path, total: int, done: int
    ) -> None:
        self._print(
            "begin",
            run=str(folder),
            settings=msgspec.structs.asdict(cell),
            attackers=simulation.attackers,
            samples=simulation.setting.counts.tolist(),
            trainings=total,
            done=done,
        )

    def trained(self, training: Training) -> None:
        self._print("training", **msgspec.structs.asdict(training))

    def end(self, simulation: Simulation, folder: Path, lines: Sequence[Line]) -> None:  # noqa: ARG002
        rows = [
            {
                "way": line.way,
                "mean": line.mean,
                "spread": line.spread,
                "won": line.won if line.ahead else None,
                "accepted": line.accepted,
                "megabytes": line.megabytes,
            }
            for line in lines
        ]
        self._print("end", run=str(folder), table=rows)

    def stopped(self, folder: Path) -> None:
        self._print("stopped", run=str(folder))

    def close(self) -> None:
        pass

    def _print(self, event: str, **values: Any) -> None:
        print(msgspec.json.encode({"event": event, **values}).decode(), flush=True)


def _shown(lines: Sequence[Line]) -> Table:
    """The table for a terminal."""
    shown = Table(box=None, pad_edge=True)
    shown.add_column("")
    for heading in ("score", "over best solo", "seeds won", "accepted", "MB moved"):
        shown.add_column(heading, justify="right")
    for line in lines:
        spread = "" if line.spread is None else f" ± {line.spread:.4f}"
        ahead = sum(line.ahead) / len(line.ahead) if line.ahead else None
        shown.add_row(
            line.way,
            f"{number(line.mean)}{spread}",
            "" if ahead is None else f"{ahead:+.4f}",
            f"{line.won} of {len(line.ahead)}" if line.ahead else "",
            "" if line.accepted is None else f"{line.accepted:.0%}",
            "" if line.megabytes is None else f"{line.megabytes:.1f}",
            style="bold" if line.accepted is not None else "",
        )
    return shown


def _verdict(lines: Sequence[Line]) -> str:
    """Whether learning together helps, and by which method, in a sentence."""
    best = max((line for line in lines if line.accepted is not None), key=lambda each: each.mean)
    seeds, ahead = len(best.ahead), sum(best.ahead) / len(best.ahead)
    if ahead > 0 and 2 * best.won > seeds:
        return (
            f"Learning together helps here: {best.way} is above the best learner alone in "
            f"{best.won} of {seeds} seeds, by {ahead:.4f} on average."
        )
    return (
        f"Learning together does not help here: the best method, {best.way}, is above the best "
        f"learner alone in {best.won} of {seeds} seeds, by {ahead:+.4f} on average."
    )
