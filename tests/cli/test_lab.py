"""``colearn lab`` as a user meets it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys

import pytest
from commands import run

from colearn.report.files import read_trainings

SMALL = ["--learners", "3", "--rounds", "2", "--seeds", "2", "--methods", "plain,fast"]
OWN = """
import numpy as np
from colearn.learners.sklearn import SklearnLearner
from sklearn.linear_model import SGDClassifier

def make(*, seed, data_dir):
    table = np.loadtxt(data_dir / "ward.csv", delimiter=",")
    model = SGDClassifier(loss="log_loss", random_state=seed)
    return SklearnLearner(model, train=(table[:, :2], table[:, 2]), steps=5)
"""


@pytest.fixture(autouse=True)
def _in_a_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def test_a_cell_stopped_and_resumed_says_the_same(capsys, tmp_path):
    """All ways with all seeds are trained once, torn lines again, and the table follows."""
    status, out, _ = run(capsys, "lab", "digits", *SMALL, "--json")
    printed = [json.loads(line) for line in out.splitlines()]
    assert status == 0
    begin, *trainings, end = printed
    ways = ["plain", "fast", "FedAvg", "pooled", "learner-0", "learner-1", "learner-2"]
    assert sorted((each["seed"], each["way"]) for each in trainings) == sorted(
        (seed, way) for seed in (0, 1) for way in ways
    )
    assert begin["trainings"] == len(trainings) == 14
    rows = {row["way"]: row for row in end["table"]}
    assert list(rows) == [*ways[:4], "best solo", "mean solo"]
    scores = {(each["seed"], each["way"]): each["score"] for each in trainings}
    best = [max(scores[seed, way] for way in ways[4:]) for seed in (0, 1)]
    assert rows["best solo"]["mean"] == pytest.approx(sum(best) / 2)
    assert rows["fast"]["mean"] == pytest.approx((scores[0, "fast"] + scores[1, "fast"]) / 2)
    assert rows["fast"]["won"] == sum(scores[seed, "fast"] > best[seed] for seed in (0, 1))

    folder = tmp_path / end["run"]
    (folder / "curve.png").unlink()
    file = folder / "trainings.jsonl"
    lines = file.read_bytes().splitlines(keepends=True)
    file.write_bytes(b"".join(lines[:12]) + lines[12][:30])
    assert run(capsys, "plot", str(folder))[0] == 0  # of the one seed that is whole
    status, out, _ = run(capsys, "resume", str(folder), "--json")
    assert status == 0
    assert out.count('"event":"training"') == 2
    assert json.loads(out.splitlines()[-1])["table"] == end["table"]
    assert (folder / "curve.png").read_bytes().startswith(b"\x89PNG")


def test_own_data_and_model(capsys, tmp_path):
    """A function that makes a learner is all it takes; the terminal shows table and verdict."""
    (tmp_path / "hospital.py").write_text(OWN)
    (tmp_path / "data").mkdir()
    rows = [f"{x / 10:.1f},{(x * 7) % 13 / 13:.3f},{int(x % 20 > 9)}\n" for x in range(200)]
    (tmp_path / "data" / "ward.csv").write_text("".join(rows))
    status, out, err = run(
        capsys, "lab", "hospital:make", "--data-dir", "data", *SMALL, "--split", "iid",
        "--attackers", "1", "--attack", "contrary-voter",
    )  # fmt: skip
    assert (status, err) == (0, "")
    assert "attacks: contrary-voter" in out
    for words in ("plain ", "fast ", "FedAvg ", "pooled ", "best solo ", "of 2 seeds", "curve.png"):
        assert words in out
    (folder,) = (tmp_path / "runs").iterdir()
    ways = {each.way for each in read_trainings(folder)}
    assert "learner-1" in ways
    assert "learner-2" not in ways  # it attacks


def test_a_model_that_cannot_be_merged_has_plain_alone(capsys):
    """Forests are compared under the plain protocol, without a server that averages."""
    small = ["--rounds", "1", "--learners", "2", "--seeds", "1"]
    status, out, _ = run(capsys, "lab", "iris", *small, "--json")
    assert status == 0
    rows = json.loads(out.splitlines()[-1])["table"]
    assert [row["way"] for row in rows] == ["plain", "pooled", "best solo", "mean solo"]


def test_interrupt_keeps_what_is_done(tmp_path):
    """Ctrl-C ends with one line that says how to go on."""
    code = "import sys; from colearn.cli import main; main(sys.argv[1:])"
    process = subprocess.Popen(
        [sys.executable, "-c", code, "lab", "digits", "--rounds", "5", "--seeds", "50", "--json"],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    for line in process.stdout:
        if '"event":"training"' in line:
            break
    os.killpg(process.pid, signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert err == ""
    assert '"event":"stopped"' in out
    (folder,) = (tmp_path / "runs").iterdir()
    assert 0 < len(list(read_trainings(folder))) < 500


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["lab", "digit"], "did you mean digits"),
        (["lab", "--methods", "fast,quick"], "no method is called 'quick'"),
        (["lab", "--methods", "fast,fast"], "names one twice"),
        (["lab", "--seeds", "0"], "0 seeds"),
        (["lab", "--seed", "4294967295", "--seeds", "2"], "seed 4294967296"),
        (["lab", "--attack", "noise"], "needs attackers"),
        (["lab", "--attackers", "5"], "honest"),
        (["lab", "--rounds", "0"], "at least 1"),
        (["lab", "iris", "--methods", "fast"], "cannot merge"),
        (["lab", "nowhere:make", "--rounds", "2"], "no module 'nowhere'"),
    ],
    ids=" ".join,
)
def test_wrong_input_is_one_clear_line(arguments, words, tmp_path, capsys):
    """What failed and what to do, on one line, no traceback, and no folder left behind."""
    status, out, err = run(capsys, *arguments)
    assert status == 1
    assert out == ""
    assert err.startswith("colearn: ")
    assert err.count("\n") == 1
    assert words in err
    assert list(tmp_path.iterdir()) == []
