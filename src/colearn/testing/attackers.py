"""Learners that attack: wrappers round any learner, to see what a vote withstands.

All but the attack is the wrapped learner's: its data, its seed, its other methods.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from colearn.ml_interface import (
    ColearnModel,
    MachineLearningInterface,
    ProposedWeights,
    Weights,
)
from colearn.records import Digest, digest_of

_Array = NDArray[np.generic]
_OPTIONAL = ("schema", "probe", "set_seed", "set_offset", "training_size")


class _Wrapper(MachineLearningInterface):
    """Does what the wrapped learner does."""

    def __init__(self, learner: MachineLearningInterface) -> None:
        self.learner = learner
        for name in _OPTIONAL:  # isinstance of a protocol sees no __getattr__, from Python 3.12 on
            if hasattr(learner, name) and not hasattr(type(self), name):
                setattr(self, name, getattr(learner, name))

    def __getattr__(self, name: str) -> Any:
        if name == "learner":  # not set yet: a copy is being made
            raise AttributeError(name)
        return getattr(self.learner, name)

    def mli_propose_weights(self) -> Weights:
        """Propose as the wrapped learner does."""
        return self.learner.mli_propose_weights()

    def mli_test_weights(self, weights: Weights) -> ProposedWeights:
        """Vote as the wrapped learner does."""
        return self.learner.mli_test_weights(weights)

    def mli_accept_weights(self, weights: Weights) -> None:
        """Accept as the wrapped learner does."""
        self.learner.mli_accept_weights(weights)

    def mli_get_current_weights(self) -> Weights:
        """Return the wrapped learner's current weights."""
        return self.learner.mli_get_current_weights()

    def mli_get_current_model(self) -> ColearnModel:
        """Return the wrapped learner's current model."""
        return self.learner.mli_get_current_model()


class SignFlip(_Wrapper):
    """Goes the wrong way: proposes M − strength · (M′ − M) where M′ would be honest.

    Tensors that are not of floating-point numbers, or whose shape has changed, stay
    as they are in M′.
    """

    def __init__(self, learner: MachineLearningInterface, strength: float = 3.0) -> None:
        super().__init__(learner)
        self._strength = strength

    def mli_propose_weights(self) -> Weights:
        """Train honestly, then turn the update round and enlarge it."""
        current = self.learner.mli_get_current_weights().weights
        honest = self.learner.mli_propose_weights()
        return Weights(
            {name: self._flip(current.get(name), new) for name, new in honest.weights.items()},
            honest.training_summary,
        )

    def _flip(self, old: _Array | None, new: _Array) -> _Array:
        if old is None or not _is_float(new) or np.shape(old) != np.shape(new):
            return new
        before = np.asarray(old, np.float64)
        return (before - self._strength * (np.asarray(new, np.float64) - before)).astype(new.dtype)


class Noise(_Wrapper):
    """Proposes the current weights with Gaussian noise on them, without training.

    ``sigma`` is the noise's standard deviation, in the weights' own units. Tensors
    that are not of floating-point numbers stay as they are.
    """

    def __init__(self, learner: MachineLearningInterface, sigma: float, seed: int = 0) -> None:
        super().__init__(learner)
        self._sigma = sigma
        self._seed = seed
        self._draw = 0

    def set_seed(self, seed: int) -> None:
        """Draw the next noise from this seed, and pass it on to a learner that takes one."""
        self._draw = seed
        if hasattr(self.learner, "set_seed"):
            self.learner.set_seed(seed)

    def mli_propose_weights(self) -> Weights:
        """Add noise to the current weights."""
        rng = np.random.default_rng((self._seed, self._draw))
        self._draw += 1
        current = self.learner.mli_get_current_weights().weights
        return Weights({name: self._blur(value, rng) for name, value in current.items()})

    def _blur(self, value: _Array, rng: np.random.Generator) -> _Array:
        if not _is_float(value):
            return value
        noise = self._sigma * rng.standard_normal(np.shape(value))
        return (np.asarray(value, np.float64) + noise).astype(value.dtype)


class LazyVoter(_Wrapper):
    """Approves everything without looking, and proposes the current weights untrained."""

    def mli_propose_weights(self) -> Weights:
        """Return the current weights."""
        return self.learner.mli_get_current_weights()

    def mli_test_weights(self, weights: Weights) -> ProposedWeights:
        """Approve."""
        return ProposedWeights(weights.weights, weights.training_summary, vote=True)


class ContraryVoter(_Wrapper):
    """Trains and tests honestly, and votes against what it found."""

    def mli_test_weights(self, weights: Weights) -> ProposedWeights:
        """Turn the honest vote round; an abstention stays one."""
        honest = self.learner.mli_test_weights(weights)
        return replace(honest, vote=None if honest.vote is None else not honest.vote)


class Pact:
    """What colluders agree on: to approve what one of them proposed, and nothing else."""

    def __init__(self) -> None:
        self._proposed: set[Digest] = set()

    def add(self, weights: Weights) -> None:
        """Let the others know weights that one of them proposes."""
        self._proposed.add(_content_digest(weights))

    def __contains__(self, weights: Weights) -> bool:
        return _content_digest(weights) in self._proposed


class Colluder(_Wrapper):
    """Proposes as the wrapped learner does, which may be an attacker; votes by the pact."""

    def __init__(self, learner: MachineLearningInterface, pact: Pact) -> None:
        super().__init__(learner)
        self._pact = pact

    def mli_propose_weights(self) -> Weights:
        """Propose, and tell the pact."""
        weights = self.learner.mli_propose_weights()
        self._pact.add(weights)
        return weights

    def mli_test_weights(self, weights: Weights) -> ProposedWeights:
        """Approve what the pact proposed; reject all else."""
        return ProposedWeights(
            weights.weights, weights.training_summary, vote=weights in self._pact
        )


def _is_float(value: _Array) -> bool:
    return np.asarray(value).dtype.name in {"float16", "bfloat16", "float32", "float64"}


def _content_digest(weights: Weights) -> Digest:
    """Hash names, dtypes, shapes and bytes, whatever the order of the names."""
    parts: list[bytes] = []
    for name, value in sorted(weights.weights.items()):
        array = np.asarray(value)
        parts += [f"{name!r} {array.dtype.name} {array.shape} ".encode(), array.tobytes()]
    return digest_of(parts)
