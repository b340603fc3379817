"""Gradients of single samples in JAX, of which those of dense layers are never formed.

A dense layer's weight has, for one sample, the outer product of what the layer has seen
and its error as its gradient. Its length is the product of theirs, and a weighted sum of
the samples' is one matrix product (arXiv 1510.01799).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from math import prod
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import numpy as np
from jax import numpy as jnp
from jax.core import eval_jaxpr
from jax.extend import core

if TYPE_CHECKING:
    from collections.abc import Sequence

Tree = Any
"""A pytree of arrays."""


class Outer(NamedTuple):
    """Arrays of n samples, each the outer product of two vectors, laid out anew.

    Attributes:
        left: Shape (n, p).
        right: Shape (n, q).
        layout: A sum of such products, shape (p, q) → the same, laid out as one sample's array.
    """

    left: Any
    right: Any
    layout: Callable[[Any], Any]


class Value(NamedTuple):
    """An array, shape (n, ...), and its factors if it is known to be of outer products."""

    array: Any
    outer: Outer | None = None


def sample_gradients(loss: Callable[..., Any], params: Tree, samples: Sequence[Any]) -> list[Value]:
    """Gradients of each sample alone, of all leaves; XLA forms none that is not used.

    Args:
        loss: Of parameters and the arrays of one sample, each with an axis of one sample.
        params: What to differentiate by.
        samples: Arrays of n samples, each of shape (n, ...).
    """

    def alone(params: Tree, *sample: Any) -> Any:
        return loss(params, *(jnp.expand_dims(each, 0) for each in sample))

    axes = (None, *[0] * len(samples))
    traced = jax.make_jaxpr(jax.vmap(jax.grad(alone), axes))(params, *samples)
    arguments = jax.tree.leaves((params, tuple(samples)))
    return _results(traced, map(Value, arguments))


def clipped(gradients: Sequence[Value], real: Any, bound: Any) -> list[Any]:
    """Sum of samples' gradients, each clipped to an L2 norm over all leaves.

    A sample whose gradient is not finite counts nothing.

    Args:
        gradients: Of each leaf.
        real: Shape (n,); False for samples that count nothing.
        bound: What to clip to.
    """
    norms = jnp.sqrt(sum(_squares(each) for each in gradients))
    counts = real & jnp.isfinite(norms)
    shares = jnp.where(counts, jnp.minimum(1.0, bound / norms), 0.0)

    def only(rows: Any) -> Any:
        """Nothing of the samples that do not count, for 0 times infinity is no 0."""
        return jnp.where(counts[:, None], rows, 0)

    def total(each: Value) -> Any:
        if each.outer is None:
            whole = each.array
            flat = only(whole.reshape(len(whole), -1))
            return _product(shares[:, None], flat).reshape(whole.shape[1:])
        left, right, layout = each.outer
        return layout(_product(shares[:, None] * only(left), only(right)))

    return [total(each) for each in gradients]


def _product(left: Any, right: Any) -> Any:
    """Sum of the rows' outer products, to full precision: less would exceed the bound."""
    return jnp.matmul(left.astype(right.dtype).T, right, precision="highest")


def _squares(gradient: Value) -> Any:
    """Squared length of each sample's gradient of one leaf, shape (n,)."""
    if gradient.outer is None:
        return _sum_of_squares(gradient.array)
    return _sum_of_squares(gradient.outer.left) * _sum_of_squares(gradient.outer.right)


def _sum_of_squares(rows: Any) -> Any:
    """Never below the true one: what squares so small that they vanish may have been is added.

    The other factor can be so large that the product were no small one.
    """
    flat = rows.reshape(len(rows), -1)
    return jnp.square(flat).sum(1) + flat.shape[1] * float(np.finfo(flat.dtype).tiny)


def _results(program: core.ClosedJaxpr, arguments: Iterable[Value]) -> list[Value]:
    """Carry a program out, and follow outer products through it."""
    jaxpr = program.jaxpr
    known: dict[Any, Value] = dict(zip(jaxpr.constvars, map(Value, program.consts), strict=True))
    known.update(zip(jaxpr.invars, arguments, strict=True))

    def value(atom: Any) -> Value:
        return Value(atom.val) if isinstance(atom, core.Literal) else known[atom]

    for step in jaxpr.eqns:
        given = [value(atom) for atom in step.invars]
        inputs = [atom for atom in step.invars if not isinstance(atom, core.Literal)]
        if step.primitive.name == "jit":
            results = _results(step.params["jaxpr"], given)
        else:
            alone = jaxpr.replace(constvars=[], invars=inputs, outvars=step.outvars, eqns=[step])
            made = eval_jaxpr(alone, [], *(known[each].array for each in inputs))
            results = [Value(each) for each in made]
            if len(made) == 1:
                results = [Value(made[0], _outer(step, given, made[0]))]
        known.update(zip(step.outvars, results, strict=True))
    return [value(atom) for atom in jaxpr.outvars]


def _outer(step: core.JaxprEqn, given: Sequence[Value], made: Any) -> Outer | None:
    """Factors of what one step has made, if they are known; all keep their first axis."""
    shape, name = made.shape, step.primitive.name
    if name == "dot_general":
        left, right = (each.array for each in given)
        (summed, _), batch = step.params["dimension_numbers"]
        if (
            batch == ((0,), (0,))
            and prod(left.shape[axis] for axis in summed) == 1
            and left.dtype == right.dtype == made.dtype
        ):
            samples = len(left)
            return Outer(
                left.reshape(samples, -1),
                right.reshape(samples, -1),
                lambda matrix: matrix.reshape(shape[1:]),
            )
    outer = given[0].outer if given else None
    if outer is None:
        return None
    layout = outer.layout
    if name == "transpose" and step.params["permutation"][0] == 0:
        axes = [axis - 1 for axis in step.params["permutation"][1:]]
        return outer._replace(layout=lambda matrix: layout(matrix).transpose(axes))
    if name in _RELAYOUTS and shape[0] == len(given[0].array) and made.size == given[0].array.size:
        return outer._replace(layout=lambda matrix: layout(matrix).reshape(shape[1:]))
    return None


_RELAYOUTS = ("reshape", "squeeze", "broadcast_in_dim")
"""All keep the order of an array's numbers if they keep their count."""
