"""Keras models as learners, on whichever backend Keras runs.

The backend is one for a whole process: Keras reads it from ``KERAS_BACKEND`` when it
is first imported. Where that names none which is installed, it is JAX, else torch.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock
from typing import TYPE_CHECKING, Any, Unpack

import numpy as np

from colearn.errors import ConfigError, LearnerError, MissingExtra, UnsupportedModel
from colearn.learners.base import Options
from colearn.learners.frozen import frozen_digest
from colearn.learners.keras_backend import choose_backend
from colearn.learners.network import NetworkLearner, SampleErrors, no_optimiser
from colearn.learners.samples import Samples
from colearn.learners.supervised import one_line
from colearn.protocols import Tensors

choose_backend()
try:
    import keras
except ModuleNotFoundError as reason:
    if reason.name == "keras":
        raise MissingExtra("KerasLearner", "keras", "keras") from None
    raise ConfigError(
        f"Keras wants {reason.name}, which is not installed: set the environment variable "
        "KERAS_BACKEND to jax or torch before Keras is first imported"
    ) from None

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from colearn.privacy.guard import NoisySteps

_RANDOM = Lock()
"""On torch, what is random draws from a generator that all threads share: one trains at a time."""


class KerasLearner(NetworkLearner):
    """A compiled Keras model behind the Machine Learning Interface.

    The loss and the optimiser are those that the model was compiled with; the optimiser
    starts afresh with each proposal. Weights are named by their place and kind, such as
    ``3.kernel``. Weights of layers with ``trainable=False`` do not travel.

    Learners that learn together must be given models with the same values: build one,
    and give it to all.

    Args:
        model: The model, built and compiled; it is copied and never changed.
        train: As in `FrameworkLearner`; y may have more axes than one.
        error: As in `NetworkLearner`; needed where labels are one-hot.
        options: As in `FrameworkLearner`.

    Raises:
        UnsupportedModel: The model cannot learn collectively.
        LearnerError: The samples cannot be learned from.
        ConfigError: An option cannot be used.
    """

    def __init__(
        self,
        model: keras.Model,
        *,
        train: Samples,
        error: SampleErrors | None = None,
        **options: Unpack[Options],
    ) -> None:
        self._model = _copied(model)
        loss = keras.losses.get(model.loss)
        self._judge = getattr(loss, "call", loss)  # a loss object's mean would hide samples
        self._own = _travelling(self._model)
        self._seeds = _seeds(self._model)
        self._fresh = [np.array(_array(each)) for each in self._model.optimizer.variables]
        # The loss of one score a sample says whether it reads logits or probabilities.
        logits = getattr(loss, "_fn_kwargs", {}).get("from_logits", False)
        self.boundary = 0.0 if logits else 0.5
        frozen = {
            f"{place}.{each.name}": np.array(_array(each))
            for place, each in enumerate(self._model.weights)
            if not any(each is own for own in self._own.values())
        }
        super().__init__(train=train, error=error, frozen=frozen_digest(frozen), **options)

    def own_tensors(self) -> dict[str, NDArray[np.generic]]:
        """Return copies of trained weights and statistics."""
        return {name: np.array(_array(each), order="C") for name, each in self._own.items()}

    def load(self, tensors: Tensors) -> None:
        """Set trained weights and statistics."""
        for name, own in self._own.items():
            own.assign(np.array(tensors[name]))

    def train(
        self, tensors: Tensors, rng: np.random.Generator, plan: NoisySteps | None = None
    ) -> dict[str, NDArray[np.generic]]:
        """Return new tensors, trained from those given: a pure function with the data."""
        with _randomness(int(rng.integers(2**31))):
            return super().train(tensors, rng, plan)

    def begin(self, rng: np.random.Generator) -> None:
        """Reset the optimiser, and seed what is random in the model."""
        for own, fresh in zip(self._model.optimizer.variables, self._fresh, strict=True):
            own.assign(fresh)
        for seed in self._seeds:
            seed.assign(np.array([rng.integers(2**31), 0], seed.dtype))

    def step(self, x: NDArray[Any], y: NDArray[Any]) -> None:
        """Train on one mini-batch."""
        self._model.train_on_batch(x, y)

    def no_private_training(self) -> str | None:
        """Why this model cannot be trained privately; None if it can."""
        backend = keras.backend.backend()
        if backend != "jax":
            return (
                f"not yet on {backend}: set the environment variable KERAS_BACKEND to jax before "
                "Keras is first imported"
            )
        from colearn.learners.keras_private import PrivateSteps  # noqa: PLC0415 - needs jax

        self._private = PrivateSteps(self._model, self._judge, self._seeds, self.train_samples)
        return self._private.refusal()

    def noisy_step(
        self, x: NDArray[Any], y: NDArray[Any], plan: NoisySteps, rng: np.random.Generator
    ) -> None:
        """Train on a batch of any size, 0 too, by clipped and noisy gradients."""
        self._private.step((x, y), plan, rng)

    def set_offset(self, offset: Tensors | None) -> None:
        """Add these to the trained weights after each step; statistics are left alone."""
        super().set_offset(offset)
        self._changes = [
            (own, keras.ops.convert_to_tensor(np.array(offset[name])))
            for name, own in self._own.items()
            if offset is not None and own.trainable and name in offset
        ]

    def shift(self, offset: Tensors) -> None:  # noqa: ARG002 - it is with its variables already
        """Add the offset that was set."""
        for own, change in self._changes:
            own.assign_add(change)

    def outputs(self, x: NDArray[Any]) -> NDArray[Any]:
        """Return what the working model makes of some samples."""
        return np.asarray(self._model.predict_on_batch(x))

    def sample_losses(self, outputs: NDArray[Any], y: NDArray[Any]) -> NDArray[Any]:
        """Return the losses of outputs."""
        return _array(
            self._judge(keras.ops.convert_to_tensor(y), keras.ops.convert_to_tensor(outputs))
        )

    def try_out(self, x: NDArray[Any], y: NDArray[Any]) -> None:
        """Judge two samples."""
        few = self.outputs(x)
        losses = self.sample_losses(few, y)
        if np.shape(losses)[:1] != (len(x),):
            raise LearnerError(
                f"the loss of {len(x)} samples has shape {np.shape(losses)}: "
                "it must give one for each, shape (n,)"
            )

    def native(self) -> keras.Model:
        """Return a copy of the model, compiled like the one given."""
        return _copied(self._model)

    def onnx(self) -> bytes:
        """Return the model as ONNX."""
        from colearn.learners.onnx_keras import from_keras  # noqa: PLC0415 - needs another extra

        return from_keras(self._model, self.vote_samples[0][[0, 0]])


def _copied(model: Any) -> Any:
    """Return a copy with the same values, compiled with a fresh optimiser.

    Raises:
        UnsupportedModel: The model cannot learn collectively.
    """
    if not isinstance(model, keras.Model):
        raise UnsupportedModel(f"got {model!r:.60}: expected an instance of keras.Model")
    name = type(model).__name__
    if not model.built:
        raise UnsupportedModel(
            f"{name} has weights without a shape, not yet: give it a keras.Input, or call it "
            "once on a batch"
        )
    if not model.compiled or model.optimizer is None:
        raise UnsupportedModel(f"{name} is not compiled: call compile(optimizer=…, loss=…)")
    if not isinstance(model.loss, str | keras.losses.Loss) and not callable(model.loss):
        raise UnsupportedModel(f"{name} is compiled with several losses, not yet: give it one")
    if not model.trainable_weights:
        raise UnsupportedModel(f"{name} has no trainable weight: none can learn")
    try:
        copy = type(model).from_config(model.get_config())
        if not copy.built:
            copy.build_from_config(model.get_build_config())
        for own, given in zip(copy.weights, model.weights, strict=True):
            own.assign(np.array(_array(given)))
        optimizer = type(model.optimizer).from_config(model.optimizer.get_config())
    except Exception as reason:
        raise UnsupportedModel(
            f"{name} cannot be copied: {one_line(reason):.200}; own layers need get_config() "
            "and keras.saving.register_keras_serializable()"
        ) from reason
    copy.compile(optimizer=optimizer, loss=model.loss, jit_compile=model.jit_compile)
    try:
        optimizer.build(copy.trainable_variables)
    except Exception as reason:
        raise no_optimiser(reason, "keras.optimizers.Adam()") from reason
    return copy


def _travelling(model: Any) -> dict[str, Any]:
    """Return trained weights and statistics; those of frozen layers stay."""
    statistics = [
        each
        for layer in model._flatten_layers()  # noqa: SLF001 - Keras has no other walk
        if layer.trainable
        for each in layer._non_trainable_variables  # noqa: SLF001
    ]
    return {
        f"{place}.{each.name}": each
        for place, each in enumerate(model.weights)
        if each.trainable or any(each is other for other in statistics)
    }


def _seeds(model: Any) -> list[Any]:
    """Return the states of the model's generators of random numbers."""
    others = [*model.weights, *model.metrics_variables]
    return [each for each in model.variables if not any(each is other for other in others)]


def _array(value: Any) -> NDArray[Any]:
    value = value.value if isinstance(value, keras.Variable) else value
    array: NDArray[Any] = keras.ops.convert_to_numpy(value)
    return array


@contextmanager
def _randomness(seed: int) -> Iterator[None]:
    """Make what layers draw follow from a seed, on the backend where it would not."""
    if keras.backend.backend() != "torch":
        yield
        return
    import torch  # noqa: PLC0415 - only where Keras runs on it

    with _RANDOM, torch.random.fork_rng([]):
        torch.manual_seed(seed)
        yield
