"""The lenient rule: a proposal must not be clearly worse.

It approves what the strict reading of "better" rejects: a change whose gain drowns in
the noise of few samples, and even a small loss. Such changes are most of the progress
that merged proposals make late in training.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class NotWorse:
    """Reject if and only if the loss rose, and by more than chance explains.

    The gain is the loss of each sample under M less that under M′. Its mean must lie
    above −z standard errors: a paired t test on one side.

    Attributes:
        z: How clearly worse a proposal must be to be rejected.
        metric: The per-sample loss to compare.
    """

    z: float = 2.0
    metric: str = "loss"

    def vote(
        self, before: NDArray[np.float64], after: NDArray[np.float64], _targets: NDArray[Any], /
    ) -> bool | None:
        """Vote; abstain when there is not a single sample to compare."""
        return not_worse(before, after, self.z) if len(after) else None


def not_worse(before: NDArray[np.float64], after: NDArray[np.float64], z: float) -> bool:
    """Whether the mean of ``before − after`` lies above −z of its standard errors.

    One sample has no standard error: its loss must not rise. Losses that are not all
    finite under M′ are worse than any.
    """
    if not np.isfinite(after).all():
        return False
    gains = before - after
    if not np.isfinite(gains).all():
        return True
    error = float(gains.std(ddof=1)) / math.sqrt(len(gains)) if len(gains) > 1 else 0.0
    mean = float(gains.mean())
    return mean > -z * error or mean >= 0
