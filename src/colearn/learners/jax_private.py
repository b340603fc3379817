"""DP-SGD in JAX, for models of JAX itself and of Keras on it.

jax-privacy differentiates each sample of a batch by itself, as a batch of one, and clips
it: whatever a model does, no sample can touch another's gradient. Noise is not its.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from colearn.errors import MissingExtra
from colearn.learners.supervised import one_line
from colearn.privacy.noise import gaussian

try:
    import jax
    from jax_privacy import clipped_grad
except ModuleNotFoundError:
    raise MissingExtra("private training in JAX", "jax-privacy", "privacy-jax") from None

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from colearn.learners.base import Samples
    from colearn.privacy.guard import NoisySteps

_NUMBERS_AT_ONCE = 2**25  # of gradients of single samples: 128 MiB in float32
_PARTS = 4

Tree = Any
"""A pytree of arrays."""

SampleLoss = Callable[[Tree, Any, Any, Any], Any]
"""(parameters, x, y, draw) of one sample, each with an axis of one sample → its loss.

``draw`` is a random uint32 that all that is random in the sample's step follows from.
"""


Sums = Callable[["Part", float], Tree]
"""`clipped_sum` by some loss and parameters, of samples and bound."""


def refusal(named: Mapping[str, Any], sums: Sums, samples: Samples) -> str | None:
    """Why a model cannot be trained privately; None if it can.

    Args:
        named: Its parameters.
        sums: Traced, not compiled.
        samples: Some to try it with.
    """
    for name, parameter in named.items():
        if str(parameter.dtype) not in ("float32", "float64"):
            return f"not yet with parameters such as {name!r}, {parameter.dtype}: use float32"
    x, y = samples
    try:
        jax.eval_shape(sums, Part(x[:1], y[:1], np.zeros(1, np.uint32), np.ones(1, np.bool_)), 1.0)
    except Exception as reason:  # noqa: BLE001 - a model may raise anything
        return f"not yet: JAX gives no gradients of its single samples, {one_line(reason):.200}"
    return None


class Part(NamedTuple):
    """Samples of one step, as many as a compiled function takes at once.

    Attributes:
        x: Inputs, shape (n, ...).
        y: Targets, shape (n, ...).
        draws: Shape (n,), uint32; see `SampleLoss`.
        real: Shape (n,); False for rows that only fill up.
    """

    x: Any
    y: Any
    draws: Any
    real: Any


def clipped_sum(loss: SampleLoss, params: Tree, part: Part, bound: Any) -> Tree:
    """Sum of samples' gradients, each clipped to an L2 norm over all of its leaves.

    What of a sample's gradient is not finite counts as 0.

    Args:
        loss: Of one sample.
        params: What to differentiate by.
        part: The samples.
        bound: What to clip to.
    """
    sums = clipped_grad(loss, l2_clip_norm=bound, batch_argnums=(1, 2, 3))
    return sums(params, part.x, part.y, part.draws, is_padding_example=~part.real)


@partial(jax.jit, static_argnums=(0, 1))
def model_sum(train: Any, loss: Any, params: Tree, part: Part, bound: Any) -> Tree:
    """`clipped_sum` of a model without statistics.

    Args:
        train: As in `colearn.learners.jax.JaxModel`.
        loss: Each sample's, of outputs and targets.
        params: The model's.
        part: The samples.
        bound: What to clip to.
    """

    def own_loss(params: Tree, x: Any, y: Any, draw: Any) -> Any:
        outputs, _ = train(params, {}, x, jax.random.key(draw[0]))
        return loss(outputs, y).mean()

    return clipped_sum(own_loss, params, part, bound)


def noisy_mean(
    sums: Sums, like: Tree, samples: Samples, plan: NoisySteps, rng: np.random.Generator
) -> Tree:
    """Mean of a batch's clipped gradients, with noise.

    Batches have all sizes, but a compiled function takes one: they go through it in
    parts of that size, the last one filled up. The noise is numpy's: a key of JAX's is 64 bits.

    Args:
        sums: Compiled.
        like: Tree of arrays like the parameters.
        samples: The batch; it may be empty.
        plan: Clipping and noise.
        rng: Where noise and draws come from.
    """
    x, y = samples
    numbers = sum(leaf.size for leaf in jax.tree.leaves(like))
    size = max(1, min(-(-plan.batch_size // _PARTS), _NUMBERS_AT_ONCE // numbers))
    total = jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), like)
    for start in range(0, len(x), size):
        places = np.arange(start, start + size)
        rows = np.minimum(places, len(x) - 1)
        draws = rng.integers(2**32, size=size, dtype=np.uint32)
        part = Part(x[rows], y[rows], draws, places < len(x))
        total = jax.tree.map(np.add, total, sums(part, plan.max_grad_norm))

    def noisy(leaf: NDArray[Any]) -> Any:
        noise = gaussian(rng, leaf.shape, leaf.dtype)
        return ((leaf + plan.deviation * noise) / plan.batch_size).astype(leaf.dtype)

    return jax.tree.map(noisy, total)
