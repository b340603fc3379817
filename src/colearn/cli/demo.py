"""``colearn demo`` and ``colearn resume``."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import msgspec

from colearn.alternatives import Alternatives
from colearn.cli.ending import terminated_cleanly
from colearn.cli.folders import new_folder, removed_on_failure
from colearn.cli.lab import is_lab, resume_lab
from colearn.cli.options import USUAL, Tracks, Trial, Whole
from colearn.cli.screen import Screen, make_screen
from colearn.collective import Collective
from colearn.errors import ConfigError
from colearn.report import files
from colearn.report.plot import redraw
from colearn.report.result import Result, Row
from colearn.simulation import (
    Settings,
    Simulation,
    resolved,
    settings_from,
    simulate,
)
from colearn.tracking import Tracker, comparison_numbers, numbers_of, tracker

_log = logging.getLogger(__name__)


def demo(
    task: str = "digits",
    /,
    *,
    learner: str | None = None,
    learners: Whole = 5,
    rounds: Whole | None = None,
    method: str | None = None,
    untrusted: bool = False,
    threshold: str = "1/2",
    vote: str | None = None,
    split: str = "dirichlet:0.3",
    seed: Whole = 0,
    trial: Trial = USUAL,
    ledger: str = "local",
    committee: Whole | None = None,
    privacy: str | None = None,
    track: Tracks = (),
    out: Path = Path("runs"),
    json: bool = False,
) -> None:
    """See learners train one model together, on real data.

    Each round one learner proposes new weights, by default made of what all of them
    trained on their private samples; the others test them on theirs and vote. At the
    end the collective is compared with other ways to learn: everybody alone, the plain
    protocol, a server that averages, and all data pooled.

    Args:
        task: What to learn; "colearn tasks" lists them. Or module:factory, your own
            function that makes a learner, as colearn join takes it: a fifth of its
            samples is set apart for testing, and the rest shared out.
        learner: What the model is written in, such as sklearn, torch, keras, jax, lightgbm or
            xgboost; by default what is usual for the task.
        learners: How many take part.
        rounds: How many rounds; by default what suits the task.
        method: How a proposal is made: plain, solo-dc, fast, shield, average, median,
            trimmed-mean, geometric-median or multi-krum; by default fast, or shield
            if somebody may lie.
        untrusted: Members do not trust each other.
        threshold: Share of the voters that more than must approve, such as 1/2 or 0.6.
        vote: When a member approves: loss or accuracy, if that is strictly better;
            not-worse, unless the loss is clearly worse, so that what is no better passes,
            too; class-veto, the same in every class. By default loss under plain, and
            else not-worse.
        split: How the samples are shared out: iid, dirichlet:A (the smaller A, the more
            unequal), classes:K (each learner has K classes) or sizes:A (equal classes,
            unequal sizes).
        seed: Seed of everything random.
        trial: How the learners train, on what, and who of them attacks.
        ledger: What counts the votes: local, or evm for the smart contract, on a chain
            in this process.
        committee: How many members, drawn anew each round, vote and train beside the
            proposer; 0 for all. By default ten under fast, where there are more than
            twelve learners, and else all.
        privacy: standard (epsilon 8 for training, 2 for votes) or strict (3 and 1):
            learners hide single records behind noise. Noise is no seed's, so that no two
            such runs are the same.
        track: Where else to keep the run's numbers: mlflow:FILE, mlflow:URL or
            tensorboard:FOLDER.
        out: Folder that the run's own folder is made in.
        json: Print one JSON object a line, for machines.
    """
    settings = Settings(
        task=task,
        learner=learner,
        learners=learners,
        rounds=rounds,
        method=method,
        untrusted=untrusted,
        threshold=threshold,
        vote=vote,
        split=split,
        seed=seed,
        **trial.settings,
        ledger=ledger,
        committee=committee,
        privacy=privacy,
    )
    settings = resolved(settings)
    if untrusted and method is not None:
        _log.warning("--untrusted changes nothing, as --method %s names the method", method)
    folder = new_folder(out, task.replace(":", "-"))
    with removed_on_failure(folder):
        files.write_settings(folder, msgspec.structs.asdict(settings))
        simulation = simulate(settings, folder)
        trackers = _trackers(track, folder, settings)
    _play(simulation, folder, make_screen(json), trackers)


def resume(run: Path, /, *, track: Tracks = (), json: bool = False) -> None:
    """Go on with a run that was stopped, of a demo or the laboratory; it ends as if it had not.

    Args:
        run: The run's folder.
        track: Where else to keep the run's numbers, those of its earlier rounds too:
            mlflow:FILE, mlflow:URL or tensorboard:FOLDER.
        json: Print one JSON object a line, for machines.
    """
    values = files.read_settings(run)
    if is_lab(values):
        if track:
            raise ConfigError(f"{run} is a cell of the laboratory: it takes no --track")
        resume_lab(values, run, json=json)
        return
    simulation = simulate(settings_from(values), run)
    _play(simulation, run, make_screen(json), _trackers(track, run, simulation.settings))


def _trackers(track: Tracks, folder: Path, settings: Settings) -> list[Tracker]:
    return [tracker(each, folder.name, msgspec.structs.asdict(settings)) for each in track]


def _play(
    simulation: Simulation, folder: Path, screen: Screen, trackers: Sequence[Tracker]
) -> None:
    collective = simulation.collective
    done = collective.result
    if len(done.rounds) > simulation.rounds:
        raise ConfigError(
            f"{folder} has {len(done.rounds)} rounds already, "
            f"but its {files.SETTINGS_FILE} asks for {simulation.rounds}"
        )
    (folder / files.WEIGHTS_FILE).unlink(missing_ok=True)  # of an earlier, shorter run
    rounds = files.RoundsFile(folder, done.members, _timed(folder, done))
    alternatives = Alternatives(simulation.settings, simulation.rounds)
    with terminated_cleanly() as ending:
        try:
            screen.begin(simulation, folder)
            for each in done.rounds:
                _track(trackers, each.decision.round, numbers_of(each))
            for each in collective.play(simulation.rounds - len(done.rounds)):
                rounds.add(each.row)
                screen.round(each.row)
                ending.check()
                _track(trackers, each.decision.round, numbers_of(each))
            comparison = alternatives.compare(collective.result.final_score)
            files.write_comparison(folder, comparison)
            _track(trackers, simulation.rounds, comparison_numbers(comparison))
            _save(collective, folder)
            screen.end(simulation, folder, comparison)
        except KeyboardInterrupt:
            screen.stopped(folder)
            _save(collective, folder)
            raise
        finally:
            screen.close()
            for each_tracker in trackers:
                each_tracker.close()
            rounds.close()
            alternatives.close()
            collective.close()


def _track(trackers: Sequence[Tracker], round_index: int, numbers: Mapping[str, float]) -> None:
    for each in trackers:
        each.log(round_index, numbers)


def _timed(folder: Path, done: Result) -> list[Row]:
    """Rows of rounds read back from the ledger, with the seconds that the old file knows."""
    seconds: dict[int, float] = {}
    if done.rounds:
        with suppress(ConfigError):  # the file decides nothing: it is written anew
            seconds = {row.round: row.seconds for row in files.read_rounds(folder)[1]}
    rows = (each.row for each in done.rounds)
    return [replace(row, seconds=seconds.get(row.round, row.seconds)) for row in rows]


def _save(collective: Collective, folder: Path) -> None:
    result = collective.result
    files.write_weights(folder, result.weights)
    if result.rounds:
        redraw(folder)
