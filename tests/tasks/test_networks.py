"""The convolutional networks are the same in every framework, and learn in each."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from threadpoolctl import threadpool_limits

from colearn import tasks
from colearn.baselines import train_alone
from colearn.kinds import statistics, trained
from colearn.learners.private import protect
from colearn.records import Rule

PRIVATELY = "print(json.dumps(test_networks.proposed_privately('keras')))"
LEARNS = "print(json.dumps(test_networks.measured('keras')))"
FIRST = """
from colearn.tasks.keras_models import convolutions
model = convolutions(1, 28, outputs=10, norm="batch", seed=3)
print(json.dumps([float(abs(each).sum()) for each in model.get_weights()]))
"""


def measured(framework):
    """Build the task's learners; return what M₀ is like, and the score after three turns."""
    with threadpool_limits(1):
        setting = tasks.build(
            tasks.get("fashion-mnist", framework), learners=2, split="iid", seed=3
        )
    first, other = (each.mli_get_current_weights().weights for each in setting.learners[:2])
    assert all(np.array_equal(first[name], other[name]) for name in first)
    evaluate = setting.pooled.evaluate
    moved = train_alone(setting.pooled, 3, lambda weights: evaluate(weights, setting.test))
    return {
        "trained": sum(first[name].size for name in trained(first)),
        "statistics": sum(first[name].size for name in statistics(first)),
        "score": moved.score,
    }


def proposed_privately(framework):
    """Propose once for a small private X-ray task; return what was spent and what moved."""
    rng = np.random.default_rng(5)
    x, y = rng.random((40, 64 * 64), np.float32), np.arange(40) % 2
    task = tasks.get("xray", framework).privately()
    with threadpool_limits(1):
        learner = task.learner((x[:32], y[:32]), (x[32:], y[32:]), seed=5, batch_size=8)
        protect(learner, "standard", rounds=4, members=2, all_train=False, rule=Rule())
        first, proposal = learner.mli_get_current_weights().weights, learner.mli_propose_weights()
    moved = [np.abs(proposal.weights[name] - first[name]).max() for name in trained(first)]
    return {
        "epsilon": proposal.training_summary.dp_budget.consumed_epsilon,
        "trained": sum(first[name].size for name in trained(first)),
        "statistics": len(statistics(first)),
        "moved": float(min(moved)),
    }


def is_private(found):
    """The budget was charged, all of the same many weights moved, and none is a statistic."""
    assert 0 < found["epsilon"] <= 8
    assert found["trained"] == 9 * (1 * 16 + 16 * 32 + 32 * 64) + 2 * 112 + 4096 * 2 + 2
    assert found["statistics"] == 0
    assert 0 < found["moved"] < 1


def in_keras(backend, code):
    """What code prints where Keras is on a backend; it has one in each process."""
    done = subprocess.run(
        [sys.executable, "-c", f"import json, test_networks\n{code}"],
        env={
            **os.environ,
            "KERAS_BACKEND": backend,
            "OMP_NUM_THREADS": "1",
            "PYTHONPATH": os.pathsep.join(sys.path),
        },
        cwd=Path(__file__).parent,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def looks_right(found):
    """Kernels, scales and shifts of three convolutions and a dense layer; it learns."""
    assert found["trained"] == 9 * (1 * 16 + 16 * 32 + 32 * 64) + 2 * 112 + 576 * 10 + 10
    assert found["statistics"] >= 2 * 112
    assert found["score"] > 0.6


@pytest.mark.parametrize(("framework", "package"), [("torch", "torch"), ("jax", "flax")])
def test_the_same_network_in_each_framework(framework, package, optional):
    """It has the same layers, and reaches in three turns what guessing is far from."""
    optional(package)
    looks_right(measured(framework))


def test_the_same_network_in_keras():
    """So it has in Keras, where not even the first weights depend on the backend."""
    looks_right(in_keras("torch", LEARNS))
    assert in_keras("torch", FIRST) == in_keras("jax", FIRST)


@pytest.mark.parametrize(("framework", "package"), [("torch", "opacus"), ("jax", "jax_privacy")])
def test_the_network_trains_privately_in_each_framework(framework, package, optional):
    """Where privacy is asked for, it has no statistics of batches, and its budget is charged."""
    optional(package)
    is_private(proposed_privately(framework))


def test_the_network_trains_privately_in_keras_on_jax():
    """So it does in Keras on JAX; on torch it says what to do."""
    is_private(in_keras("jax", PRIVATELY))
    with pytest.raises(AssertionError, match="not yet on torch: set .* KERAS_BACKEND to jax"):
        in_keras("torch", PRIVATELY)
