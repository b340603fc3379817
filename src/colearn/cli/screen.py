"""What a run shows while it runs: a terminal's screen, or lines of JSON."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Protocol

import msgspec
from rich.console import Console
from rich.text import Text

from colearn.cli.progress import progress_bar
from colearn.collective import LEDGER_FILES
from colearn.committee import eligible
from colearn.ledgers.local import LocalLedger
from colearn.report import files
from colearn.report.result import (
    BEST_SOLO,
    FEDAVG,
    PLAIN_PROTOCOL,
    POOLED,
    Comparison,
    Row,
    number,
)
from colearn.simulation import Simulation

_FILES = (
    files.PLOT_FILE,
    files.ROUNDS_FILE,
    files.SETTINGS_FILE,
    files.COMPARISON_FILE,
    files.WEIGHTS_FILE,
)
_REMARKS = {
    PLAIN_PROTOCOL: "the plain protocol, as much training in total",
    FEDAVG: "a server averages what all train, unasked",
    POOLED: "all data in one place, as many steps, at its best round",
}
_BARS = "▁▂▃▄▅▆▇█"
_STYLES = {"✓": "green", "✗": "red", "P": "blue", "–": "yellow", "·": "dim", " ": ""}


class Screen(Protocol):
    """Shows a run as it goes."""

    def begin(self, simulation: Simulation, folder: Path) -> None:
        """Say what is about to run."""

    def round(self, row: Row) -> None:
        """Show a round that has closed."""

    def end(self, simulation: Simulation, folder: Path, comparison: Comparison) -> None:
        """Show what came of it."""

    def stopped(self, folder: Path) -> None:
        """Say that the run was stopped, and how to go on."""

    def close(self) -> None:
        """Give the terminal back."""


def make_screen(as_json: bool) -> Screen:
    """The screen that was asked for."""
    return _Lines() if as_json else _Terminal()


class _Terminal:
    def __init__(self) -> None:
        self._console = Console(highlight=False)
        self._progress = progress_bar(self._console)
        self._members: tuple[str, ...] = ()

    def begin(self, simulation: Simulation, folder: Path) -> None:
        result = simulation.collective.result
        self._members = result.members
        for line in _header(simulation):
            self._console.print(line, soft_wrap=True)
        self._console.print(f"  run      {folder}", soft_wrap=True)
        self._console.print()
        self._progress.start()
        self._task = self._progress.add_task("learning", total=simulation.rounds)
        for each in result.rounds:
            self.round(each.row)

    def round(self, row: Row) -> None:
        line = Text(f"{row.round:5}  {row.proposer:{max(map(len, self._members))}}  ")
        for mark in row.marks(self._members):
            line.append(mark, _STYLES[mark])
        line.append(f"  {row.approvals}/{row.needed}  ")
        line.append(f"{row.decision:8}", "bold green" if row.accepted else "red")
        line.append(f"  {number(row.score)}  ")
        line.append(row.model[:10], "dim")
        if math.isfinite(row.seconds):
            line.append(f"  {row.seconds:5.2f} s", "dim")
        self._console.print(line, soft_wrap=True)
        self._progress.advance(self._task)
        if self._progress.tasks[0].finished:
            self._progress.update(self._task, description="comparing with learning alone")

    def end(self, simulation: Simulation, folder: Path, comparison: Comparison) -> None:
        self._progress.stop()
        result = simulation.collective.result
        rejected = len(result.rounds) - result.accepted
        self._console.print(f"\n{score_name(simulation)} on the common test set")
        for label, score, remark in _comparison(simulation, comparison):
            bold = "bold" if label == "collective" else ""
            line = Text(f"  {label:12}{number(score):>8}", bold)
            self._console.print(line.append(f"   {remark}", "dim"), soft_wrap=True)
        self._console.print(
            f"\n{result.accepted} proposals accepted, {rejected} not; on a network "
            f"{result.bytes_moved / 1e6:.1f} MB of weights would have moved"
        )
        self._console.print("This is a simulation: a real participant shows nobody its scores.")
        if (contract := _contract(simulation)) is not None:
            self._console.print(
                f"The contract at {contract['address']} counted the votes: "
                f"{contract['gas_a_round']:,} gas a round, on a chain in this process",
                soft_wrap=True,
            )
        self._console.print()
        for name in (*_FILES, LEDGER_FILES[simulation.settings.ledger]):
            self._console.print(f"  {folder / name}", soft_wrap=True)
        self._console.print(f"\nLedger head  {simulation.collective.ledger.head}", soft_wrap=True)
        self._console.print("\nNext:")
        for command, why in _next_commands(simulation, folder):
            self._console.print(f"  {command}  [dim]# {why}[/dim]", soft_wrap=True)

    def stopped(self, folder: Path) -> None:
        self._progress.stop()
        self._console.print(
            f"\nStopped; all rounds are kept. Go on: colearn resume {folder}", soft_wrap=True
        )

    def close(self) -> None:
        self._progress.stop()


class _Lines:
    def begin(self, simulation: Simulation, folder: Path) -> None:
        result = simulation.collective.result
        self._print(
            "begin",
            run=str(folder),
            settings=msgspec.structs.asdict(simulation.settings),
            members=result.members,
            attackers=simulation.attackers,
            samples=simulation.setting.counts.tolist(),
            score=result.initial_score,
        )
        for each in result.rounds:
            self.round(each.row)

    def round(self, row: Row) -> None:
        self._print("round", **asdict(row))

    def end(self, simulation: Simulation, folder: Path, comparison: Comparison) -> None:
        result = simulation.collective.result
        self._print(
            "end",
            run=str(folder),
            accepted=result.accepted,
            rounds=len(result.rounds),
            bytes_moved=result.bytes_moved,
            head=simulation.collective.ledger.head,
            contract=_contract(simulation),
            best_solo=comparison.best_solo,
            mean_solo=comparison.mean_solo,
            **msgspec.structs.asdict(comparison),
        )

    def stopped(self, folder: Path) -> None:
        self._print("stopped", run=str(folder))

    def close(self) -> None:
        pass

    def _print(self, event: str, **values: Any) -> None:
        print(msgspec.json.encode({"event": event, **values}).decode(), flush=True)


def _header(simulation: Simulation) -> list[Text]:
    settings, task = simulation.settings, simulation.task
    rule = simulation.collective.ledger.experiment.rule
    voters = eligible(rule, settings.learners)
    drawn = " drawn each round" if rule.committee else ""
    lines = [
        Text.assemble((f"{task.name}", "bold"), f"  {task.summary}"),
        Text(f"  model    {task.model}"),
        Text(
            f"  rule     more than {rule.threshold} of {voters} voters{drawn} must approve, "
            f"each by its private samples: {settings.vote}"
        ),
        Text(f"  method   {settings.method}"),
        Text(f"  seed     {settings.seed}, {simulation.rounds} rounds, split {settings.split}"),
    ]
    if settings.privacy is not None:
        lines.append(Text(f"  privacy  {settings.privacy}; what it is compared with has none"))
    return lines + member_lines(simulation)


def member_lines(simulation: Simulation) -> list[Text]:
    """How many samples each learner holds, of which classes, and whether it attacks."""
    lines = []
    width = max(map(len, simulation.collective.members))
    for name, counts in zip(simulation.collective.members, simulation.setting.counts, strict=True):
        role = f"  attacks: {simulation.settings.attack}" if name in simulation.attackers else ""
        lines.append(Text(f"  {name:{width}}  {sum(counts):6,} samples  {_skew(counts)}{role}"))
    return lines


def _contract(simulation: Simulation) -> dict[str, Any] | None:
    """Where the contract is that counted the votes, and the mean gas of a round."""
    ledger = simulation.collective.ledger
    if isinstance(ledger, LocalLedger):
        return None
    _, *gas = ledger.chain.gas_used()
    return {"address": ledger.address, "gas_a_round": sum(gas) // simulation.rounds}


def _skew(counts: Sequence[int]) -> str:
    """Samples of each class as bars, the fullest class highest."""
    most = max(1, *counts)
    return "".join(
        _BARS[round(count / most * (len(_BARS) - 1))] if count else "·" for count in counts
    )


def score_name(simulation: Simulation) -> str:
    """What the task's scores are."""
    return "Accuracy" if simulation.task.kind == "classification" else "R²"


def _comparison(simulation: Simulation, comparison: Comparison) -> list[tuple[str, float, str]]:
    best = comparison.best_solo
    return [
        ("collective", comparison.collective, f"{simulation.rounds} rounds"),
        *((name, score, _REMARKS[name]) for name, score in comparison.others.items()),
        (BEST_SOLO, comparison.solo[best], f"{best} alone, as many steps, at its best round"),
        ("mean solo", comparison.mean_solo, f"of {len(comparison.solo)} honest learners alone"),
    ]


def _next_commands(simulation: Simulation, folder: Path) -> list[tuple[str, str]]:
    task = simulation.task.name
    head = simulation.collective.ledger.head
    commands = [(f"colearn audit {folder} --head {head}", "recompute every decision")]
    if not simulation.attackers:
        commands.append((f"colearn demo {task} --attackers 1", "with a liar among them"))
    if simulation.settings.split != "iid":
        commands.append((f"colearn demo {task} --split iid", "equal data"))
    commands.append(("colearn tasks", "other data and models"))
    return commands
