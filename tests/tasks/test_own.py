"""A user's own function stands in for a task: its data are shared out, its model is learned."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

import numpy as np
import pytest
from commands import run

from colearn import tasks
from colearn.errors import ConfigError
from colearn.shares import make_learner
from colearn.simulation import Settings, resolved, simulate
from colearn.tasks.own import own_task

MODULE = """
import numpy as np
from colearn.learners.sklearn import SklearnLearner
from sklearn.linear_model import SGDClassifier, SGDRegressor

LABELS = np.array(["cat", "dog", "emu"])
rng = np.random.default_rng(7)
kinds = rng.integers(0, 3, 300)
x = rng.normal(size=(300, 2)) + 4 * np.stack([np.sin(2 * kinds), np.cos(2 * kinds)], axis=1)
folders = []

def animals(*, seed, data_dir):
    folders.append(data_dir)
    model = SGDClassifier(loss="log_loss", random_state=seed)
    return SklearnLearner(model, train=(x, LABELS[kinds]), steps=5)

def prices(*, seed, data_dir):
    model = SGDRegressor(learning_rate="constant", eta0=0.02, random_state=seed)
    return SklearnLearner(model, train=(x, x.sum(axis=1) + 5), steps=20)

def nothing(*, seed, data_dir):
    return object()

def foreign(*, seed, data_dir):
    class Foreign:
        mli_propose_weights = mli_test_weights = print
        mli_accept_weights = mli_get_current_weights = print
    return Foreign()

def args():
    return animals(seed=0, data_dir=None)

def broken(*, seed, data_dir):
    return open("/nowhere/a table")
"""


@pytest.fixture(autouse=True)
def own(tmp_path, monkeypatch):
    """The user's module, which can be imported."""
    (tmp_path / "users_own.py").write_text(MODULE)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delitem(sys.modules, "users_own", raising=False)
    own_task.cache_clear()
    return importlib.import_module("users_own")


def build(name, **options):
    """A setting of three learners."""
    task = own_task(f"users_own:{name}", None)
    return tasks.build(task, learners=3, split="iid", seed=0, **options)


def test_every_sample_is_somebodys_or_tests(own):
    """A fifth is set apart for testing; the rest is shared out, and nothing is lost or doubled."""
    setting = build("animals")
    held = [s[0] for each in setting.learners for s in (each.train_samples, each.vote_samples)]
    everything = np.concatenate([*held, setting.test[0]])
    assert len(setting.test[0]) == 60
    assert np.array_equal(np.unique(everything, axis=0), np.unique(own.x, axis=0))
    assert len(everything) == 300
    assert setting.counts.sum(axis=0).tolist() == [
        (setting.dataset.y_train == label).sum() for label in own.LABELS
    ]


def test_the_test_samples_are_the_same_for_all_seeds():
    """Scores of different seeds are of the same samples."""
    task = own_task("users_own:animals", None)
    one, other = (tasks.build(task, learners=3, split="iid", seed=seed) for seed in (0, 1))
    assert np.array_equal(one.test[0], other.test[0])
    assert not np.array_equal(one.learners[0].train_samples[0], other.learners[0].train_samples[0])


def test_labels_of_any_kind_are_flipped(own):
    """The first label becomes the last, whatever labels are."""
    honest, attacked = build("animals"), build("animals", flipped=frozenset({0}))
    before, after = (each.learners[0].train_samples[1] for each in (honest, attacked))
    assert set(zip(before, after, strict=True)) == set(
        zip(own.LABELS, own.LABELS[::-1], strict=True)
    )


def test_numbers_are_flipped_in_their_own_range():
    """Mirrored numbers lie among the true ones, so that a lie cannot be told by its size."""
    honest, attacked = build("prices"), build("prices", flipped=frozenset({0}))
    before, after = (each.learners[0].train_samples[1] for each in (honest, attacked))
    assert abs(after.mean() - before.mean()) < before.std()
    assert np.corrcoef(before, after)[0, 1] == pytest.approx(-1)


@pytest.mark.parametrize("name", ["animals", "prices"])
def test_it_is_learned(name, tmp_path, own):
    """A collective of its learners gets better, and the factory is told the folder."""
    settings = Settings(
        task=f"users_own:{name}", learners=3, rounds=4, split="iid", data_dir=str(tmp_path)
    )
    simulation = simulate(settings)
    result = simulation.collective.run(4)
    assert result.final_score > max(result.initial_score, 0.7)
    if name == "animals":
        assert set(own.folders) == {Path(tmp_path)}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({}, "say --rounds"),
        ({"rounds": 2, "learning_rate": 0.1}, "decides its learning rate itself"),
        ({"rounds": 2, "test_dir": "there"}, "reads no test folder"),
        ({"rounds": 2, "learner": "torch"}, "leave --learner torch out"),
        ({"rounds": 2, "task": "users_own:nothing"}, "lacks mli_propose_weights"),
        ({"rounds": 2, "task": "users_own:foreign"}, "cannot be shared out"),
        ({"rounds": 2, "task": "users_own:missing"}, "has no function 'missing'"),
        ({"rounds": 2, "task": "nowhere:make"}, "no module 'nowhere'"),
    ],
)
def test_what_cannot_be_is_one_clear_line(changes, words):
    """A factory or an option that does not do is refused, with what to do instead."""
    with pytest.raises(ConfigError, match=words):
        simulate(Settings(**{"task": "users_own:animals", "learners": 3} | changes))


@pytest.mark.parametrize(
    ("name", "words"),
    [
        (
            "args",
            "raised TypeError: args() got an unexpected keyword argument 'seed' (it must take",
        ),
        (
            "broken",
            "raised FileNotFoundError: [Errno 2] No such file or directory: '/nowhere/a table'",
        ),
    ],
)
@pytest.mark.parametrize("command", ["demo", "lab", "init"])
def test_a_factory_that_fails_is_one_clear_line(capsys, tmp_path, command, name, words):
    """What was called with what, what came of it, and where: no traceback, no file."""
    trust = ["--trusted"] if command == "init" else []
    status, out, err = run(capsys, command, f"users_own:{name}", "--rounds", "2", *trust)
    assert (status, out, err.count("\n")) == (1, "", 1)
    assert err.startswith(f"colearn: users_own:{name}, called with seed=0, data_dir=None, {words}")
    assert ("(users_own.py, line 34)" in err) == (name == "broken")
    assert [each.name for each in tmp_path.iterdir()] == ["users_own.py"]


def test_a_module_that_fails_is_one_clear_line(tmp_path):
    """Where it cannot even be imported, the error is named, and what wanted the module."""
    (tmp_path / "users_other.py").write_text("import nowhere_at_all")
    with pytest.raises(ConfigError, match=r"'users_other'.* raised ModuleNotFoundError: No module"):
        own_task("users_other:make", None)


def test_what_the_package_says_of_a_factorys_mistake_stands(own, monkeypatch):
    """Errors of this package tell all already, in one line."""
    monkeypatch.setattr(own, "animals", lambda **_: tasks.get("nothing"))
    with pytest.raises(ConfigError, match="^no task is called 'nothing'"):
        own_task("users_own:animals", None)


@pytest.mark.parametrize("name", ["seed", "data_dir"])
def test_an_option_cannot_be_what_a_factory_is_given_anyway(name):
    """Seed and folder are not an experiment's to say twice."""
    with pytest.raises(ConfigError, match=f"option {name} is refused: users_own:animals is given"):
        make_learner("users_own:animals", options={name: 3}, seed=0, share=(0, 1))


def test_private_learners_are_refused(own, monkeypatch):
    """What is compared must not hide its records by a budget of its own."""
    learner = own.prices(seed=0, data_dir=None)
    learner.privacy = object()
    monkeypatch.setattr(own, "prices", lambda **_: learner)
    with pytest.raises(ConfigError, match="hidden already"):
        resolved(Settings(task="users_own:prices", rounds=2))
