"""DP-SGD in JAX, for models of JAX itself and of Keras on it.

Each sample of a batch is differentiated by itself, as a batch of one, and clipped:
whatever a model does, no sample can touch another's gradient. Models without any dense
layer are jax-privacy's; the others go by `jax_dense`. The noise is our own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial, reduce
from math import factorial, isqrt, prod
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from colearn.errors import MissingExtra
from colearn.learners.supervised import one_line
from colearn.privacy.noise import gaussian, random_bits

try:
    import jax
    from jax import numpy as jnp
    from jax_privacy import clipped_grad
except ModuleNotFoundError:
    raise MissingExtra("private training in JAX", "jax-privacy", "privacy-jax") from None

from colearn.learners import jax_dense

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from colearn.learners.samples import Samples
    from colearn.privacy.guard import NoisySteps

_NUMBERS_AT_ONCE = 2**25  # of gradients of single samples: 128 MiB in float32
_ALIGNED = 64  # bytes, at a multiple of which an array has to begin
_SINE = [(-1) ** n / factorial(2 * n + 1) for n in range(7)]  # Taylor's series

Tree = Any
"""A pytree of arrays."""

SampleLoss = Callable[[Tree, Any, Any, Any], Any]
"""(parameters, x, y, draw) of one sample, each with an axis of one sample → its loss.

``draw`` is a random uint32 that all that is random in the sample's step follows from.
"""


def refusal(
    named: Mapping[str, Any], loss: SampleLoss, params: Tree, samples: Samples
) -> str | None:
    """Why a model cannot be trained privately; None if it can.

    Args:
        named: Its parameters.
        loss: Of one sample.
        params: The same parameters, as the loss takes them.
        samples: Some to try it with.
    """
    for name, parameter in named.items():
        if str(parameter.dtype) not in ("float32", "float64"):
            return f"not yet with parameters such as {name!r}, {parameter.dtype}: use float32"
    try:
        jax.eval_shape(partial(clipped_sum, loss), params, _first(samples), 1.0)
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

    A sample whose gradient is not finite counts less or nothing: by jax-privacy what of it
    is not finite counts as 0, and all of it beside dense layers.

    Args:
        loss: Of one sample.
        params: What to differentiate by.
        part: The samples.
        bound: What to clip to.
    """
    *arrays, real = part
    gradients = jax_dense.sample_gradients(loss, params, arrays)
    if any(each.outer is not None for each in gradients):
        sums = jax_dense.clipped(gradients, real, bound)
        return jax.tree.unflatten(jax.tree.structure(params), sums)
    by_jax_privacy = clipped_grad(loss, l2_clip_norm=bound, batch_argnums=(1, 2, 3))
    return by_jax_privacy(params, *arrays, is_padding_example=~real)


def rows_at_once(loss: SampleLoss, params: Tree, samples: Samples) -> int:
    """How many samples' gradients are formed at once, at most, for they take memory.

    Args:
        loss: Of one sample.
        params: What to differentiate by.
        samples: Of these.
    """

    def formed(params: Tree, part: Part) -> list[Any]:
        gradients = jax_dense.sample_gradients(loss, params, part[:3])
        return [each.array for each in gradients if each.outer is None]

    numbers: int = sum(each.size for each in jax.eval_shape(formed, params, _first(samples)))
    return max(1, _NUMBERS_AT_ONCE // max(1, numbers))


def sample_loss(train: Any, loss: Any) -> SampleLoss:
    """The loss of one sample, by a model without statistics.

    Args:
        train: As in `colearn.learners.jax.JaxModel`.
        loss: Each sample's, of outputs and targets.
    """

    def own_loss(params: Tree, x: Any, y: Any, draw: Any) -> Any:
        outputs, _ = train(params, {}, x, jax.random.key(draw[0]))
        return loss(outputs, y).mean()

    return own_loss


@partial(jax.jit, static_argnums=(0, 1))
def model_sum(train: Any, loss: Any, params: Tree, part: Part, bound: Any) -> Tree:
    """`clipped_sum` by `sample_loss`."""
    return clipped_sum(sample_loss(train, loss), params, part, bound)


class Noise(NamedTuple):
    """What is added to the sum of a batch's gradients, all leaves' numbers one after the other.

    Attributes:
        drawn: Bits from `random_bits`; where a leaf is float64, normal numbers.
        deviation: Their standard deviation is to be this.
        more: Sums of samples beyond those that a compiled function takes at once, if any.
    """

    drawn: NDArray[Any]
    deviation: float
    more: NDArray[np.floating] | None


class Compiled(NamedTuple):
    """What a model's private steps go through.

    Attributes:
        sums: By `clipped_sum`, of a part and the bound.
        step: What a part, noise, bound and planned size of a batch lead to.
        rows: Most samples at once.
    """

    sums: Callable[[Part, float], Tree]
    step: Callable[[Part, Noise, float, int], Any]
    rows: int


def noisy_step(
    compiled: Compiled, like: Tree, samples: Samples, plan: NoisySteps, rng: np.random.Generator
) -> Any:
    """Put a batch through compiled functions, and return what the step leads to.

    Batches have all sizes, but a compiled function takes one, which Poisson's exceed once
    in forty times: they are filled up, and what there is beyond is added with the noise.
    That is made of numpy's bits: a key of JAX's is 64 bits.

    Args:
        compiled: The functions.
        like: Tree of arrays like the parameters.
        samples: The batch; it may be empty.
        plan: Clipping and noise.
        rng: Where noise and draws come from.
    """
    rows = min(compiled.rows, plan.samples, plan.batch_size + 2 * isqrt(plan.batch_size) + 1)
    *others, last = _parts(samples, rows, rng)
    sums = [jax.tree.leaves(compiled.sums(part, plan.max_grad_norm)) for part in others]
    flat = [np.concatenate([np.ravel(leaf) for leaf in leaves]) for leaves in sums]
    more = reduce(np.add, flat) if flat else None
    noise = Noise(_drawn(like, rng), plan.deviation, more)
    return compiled.step(last, noise, plan.max_grad_norm, plan.batch_size)


def noisy_mean(sums: Tree, noise: Noise, size: Any) -> Tree:
    """Mean of a batch's clipped gradients, with noise; to be compiled.

    Args:
        sums: The gradients'.
        noise: What is added.
        size: What to divide by.
    """
    leaves, structure = jax.tree.flatten(sums)
    *ends, numbers = np.cumsum([leaf.size for leaf in leaves])
    bare = noise.drawn.dtype == np.int32
    total = (normal(noise.drawn, numbers) if bare else noise.drawn) * noise.deviation
    if noise.more is not None:
        total += noise.more
    noisy = (
        ((leaf + added.reshape(leaf.shape)) / size).astype(leaf.dtype)
        for leaf, added in zip(leaves, jnp.split(total, ends), strict=True)
    )
    return jax.tree.unflatten(structure, noisy)


def _drawn(like: Tree, rng: np.random.Generator) -> NDArray[Any]:
    leaves = jax.tree.leaves(like)
    numbers = sum(leaf.size for leaf in leaves)
    if any(leaf.dtype == np.float64 for leaf in leaves):
        return gaussian(rng, (numbers,), np.float64)
    return random_bits(rng, numbers)


def normal(bits: Any, numbers: int) -> Any:
    """Make standard normal numbers as `colearn.privacy.noise.gaussian` does; to be compiled.

    Cosines are made of the sines of half the angles, for XLA's own take ten times as long.

    Args:
        bits: From `random_bits`.
        numbers: How many.
    """
    radius = jnp.abs(bits[0].astype(jnp.float32)) * 2.0**-31
    radius = jnp.sqrt(-2.0 * jnp.log(jnp.maximum(radius, 2.0**-32)))

    def cosine(turn: Any) -> Any:
        half = turn.astype(jnp.float32) * (np.pi * 2.0**-32)
        series = reduce(lambda total, term: total * half**2 + term, reversed(_SINE))
        return 1.0 - 2.0 * (half * series) ** 2

    before = bits[1] - 2**30  # by a quarter turn, and round the end as angles go: the sine
    return jnp.concatenate([radius * cosine(bits[1]), radius * cosine(before)])[:numbers]


def _parts(samples: Samples, rows: int, rng: np.random.Generator) -> Iterator[Part]:
    """At least one, of so many rows, the last ones of them zeros."""
    count = len(samples[0])
    for start in range(0, max(1, count), rows):
        x, y = (_filled(each[start : start + rows], rows) for each in samples)
        draws = rng.integers(2**32, size=rows, dtype=np.uint32)
        yield Part(x, y, draws, np.arange(start, start + rows) < count)


def _filled(values: NDArray[Any], rows: int) -> NDArray[Any]:
    filled = _empty((rows, *values.shape[1:]), values.dtype)
    filled[: len(values)] = values
    filled[len(values) :] = 0
    return filled


def _empty(shape: tuple[int, ...], dtype: np.dtype[Any]) -> NDArray[Any]:
    """An array whose memory JAX's processor takes as it is, without a copy."""
    nbytes = prod(shape) * dtype.itemsize
    memory = np.empty(nbytes + _ALIGNED, np.uint8)
    start = -memory.ctypes.data % _ALIGNED
    return memory[start : start + nbytes].view(dtype).reshape(shape)


def _first(samples: Samples) -> Part:
    x, y = samples
    return Part(x[:1], y[:1], np.zeros(1, np.uint32), np.ones(1, np.bool_))
