"""``colearn lab``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from colearn import tasks
from colearn.alternatives import Job, Trainings, compared, of_method
from colearn.cli.ending import terminated_cleanly
from colearn.cli.folders import new_folder, removed_on_failure
from colearn.cli.lab_screen import Cell, LabScreen, make_lab_screen
from colearn.cli.options import USUAL, Trial, Whole
from colearn.errors import ConfigError
from colearn.methods import method
from colearn.records import PLAIN
from colearn.report import files
from colearn.report.result import BEST_SOLO, FEDAVG, POOLED, number
from colearn.report.trainings import Line, table
from colearn.simulation import Settings, Simulation, resolved, simulate, task_of


def lab(
    task: str = "digits",
    /,
    *,
    methods: str | None = None,
    learner: str | None = None,
    learners: Whole = 5,
    rounds: Whole | None = None,
    threshold: str = "1/2",
    vote: str | None = None,
    split: str = "dirichlet:0.3",
    seeds: Whole = 3,
    seed: Whole = 0,
    trial: Trial = USUAL,
    out: Path = Path("runs"),
    json: bool = False,
) -> None:
    """Try methods side by side, on a task or on data and a model of your own.

    Tells whether learning together helps, by which method, and against which liars. All
    ways train as much, with each seed on the same shares of the data: the methods, a server
    that averages (FedAvg), all data pooled, and every learner alone. The folder that is
    printed holds what is done; colearn resume goes on with it.

    Args:
        task: What to learn; "colearn tasks" lists them. Or module:factory, your own
            function that makes a learner, as colearn join takes it: a fifth of its
            samples is set apart for testing, and the rest shared out.
        methods: To compare, with commas between: plain, solo-dc, fast, shield, average,
            median, trimmed-mean, geometric-median, multi-krum. By default
            plain,fast,shield; plain where a model cannot be merged.
        learner: What the model is written in, such as sklearn, torch or xgboost; by default
            what is usual for the task.
        learners: How many take part.
        rounds: How many times each learner trains; where one trains a round there are
            as many times more rounds. By default what suits the task.
        threshold: Share of the voters that more than must approve, such as 1/2 or 0.6.
        vote: When a member approves, in all methods: loss, accuracy, not-worse or
            class-veto. By default loss under plain, and else not-worse, which approves
            what is no better, too.
        split: How the samples are shared out: iid, dirichlet:A (the smaller A, the more
            unequal), classes:K (each learner has K classes) or sizes:A (equal classes,
            unequal sizes).
        seeds: How many times to repeat everything, with other shares and weights.
        seed: The first seed.
        trial: How the learners train, on what, and who of them attacks.
        out: Folder that the run's own folder is made in.
        json: Print one JSON object a line, for machines.
    """
    cell = Cell(
        task=task,
        learner=learner,
        learners=learners,
        rounds=rounds,
        threshold=threshold,
        vote=vote,
        split=split,
        seed=seed,
        **trial.settings,
        methods=() if methods is None else tuple(methods.replace(" ", "").split(",")),
        seeds=seeds,
    )
    cell = _completed(cell)
    folder = new_folder(out, f"{task.replace(':', '-')}-lab")
    with removed_on_failure(folder):
        files.write_settings(folder, msgspec.structs.asdict(cell))
        simulation = simulate(_settings(cell))
    _play(cell, simulation, folder, make_lab_screen(json))


def is_lab(settings: Mapping[str, Any]) -> bool:
    """Whether these are settings of a cell."""
    return "methods" in settings


def resume_lab(settings: Mapping[str, Any], folder: Path, *, json: bool) -> None:
    """Go on with a cell that was stopped."""
    try:
        cell = msgspec.convert(settings, Cell)
    except msgspec.ValidationError as reason:
        raise ConfigError(f"these are not settings of a laboratory's cell: {reason}") from None
    cell = _completed(cell)
    _play(cell, simulate(_settings(cell)), folder, make_lab_screen(json))


def redraw_lab(settings: Mapping[str, Any], folder: Path) -> Path:
    """Draw a cell from its files, as ``curve.png`` beside them; return the path.

    Raises:
        ConfigError: No seed is done yet.
    """
    cell = msgspec.convert(settings, Cell)
    lines = table(files.read_trainings(folder), [job.way for job in _jobs(cell, cell.seed)])
    if not lines:
        raise ConfigError(f"{folder} has no seed that is done: colearn resume {folder} goes on")
    return _draw(cell, lines, folder)


def _completed(cell: Cell) -> Cell:
    """Fill in methods and rounds, and check what can be checked without training."""
    task = task_of(cell)
    if cell.seeds < 1:
        raise ConfigError(f"{cell.seeds} seeds are refused: take 1 or more")
    usual = (PLAIN, "fast", "shield") if task.batch_size is not None else (PLAIN,)
    chosen = cell.methods or usual
    if len(set(chosen)) < len(chosen):
        raise ConfigError(f"--methods {','.join(chosen)} names one twice: name each once")
    for name in chosen:
        method(name)
    rounds = cell.rounds if cell.rounds is not None else tasks.turns(task) or None
    cell = msgspec.structs.replace(cell, methods=chosen, rounds=rounds)
    resolved(_settings(cell))
    resolved(msgspec.structs.replace(_settings(cell), seed=cell.seed + cell.seeds - 1))
    return cell


def _settings(cell: Cell) -> Settings:
    """Those of a run with the first seed, by a method that asks most of a model."""
    values = {name: getattr(cell, name) for name in Settings.__struct_fields__}
    merging = [name for name in cell.methods if name != PLAIN]
    return Settings(**values | {"method": (merging or [PLAIN])[0], "committee": 0})


def _jobs(cell: Cell, seed: int) -> list[Job]:
    settings = msgspec.structs.replace(_settings(cell), seed=seed)
    turns = cell.rounds or 1
    average = task_of(cell).batch_size is not None
    return [
        *(of_method(settings, name, turns) for name in cell.methods),
        *compared(settings, turns, average=average),
    ]


def _play(cell: Cell, simulation: Simulation, folder: Path, screen: LabScreen) -> None:
    trainings = files.TrainingsFile(folder)
    done = {(each.seed, each.way) for each in trainings.done}
    jobs = [job for seed in range(cell.seed, cell.seed + cell.seeds) for job in _jobs(cell, seed)]
    ways = [job.way for job in _jobs(cell, cell.seed)]
    left = [job for job in jobs if (job.settings.seed, job.way) not in done]
    running = Trainings(left)
    with terminated_cleanly() as ending:
        try:
            screen.begin(cell, simulation, folder, len(jobs), len(jobs) - len(left))
            for training in running:
                trainings.add(training)
                screen.trained(training)
                ending.check()
            lines = table(trainings.done, ways)
            _draw(cell, lines, folder)
            screen.end(simulation, folder, lines)
        except KeyboardInterrupt:
            screen.stopped(folder)
            raise
        finally:
            screen.close()
            running.close()
            trainings.close()


def _draw(cell: Cell, lines: Sequence[Line], folder: Path) -> Path:
    from colearn.report.plot import draw_curves  # noqa: PLC0415 - needs an extra

    liars = f" of whom {cell.attackers} attack ({cell.attack})" if cell.attackers else ""
    seeds = "one seed" if cell.seeds == 1 else f"mean and range of {cell.seeds} seeds"
    path = folder / files.PLOT_FILE
    labels = {line.way: f"{line.way}  {number(line.mean)}" for line in lines}
    draw_curves(
        {labels[line.way]: line.curves for line in lines if line.curves},
        title=f"{cell.task}: {cell.learners} learners{liars}, split {cell.split}; {seeds}",
        xlabel="times that each learner has trained",
        ylabel="score on the common test set",
        begins=1,
        ends=cell.rounds or 1,
        apart=[labels[way] for way in (FEDAVG, POOLED, BEST_SOLO) if way in labels],
        path=path,
    )
    return path
