"""What a private training step costs over a plain one.

Run as ``python benchmarks/privacy_steps.py``: the same model and optimiser train the same
number of steps on batches of the same size (Poisson's, on average), in turn; the time is the
processor's, on one core, for a whole training, from the current weights to the tensors handed
out. Opacus by itself, its loader and noise included, is timed on the same models, beside.
"""

from __future__ import annotations

import os

os.environ["KERAS_BACKEND"] = "jax"

import time
import warnings
from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import keras
import numpy as np
import optax
import torch
from flax import linen
from keras import layers
from opacus import PrivacyEngine
from sklearn.linear_model import SGDClassifier
from sklearn.neural_network import MLPClassifier
from threadpoolctl import threadpool_limits
from torch import nn
from torch.nn import functional

from colearn.learners.base import FrameworkLearner
from colearn.learners.flax import from_linen
from colearn.learners.jax import JaxLearner, JaxModel
from colearn.learners.keras import KerasLearner
from colearn.learners.sklearn import SklearnLearner
from colearn.learners.torch import TorchLearner
from colearn.ml_interface import DiffPrivConfig
from colearn.privacy.config import Privacy
from colearn.privacy.noise import secret_generator

REPEATS, STEPS, BATCH_SIZE, SAMPLES = 9, 40, 64, 2560
RNG = np.random.default_rng(0)
X = RNG.random((SAMPLES, 784), np.float32)
Y = RNG.integers(10, size=SAMPLES)
SGD = partial(torch.optim.SGD, lr=0.1)
PRIVATE = Privacy(train=DiffPrivConfig(1e3, 1e-5, noise_multiplier=1.0), releases=REPEATS + 1)


def linear() -> nn.Module:
    return nn.Linear(784, 10)


def perceptron() -> nn.Module:
    return nn.Sequential(nn.Linear(784, 100), nn.ReLU(), nn.Linear(100, 10))


def convolutions() -> nn.Module:
    return nn.Sequential(
        *(nn.Unflatten(1, (1, 28, 28)), nn.Conv2d(1, 16, 8, stride=2, padding=3), nn.ReLU()),
        *(nn.MaxPool2d(2, 1), nn.Conv2d(16, 32, 4, stride=2), nn.ReLU(), nn.MaxPool2d(2, 1)),
        *(nn.Flatten(), nn.Linear(512, 32), nn.ReLU(), nn.Linear(32, 10)),
    )


def normalised() -> nn.Module:
    return nn.Sequential(
        *(nn.Unflatten(1, (1, 28, 28)), nn.Conv2d(1, 16, 3, padding=1), nn.GroupNorm(4, 16)),
        *(nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(16, 32, 3, padding=1), nn.GroupNorm(4, 32)),
        *(nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(1568, 10)),
    )


def lenet() -> nn.Module:
    return nn.Sequential(
        *(nn.Unflatten(1, (1, 28, 28)), nn.Conv2d(1, 6, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Conv2d(6, 16, 5), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten()),
        *(nn.Linear(400, 120), nn.ReLU(), nn.Linear(120, 84), nn.ReLU(), nn.Linear(84, 10)),
    )


def example() -> nn.Module:
    """The network of PyTorch's own example on MNIST, but for dropout."""
    return nn.Sequential(
        *(nn.Unflatten(1, (1, 28, 28)), nn.Conv2d(1, 32, 3), nn.ReLU()),
        *(nn.Conv2d(32, 64, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten()),
        *(nn.Linear(9216, 128), nn.ReLU(), nn.Linear(128, 10)),
    )


def jax_layers(*layers: object) -> JaxModel:
    module = linen.Sequential(layers)
    return from_linen(module, module.init(jax.random.key(0), X[:1]))


def jax_linear() -> JaxModel:
    return jax_layers(linen.Dense(10))


def jax_perceptron() -> JaxModel:
    return jax_layers(linen.Dense(100), linen.relu, linen.Dense(10))


def jax_convolutions() -> JaxModel:
    pool = partial(linen.max_pool, window_shape=(2, 2))
    return jax_layers(
        *(lambda x: x.reshape(-1, 28, 28, 1), linen.Conv(16, (8, 8), 2, 3), linen.relu, pool),
        *(linen.Conv(32, (4, 4), 2, "VALID"), linen.relu, pool, lambda x: x.reshape(len(x), -1)),
        *(linen.Dense(32), linen.relu, linen.Dense(10)),
    )


def keras_layers(*own: keras.Layer) -> keras.Model:
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((784,)), *own])
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(optimizer=keras.optimizers.SGD(0.1), loss=loss)
    return model


def keras_linear() -> keras.Model:
    return keras_layers(layers.Dense(10))


def keras_perceptron() -> keras.Model:
    return keras_layers(layers.Dense(100, activation="relu"), layers.Dense(10))


def keras_convolutions() -> keras.Model:
    return keras_layers(
        *(layers.Reshape((28, 28, 1)), layers.ZeroPadding2D(3)),
        *(layers.Conv2D(16, 8, strides=2, activation="relu"), layers.MaxPool2D(2, strides=1)),
        *(layers.Conv2D(32, 4, strides=2, activation="relu"), layers.MaxPool2D(2, strides=1)),
        *(layers.Flatten(), layers.Dense(32, activation="relu"), layers.Dense(10)),
    )


def options(privacy: Privacy | None) -> dict[str, Any]:
    """What the learners of all frameworks are given alike."""
    return {
        "train": (X, Y),
        "vote": (X[:640], Y[:640]),
        "steps": STEPS,
        "batch_size": BATCH_SIZE,
        "privacy": privacy,
    }


def sklearn_learner(model: Callable[[], object], privacy: Privacy | None) -> FrameworkLearner:
    return SklearnLearner(model(), **options(privacy))


def torch_learner(model: Callable[[], nn.Module], privacy: Privacy | None) -> FrameworkLearner:
    torch.manual_seed(0)
    return TorchLearner(
        model(),
        loss=functional.cross_entropy,
        optimizer=SGD,
        **options(privacy),
    )


def jax_learner(model: Callable[[], JaxModel], privacy: Privacy | None) -> FrameworkLearner:
    return JaxLearner(
        model(),
        loss=optax.softmax_cross_entropy_with_integer_labels,
        optimizer=optax.sgd(0.1),
        **options(privacy),
    )


def keras_learner(model: Callable[[], keras.Model], privacy: Privacy | None) -> FrameworkLearner:
    return KerasLearner(model(), **options(privacy))


def train(learner: FrameworkLearner, privacy: Privacy | None) -> None:
    tensors = learner.mli_get_current_weights().weights
    if privacy is None:
        learner.train(tensors, np.random.default_rng(0))
    else:
        plan = learner._guard.training.plan  # noqa: SLF001 - without the budget: the step alone
        learner.train(tensors, secret_generator(), plan)


def opacus(model: Callable[[], nn.Module]) -> Callable[[], None]:
    """A training of the same steps by Opacus."""
    torch.manual_seed(0)
    module = model()
    data = torch.utils.data.TensorDataset(torch.from_numpy(X), torch.from_numpy(Y))
    module, optimizer, loader = PrivacyEngine().make_private(
        module=module,
        optimizer=SGD(module.parameters()),
        data_loader=torch.utils.data.DataLoader(data, batch_size=BATCH_SIZE),
        noise_multiplier=1.0,
        max_grad_norm=1.0,
    )

    def run() -> None:
        for x, y in loader:
            optimizer.zero_grad()
            functional.cross_entropy(module(x), y).backward()
            optimizer.step()

    return run


def seconds(act: Callable[[], None]) -> float:
    began = time.process_time()
    act()
    return time.process_time() - began


def compare(
    name: str, make: Callable[..., FrameworkLearner], model: object, limit: float | None = None
) -> None:
    acts = [partial(train, make(model, privacy), privacy) for privacy in (None, PRIVATE)]
    if make is torch_learner:
        acts.append(opacus(model))  # type: ignore[arg-type]
    for act in acts:
        act()
    times = np.array([[seconds(act) for act in acts] for _ in range(REPEATS)]) / STEPS * 1e3
    plain, private, *other = np.median(times, axis=0)
    ratio = np.median(times[:, 1] / times[:, 0])
    asked = f"{'':7}" if limit is None else f"{limit:7.1f}"
    verdict = "" if limit is None else "ok" if ratio <= limit else "MISSED"
    beside = f"{other[0] / plain:9.1f}" if other else ""
    print(
        f"{name:34}{plain:8.2f}{private:9.2f}{ratio:8.2f}{asked}  {verdict:6}{beside}", flush=True
    )


def main() -> None:
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})  # JAX counts no threads but cores
    print(f"{'milliseconds a step, batch 64':34}{'plain':>8}{'private':>9}{'ratio':>8}{'limit':>7}"
          f"{'Opacus':>17}")  # fmt: skip
    with threadpool_limits(1):
        logistic = partial(SGDClassifier, loss="log_loss", learning_rate="constant", eta0=0.1)
        compare("scikit-learn, linear 784-10", sklearn_learner, logistic, 2.5)
        compare("scikit-learn, 784-100-10", sklearn_learner,
                partial(MLPClassifier, (100,), solver="sgd"), 2.5)  # fmt: skip
        compare("torch, linear 784-10", torch_learner, linear, 2.5)
        compare("torch, 784-100-10", torch_learner, perceptron, 2.5)
        compare("torch, convolutions 16-32", torch_learner, convolutions, 3.5)
        compare("torch, LeNet-5", torch_learner, lenet, 3.5)
        compare("torch, PyTorch's example", torch_learner, example, 3.5)
        compare("torch, GroupNorm, by Opacus", torch_learner, normalised, 3.5)
        compare("JAX, linear 784-10", jax_learner, jax_linear, 2.5)
        compare("JAX, 784-100-10", jax_learner, jax_perceptron, 2.5)
        compare("JAX, convolutions 16-32", jax_learner, jax_convolutions, 3.5)
        compare("Keras on JAX, linear 784-10", keras_learner, keras_linear, 2.5)
        compare("Keras on JAX, 784-100-10", keras_learner, keras_perceptron, 2.5)
        compare("Keras on JAX, convolutions 16-32", keras_learner, keras_convolutions, 3.5)


if __name__ == "__main__":
    main()
