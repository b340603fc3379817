"""Any model in JAX as a learner: a pytree of parameters, functions of it, an optax optimiser.

Parameters and batch statistics are the weights; their names are their paths in the
trees. Training and judging are compiled once for a model, a loss and an optimiser, and
shared by all learners that are given the same ones.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any, NamedTuple, Unpack

import numpy as np

from colearn.errors import ConfigError, LearnerError, MissingExtra, UnsupportedModel
from colearn.learners.base import Options
from colearn.learners.frozen import frozen_digest
from colearn.learners.network import NetworkLearner, SampleErrors, no_optimiser
from colearn.learners.samples import Samples
from colearn.protocols import Tensors
from colearn.schema import KINDS

try:
    import jax
    import optax
    from jax import numpy as jnp
except ModuleNotFoundError:
    raise MissingExtra("JaxLearner", "jax", "jax") from None

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from colearn.learners import jax_private
    from colearn.privacy.guard import NoisySteps

Tree = Any
"""A pytree of arrays."""

Loss = Callable[[jax.Array, jax.Array], jax.Array]
"""(outputs, targets) → each sample's loss, such as those of optax."""


@dataclass(frozen=True, eq=False)
class JaxModel:
    """A model as pure functions of its tensors, which `jax.jit` can compile.

    `from_function` makes one of a plain function; `colearn.learners.flax` of a Flax module.

    Attributes:
        params: Tree of floating arrays, which training moves.
        predict: (params, batch_stats, x) → outputs, shape (n, ...).
        train: (params, batch_stats, x, key) → outputs and the new batch_stats, as in
            training; whatever is random follows from the key.
        batch_stats: Tree of arrays that training changes without a gradient, such as
            the running means of batch normalisation.
        frozen: Tree of arrays that the functions hold and that never change. They do
            not travel; weights only go with the same ones.
    """

    params: Tree
    predict: Callable[[Tree, Tree, Any], Any]
    train: Callable[[Tree, Tree, Any, Any], tuple[Any, Tree]]
    batch_stats: Tree = field(default_factory=dict)
    frozen: Tree = field(default_factory=dict)

    def __call__(self, x: Any) -> Any:
        """Predict."""
        return self.predict(self.params, self.batch_stats, x)


def from_function(params: Tree, apply: Callable[[Tree, Any], Any]) -> JaxModel:
    """Return a model that has neither statistics nor randomness.

    Args:
        params: Tree of floating arrays.
        apply: (params, x) → outputs, shape (n, ...).

    Example:
        >>> model = from_function({"w": np.ones(2, np.float32)}, lambda params, x: x @ params["w"])
        >>> model(np.float32([[1, 2]]))
        Array([3.], dtype=float32)
    """
    return JaxModel(
        params,
        predict=lambda params, stats, x: apply(params, x),
        train=lambda params, stats, x, key: (apply(params, x), stats),
    )


class _Working(NamedTuple):
    """All that a training step changes."""

    params: Tree
    batch_stats: Tree
    optimizer: Tree
    steps: Any


class JaxLearner(NetworkLearner):
    """A JAX model behind the Machine Learning Interface.

    Learners that learn together must be given models with the same values: make
    one, and give it to all. So it is also compiled once for all.

    Args:
        model: The model.
        loss: Each sample's loss, from outputs and targets, such as
            ``optax.softmax_cross_entropy_with_integer_labels``.
        optimizer: An optax optimiser, which may clip gradients and schedule its
            learning rate; it starts afresh with each proposal.
        train: As in `FrameworkLearner`; y may have more axes than one.
        error: As in `NetworkLearner`.
        options: As in `FrameworkLearner`.

    Raises:
        UnsupportedModel: The model cannot learn collectively.
        LearnerError: The samples cannot be learned from.
        ConfigError: An option cannot be used.
    """

    _working: _Working

    def __init__(
        self,
        model: JaxModel,
        *,
        loss: Loss,
        optimizer: optax.GradientTransformation,
        train: Samples,
        error: SampleErrors | None = None,
        **options: Unpack[Options],
    ) -> None:
        if not isinstance(model, JaxModel):
            raise UnsupportedModel(
                f"got {model!r:.60}: expected a JaxModel, as from_function or "
                "colearn.learners.flax makes one"
            )
        if not callable(loss):
            raise ConfigError(
                f"loss {loss!r:.60} is refused: give a function of outputs and targets, such as "
                "optax.softmax_cross_entropy_with_integer_labels"
            )
        self._model, self._loss, self._optimizer = model, loss, optimizer
        own = {"params": model.params, "batch_stats": model.batch_stats}
        self._structure = jax.tree.structure(own)
        self._names = list(_named(own))
        self._set(_checked(own))
        super().__init__(
            train=train,
            error=error,
            frozen=frozen_digest(_named(jax.tree.map(np.asarray, model.frozen))),
            **options,
        )

    def own_tensors(self) -> dict[str, NDArray[np.generic]]:
        """Return copies of parameters and batch statistics."""
        own = {"params": self._working.params, "batch_stats": self._working.batch_stats}
        return {name: np.array(leaf, order="C") for name, leaf in _named(own).items()}

    def load(self, tensors: Tensors) -> None:
        """Set parameters and batch statistics."""
        leaves = [jnp.asarray(tensors[name]) for name in self._names]
        self._set(jax.tree.unflatten(self._structure, leaves))

    def begin(self, rng: np.random.Generator) -> None:
        """Start the optimiser and the model's own randomness."""
        self._key = jax.random.key(int(rng.integers(2**31)))
        working = self._working
        self._working = working._replace(optimizer=_started(self._optimizer, working.params))

    def step(self, x: NDArray[Any], y: NDArray[Any]) -> None:
        """Train on one mini-batch."""
        self._working = _stepped(*self._how, self._working, x, y, self._key)

    def no_private_training(self) -> str | None:
        """Why this model cannot be trained privately; None if it can."""
        from colearn.learners import jax_private  # noqa: PLC0415 - needs another extra

        if jax.tree.leaves(self._model.batch_stats):
            return (
                "never with batch_stats: they mix the samples of a batch, and are means of them "
                "without noise; take GroupNorm or LayerNorm in place of BatchNorm"
            )
        parameters = self._working.params
        return jax_private.refusal(
            _named({"params": parameters}),
            jax_private.sample_loss(*self._how[:2]),
            parameters,
            self.train_samples,
        )

    def noisy_step(
        self, x: NDArray[Any], y: NDArray[Any], plan: NoisySteps, rng: np.random.Generator
    ) -> None:
        """Train on a batch of any size, 0 too, by clipped and noisy gradients."""
        from colearn.learners import jax_private  # noqa: PLC0415 - needs another extra

        working = self._working
        compiled = jax_private.Compiled(
            partial(jax_private.model_sum, *self._how[:2], working.params),
            partial(_noisily_stepped, *self._how, working),
            self._rows_at_once,
        )
        self._working = jax_private.noisy_step(compiled, working.params, (x, y), plan, rng)

    def set_offset(self, offset: Tensors | None) -> None:
        """Add these to the parameters after each step; statistics are left alone."""
        super().set_offset(offset)
        if offset is not None:
            named = _named({"params": self._model.params})
            changes = [
                jnp.asarray(offset.get(name, np.zeros_like(own))) for name, own in named.items()
            ]
            self._changes = jax.tree.unflatten(jax.tree.structure(self._model.params), changes)

    def shift(self, offset: Tensors) -> None:  # noqa: ARG002 - it has been laid out like params
        """Add the offset that was set."""
        self._working = self._working._replace(params=_sum(self._working.params, self._changes))

    def outputs(self, x: NDArray[Any]) -> NDArray[Any]:
        """Return what the working model makes of some samples."""
        working = self._working
        return np.asarray(_predicted(self._model.predict, working.params, working.batch_stats, x))

    def sample_losses(self, outputs: NDArray[Any], y: NDArray[Any]) -> NDArray[Any]:
        """Return the losses of outputs."""
        return np.asarray(_judged(self._loss, outputs, y))

    def try_out(self, x: NDArray[Any], y: NDArray[Any]) -> None:
        """Trace a step and a judgement, which compiles nothing."""
        try:
            self.begin(np.random.default_rng())
        except Exception as reason:
            raise no_optimiser(reason, "optax.adam(1e-3)") from reason
        working, model = self._working, self._model
        after = jax.eval_shape(partial(_stepped, *self._how), working, x, y, self._key)
        structures: list[Any] = [jax.tree.structure(each) for each in (working, after)]
        if structures[0] != structures[1]:
            raise LearnerError("training gives batch_stats of another structure than it was given")
        outputs = jax.eval_shape(
            partial(_predicted, model.predict), working.params, working.batch_stats, x
        )
        losses = jax.eval_shape(partial(_judged, self._loss), outputs, y)
        if losses.shape[:1] != (len(x),):
            raise LearnerError(
                f"the loss of {len(x)} samples has shape {losses.shape}: "
                "it must give one for each, shape (n,)"
            )

    def native(self) -> JaxModel:
        """Return the model with the current values, ready to predict."""
        working = self._working
        return replace(self._model, params=working.params, batch_stats=working.batch_stats)

    @cached_property
    def _rows_at_once(self) -> int:
        from colearn.learners import jax_private  # noqa: PLC0415 - needs another extra

        loss = jax_private.sample_loss(*self._how[:2])
        return jax_private.rows_at_once(loss, self._working.params, self.train_samples)

    @property
    def _how(self) -> tuple[Any, Any, Any]:
        return self._model.train, self._loss, self._optimizer

    def _set(self, own: dict[str, Tree]) -> None:
        self._working = _Working(own["params"], own["batch_stats"], None, np.int32(0))


@partial(jax.jit, static_argnums=(0, 1, 2))
def _stepped(  # noqa: PLR0917 - jit takes what is static by position
    train: Any, loss: Loss, optimizer: Any, working: _Working, x: Any, y: Any, key: Any
) -> _Working:
    """What one training step makes of parameters, statistics and optimiser."""

    def mean_loss(params: Tree) -> tuple[Any, Tree]:
        outputs, stats = train(
            params, working.batch_stats, x, jax.random.fold_in(key, working.steps)
        )
        return loss(outputs, y).mean(), stats

    moved: _Working = _moved(optimizer, working, *jax.grad(mean_loss, has_aux=True)(working.params))
    return moved


@partial(jax.jit, static_argnums=(0, 1, 2))
def _noisily_stepped(  # noqa: PLR0917 - jit takes what is static by position
    train: Any,
    loss: Loss,
    optimizer: Any,
    working: _Working,
    part: jax_private.Part,
    noise: jax_private.Noise,
    bound: Any,
    size: Any,
) -> _Working:
    """What one private training step makes of parameters and optimiser."""
    from colearn.learners import jax_private  # noqa: PLC0415 - needs another extra

    sums = jax_private.model_sum(train, loss, working.params, part, bound)
    gradient = jax_private.noisy_mean(sums, noise, size)
    moved: _Working = _moved(optimizer, working, gradient, working.batch_stats)
    return moved


@partial(jax.jit, static_argnums=0)
def _moved(optimizer: Any, working: _Working, gradient: Tree, stats: Tree) -> _Working:
    """What the optimiser makes of a gradient."""
    updates, optimizer_state = optimizer.update(gradient, working.optimizer, working.params)
    params = optax.apply_updates(working.params, updates)
    return _Working(params, stats, optimizer_state, working.steps + 1)


@partial(jax.jit, static_argnums=0)
def _started(optimizer: Any, params: Tree) -> Tree:
    return optimizer.init(params)


@jax.jit
def _sum(params: Tree, changes: Tree) -> Tree:
    return jax.tree.map(jnp.add, params, changes)


@partial(jax.jit, static_argnums=0)
def _predicted(predict: Any, params: Tree, batch_stats: Tree, x: Any) -> Any:
    return predict(params, batch_stats, x)


@partial(jax.jit, static_argnums=0)
def _judged(loss: Loss, outputs: Any, y: Any) -> Any:
    return loss(outputs, y)


def _named(tree: Tree) -> dict[str, Any]:
    """Leaves by their paths, such as ``params/dense/kernel``."""
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    named: dict[str, Any] = {
        jax.tree_util.keystr(path, simple=True, separator="/"): leaf for path, leaf in leaves
    }
    if len(named) < len(leaves):
        raise UnsupportedModel("two tensors of the model have the same path: rename one")
    return named


def _checked(own: dict[str, Tree]) -> dict[str, Tree]:
    """Return parameters and statistics as JAX's arrays, or raise `UnsupportedModel`."""
    named = _named(own)
    if not any(name.partition("/")[0] == "params" for name in named):
        raise UnsupportedModel("the model has no parameters: none can learn")
    for name, leaf in named.items():
        dtype = getattr(leaf, "dtype", type(leaf))
        if str(dtype) not in KINDS:
            raise UnsupportedModel(
                f"the model holds {name!r}, of {dtype}, which cannot travel: "
                f"expected arrays of {', '.join(KINDS)}"
            )
        if name.partition("/")[0] == "params" and not jnp.issubdtype(dtype, jnp.floating):
            raise UnsupportedModel(
                f"the parameter {name!r} is {dtype}, which has no gradient: "
                "expected floating numbers; leave it out of params"
            )
    arrays: dict[str, Tree] = jax.tree.map(jnp.asarray, own)
    return arrays
