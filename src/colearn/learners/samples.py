"""Samples in arrays, and options that are whole numbers: checked before anything is learned."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from colearn.errors import ConfigError, LearnerError

if TYPE_CHECKING:
    from numpy.typing import NDArray

Samples = tuple["NDArray[Any]", "NDArray[Any]"]
"""x of shape (n, ...) and y of shape (n,)."""


def whole_number(name: str, value: object, *, least: int) -> int:
    """Return the value, or raise `ConfigError` unless it is an integer of at least ``least``."""
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < least:
        raise ConfigError(f"{name} {value!r} is refused: it must be a whole number from {least} up")
    return int(value)


def checked_samples(
    name: str, samples: Samples, *, like: Samples | None = None, many_targets: bool = False
) -> Samples:
    """Return samples as arrays, or raise `LearnerError` if nothing can be learned from them.

    ``like`` are samples whose x must have the same shape, apart from their number.
    With ``many_targets`` y may have more axes than one.
    """
    x, y = np.asarray(samples[0]), np.asarray(samples[1])
    wrong_axes = y.ndim < 1 if many_targets else y.ndim != 1
    if x.ndim < 1 or wrong_axes or len(x) != len(y):
        raise LearnerError(
            f"the {name} samples have x of shape {x.shape} and y of shape {y.shape}: "
            f"expected (n, ...) and {'(n, ...)' if many_targets else '(n,)'}"
        )
    if not len(x):
        raise LearnerError(f"there are no {name} samples: at least one is needed")
    if x.dtype.kind in "OSU":
        raise LearnerError(f"x of the {name} samples is {x.dtype}: expected numbers")
    if like is not None and x.shape[1:] != like[0].shape[1:]:
        raise LearnerError(
            f"a {name} sample has shape {x.shape[1:]}, "
            f"but a train sample has {like[0].shape[1:]}: they must agree"
        )
    for part, values in (("x", x), ("y", y)):
        if values.dtype.kind == "f" and not np.isfinite(values).all():
            raise LearnerError(
                f"{part} of the {name} samples holds NaN or infinity: fill or drop those samples"
            )
    return x, y
