"""The original protocol: the proposer's trained weights are the proposal."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from colearn.protocols import Tensors, Trained


@dataclass(frozen=True, slots=True)
class Plain:
    """The proposer trains; nothing is merged, corrected or remembered.

    The one method for learners whose tensors grow, such as forests.
    """

    name: str = "plain"
    all_train: bool = False

    def offset(self, state: Tensors, member: str) -> Tensors | None:  # noqa: ARG002
        """Nothing."""
        return None

    def merge(self, base: Tensors, state: Tensors, updates: Sequence[Trained]) -> Tensors:  # noqa: ARG002
        """The one update's tensors."""
        (update,) = updates
        return update.tensors

    def advance(
        self,
        base: Tensors,  # noqa: ARG002
        state: Tensors,
        updates: Sequence[Trained],  # noqa: ARG002
        accepted: Tensors | None,  # noqa: ARG002
    ) -> Tensors:
        """The state as it was: empty."""
        return state

    def backed_off(self, state: Tensors) -> str | None:  # noqa: ARG002
        """Nothing."""
        return None
