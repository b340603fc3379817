"""What a method remembers: moves under keys, in one flat mapping of tensors to store.

The move ``control/alice`` over the tensors ``b`` and ``w`` is held as
``control/alice/b`` and ``control/alice/w``.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from colearn.methods.moves import Move
from colearn.protocols import Tensors

State = dict[str, NDArray[np.generic]]


def recall(state: Tensors, key: str) -> Move | None:
    """The move held under a key, or None."""
    start = f"{key}/"
    found = {
        name.removeprefix(start): tensor.astype(np.float64)
        for name, tensor in state.items()
        if name.startswith(start)
    }
    return found or None


def record(key: str, move: Move, like: Tensors) -> State:
    """The tensors that hold a move: as precise as the weights, and at least as float32."""
    return {
        f"{key}/{name}": part.astype(np.float64 if like[name].dtype.itemsize > 4 else np.float32)
        for name, part in move.items()
    }
