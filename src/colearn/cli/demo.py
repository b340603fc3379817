"""``colearn demo`` and ``colearn resume``."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import msgspec

from colearn.cli.screen import Screen, make_screen
from colearn.collective import Collective
from colearn.errors import ConfigError
from colearn.report import files
from colearn.report.plot import redraw
from colearn.simulation import Alternatives, Settings, Simulation, settings_from, simulate


def demo(
    task: str = "digits",
    /,
    *,
    learners: int = 5,
    rounds: int | None = None,
    threshold: str = "1/2",
    vote: str = "loss",
    split: str = "iid",
    seed: int = 0,
    learning_rate: float | None = None,
    batch_size: int | None = None,
    data_dir: Path | None = None,
    test_dir: Path | None = None,
    attackers: int = 0,
    attack: str = "label-flip",
    out: Path = Path("runs"),
    json: bool = False,
) -> None:
    """See learners train one model together, on real data.

    Each round one learner trains on its private samples and proposes new weights; the
    others test them on theirs and vote. At the end the collective is compared with
    everybody training alone, and with all data pooled.

    Args:
        task: What to learn; "colearn tasks" lists them.
        learners: How many take part.
        rounds: How many rounds; by default what suits the task.
        threshold: Share of the voters that more than must approve, such as 1/2 or 0.6.
        vote: What a vote compares: loss or accuracy.
        split: How the samples are shared out: iid, dirichlet:A (the smaller A, the more
            unequal) or classes:K (each learner has K classes).
        seed: Seed of everything random.
        learning_rate: Instead of the task's own.
        batch_size: Instead of the task's own.
        data_dir: Folder of the data, for tasks that read one.
        test_dir: Folder of the test part, if it is another one.
        attackers: How many of the learners attack.
        attack: What attackers do: label-flip, sign-flip, noise, lazy-voter or
            colluding-voter.
        out: Folder that the run's own folder is made in.
        json: Print one JSON object a line, for machines.
    """
    settings = Settings(
        task=task,
        learners=learners,
        rounds=rounds,
        threshold=threshold,
        vote=vote,
        split=split,
        seed=seed,
        learning_rate=learning_rate,
        batch_size=batch_size,
        data_dir=None if data_dir is None else str(data_dir.resolve()),
        test_dir=None if test_dir is None else str(test_dir.resolve()),
        attackers=attackers,
        attack=attack,
    )
    folder = _new_folder(out, task)
    simulation = simulate(settings, folder)
    files.write_settings(folder, msgspec.structs.asdict(simulation.settings))
    _play(simulation, folder, make_screen(json))


def resume(run: Path, /, *, json: bool = False) -> None:
    """Go on with a run that was stopped; it ends as if it had never been.

    Args:
        run: The run's folder.
        json: Print one JSON object a line, for machines.
    """
    settings = settings_from(files.read_settings(run))
    _play(simulate(settings, run), run, make_screen(json))


def _new_folder(out: Path, task: str) -> Path:
    """A folder of that name and time that is not there yet; it is not made here."""
    name = f"{task}-{datetime.now().astimezone():%Y%m%d-%H%M%S}"
    if out.exists() and not out.is_dir():
        raise ConfigError(f"--out {out} is a file; name a folder to make the run's folder in")
    return next(
        folder
        for folder in (out / f"{name}{suffix}" for suffix in ("", *(f"-{n}" for n in range(2, 99))))
        if not folder.exists()
    )


def _play(simulation: Simulation, folder: Path, screen: Screen) -> None:
    collective = simulation.collective
    done = collective.result
    (folder / files.WEIGHTS_FILE).unlink(missing_ok=True)  # of an earlier, shorter run
    rounds = files.RoundsFile(folder, done.members, (each.row for each in done.rounds))
    alternatives = Alternatives(simulation.settings, simulation.rounds)
    try:
        screen.begin(simulation, folder)
        for each in collective.play(simulation.rounds - len(done.rounds)):
            rounds.add(each.row)
            screen.round(each.row)
        comparison = alternatives.compare(collective.result.final_score)
        files.write_comparison(folder, msgspec.structs.asdict(comparison))
        _save(collective, folder)
        screen.end(simulation, folder, comparison)
    except KeyboardInterrupt:
        _save(collective, folder)
        screen.stopped(folder)
        raise
    finally:
        screen.close()
        rounds.close()
        alternatives.close()
        collective.close()


def _save(collective: Collective, folder: Path) -> None:
    result = collective.result
    files.write_weights(folder, result.weights)
    if result.rounds:
        redraw(folder)
