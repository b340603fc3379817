"""DP-SGD for Keras models that run on JAX, by `jax_private`.

A model is asked for each sample alone, through `stateless_call`; what it would change
of its state besides, such as a generator's counter, is forgotten.
"""

from __future__ import annotations

from functools import cached_property, partial
from typing import TYPE_CHECKING, Any

import jax
import keras
from jax import numpy as jnp

from colearn.learners import jax_private

if TYPE_CHECKING:
    import numpy as np

    from colearn.learners.samples import Samples
    from colearn.privacy.guard import NoisySteps


class PrivateSteps:
    """Private steps of one model; they read and write its variables.

    Args:
        model: Compiled.
        judge: Loss of targets and outputs, of single samples.
        seeds: States of the model's generators of random numbers.
        samples: Some to try it with.
    """

    def __init__(self, model: Any, judge: Any, seeds: list[Any], samples: Samples) -> None:
        self._model, self._judge, self._samples = model, judge, samples
        self._seeds = {
            place: number
            for number, seed in enumerate(seeds)
            for place, each in enumerate(model.non_trainable_variables)
            if each is seed
        }
        self._sums, self._stepped = jax.jit(self._clipped_sum), jax.jit(self._noisily_stepped)

    def refusal(self) -> str | None:
        """Why the model cannot be trained privately; None if it can."""
        model = self._model
        for layer in model._flatten_layers():  # noqa: SLF001 - Keras has no other walk
            if isinstance(layer, keras.layers.BatchNormalization) and layer.trainable:
                return (
                    f"never with {type(layer).__name__} (layer {layer.name!r}): it mixes the "
                    "samples of a batch, so that no gradient belongs to one of them; take "
                    "GroupNormalization or LayerNormalization in its place"
                )
        if isinstance(model.optimizer, keras.optimizers.LossScaleOptimizer):
            return "not yet in mixed precision: use the policy float32"
        named = {each.path: each.value for each in model.trainable_variables}
        trained, state = self._state()
        return jax_private.refusal(named, self._loss(state), trained, self._samples)

    def step(self, samples: Samples, plan: NoisySteps, rng: np.random.Generator) -> None:
        """Train on a batch of any size, 0 too, by clipped and noisy gradients."""
        model = self._model
        trained, state = self._state()
        optimizer = [each.value for each in model.optimizer.variables]
        compiled = jax_private.Compiled(
            partial(self._sums, trained, state),
            partial(self._stepped, (trained, state, optimizer)),
            self._rows_at_once,
        )
        results = jax_private.noisy_step(compiled, trained, samples, plan, rng)
        for variables, values in zip(
            (model.trainable_variables, model.optimizer.variables), results, strict=True
        ):
            for variable, value in zip(variables, values, strict=True):
                variable.assign(value)

    @cached_property
    def _rows_at_once(self) -> int:
        trained, state = self._state()
        return jax_private.rows_at_once(self._loss(state), trained, self._samples)

    def _state(self) -> tuple[list[Any], list[Any]]:
        model = self._model
        return (
            [each.value for each in model.trainable_variables],
            [each.value for each in model.non_trainable_variables],
        )

    def _noisily_stepped(
        self, values: Any, part: jax_private.Part, noise: jax_private.Noise, bound: Any, size: Any
    ) -> tuple[list[Any], list[Any]]:
        trained, state, optimizer = values
        sums = self._clipped_sum(trained, state, part, bound)
        gradient = jax_private.noisy_mean(sums, noise, size)
        moved: tuple[list[Any], list[Any]] = self._model.optimizer.stateless_apply(
            optimizer, gradient, trained
        )
        return moved

    def _clipped_sum(
        self, trained: list[Any], state: list[Any], part: jax_private.Part, bound: Any
    ) -> list[Any]:
        sums: list[Any] = jax_private.clipped_sum(self._loss(state), trained, part, bound)
        return sums

    def _loss(self, state: list[Any]) -> jax_private.SampleLoss:
        def own_loss(trained: list[Any], x: Any, y: Any, draw: Any) -> Any:
            own_state = list(state)
            for place, number in self._seeds.items():
                own_state[place] = jnp.stack([draw[0], jnp.uint32(number << 16)])
            outputs, _, others = self._model.stateless_call(
                trained, own_state, x, training=True, return_losses=True
            )
            return self._judge(y, outputs).mean() + sum(others)

        return own_loss
