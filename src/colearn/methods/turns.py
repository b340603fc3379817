"""The guard of drift correction where one member trains at a time.

Whether a corrected move is shorter than an uncorrected one was tells little of a single
member: its data may pull farther than others'. So the moves of the last turns are summed,
those before fading. Where they are no shorter than these members' own would have been,
the correction, and with it the step of M′, is halved, and from then on judged anew.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from colearn.errors import SchemaMismatch
from colearn.methods import controls
from colearn.methods.memory import State
from colearn.methods.moves import move
from colearn.protocols import Tensors, Trained

_LENGTHS = "lengths"
_FADING = 0.9
_ENOUGH = 10


def advance(base: Tensors, state: Tensors, updates: Sequence[Trained]) -> State:
    """The lengths of the last turns, and how strong correction is once it was halved."""
    lengths = _lengths(state)
    for update in updates:
        alone = controls.foretold(state, update)
        if alone is None or controls.offset(state, update.member) is None:
            continue
        with np.errstate(over="ignore"):
            fresh = (controls.square(move(base, update.tensors)), controls.square(alone), 1.0)
        lengths = lengths * (_FADING, _FADING, 1.0) + fresh
    now, before, turns = lengths
    if np.isfinite(lengths).all() and (turns < _ENOUGH or now < before):
        return {_LENGTHS: lengths}
    return {_LENGTHS: np.zeros(3), controls.STRENGTH: np.array(controls.strength(state) / 2)}


def backed_off(state: Tensors) -> str | None:
    """That the correction was halved, and why, in words; None where it was not."""
    if controls.strength(state) == 1.0:
        return None
    return (
        "drift correction is halved: corrected updates were no shorter than uncorrected ones; "
        "a smaller learning rate may help"
    )


def _lengths(state: Tensors) -> NDArray[np.float64]:
    """Of the last corrected moves, and of what those members had done before by themselves.

    Sums of squares, and how many turns they are of since the correction was halved last.
    """
    held = state.get(_LENGTHS, np.zeros(3))
    if held.shape != (3,):
        raise SchemaMismatch(
            f"the method's state has lengths of shape {held.shape}, expected (3,): "
            "it is of another experiment"
        )
    return held.astype(np.float64)
