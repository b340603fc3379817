"""The strict rule: a proposal must be better."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class LowerMean:
    """Approve if and only if the mean of a per-sample loss falls.

    A mean that is NaN counts as infinite, under M and under M′ alike.
    """

    metric: str

    def vote(
        self, before: NDArray[np.float64], after: NDArray[np.float64], _targets: NDArray[Any], /
    ) -> bool | None:
        """Vote; abstain when there is not a single sample to compare."""
        if not len(after):
            return None
        old, new = (
            math.inf if math.isnan(mean) else mean for mean in (before.mean(), after.mean())
        )
        return bool(new < old)
