"""A veto for every class: no class may pay for the others' gain."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from colearn.voting.paired import not_worse

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class ClassVeto:
    """Reject if the loss clearly rose in any one class (after BaFFLe, arXiv 2011.02167).

    Where the targets are no classes but measured numbers, all samples are one class.

    Attributes:
        z: How clearly worse, in standard errors, a class must be to be a veto.
        margin: How much worse, as a share of its loss under M.
        metric: The per-sample loss to compare.
    """

    z: float = 2.0
    margin: float = 0.05
    metric: str = "loss"

    def vote(
        self, before: NDArray[np.float64], after: NDArray[np.float64], targets: NDArray[Any], /
    ) -> bool | None:
        """Vote; abstain when there is not a single sample to compare."""
        if not len(after):
            return None
        if targets.dtype.kind == "f":
            return not_worse(before, after, self.z, self.margin)
        classes = (targets == label for label in sorted(set(targets.tolist())))
        return all(not_worse(before[own], after[own], self.z, self.margin) for own in classes)
