"""Flax modules, of either kind, as `JaxModel`."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

from colearn.errors import MissingExtra, UnsupportedModel
from colearn.learners.jax import JaxModel, Tree

try:
    import jax
    from flax import linen, nnx
    from jax import numpy as jnp
except ModuleNotFoundError:
    raise MissingExtra("Flax modules as learners", "flax", "jax") from None

_IN_TRAINING: Mapping[str, Any] = {
    "train": True,
    "training": True,
    "is_training": True,
    "deterministic": False,
    "use_running_average": False,
}
"""What arguments of a linen module's ``__call__`` say that it is being trained."""


def from_linen(module: linen.Module, variables: Tree) -> JaxModel:
    """Return a `flax.linen` module as a model.

    If its ``__call__`` takes ``train``, ``training``, ``is_training``, ``deterministic``
    or ``use_running_average``, it is told whether it is being trained.

    Args:
        module: The module.
        variables: What its ``init`` returned: ``params``, and ``batch_stats`` if it has any.

    Raises:
        UnsupportedModel: It has variables of other kinds.
    """
    others = sorted(set(variables) - {"params", "batch_stats"})
    if others:
        raise UnsupportedModel(
            f"{type(module).__name__} has variables of the kind {others[0]!r}, not yet: "
            "expected params and batch_stats alone"
        )
    told: dict[str, Any] = {
        name: value
        for name, value in _IN_TRAINING.items()
        if name in inspect.signature(type(module).__call__).parameters
    }

    def predict(params: Tree, stats: Tree, x: Any) -> Any:
        predicting: dict[str, Any] = {name: not value for name, value in told.items()}
        return module.apply({"params": params, "batch_stats": stats}, x, **predicting)

    def train(params: Tree, stats: Tree, x: Any, key: Any) -> tuple[Any, Tree]:
        outputs, changed = module.apply(
            {"params": params, "batch_stats": stats},
            x,
            rngs={"dropout": key},
            mutable=["batch_stats"],
            **told,
        )
        return outputs, changed.get("batch_stats", stats)

    return JaxModel(variables["params"], predict, train, variables.get("batch_stats", {}))


def from_nnx(module: nnx.Module, *, wrt: Any = nnx.Param) -> JaxModel:
    """Return a `flax.nnx` module as a model.

    Args:
        module: The module; it is copied and never changed.
        wrt: Which variables are trained, as for `nnx.Optimizer`, such as
            ``nnx.LoRAParam``; other parameters are frozen, batch statistics travel.
    """
    parts: Any = nnx.split(module, wrt, nnx.RngState, nnx.BatchStat, ...)
    graph, params, randomness, stats, rest = parts

    def merged(params: Tree, stats: Tree, randomness: Any) -> Any:
        return nnx.merge(graph, params, randomness, stats, rest, copy=True)

    def predict(params: Tree, stats: Tree, x: Any) -> Any:
        return nnx.view(merged(params, stats, randomness), **_PREDICTING)(x)

    def train(params: Tree, stats: Tree, x: Any, key: Any) -> tuple[Any, Tree]:
        model = nnx.view(merged(params, stats, _drawn_anew(randomness, key)), **_TRAINING)
        outputs = model(x)
        return outputs, nnx.state(model, nnx.BatchStat)

    return JaxModel(params, predict, train, stats, rest)


_TRAINING: Mapping[str, Any] = {
    "deterministic": False,
    "use_running_average": False,
    "raise_if_not_found": False,
}
_PREDICTING: Mapping[str, Any] = {
    "deterministic": True,
    "use_running_average": True,
    "raise_if_not_found": False,
}


def _drawn_anew(randomness: Any, key: Any) -> Any:
    """Give every stream of random numbers a key of its own."""
    leaves, structure = jax.tree.flatten(randomness)
    keys = [
        jax.random.fold_in(key, place) if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key) else leaf
        for place, leaf in enumerate(leaves)
    ]
    return jax.tree.unflatten(structure, keys)
