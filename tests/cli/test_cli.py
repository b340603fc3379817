"""The command line as a user meets it."""

from __future__ import annotations

import csv
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
import tomllib
from datetime import UTC, datetime
from importlib.metadata import version

import pytest
from commands import run
from safetensors.numpy import load_file

from colearn import tasks

SMALL = ["--learners", "3", "--rounds", "6", "--seed", "4"]


def start(*arguments, cwd):
    """Start a command in a process of its own."""
    code = "import sys; from colearn.cli import main; main(sys.argv[1:])"
    return subprocess.Popen(
        [sys.executable, "-c", code, *arguments],
        cwd=cwd,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def events(text):
    """The JSON objects a command printed, by kind of event."""
    found = {}
    for line in text.splitlines():
        event = json.loads(line)
        found.setdefault(event["event"], []).append(event)
    return found


def read_csv(path):
    """The rows of a table."""
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A finished small demo: its folder and what it printed as JSON."""
    where = tmp_path_factory.mktemp("finished")
    process = start("demo", *SMALL, "--out", str(where), "--json", cwd=where)
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    printed = events(out)
    return where / printed["begin"][0]["run"], printed


def test_demo_tells_a_machine_everything(finished):
    """The JSON lines hold settings, every round and the comparison, consistent with each other."""
    _, printed = finished
    (begin,), rounds, (end,) = printed["begin"], printed["round"], printed["end"]
    assert begin["settings"]["rounds"] == len(rounds) == end["rounds"] == 6
    assert sum(each["decision"] == "accepted" for each in rounds) == end["accepted"]
    assert end["collective"] == rounds[-1]["score"]
    assert set(end["solo"]) == set(begin["members"])
    assert end["solo"][end["best_solo"]] == max(end["solo"].values())


def test_demo_leaves_its_files(finished):
    """Settings, rounds, picture and model are on disk and can be read by others."""
    folder, printed = finished
    assert tomllib.loads((folder / "run.toml").read_text())["seed"] == 4
    rows = read_csv(folder / "rounds.csv")
    assert [row["model"] for row in rows] == [each["model"] for each in printed["round"]]
    assert rows[0]["learner-0"] == "propose"
    assert (folder / "curve.png").read_bytes().startswith(b"\x89PNG")
    assert load_file(folder / "weights.safetensors")


def test_audit_of_a_finished_run(finished, capsys):
    """The auditor agrees with the run, on the head that the run printed."""
    folder, printed = finished
    head = printed["end"][0]["head"]
    status, out, _ = run(capsys, "audit", str(folder), "--head", head)
    assert status == 0
    assert "6 recomputed" in out
    assert head in out


def test_plot_draws_again(finished, capsys):
    """The picture is drawn afresh from the files alone."""
    folder, _ = finished
    (folder / "curve.png").unlink()
    assert run(capsys, "plot", str(folder))[0] == 0
    assert (folder / "curve.png").stat().st_size > 10_000


def test_resuming_a_finished_run_changes_nothing(finished, capsys):
    """Nothing is left to do, so nothing is added."""
    folder, printed = finished
    status, out, _ = run(capsys, "resume", str(folder), "--json")
    assert status == 0
    assert events(out)["end"][0]["head"] == printed["end"][0]["head"]
    assert all(row["seconds"] for row in read_csv(folder / "rounds.csv"))


def test_plain_text_when_not_a_terminal(tmp_path, capsys, monkeypatch):
    """Piped output has a line a round, the comparison and the next commands, and no escapes."""
    monkeypatch.chdir(tmp_path)
    status, out, _ = run(capsys, "demo", "iris", "--rounds", "3", "--learners", "3")
    assert status == 0
    assert "\x1b" not in out
    for words in (
        "best solo",
        "mean solo",
        "pooled",
        "colearn audit runs",
        "weights.safetensors",
        "ledger.log",
    ):
        assert words in out
    assert sum("accepted  " in line or "rejected  " in line for line in out.splitlines()) == 3


def test_the_contract_counts_the_votes_of_a_demo(tmp_path, capsys, monkeypatch):
    """The same learning as with the local ledger; stopped, resumed, and audited from the chain."""
    pytest.importorskip("web3")
    monkeypatch.chdir(tmp_path)
    small = ["demo", "iris", "--rounds", "4", "--learners", "3", "--json"]
    ends, scores = {}, {}
    for ledger in ("local", "evm"):
        status, out, _ = run(capsys, *small, "--ledger", ledger)
        assert status == 0
        printed = events(out)
        ends[ledger] = printed["end"][0]
        scores[ledger] = [(row["round"], row["did"], row["score"]) for row in printed["round"]]
    assert scores["local"] == scores["evm"]
    assert ends["local"]["contract"] is None
    assert ends["evm"]["contract"]["address"].startswith("0x")
    assert 50_000 < ends["evm"]["contract"]["gas_a_round"] < 80_000
    folder = tmp_path / ends["evm"]["run"]
    status, out, _ = run(capsys, "audit", str(folder), "--head", ends["evm"]["head"])
    assert status == 0
    assert "8 votes bear signatures" in out
    lines = (folder / "chain.log").read_bytes().splitlines(keepends=True)
    (folder / "chain.log").write_bytes(b"".join(lines[:-2]))
    status, out, _ = run(capsys, "resume", str(folder), "--json")
    assert status == 0
    assert events(out)["end"][0]["head"] == ends["evm"]["head"]


def test_a_learner_that_diverges_passes_and_the_output_stays_json(tmp_path, capsys, monkeypatch):
    """An absurd learning rate changes no model; what is not a number is null in JSON."""
    monkeypatch.chdir(tmp_path)
    arguments = ["demo", "diabetes", "--rounds", "3", "--learning-rate", "1e170", "--json"]
    status, out, _ = run(capsys, *arguments)
    printed = [json.loads(line, parse_constant=pytest.fail) for line in out.splitlines()]
    assert status == 0
    assert len({each["score"] for each in printed if each["event"] in ("begin", "round")}) == 1


def test_killed_anywhere_a_run_ends_on_the_same_digest(finished, tmp_path):
    """Kill -9 at random moments, resume each time: the same models as a run never interrupted."""
    _, printed = finished
    process = start("demo", *SMALL, "--out", str(tmp_path), "--json", cwd=tmp_path)
    folder = tmp_path / json.loads(process.stdout.readline())["run"]
    chance = random.Random(5)
    for _ in range(4):
        for _ in range(chance.randrange(2)):
            process.stdout.readline()
        time.sleep(chance.uniform(0, 0.15))
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        assert process.returncode == -signal.SIGKILL
        process = start("resume", str(folder), "--json", cwd=tmp_path)
        process.stdout.readline()
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    end = events(out)["end"][0]
    assert end["head"] == printed["end"][0]["head"]
    assert end["collective"] == printed["end"][0]["collective"]
    rows = read_csv(folder / "rounds.csv")
    assert [row["model"] for row in rows] == [each["model"] for each in printed["round"]]


def test_interrupt_keeps_everything(tmp_path):
    """Ctrl-C ends with one line that says how to go on, and leaves all files."""
    process = start("demo", "--rounds", "500", "--out", str(tmp_path), cwd=tmp_path)
    for line in process.stdout:
        if line.startswith("    2  "):
            break
    os.killpg(process.pid, signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert err == ""
    (folder,) = tmp_path.iterdir()
    assert out.rstrip().endswith(f"colearn resume {folder}")
    for name in ("rounds.csv", "run.toml", "curve.png", "weights.safetensors"):
        assert (folder / name).exists()
    assert len(read_csv(folder / "rounds.csv")) < 500


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["demo", "--learnes", "3"], "--learners"),
        (["demo", "digit"], "digits"),
        (["demo", "--learners", "1"], "2 to 4096"),
        (["demo", "--learners", "0"], "learners"),
        (["demo", "--learners", "five"], "five"),
        (["demo", "--rounds", "0"], "at least 1"),
        (["demo", "--committee", "5"], "committee of 5 cannot be drawn beside the proposer from 5"),
        (["demo", "--threshold", "0"], "threshold 0"),
        (["demo", "--threshold", "1"], "inclusive"),
        (["demo", "--threshold", "half"], "'half'"),
        (["demo", "--split", "diriclet:1"], "diriclet"),
        (["demo", "--split", "dirichlet:-1"], "dirichlet"),
        (["demo", "--split", "classes:99"], "classes"),
        (["demo", "--seed", "-1"], "seed"),
        (["demo", "--vote", "gut"], "loss"),
        (["demo", "--learning-rate", "0"], "learning rate"),
        (["demo", "--batch-size", "0"], "batch size"),
        (["demo", "--attackers", "5"], "honest"),
        (["demo", "--attackers", "1", "--attack", "bribe"], "label-flip"),
        (["demo", "mnist"], "data"),
        (["demo", "mnist", "--data-dir", "nowhere"], "nowhere"),
        (["demo", "--out", "file"], "file"),
        (["resume", "nowhere"], "nowhere holds no run, "),
        (["audit", "nowhere"], "nowhere holds no run, "),
        (["audit", "nowhere.toml"], "nowhere.toml cannot be read: No such file"),
        (["demo", "--learners", "2.5"], "2.5"),
        (["demo", "--attack", "noise"], "attackers"),
        (["plot", "nowhere"], "nowhere holds no run, "),
        (["resume"], "RUN"),
        (["dance"], "dance"),
    ],
    ids=" ".join,
)
def test_wrong_input_is_one_clear_line(arguments, words, tmp_path, capsys, monkeypatch):
    """What failed and what to do, on one line, no traceback, and no folder left behind."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").touch()
    status, out, err = run(capsys, *arguments)
    assert status in {1, 2}
    assert out == ""
    assert err.startswith("colearn: ")
    assert err.count("\n") == 1
    assert words in err
    assert list(tmp_path.iterdir()) == [tmp_path / "file"]


def test_trust_beside_a_method_is_said_to_change_nothing(capsys, caplog):
    """Who names both is told which counts, be it that the run cannot begin."""
    assert run(capsys, "demo", "mnist", "--method", "plain", "--untrusted")[0] == 1
    (told,) = caplog.messages
    assert told == "--untrusted changes nothing, as --method plain names the method"


def test_version_is_the_packages(capsys):
    """The version printed is that of the installed package."""
    _, out, _ = run(capsys, "--version")
    assert out.strip() == version("colearn-protocol")


def test_runs_begun_in_one_second_have_folders_of_their_own(tmp_path, capsys, monkeypatch):
    """Equal names are told apart by a number."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("colearn.cli.folders.datetime", Frozen)
    for _ in range(3):
        arguments = ["demo", "iris", "--rounds", "1", "--learners", "3", "--json"]
        assert run(capsys, *arguments)[0] == 0
    assert len(list((tmp_path / "runs").iterdir())) == 3


class Frozen(datetime):
    """A clock that stands still."""

    @classmethod
    def now(cls):
        """Always the same moment."""
        return datetime(2026, 1, 1, tzinfo=UTC)


def test_a_run_of_other_settings_is_not_gone_on_with(finished, tmp_path, capsys):
    """A run file edited to another learning rate is another experiment."""
    folder = tmp_path / "run"
    shutil.copytree(finished[0], folder)
    text = (folder / "run.toml").read_text()
    (folder / "run.toml").write_text(text + "learning_rate = 0.5\n")
    status, _, err = run(capsys, "resume", str(folder))
    assert status == 1
    assert "holds another experiment: learning_rate is None, not 0.5;" in err


def test_tasks_lists_every_task(capsys):
    """All six tasks are listed."""
    _, out, _ = run(capsys, "tasks")
    for name in ("digits", "breast-cancer", "iris", "diabetes", "fashion-mnist", "mnist"):
        assert f"\n{name} " in f"\n{out}"


def test_export_predicts_like_the_run(tmp_path, capsys, optional):
    """An exported model scores on the common test set what the run reported."""
    onnxruntime = optional("onnxruntime")
    run(capsys, "demo", "digits", *SMALL, "--out", str(tmp_path))
    folder = next(tmp_path.iterdir())
    assert run(capsys, "export", str(folder))[:2] == (0, f"{folder / 'model.onnx'}\n")
    session = onnxruntime.InferenceSession(folder / "model.onnx")
    data = tasks.get("digits").load()
    labels = session.run(None, {"x": data.x_test})[0]
    score = json.loads((folder / "comparison.json").read_text())["collective"]
    assert (labels == data.y_test).mean() == pytest.approx(score)


def test_export_tensors(tmp_path, capsys):
    """The tensors alone are those of the run's own file, written where asked."""
    run(capsys, "demo", "iris", "--learners", "2", "--rounds", "2", "--out", str(tmp_path))
    folder = next(tmp_path.iterdir())
    target = tmp_path / "trees"
    status, out, _ = run(
        capsys, "export", str(folder), "--format", "safetensors", "--out", str(target)
    )
    assert (status, out) == (0, f"{target}\n")
    assert target.read_bytes() == (folder / "weights.safetensors").read_bytes()
