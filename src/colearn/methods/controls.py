"""Drift correction: what keeps members with unlike data from pulling M apart.

Control variates as in SCAFFOLD (arXiv 1910.06378) and SAGA (arXiv 1407.0202), but in
units of displacement, and made of what is public anyway. A member's *control* h_i is
how far one training step of its own moved it. When it trains, every step adds an
offset, h̄ − h_i: so it moves as the members do on average, whatever its own data say.
Its update less that offset gives its next control. This costs no bytes, and holds for
any optimiser.

A member's first training is not corrected; who is absent keeps its control.
"""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import quote

from colearn.methods.centers import Center
from colearn.methods.memory import State, recall, record
from colearn.methods.moves import Move, move, total
from colearn.protocols import Tensors, Trained

_CENTER = "center"
_CONTROL = "control"


def offset(state: Tensors, member: str) -> State | None:
    """What a member's every training step is to add, or None."""
    center, own = recall(state, _CENTER), recall(state, _key(member))
    if center is None or own is None:
        return None
    told = total(((1.0, center), (-1.0, own)))
    return {name: part.astype(state[f"{_CENTER}/{name}"].dtype) for name, part in told.items()}


def advance(base: Tensors, state: Tensors, updates: Sequence[Trained], center: Center) -> State:
    """The controls after a round, and what ``center`` makes of them."""
    controls = {key: recall(state, key) or {} for key in _keys(state)}
    for update in updates:
        controls[_key(update.member)] = _control(base, state, update)
    moves = [controls[key] for key in sorted(controls)]
    result = record(_CENTER, center(moves, [1.0 / len(moves)] * len(moves)), base)
    for key, each in controls.items():
        result |= record(key, each, base)
    return result


def _control(base: Tensors, state: Tensors, update: Trained) -> Move:
    """How far one step moved a member, less what it was told to add."""
    terms = [(1.0 / update.steps, move(base, update.tensors))]
    told = offset(state, update.member)
    if told is not None:
        terms.append((-1.0, {name: part.astype("float64") for name, part in told.items()}))
    return total(terms)


def _key(member: str) -> str:
    return f"{_CONTROL}/{quote(member, safe='')}"


def _keys(state: Tensors) -> set[str]:
    return {"/".join(name.split("/", 2)[:2]) for name in state if name.startswith(f"{_CONTROL}/")}
