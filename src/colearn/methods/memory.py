"""What a method remembers: moves under keys, in one flat mapping of tensors to store.

The move ``control/alice`` over the tensors ``b`` and ``w`` is held as
``control/alice/b`` and ``control/alice/w``.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from colearn.methods.moves import Move
from colearn.protocols import Tensors

State = dict[str, NDArray[np.generic]]


class Memory(State):
    """A state of which is known over which tensors its moves are: nobody has to look for them."""

    def __init__(self, state: State, names: Iterable[str]) -> None:
        super().__init__(state)
        self.names = tuple(names)


def recall(state: Tensors, key: str) -> Move | None:
    """The move held under a key, or None."""
    start = f"{key}/"
    if isinstance(state, Memory):
        held = [name for name in state.names if f"{start}{name}" in state]
    else:
        held = [name.removeprefix(start) for name in state if name.startswith(start)]
    return {name: state[f"{start}{name}"].astype(np.float64) for name in held} or None


def record(key: str, move: Move, like: Tensors) -> State:
    """The tensors that hold a move: as precise as the weights, and at least as float32."""
    with np.errstate(over="ignore"):
        return {
            f"{key}/{name}": part.astype(
                np.float64 if like[name].dtype.itemsize > 4 else np.float32
            )
            for name, part in move.items()
        }


def is_finite(state: State) -> bool:
    """Whether a state can be stored: what overflows must be forgotten instead."""
    return all(np.isfinite(tensor).all() for tensor in state.values())
