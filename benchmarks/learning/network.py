"""Many small perceptrons trained side by side: one product of matrices for all learners."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from colearn.learners.measures import log_loss
from colearn.protocols import Tensors

Stack = dict[str, NDArray[np.float32]]
"""Tensors of several networks: the first axis counts the networks."""

HIDDEN = 64
CLASSES = 10
_ADAM = (0.9, 0.999, 1e-8)


@dataclass(frozen=True)
class Training:
    """How networks are trained.

    Attributes:
        learning_rate: Of every step.
        optimiser: ``sgd`` or ``adam``, begun afresh each time.
        proximal: Pull towards the weights that training began with (arXiv 1812.06127).
    """

    learning_rate: float
    optimiser: str = "sgd"
    proximal: float = 0.0


def initial(features: int, seed: int) -> dict[str, NDArray[np.float32]]:
    """The weights that all begin with (He's uniform initialisation)."""
    rng = np.random.default_rng((seed, 2))
    first, second = np.sqrt(6 / features), np.sqrt(6 / (HIDDEN + CLASSES))
    return {
        "layers.0.bias": np.zeros(HIDDEN, np.float32),
        "layers.0.weight": rng.uniform(-first, first, (features, HIDDEN)).astype(np.float32),
        "layers.1.bias": np.zeros(CLASSES, np.float32),
        "layers.1.weight": rng.uniform(-second, second, (HIDDEN, CLASSES)).astype(np.float32),
    }


def stacked(many: list[Tensors]) -> Stack:
    """Put networks side by side."""
    return {name: np.stack([each[name] for each in many]) for name in many[0]}


def train(
    start: Stack,
    offsets: Stack | None,
    samples: tuple[NDArray[np.float32], NDArray[np.int64]],
    batches: NDArray[np.intp],
    how: Training,
) -> Stack:
    """Train each network on mini-batches of its own.

    Args:
        start: The networks.
        offsets: What each adds to its tensors after every step.
        samples: Features, (samples, features), and classes, (samples,).
        batches: Rows, (networks, steps, batch).
        how: Learning rate and the like.
    """
    x, y = samples
    weights = {name: tensor.copy() for name, tensor in start.items()}
    moments = [{name: np.zeros_like(tensor) for name, tensor in start.items()} for _ in range(2)]
    for step in range(batches.shape[1]):
        rows = batches[:, step]
        for name, gradient in _gradients(weights, x[rows], y[rows]).items():
            pull = how.proximal * (weights[name] - start[name]) if how.proximal else 0.0
            way = gradient + pull
            if how.optimiser == "adam":
                way = _adam(moments, name, way, step + 1)
            weights[name] -= how.learning_rate * way
            if offsets is not None:
                weights[name] += offsets[name]
    return weights


def _adam(
    moments: list[Stack], name: str, gradient: NDArray[np.float32], step: int
) -> NDArray[np.float32]:
    first, second, least = _ADAM
    means, squares = moments[0][name], moments[1][name]
    means *= first
    means += (1 - first) * gradient
    squares *= second
    squares += (1 - second) * gradient**2
    return (means / (1 - first**step)) / (np.sqrt(squares / (1 - second**step)) + least)


def _gradients(weights: Stack, x: NDArray[np.float32], labels: NDArray[np.int64]) -> Stack:
    """Gradients of the mean log loss; x of shape (networks, batch, features)."""
    hidden = x @ weights["layers.0.weight"]
    hidden += weights["layers.0.bias"][:, None]
    np.maximum(hidden, 0, out=hidden)
    logits = hidden @ weights["layers.1.weight"]
    logits += weights["layers.1.bias"][:, None]
    logits -= logits.max(axis=2, keepdims=True)
    np.exp(logits, out=logits)
    logits /= logits.sum(axis=2, keepdims=True)
    networks, batch = labels.shape
    logits[np.arange(networks)[:, None], np.arange(batch), labels] -= 1
    logits /= batch
    back = logits @ weights["layers.1.weight"].transpose(0, 2, 1)
    back *= hidden > 0
    return {
        "layers.0.bias": back.sum(axis=1),
        "layers.0.weight": x.transpose(0, 2, 1) @ back,
        "layers.1.bias": logits.sum(axis=1),
        "layers.1.weight": hidden.transpose(0, 2, 1) @ logits,
    }


def probabilities(weights: Tensors, x: NDArray[np.float32]) -> NDArray[np.float32]:
    """What one network, or each of several, makes of samples: (…, samples, classes)."""
    hidden = np.maximum(x @ weights["layers.0.weight"] + weights["layers.0.bias"][..., None, :], 0)
    logits = hidden @ weights["layers.1.weight"] + weights["layers.1.bias"][..., None, :]
    logits -= logits.max(axis=-1, keepdims=True)
    np.exp(logits, out=logits)
    logits /= logits.sum(axis=-1, keepdims=True)
    return logits


def losses(weights: Tensors, x: NDArray[np.float32], y: NDArray[np.int64]) -> NDArray[np.float64]:
    """Each sample's loss, as the product's own learners measure it."""
    return log_loss(probabilities(weights, x), y)


def accuracy(weights: Tensors, x: NDArray[np.float32], y: NDArray[np.int64]) -> NDArray[np.float64]:
    """Share of the samples that one network, or each of several, gets right."""
    return (probabilities(weights, x).argmax(axis=-1) == y).mean(axis=-1)
