"""``colearn join`` as a user meets it who typed something wrong."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from evm import KEYS, NAMES, Contract, begin_again, chain
from msgspec.structs import replace

from colearn import drivers
from colearn import experiment as files
from colearn.cli import main
from colearn.cli.folders import state_folder
from colearn.cli.learners import BUDGET_FILE, learner_for, protected
from colearn.experiment import Place
from colearn.ledgers.ethereum import EthereumLedger
from colearn.records import Rule

MEMBERS = [f"--member={name}" for name in NAMES[:2]]


@pytest.fixture
def agreed(tmp_path, monkeypatch, capsys):
    """An experiment that is on no chain, in this folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLEARN_KEY", KEYS[NAMES[0]].hex())
    main(["init", "iris", "--trusted", *MEMBERS])
    capsys.readouterr()
    return files.read(tmp_path / "experiment.toml")


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--health", "foo"], "--health 'foo' is refused: write it HOST:PORT"),
        (["--listen", "foo"], "--listen 'foo' is refused: write it HOST:PORT"),
        (["--listen", "0.0.0.0:7411"], "listening on 0.0.0.0 is refused without TLS"),
        (["--url", "http://me.example:7411"], "is refused without TLS"),
        (["--peer", "http://you.example:7411"], "is refused without TLS"),
        (["--certificate", "me.pem"], "go together: give all"),
    ],
)
def test_options_are_looked_at_first(agreed, options, says, capsys, tmp_path):
    """Before learner and chain are opened, and before anything is written."""
    before = sorted(tmp_path.iterdir())
    with pytest.raises(SystemExit):
        main(["join", *options])
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert says in err
    assert sorted(tmp_path.iterdir()) == before


def test_private_training_does_not_go_ahead(tmp_path, monkeypatch, capsys):
    """What would be dropped is charged all the same: refused before anything is charged."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLEARN_KEY", KEYS[NAMES[0]].hex())
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "home"))
    main(["init", "breast-cancer", "--trusted", "--privacy", "standard", *MEMBERS])
    capsys.readouterr()
    with pytest.raises(SystemExit):
        main(["join", "--ahead"])
    out, err = capsys.readouterr()
    assert (out.count("\n"), err.count("\n")) == (1, 1)
    assert "most votes will be chance" in out
    assert "--ahead is refused with private training" in err


def test_a_spent_budget_is_told_of_at_once(tmp_path, monkeypatch, capsys):
    """Before the first round, as an event among the others."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLEARN_KEY", KEYS[NAMES[0]].hex())
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "home"))
    words = ["--trusted", "--privacy", "standard", "--rounds", "1", *MEMBERS]
    main(["init", "breast-cancer", *words])
    agreed = files.read(tmp_path / "experiment.toml")
    made = learner_for(agreed, None, (0, 2), None)
    protected(
        agreed, made, None, state_folder(tmp_path / "experiment.toml", NAMES[0]) / BUDGET_FILE
    )
    made.mli_propose_weights()
    capsys.readouterr()
    with pytest.raises(SystemExit):
        main(["join", "--json"])
    *_, told = map(json.loads, capsys.readouterr().out.splitlines())
    assert told["event"] == "warning"
    assert "trainings charged: 1, and no other fits" in told["reason"]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"rule": Rule(threshold="2/3")}, "rule.threshold is 1/2, not 2/3"),
        ({"members": NAMES[:3]}, "members is"),
        ({"rounds": 7}, "rounds is 15, not 7"),
        ({"method": "fast"}, "method is plain, not fast"),
        ({"bounds": {"nodes": 10, "trees": 10}}, "schema is"),
    ],
    ids=["rule", "members", "rounds", "method", "schema"],
)
def test_another_experiment_is_told_apart(agreed, change, says, capsys, monkeypatch):
    """Where file and contract differ, join names the term, and ends."""
    begin_again()
    monkeypatch.setattr(drivers, "connected", lambda *_: chain())
    ledger = EthereumLedger.found(agreed.experiment, KEYS, chain=chain())
    place = Place(address=ledger.address)
    files.write(Path("experiment.toml"), replace(agreed, contract=place, **change))
    with pytest.raises(SystemExit):
        main(["join"])
    err = capsys.readouterr().err
    assert "another experiment's" in err
    assert says in err
    assert not list(Path().glob("state-*"))


def test_a_contract_put_there_by_another_program_may_not_tell(agreed, capsys, monkeypatch):
    """Its record is not needed, but then join can only say that some term differs."""
    begin_again()
    monkeypatch.setattr(drivers, "connected", lambda *_: chain())
    place = Place(address=Contract(agreed.experiment).address)
    files.write(Path("experiment.toml"), replace(agreed, contract=place, rounds=7))
    with pytest.raises(SystemExit):
        main(["join"])
    assert "rounds or seed is not; whoever deployed it left out" in capsys.readouterr().err
