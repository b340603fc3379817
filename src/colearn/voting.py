"""Voting policies: how one learner's losses become its vote.

Each compares the *same* private samples under the current model M and the
proposal M′. Which rule learns best is measured in the project's benchmarks.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from colearn.errors import ConfigError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class LowerMean:
    """Approve if and only if the mean of a per-sample loss falls.

    A mean that is NaN counts as infinite, under M and under M′ alike.
    """

    metric: str

    def vote(self, before: NDArray[np.float64], after: NDArray[np.float64]) -> bool | None:
        """Vote; abstain when there is not a single sample to compare."""
        if not len(after):
            return None
        old, new = (
            math.inf if math.isnan(mean) else mean for mean in (before.mean(), after.mean())
        )
        return bool(new < old)


POLICIES = {"loss": LowerMean("loss"), "accuracy": LowerMean("error")}
"""By name. ``accuracy`` is noisier: it sees no change that flips no prediction."""


def policy(name: str) -> LowerMean:
    """The policy of that name, or a `ConfigError` that lists the names."""
    try:
        return POLICIES[name]
    except KeyError:
        raise ConfigError(
            f"no voting policy is called {name!r}; choose one of {', '.join(POLICIES)}"
        ) from None
