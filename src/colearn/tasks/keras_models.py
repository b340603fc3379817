"""Models in Keras: the convolutional networks of `torch_models`, as learners."""

from __future__ import annotations

from typing import Any, Unpack

import numpy as np

from colearn.learners.keras import KerasLearner
from colearn.tasks.registry import GROUPS, Given, Task


def learner(
    task: Task,
    *,
    learning_rate: float,
    batch_size: int,
    **given: Unpack[Given],
) -> KerasLearner:
    """Make a learner of a task; see `Task.learner`."""
    from keras import losses, optimizers  # noqa: PLC0415 - the learner says what is missing

    model = convolutions(
        *task.picture, outputs=task.classes or 1, norm=task.norm, seed=given["seed"]
    )
    model.compile(
        optimizer=optimizers.Adam(learning_rate),
        loss=losses.SparseCategoricalCrossentropy(from_logits=True),
    )
    return KerasLearner(
        model,
        steps=task.steps,
        batch_size=batch_size,
        **given,
    )


def convolutions(channels: int, side: int, *, outputs: int, norm: str, seed: int) -> Any:
    """A network that reads flat pictures, small enough to train on a processor.

    Its first weights are numpy's, so that they are the same on every backend.

    Args:
        channels: 1 for grey, 3 for colour.
        side: Pixels along an edge.
        outputs: How many classes.
        norm: See `Task`.
        seed: Of the first weights.
    """
    from keras import Input, Sequential, layers  # noqa: PLC0415 - as above

    model = Sequential(
        [
            Input((channels * side * side,)),
            layers.Reshape((channels, side, side)),
            layers.Permute((2, 3, 1)),
            *_halved(layers, 16, norm),
            *_halved(layers, 32, norm),
            *_halved(layers, 64, norm),
            layers.Flatten(),
            layers.Dropout(0.25),
            layers.Dense(outputs),
        ]
    )
    rng = np.random.default_rng(seed)
    for layer in model.layers:
        if hasattr(layer, "kernel"):
            shape = layer.kernel.shape
            bound = np.sqrt(3 / np.prod(shape[:-1]))  # of variance one over the inputs (LeCun 1998)
            layer.kernel.assign(rng.uniform(-bound, bound, shape))
    return model


def _halved(layers: Any, outputs: int, norm: str) -> tuple[Any, ...]:
    """A convolution that halves a picture's side."""
    return (
        layers.Conv2D(outputs, 3, padding="same", use_bias=False, data_format="channels_last"),
        layers.GroupNormalization(GROUPS, epsilon=1e-5)
        if norm == "group"
        else layers.BatchNormalization(axis=-1, momentum=0.9, epsilon=1e-5),
        layers.ReLU(),
        layers.MaxPooling2D(2, data_format="channels_last"),
    )
