"""Drift correction: what keeps members with unlike data from pulling M apart.

Control variates as in SCAFFOLD (arXiv 1910.06378) and SAGA (arXiv 1407.0202), but in
units of displacement, and made of what is public anyway. A member's *control* h_i is
how far one training step of its own moved it. When it trains, every step adds an
offset, s · (h̄ − h_i): so it moves as the members do on average, whatever its own data
say. Its update less that offset gives its next control. This costs no bytes, and holds
for any optimiser.

A member's first training is not corrected; who is absent keeps its control. Who cannot
add an offset says so by declaring no steps: its update is merged, and tells nothing of
any control. Where all train, controls count as updates do, by samples: or members would
go where the mean of all members leads, and not where that of all samples does. Where one
trains at a time they count alike, for one of many samples is renewed no more often.

Correction helps only while controls foretell what members will do, and at a large
learning rate they do not. The first corrected round shows it: the members' moves
should now lie closer together than without. How much closer sets the strength s for
good. And where, in any round, corrected moves are no shorter than the uncorrected
ones were, correction has *diverged*, and is given up. Both are measured by the centre
that makes the common control: where it withstands liars, they cannot end the correction.
Where one trains at a time, `turns` watches over the correction.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple
from urllib.parse import quote

import numpy as np

from colearn.errors import SchemaMismatch
from colearn.methods.centers import Center, shares_of
from colearn.methods.memory import State, is_finite, recall, record
from colearn.methods.moves import Move, added, move, total
from colearn.protocols import Tensors, Trained

Control = Callable[[int], Center]
"""Gives, after so many rounds, the centre that makes the common control."""

_CENTER = "center"
_CONTROL = "control"
_SAMPLES = "samples"
_ROUNDS = "rounds"
STRENGTH = "strength"
_GAIN = 1.5
_NO_SHORTER = 0.95
_APART = 0.5


def always(center: Center, rounds: int) -> Center:  # noqa: ARG001
    """The same centre after any number of rounds."""
    return center


class _Spread(NamedTuple):
    """Typical squared length of some moves, and how much of it is not common to all."""

    whole: float
    apart: float


def offset(state: Tensors, member: str) -> State | None:
    """What a member's every training step is to add, or None."""
    center, own = recall(state, _CENTER), recall(state, _key(member))
    if center is None or own is None:
        return None
    used = strength(state)
    told = total(((used, center), (-used, own)))
    return {name: part.astype(state[f"{_CENTER}/{name}"].dtype) for name, part in told.items()}


def foretold(state: Tensors, update: Trained) -> Move | None:
    """How far a member should have moved by itself; None where its move is not corrected."""
    own = recall(state, _key(update.member))
    if not update.steps or own is None:
        return None
    return total(((float(update.steps), own),))


def diverged(base: Tensors, state: Tensors, updates: Sequence[Trained], control: Control) -> bool:
    """Whether corrected moves are as long as uncorrected ones, and mostly not common."""
    found = _spreads(base, state, updates, control(_rounds(state)))
    if found is None:
        return False
    now, before = found
    if not (math.isfinite(now.whole) and math.isfinite(before.whole)):
        return True
    return now.whole > _NO_SHORTER * before.whole and now.apart > _APART * now.whole


def advance(base: Tensors, state: Tensors, updates: Sequence[Trained], control: Control) -> State:
    """The controls after a round, and what ``control`` makes of them."""
    known = _number(state, STRENGTH)
    if (known is not None and not known) or diverged(base, state, updates, control):
        return {STRENGTH: np.array(0.0)}
    rounds = _rounds(state)
    center = control(rounds)
    updates = [update for update in updates if update.steps]
    controls = {key: recall(state, key) or {} for key in _keys(state)}
    fresh = {_key(update.member): _control(base, state, update) for update in updates}
    samples = _samples(state) | {_key(update.member): update.samples for update in updates}
    controls |= fresh
    if not controls:
        return {}
    keys = sorted(controls)
    counts = [samples[key] for key in keys]
    result = record(_CENTER, center([controls[key] for key in keys], shares_of(counts)), base)
    result[_SAMPLES] = np.array(counts, np.float64)
    result[_ROUNDS] = np.array(float(rounds + bool(fresh)))
    for key, each in fresh.items():
        result |= record(key, each, base)
    if known is None and (found := _spreads(base, state, updates, center)) is not None:
        now, before = found
        closer = 1.0 - now.apart / before.apart if before.apart else 1.0
        known = np.array(min(max(_GAIN * closer, 0.0), 1.0))
    if known is not None:
        result[STRENGTH] = known
    if not is_finite(result):
        return {STRENGTH: np.array(0.0)}
    kept = {name: held for name, held in state.items() if name.startswith(f"{_CONTROL}/")}
    return kept | result


def common(
    base: Tensors, state: Tensors, updates: Sequence[Trained], control: Control
) -> Move | None:
    """How far one step moves the members in common, by these updates and all earlier ones.

    None where drift correction was given up.
    """
    return recall(advance(base, state, updates, control), _CENTER)


def given_up(state: Tensors) -> str | None:
    """That drift correction was given up, and why, in words; None where it was not."""
    if strength(state):
        return None
    return (
        "drift correction is given up: corrected updates were no shorter than uncorrected "
        "ones, or no closer together; a smaller learning rate may help"
    )


def strength(state: Tensors) -> float:
    """How much of an offset is added: all of it until that is known."""
    known = _number(state, STRENGTH)
    return 1.0 if known is None else float(known)


def _rounds(state: Tensors) -> int:
    """In how many rounds controls were renewed."""
    return int(_number(state, _ROUNDS) or 0)


def _number(state: Tensors, name: str) -> Any:
    known = state.get(name)
    if known is None or (not known.shape and np.isfinite(known)):
        return known
    held = f"of shape {known.shape}" if known.shape else str(known)
    raise SchemaMismatch(
        f"the method's state has {name} {held}, expected one finite number: "
        "it is of another experiment"
    )


def _spreads(
    base: Tensors, state: Tensors, updates: Sequence[Trained], center: Center
) -> tuple[_Spread, _Spread] | None:
    """Of the moves of those who were corrected, and of what they did before by themselves."""
    corrected = [
        (move(base, update.tensors), alone)
        for update in updates
        if (alone := foretold(state, update)) is not None
    ]
    if len(corrected) < 2:
        return None
    now, before = zip(*corrected, strict=True)
    return _spread(now, center), _spread(before, center)


def _spread(moves: Sequence[Move], center: Center) -> _Spread:
    """Measured about the centre and by it, so that where it withstands liars this does."""
    shares = shares_of([1] * len(moves))
    with np.errstate(over="ignore", invalid="ignore"):
        common = center(moves, shares)
        apart = [total(((1.0, each), (-1.0, common))) for each in moves]
        whole, rest = (
            center([{"": np.array(square(each))} for each in some], shares)
            for some in (moves, apart)
        )
    return _Spread(float(whole[""]), float(rest[""]))


def square(one: Move) -> float:
    """A move's squared length."""
    return sum(added(np.square(part)) for part in one.values())


def _control(base: Tensors, state: Tensors, update: Trained) -> Move:
    """How far one step moved a member, less what it was told to add."""
    terms = [(1.0 / update.steps, move(base, update.tensors))]
    told = offset(state, update.member)
    if told is not None:
        terms.append((-1.0, {name: part.astype(np.float64) for name, part in told.items()}))
    return total(terms)


def _key(member: str) -> str:
    return f"{_CONTROL}/{quote(member, safe='')}"


def _keys(state: Tensors) -> list[str]:
    return sorted(
        {"/".join(name.split("/", 2)[:2]) for name in state if name.startswith(f"{_CONTROL}/")}
    )


def _samples(state: Tensors) -> dict[str, float]:
    """What each member whose control is known declared with its last update."""
    keys, held = _keys(state), state.get(_SAMPLES, np.zeros(0))
    if held.shape != (len(keys),):
        raise SchemaMismatch(
            f"the method's state counts samples in shape {held.shape}, expected ({len(keys)},), "
            "one for each control: it is of another experiment"
        )
    return dict(zip(keys, held.tolist(), strict=True))
