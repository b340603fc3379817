"""The lenient rule: a proposal must not be clearly worse.

It approves what the strict reading of "better" rejects: a change whose gain drowns in
the noise of few samples, and even a small loss. Such changes are most of the progress
that merged proposals make late in training.

How small a loss is clear depends on the number of samples. Of a thousand, one per cent
is, and a proposal that is good for all is often that much worse for one of them, whose
data are unlike the others'. So a loss must also be more than a *margin* to count.
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
    """Reject if and only if the loss rose by more than chance explains, and by more than a margin.

    The gain is the loss of each sample under M less that under M′. A proposal is rejected
    where its mean lies below −z standard errors, as in a paired t test on one side, and
    below −margin times the mean loss under M.

    Attributes:
        z: How clearly worse a proposal must be to be rejected.
        margin: How much worse it must be, as a share of the loss under M.
        metric: The per-sample loss to compare.
    """

    z: float = 2.0
    margin: float = 0.05
    metric: str = "loss"

    def vote(
        self, before: NDArray[np.float64], after: NDArray[np.float64], _targets: NDArray[Any], /
    ) -> bool | None:
        """Vote; abstain when there is not a single sample to compare."""
        return not_worse(before, after, self.z, self.margin) if len(after) else None


def not_worse(
    before: NDArray[np.float64], after: NDArray[np.float64], z: float, margin: float
) -> bool:
    """Whether the mean of ``before − after`` lies above −z standard errors, or above −margin.

    The margin is a share of the mean of ``before``. One sample has no standard error, and
    the margin alone decides. Losses that are not all finite under M′ are worse than any.
    """
    if not np.isfinite(after).all():
        return False
    gains = before - after
    if not np.isfinite(gains).all():
        return True
    error = float(gains.std(ddof=1)) / math.sqrt(len(gains)) if len(gains) > 1 else 0.0
    mean = float(gains.mean())
    return mean >= 0 or mean > -max(z * error, margin * float(before.mean()))
