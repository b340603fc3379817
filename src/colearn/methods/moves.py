"""Moves: what training did to the weights, in float64, summed the same way everywhere.

Every member and every auditor must find the same M′ to the bit. So sums over members
run in their order, sums over elements by halves, and nothing is left to a linear
algebra library, whose order of addition depends on the machine.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from colearn.errors import NotFinite, SchemaMismatch
from colearn.kinds import trained
from colearn.protocols import Tensors

Array = NDArray[np.float64]
Move = dict[str, Array]
"""A float64 array for every trained tensor, or for every statistic."""


def read(base: Tensors, tensors: Tensors, names: Iterable[str]) -> Move:
    """Some of the tensors in float64.

    Raises:
        SchemaMismatch: One is missing, or has another shape than in ``base``.
        NotFinite: One holds NaN or infinity.
    """
    result = {}
    for name in names:
        shape, found = base[name].shape, tensors.get(name)
        if found is None or found.shape != shape:
            raise SchemaMismatch(
                f"tensor {name!r} of an update "
                f"{'is missing' if found is None else f'has shape {found.shape}'}, "
                f"expected shape {shape}: where tensors grow, use the method 'plain'"
            )
        result[name] = found.astype(np.float64)
        _check_finite(name, result[name])
    return result


def move(base: Tensors, tensors: Tensors) -> Move:
    """How far training moved the trained tensors; raises as `read` does."""
    names = trained(base)
    before, after = read(base, base, names), read(base, tensors, names)
    # Zero is added because equal values of unlike signs, 0.0 and -0.0, must not differ by -0.0.
    return {name: after[name] - before[name] + 0.0 for name in names}


def total(terms: Iterable[tuple[float, Move]]) -> Move:
    """The sum of factor · move over the terms, at least one, in their order.

    Raises:
        SchemaMismatch: A move lacks a tensor of the first, or has it in another shape.
    """
    (factor, first), *others = terms
    result = {name: factor * part for name, part in first.items()}
    for factor, other in others:
        for name in result:
            result[name] += factor * _like(first, other, name)
    return result


def by_tensor(moves: Sequence[Move], center: Callable[[Sequence[Array]], Array]) -> Move:
    """One move of many: for each tensor what ``center`` makes of its arrays; raises as `total`."""
    first = moves[0]
    return {name: center([_like(first, each, name) for each in moves]) for name in first}


def _like(first: Move, other: Move, name: str) -> Array:
    """A tensor of another move, which must have it as the first does."""
    found = other.get(name)
    if found is None or found.shape != first[name].shape:
        raise SchemaMismatch(
            f"a move {'lacks' if found is None else 'has another shape of'} tensor {name!r}, "
            f"expected shape {first[name].shape}: its method's state is of another experiment"
        )
    return found


def distance(one: Move, other: Move) -> float:
    """The Euclidean distance of two moves; infinite where it is too large for a float."""
    with np.errstate(over="ignore"):
        return float(np.sqrt(sum(added(np.square(one[name] - other[name])) for name in one)))


def added(array: Array) -> float:
    """The sum of all elements: halves are laid upon each other until one is left."""
    rest = array.reshape(-1)
    while rest.size > 1:
        half, odd = divmod(rest.size, 2)
        last = rest[-odd:] if odd else None
        rest = rest[:half] + rest[half : 2 * half]
        if last is not None:
            rest[:1] += last
    return float(rest[0]) if rest.size else 0.0


def moved(base: Tensors, by: Move) -> dict[str, NDArray[np.generic]]:
    """The trained tensors after a move, in the dtypes they have.

    Raises:
        NotFinite: A number is too large for its dtype.
    """
    return as_in(base, {name: base[name].astype(np.float64) + part for name, part in by.items()})


def as_in(base: Tensors, tensors: Move) -> dict[str, NDArray[np.generic]]:
    """The tensors in the dtypes they have in ``base``; raises as `moved` does."""
    with np.errstate(over="ignore"):
        result = {name: array.astype(base[name].dtype) for name, array in tensors.items()}
    for name, array in result.items():
        _check_finite(name, array)
    return result


def lower_median(arrays: Sequence[NDArray[np.generic]]) -> NDArray[np.generic]:
    """The median of every number; of two middle ones the lower, so that some member holds it."""
    ordered: NDArray[np.generic] = np.sort(np.stack(arrays), axis=0)
    return np.asarray(ordered[(len(arrays) - 1) // 2])


def _check_finite(name: str, array: NDArray[Any]) -> None:
    if not np.isfinite(array).all():
        raise NotFinite(f"tensor {name!r} holds NaN or infinity: such an update is not merged")
