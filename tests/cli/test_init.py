"""``colearn init`` as a user meets it."""

from __future__ import annotations

from fractions import Fraction

import pytest
from commands import run

from colearn import experiment as files
from colearn import tasks
from colearn.cli.learners import learner_for
from colearn.records import Rule
from colearn.terms import difference

ANN = "0x7E5F4552091A69125d5DfCb7b8C2659029395Bdf"
BOB = "0x2B5AD5c4795c026514f8317c7a215E218DcCD6cF"


@pytest.fixture(autouse=True)
def _in_a_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def test_init_writes_what_was_said(capsys, tmp_path):
    """Task, members, rule and options stand in the file, and the digest on the screen."""
    members = ["--member", ANN, "--member", BOB]
    options = ["--option", "learning_rate=0.1", "--option", "split=dirichlet:1", "--rounds", "4"]
    status, out, _ = run(
        capsys, "init", "digits", "--trusted", *members, *options, "--threshold", "2/3"
    )
    assert status == 0
    found = files.read(tmp_path / "experiment.toml")
    assert found.members == (ANN, BOB)
    assert found.options == {"learning_rate": 0.1, "split": "dirichlet:1", "vote": "not-worse"}
    assert found.rounds == 4
    assert str(found.rule.threshold) == "2/3"
    assert found.experiment_digest in out
    assert files.weights_beside(tmp_path / "experiment.toml").is_file()


@pytest.mark.parametrize(
    ("threshold", "governance"),
    [
        (["1/2"], "2/3"),
        (["2/3"], "2/3"),
        (["3/4"], "3/4"),
        (["3/4", "--governance", "4/5"], "4/5"),
        (["1", "--inclusive"], "2/3"),
    ],
)
def test_changing_the_group_takes_no_less_than_accepting(capsys, tmp_path, threshold, governance):
    """Governance follows a higher threshold, but never up to unanimity: a lost member may go."""
    assert run(capsys, "init", "iris", "--trusted", "--threshold", *threshold)[0] == 0
    found = files.read(tmp_path / "experiment.toml").rule.governance
    assert found == Fraction(governance)


@pytest.mark.parametrize(
    ("arguments", "chosen"),
    [
        (["digits", "--trusted"], ("fast", "not-worse", 20)),
        (["digits", "--untrusted"], ("shield", "not-worse", 20)),
        (["iris", "--untrusted"], ("plain", "loss", 15)),
        (["digits", "--method", "plain"], ("plain", "loss", 60)),
        (["digits", "--untrusted", "--method", "fast"], ("fast", "not-worse", 20)),
        (["digits", "--trusted", "--option", "vote=loss", "--rounds", "7"], ("fast", "loss", 7)),
        (["fashion-mnist", "--trusted"], ("fast", "not-worse", 20)),
    ],
)
def test_init_takes_what_suits_the_members(capsys, tmp_path, arguments, chosen):
    """Trust decides the method, the method the vote; what is given stands."""
    assert run(capsys, "init", *arguments)[0] == 0
    found = files.read(tmp_path / "experiment.toml")
    assert (found.method, found.options["vote"], found.rounds) == chosen


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--trusted"], "Method fast, 20 rounds, vote not-worse, which approves what is no better"),
        (["--trusted", "--option", "vote=loss"], "Method fast, 20 rounds, vote loss\n"),
    ],
)
def test_init_says_what_a_lenient_vote_lets_pass(capsys, arguments, says):
    """Who is given `not-worse` unasked reads what it approves; the strict vote needs no word."""
    assert says in run(capsys, "init", "digits", *arguments)[1]


@pytest.mark.parametrize(("framework", "package"), [("torch", "torch"), ("jax", "flax")])
def test_init_takes_a_model_in_a_framework(capsys, tmp_path, optional, framework, package):
    """Rounds, weights and every member's learner are those of the model that was named."""
    optional(package)
    chosen = ["fashion-mnist", "--trusted", "--option", f"learner={framework}"]
    assert run(capsys, "init", *chosen)[0] == 0
    found = files.read(tmp_path / "experiment.toml")
    assert found.rounds == tasks.get("fashion-mnist", framework).rounds // 3 != 20
    learner = learner_for(found, None, (1, 2), None)
    assert learner.schema() == found.schema
    assert type(learner).__name__.lower() == f"{framework}learner"


def test_init_writes_the_whole_rule(capsys, tmp_path):
    """Unanimity, a quorum, secret votes and who may change the group can all be asked for."""
    rule = ["--threshold", "1", "--inclusive", "--quorum", "1/2", "--governance", "1/2"]
    seconds = ["--propose-seconds", "50", "--vote-seconds", "40", "--reveal-seconds", "30"]
    status, _, err = run(capsys, "init", "iris", "--trusted", *rule, *seconds)
    assert status == 0, err
    assert files.read(tmp_path / "experiment.toml").rule == Rule(
        threshold=1,
        inclusive=True,
        quorum="1/2",
        governance="1/2",
        propose_seconds=50,
        vote_seconds=40,
        reveal_seconds=30,
    )


def test_init_writes_a_committee(capsys, tmp_path):
    """Its size stands in the file, where another size makes another experiment."""
    options = ["--trusted", "--member", ANN, "--member", BOB]
    assert run(capsys, "init", "iris", *options, "--committee", "9")[0] == 0
    assert run(capsys, "init", "iris", *options, "--out", "b.toml")[0] == 0
    drawn, all_vote = (files.read(tmp_path / name) for name in ("experiment.toml", "b.toml"))
    assert (drawn.rule, all_vote.rule) == (Rule(committee=9), Rule())
    assert drawn.experiment_digest != all_vote.experiment_digest
    assert difference(drawn.experiment, all_vote.experiment) == "rule.committee is 0, not 9"


MANY = [option for n in range(13) for option in ("--member", f"0x{n + 1:040d}")]


@pytest.mark.parametrize(
    ("options", "committee"),
    [
        (["--trusted", *MANY], 10),
        (["--trusted", *MANY[2:]], 0),
        (["--trusted", *MANY, "--committee", "0"], 0),
        (["--trusted", *MANY, "--committee", "5"], 5),
        (["--trusted", *MANY, "--reveal-seconds", "60"], 0),
        (["--untrusted", *MANY], 0),
        (["--method", "plain", *MANY], 0),
    ],
)
def test_of_many_who_trust_each_other_ten_are_drawn(capsys, tmp_path, options, committee):
    """From thirteen members on `fast` has a committee, unless it is said otherwise."""
    status, out, err = run(capsys, "init", "digits", *options)
    assert status == 0, err
    assert files.read(tmp_path / "experiment.toml").rule.committee == committee
    assert ("members drawn for each" in out) == (committee > 0)


def test_members_may_be_filled_in_later(capsys, tmp_path):
    """Without members the file is written, and what to do next is said."""
    status, out, _ = run(capsys, "init", "iris", "--trusted")
    assert status == 0
    assert "fill in the members' addresses" in out
    assert files.read(tmp_path / "experiment.toml").rounds == 15


def test_init_takes_a_factory(capsys, tmp_path):
    """A function of the user's own, in the folder it is run in, makes the learner."""
    (tmp_path / "own_models.py").write_text(
        "from colearn import tasks\n"
        "def make(data_dir, seed, kind):\n"
        "    return tasks.build(tasks.get(kind), learners=2, split='iid', seed=seed).learners[0]\n"
    )
    given = ["--rounds", "3", "--option", "kind=diabetes", "--untrusted"]
    assert run(capsys, "init", "own_models:make", *given)[0] == 0
    found = files.read(tmp_path / "experiment.toml")
    assert (found.task, found.method) == ("own_models:make", "shield")
    forest = ["--rounds", "3", "--option", "kind=iris", "--untrusted", "--out", "forest.toml"]
    assert run(capsys, "init", "own_models:make", *forest)[0] == 0
    assert files.read(tmp_path / "forest.toml").method == "plain"
    status, _, err = run(capsys, "init", "own_models:other", *given, "--out", "b.toml")
    assert status == 1
    assert "has no function 'other'" in err


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["digits"], "say --trusted or --untrusted"),
        (["digits", "--trusted", "--untrusted"], "contradict each other: say one of them"),
        (
            ["iris", "--trusted", "--privacy", "standard"],
            "ForestLearner cannot train privately, never",
        ),
        (["digits", "--option", "norm=group", "--trusted"], "which normalises nothing; leave it"),
        (
            ["fashion-mnist", "--option", "learner=jax", "--option", "norm=layer", "--trusted"],
            "norm 'layer' is refused: take batch or group",
        ),
        (["digits", "--trusted", "--privacy", "lax"], "no privacy is called 'lax'"),
        (["digits", "--method", "fastest"], "no method is called 'fastest'"),
        (["digit", "--trusted"], "did you mean digits"),
        (["digits", "--member", "ann", "--trusted"], "no checksummed address"),
        (["digits", "--member", ANN.lower(), "--trusted"], "no checksummed address"),
        (["digits", "--member", ANN, "--trusted"], "name all or none"),
        (["digits", "--option", "speed=1", "--trusted"], "no option 'speed'"),
        (["digits", "--option", "speed", "--trusted"], "NAME=VALUE"),
        (["digits", "--option", "learner=torch", "--trusted"], "no model for 'torch'"),
        (["digits", "--option", "learning_rate=fast", "--trusted"], "expected a float"),
        (["digits", "--threshold", "0", "--trusted"], "threshold 0 is refused"),
        (["digits", "--governance", "1/3", "--trusted"], "governance 1/3 is refused"),
        (
            ["digits", "--trusted", "--threshold", "3/4", "--governance", "2/3"],
            "governance 2/3 is refused: expected at least the threshold, 3/4",
        ),
        (["digits", "--reveal-seconds", "-1", "--trusted"], "reveal_seconds -1 is refused"),
        (["digits", "--committee", "1", "--trusted"], "committee 1 is refused"),
        (
            ["digits", "--committee", "5", "--reveal-seconds", "9", "--trusted"],
            "committee 5 is refused together with proposer_votes or reveal_seconds",
        ),
        (["digits", "--vote-seconds", "0", "--trusted"], "vote_seconds 0 is refused"),
        (["digits", "--propose-seconds", "67108864", "--trusted"], "at most 67,108,863"),
        (["nowhere:make", "--trusted"], "say --rounds"),
        (["nowhere:make", "--trusted", "--rounds", "2"], "no module 'nowhere'"),
        (["digits", "--out", "no/such/folder.toml", "--trusted"], "cannot be written"),
    ],
)
def test_what_cannot_be_is_one_line(capsys, tmp_path, arguments, says):
    """A mistake gets one line and status 1, and leaves no file."""
    status, _, err = run(capsys, "init", *arguments)
    assert (status, err.count("\n")) == (1, 1)
    assert says in err
    assert not list(tmp_path.iterdir())


def test_init_overwrites_nothing(capsys, tmp_path):
    """What is there already stays."""
    (tmp_path / "experiment.toml").write_text("mine")
    status, _, err = run(capsys, "init", "digits")
    assert status == 1
    assert "exists already" in err
    assert (tmp_path / "experiment.toml").read_text() == "mine"
