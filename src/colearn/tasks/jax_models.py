"""Models in JAX: the convolutional networks of `torch_models`, by Flax, as learners."""

from __future__ import annotations

from functools import cache
from typing import Any, Unpack

from colearn.errors import MissingExtra
from colearn.tasks.registry import GROUPS, Given, Task

try:
    import jax
    import optax
    from flax import linen
    from jax import numpy as jnp

    from colearn.learners.flax import from_linen
    from colearn.learners.jax import JaxLearner, JaxModel
except ModuleNotFoundError:
    raise MissingExtra("this task's model", "flax", "jax") from None


def learner(
    task: Task,
    *,
    learning_rate: float,
    batch_size: int,
    **given: Unpack[Given],
) -> JaxLearner:
    """Make a learner of a task; see `Task.learner`."""
    return JaxLearner(
        _model(*task.picture, task.classes or 1, task.norm, given["seed"]),
        loss=optax.softmax_cross_entropy_with_integer_labels,
        optimizer=_adam(learning_rate),
        steps=task.steps,
        batch_size=batch_size,
        **given,
    )


class Convolutions(linen.Module):
    """A network that reads flat pictures, small enough to train on a processor.

    Attributes:
        channels: 1 for grey, 3 for colour.
        side: Pixels along an edge.
        outputs: How many classes.
        norm: See `Task`.
    """

    channels: int
    side: int
    outputs: int
    norm: str

    @linen.compact
    def __call__(self, x: Any, *, train: bool = False) -> Any:
        """Class scores of shape (n, outputs)."""
        x = x.reshape(-1, self.channels, self.side, self.side).transpose(0, 2, 3, 1)
        for width in (16, 32, 64):
            x = linen.Conv(width, (3, 3), use_bias=False)(x)
            if self.norm == "group":
                x = linen.GroupNorm(GROUPS, epsilon=1e-5)(x)
            else:
                x = linen.BatchNorm(use_running_average=not train, momentum=0.9)(x)
            x = linen.max_pool(linen.relu(x), (2, 2), (2, 2))  # type: ignore[no-untyped-call]
        x = linen.Dropout(0.25, deterministic=not train)(x.reshape(len(x), -1))
        return linen.Dense(self.outputs)(x)


# Learners that are given the same model and optimiser share what is compiled.
@cache
def _model(channels: int, side: int, outputs: int, norm: str, seed: int) -> JaxModel:
    module = Convolutions(channels, side, outputs, norm)
    sample = jnp.zeros((1, channels * side * side), jnp.float32)
    return from_linen(module, module.init(jax.random.key(seed), sample))


@cache
def _adam(learning_rate: float) -> optax.GradientTransformation:
    return optax.adam(learning_rate)
