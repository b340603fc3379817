"""``colearn export`` of what a member of an experiment keeps, and of what has no model."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
from commands import run

from colearn import experiment as files
from colearn import tasks

NAMES = ["0x" + digit * 40 for digit in "12"]
MEMBERS = [f"--member={name}" for name in NAMES]
FACTORY = """
import numpy as np
from colearn import MachineLearningInterface, ProposedWeights, Weights


class Number(MachineLearningInterface):
    def __init__(self):
        self.guess = np.zeros(1)

    def mli_propose_weights(self):
        return Weights({"guess": self.guess + 1})

    def mli_test_weights(self, weights):
        return ProposedWeights(weights.weights, vote=True)

    def mli_accept_weights(self, weights):
        self.guess = weights.weights["guess"]

    def mli_get_current_weights(self):
        return Weights({"guess": self.guess})


def make(seed, data_dir):
    return Number()
"""

JAX_FACTORY = """
import jax.numpy as jnp
import numpy as np
import optax
from colearn.learners.jax import JaxLearner, from_function


def make(seed, data_dir):
    x = np.random.default_rng(seed).normal(size=(20, 2)).astype(np.float32)
    return JaxLearner(
        from_function({"w": jnp.zeros((2, 2), jnp.float32)}, lambda params, x: x @ params["w"]),
        loss=optax.softmax_cross_entropy_with_integer_labels,
        optimizer=optax.sgd(0.1),
        train=(x, (x[:, 0] > 0).astype(np.int64)),
    )
"""


@pytest.fixture
def agreed(tmp_path, monkeypatch, capsys):
    """Write an experiment of a task down, with a member's folder in which M₀ is the last model."""
    monkeypatch.chdir(tmp_path)

    def write(task, *options):
        assert run(capsys, "init", task, "--trusted", *MEMBERS, *options)[0] == 0
        kept = tmp_path / "state-0x22222222"
        kept.mkdir()
        shutil.copy("experiment.safetensors", kept / "weights.safetensors")
        return kept

    return write


def refused(capsys, *arguments):
    """What a command that fails says, in one line."""
    status, out, err = run(capsys, "export", *arguments)
    assert (status, out, err.count("\n")) == (1, "", 1), err
    return err


@pytest.mark.parametrize(
    ("task", "output"), [("digits", "label"), ("iris", "label"), ("diabetes", "variable")]
)
def test_a_members_model(agreed, capsys, optional, task, output):
    """Networks, forests and numbers leave as ONNX, without a word on whose the folder is."""
    onnxruntime = optional("onnxruntime")
    kept = agreed(task)
    assert run(capsys, "export", "experiment.toml")[:2] == (0, f"{kept.name}/model.onnx\n")
    session = onnxruntime.InferenceSession(kept / "model.onnx")
    x = tasks.get(task).load().x_test[:5]
    x = x.astype(np.float32 if "(float)" in session.get_inputs()[0].type else np.float64)
    assert len(session.run([output], {"x": x})[0]) == 5


def test_tensors_need_no_learner(agreed, capsys, tmp_path, monkeypatch):
    """Whoever only wants the numbers runs no code that an experiment names."""
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "numbers_of_ours.py").write_text(FACTORY)
    kept = agreed("numbers_of_ours:make", "--rounds", "3", "--method", "plain")
    assert "then say --learner numbers_of_ours:make" in refused(capsys, "experiment.toml")
    said = refused(capsys, "experiment.toml", "--learner", "numbers_of_ours:make")
    assert "Number gives no ONNX" in said
    assert said.endswith("with --format safetensors\n")
    assert run(capsys, "export", "experiment.toml", "--format", "safetensors")[0] == 0
    raw = files.weights_beside(tmp_path / "experiment.toml").read_bytes()
    assert (kept / "model.safetensors").read_bytes() == raw


def test_the_file_that_was_asked_for_is_named(agreed, capsys):
    """Where it cannot be written, not the draft that would have become it."""
    agreed("iris")
    tensors = ["experiment.toml", "--format", "safetensors"]
    said = refused(capsys, *tensors, "--out", "nowhere/x.onnx")
    assert said == "colearn: nowhere/x.onnx cannot be written: No such file or directory\n"


def test_which_model_is_meant(agreed, capsys):
    """Without a folder, a final model in it, or with several folders, one line says so."""
    kept = agreed("iris")
    elsewhere = kept.rename(kept.with_name("elsewhere"))
    assert "no member's folder lies beside" in refused(capsys, "experiment.toml")
    other = kept.with_name("state-0x11111111")
    other.mkdir()
    assert "holds no final model yet" in refused(capsys, "experiment.toml")
    elsewhere.rename(kept)
    said = refused(capsys, "experiment.toml")
    assert "say which one with --state-dir: state-0x11111111, state-0x22222222" in said
    said = refused(capsys, str(kept))
    assert f"colearn export experiment.toml --state-dir {kept}" in said
    said = refused(capsys, str(kept), "--share", "1/2")
    assert "--share goes with experiment.toml" in said
    assert "cannot be read" in refused(capsys, "nowhere.toml")


@pytest.mark.parametrize("task", ["iris", "digits"])
def test_another_experiments_model(agreed, capsys, task):
    """Bytes of another schema, cut short or no tensors at all are refused, a forest's too."""
    kept = agreed(task)
    path = kept / "weights.safetensors"
    raw = path.read_bytes()
    other = next(each for each in ("breast-cancer", "iris", "digits") if each != task)
    assert run(capsys, "init", other, "--trusted", *MEMBERS, "--out", "other.toml")[0] == 0
    changed = kept.with_name("other.safetensors").read_bytes()
    for content in (changed, raw[:-1], b"", b"no tensors"):
        path.write_bytes(content)
        said = refused(capsys, "experiment.toml")
        assert "weights.safetensors is no model of this experiment" in said


def test_a_cell_of_the_laboratory_has_no_model(tmp_path, capsys):
    """It keeps scores alone, and says so."""
    (tmp_path / "run.toml").write_text('task = "iris"\nmethods = ["plain"]\nseeds = 1\n')
    assert "is a cell of the laboratory, which keeps no model" in refused(capsys, str(tmp_path))


def test_a_model_without_onnx_says_what_to_type(agreed, capsys, tmp_path, monkeypatch, optional):
    """JAX has no ONNX form: the line names the option, not a name of Python."""
    optional("jax")
    optional("optax")
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "jax_of_ours.py").write_text(JAX_FACTORY)
    agreed("jax_of_ours:make", "--rounds", "3", "--method", "plain")
    said = refused(capsys, "experiment.toml", "--learner", "jax_of_ours:make")
    assert "JaxLearner has no ONNX form" in said
    assert "ModelFormat" not in said
    assert said.endswith("take its tensors alone, with --format safetensors\n")
