"""What is tracked of a run can be read back with the trackers' own tools."""

from __future__ import annotations

import importlib
import math
import sys

import pytest
from toys import seekers

from colearn.cli import main
from colearn.collective import Collective
from colearn.errors import ConfigError, MissingExtra
from colearn.records import PLAIN
from colearn.report.result import Comparison
from colearn.tracking import Follower, comparison_numbers, numbers_of, tracker

NEEDED = {"tensorboard": ("tensorboard",), "mlflow": ("mlflow", "sqlalchemy", "alembic")}


class Notebook:
    """A tracker that remembers."""

    def __init__(self):
        self.rounds = {}

    def log(self, round_index, numbers):
        self.rounds.setdefault(round_index, {}).update(numbers)

    def close(self):
        pass


def read_tensorboard(folder):
    """Return all numbers by name and round, by TensorBoard's own reader."""
    reader = importlib.import_module("tensorboard.backend.event_processing.event_accumulator")
    (run,) = folder.iterdir()
    events = reader.EventAccumulator(str(run)).Reload()
    return {
        tag: {event.step: event.value for event in events.Scalars(tag)}
        for tag in events.Tags()["scalars"]
    }


def read_mlflow(path):
    """Return all numbers by name and round, by MLflow's own client."""
    client = importlib.import_module("mlflow").MlflowClient(f"sqlite:///{path}")
    (found,) = client.search_runs([client.get_experiment_by_name("colearn").experiment_id])
    assert found.info.status == "FINISHED"
    assert found.data.params["task"] == "iris"
    return {
        name: {each.step: each.value for each in client.get_metric_history(found.info.run_id, name)}
        for name in found.data.metrics
    }


@pytest.mark.filterwarnings("ignore")  # between MLflow and what it builds on
@pytest.mark.parametrize("kind", NEEDED)
def test_demo_is_tracked(kind, optional, tmp_path, capsys):
    """The command line's run stands in the tracker, round by round."""
    for name in NEEDED[kind]:
        optional(name)
    place = tmp_path / "tracked"
    small = ["--learners", "3", "--rounds", "3", "--out", str(tmp_path / "runs")]
    main(["demo", "iris", *small, "--track", f"{kind}:{place}"])
    assert not capsys.readouterr().err
    numbers = (read_tensorboard if kind == "tensorboard" else read_mlflow)(place)
    (run,) = (tmp_path / "runs").iterdir()
    rows = [line.split(",") for line in (run / "rounds.csv").read_text().splitlines()]
    scores = {int(row[0]): float(row[rows[0].index("score")]) for row in rows[1:]}
    assert numbers["score"] == pytest.approx(scores)
    assert set(numbers["accepted"]) == {0, 1, 2}
    assert "vote_score/learner-0" in numbers
    assert "compared/pooled" in numbers


def test_a_simulation_tells_all():
    """A simulated round's numbers hold its outcome and everybody's scores, if finite."""
    collective = Collective(seekers(), evaluate=lambda weights: 0.5)
    numbers = numbers_of(next(collective.play(1)))
    assert numbers["score"] == 0.5
    assert numbers["accepted"] in (0, 1)
    assert sum(name.startswith("vote_score/") for name in numbers) == 2
    assert all(map(math.isfinite, numbers.values()))


def test_a_comparison_names_the_others():
    """Final scores come by the names of the ways to learn; what was not measured is left out."""
    compared = Comparison(
        collective=0.9, solo={"ann": 0.7}, others={"FedAvg": 0.8, "pooled": math.nan}, curves={}
    )
    assert comparison_numbers(compared) == {
        "compared/collective": 0.9,
        "compared/solo/ann": 0.7,
        "compared/fedavg": 0.8,
    }


def test_a_member_tracks_its_own_scores_alone():
    """Of members who follow one run, each has its own vote and scores, and nobody else's."""
    learners = dict(zip(("ann", "bob", "cyd"), seekers(), strict=True))
    books = {name: Notebook() for name in learners}
    followers = {name: Follower(books[name], name, learner) for name, learner in learners.items()}
    collective = Collective(learners, method=PLAIN)
    for each in collective.play(3):
        for entry in collective.ledger.events():
            if getattr(entry.event, "round", None) == each.decision.round:
                for follower in followers.values():
                    follower.ordered(entry)
        for follower in followers.values():
            follower.decided(each.decision)
        for name, book in books.items():
            kept = book.rounds[each.decision.round]
            proposed = each.decision.proposer == name
            names = {"accepted", "approvals", "needed"}
            own = set() if proposed else {"own_approval", "vote_score"}
            assert set(kept) == names | own
            if not proposed:
                assert kept["vote_score"] == each.scores[name].vote_score


@pytest.mark.parametrize("where", ["mlflow", "tensorboard:", "wandb:here", ""])
def test_unknown_trackers_are_refused(where):
    """A place that is none is refused with the forms that work."""
    with pytest.raises(ConfigError, match="mlflow:FILE, mlflow:URL or tensorboard:FOLDER"):
        tracker(where, "run", {})


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", NEEDED)
def test_a_place_that_cannot_be_written_is_told(kind, optional, tmp_path):
    """A file where a folder should be ends in one line that names it."""
    for name in NEEDED[kind]:
        optional(name)
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="cannot write to|cannot be written to"):
        tracker(f"{kind}:{tmp_path / 'file' / 'below'}", "run", {})


@pytest.mark.parametrize("kind", NEEDED)
def test_missing_package_names_the_command(kind, monkeypatch, tmp_path):
    """Without its package, a tracker says how to get it."""
    for name in [name for name in sys.modules if name.partition(".")[0] == kind] or [kind]:
        monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.delitem(sys.modules, f"colearn.tracking.{kind}", raising=False)
    with pytest.raises(MissingExtra, match=rf"pip install 'colearn-protocol\[{kind}\]'"):
        tracker(f"{kind}:{tmp_path / 'x'}", "run", {})
