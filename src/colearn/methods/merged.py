"""Merging what members trained into one proposal: every method but `plain` is one of these."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from colearn.kinds import counts, statistics, trained
from colearn.methods import controls, turns
from colearn.methods.centers import Center, shares_of
from colearn.methods.controls import Control
from colearn.methods.memory import Memory, State, is_finite, recall, record
from colearn.methods.moves import (
    Move,
    as_in,
    lower_median,
    move,
    moved,
    read,
    total,
)
from colearn.protocols import Tensors, Trained

_MOVE = "move"


@dataclass(frozen=True, slots=True)
class Merged:
    """M′ is M, moved by a centre of the members' moves, and some of the last move again.

    Where one member trains a round, the others count by what their last training told:
    a step of M′ is the centre of all members' controls, the proposer's renewed, and M′
    takes as many of them as the proposer did (SAG, arXiv 1309.2388), shortened as much as
    drift correction is weakened.

    Attributes:
        name: What an experiment calls it.
        center: Makes one move of the members'.
        control: Gives, after so many rounds, the centre that makes the common control of the
            members'; None: drift is not corrected.
        momentum: How much of the last accepted move is made again (arXiv 1909.06335).
            A rejection halves what is remembered of it.
        all_train: Whether every member trains each round, or the proposer alone, and
            then with drift correction.
    """

    name: str
    center: Center
    control: Control | None = None
    momentum: float = 0.0
    all_train: bool = True

    def offset(self, state: Tensors, member: str) -> Tensors | None:
        """What a member's every training step is to add to its tensors, or None."""
        return None if self.control is None else controls.offset(state, member)

    def merge(self, base: Tensors, state: Tensors, updates: Sequence[Trained]) -> Tensors:
        """M′ from M and the members' updates, given in member order.

        Where drift correction has diverged in this round, M′ is M: what was trained is
        not used, and from the next round on members train uncorrected.

        Raises:
            NotFinite: An update holds NaN or infinity, or M′ would.
            SchemaMismatch: An update has other tensors than M.
        """
        if self.control is not None and controls.diverged(base, state, updates, self.control):
            return base
        shares = shares_of([update.samples for update in updates])
        step = self._step(base, state, updates, shares)
        last = recall(state, _MOVE)
        if last is not None:
            step = total(((1.0, step), (self.momentum, last)))
        return moved(base, step) | self._settled(base, updates, shares)

    def advance(
        self, base: Tensors, state: Tensors, updates: Sequence[Trained], accepted: Tensors | None
    ) -> Tensors:
        """The state after a round that merged these updates."""
        result: State = {}
        if self.momentum:
            last = recall(state, _MOVE)
            if accepted is not None:
                last = move(base, accepted)
            elif last is not None:
                last = total(((0.5, last),))
            if last is not None:
                remembered = record(_MOVE, last, base)
                result = remembered if is_finite(remembered) else {}
        if self.control is not None:
            result |= controls.advance(base, state, updates, self.control)
            if not (self.all_train or controls.given_up(result)):
                result |= turns.advance(base, state, updates)
        return Memory(result, trained(base))

    def backed_off(self, state: Tensors) -> str | None:
        """From drift correction, once it has not helped; None until then."""
        if self.control is None:
            return None
        given_up = controls.given_up(state)
        return given_up if given_up or self.all_train else turns.backed_off(state)

    def _step(
        self, base: Tensors, state: Tensors, updates: Sequence[Trained], shares: Sequence[float]
    ) -> Move:
        """How far M moves, before momentum."""
        moves = [move(base, update.tensors) for update in updates]
        if self.control is not None and not self.all_train and updates[0].steps:
            common = controls.common(base, state, updates, self.control)
            if common is not None:
                return total(((controls.strength(state) * updates[0].steps, common),))
        return self.center(moves, shares)

    def _settled(self, base: Tensors, updates: Sequence[Trained], shares: Sequence[float]) -> State:
        """The tensors that do not move: of statistics the centre, of counts the median."""
        result: State = {}
        if names := statistics(base):
            read_all = [read(base, update.tensors, names) for update in updates]
            result |= as_in(base, self.center(read_all, shares))
        for name in counts(base):
            result[name] = lower_median([update.tensors[name] for update in updates])
        return result
