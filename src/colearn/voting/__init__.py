"""Voting policies: how one learner's losses become its vote.

Each compares the *same* private samples under the current model M and the
proposal M′. Which rule learns best is measured in the project's benchmarks.
"""

from __future__ import annotations

from colearn.errors import ConfigError
from colearn.protocols import Policy
from colearn.voting.classes import ClassVeto
from colearn.voting.means import LowerMean
from colearn.voting.paired import NotWorse

__all__ = ["POLICIES", "ClassVeto", "LowerMean", "NotWorse", "policy"]

POLICIES: dict[str, Policy] = {
    "loss": LowerMean("loss"),
    "accuracy": LowerMean("error"),
    "not-worse": NotWorse(),
    "class-veto": ClassVeto(),
}
"""By name.

- ``loss`` is the strict reading: better, or no.
- ``accuracy`` is noisier: it sees no change that flips no prediction.
- ``not-worse`` also approves what is no better, unless it is clearly worse.
- ``class-veto`` is ``not-worse`` in every class of its own.
"""


def policy(name: str) -> Policy:
    """The policy of that name, or a `ConfigError` that lists the names."""
    try:
        return POLICIES[name]
    except KeyError:
        raise ConfigError(
            f"no voting policy is called {name!r}; choose one of {', '.join(POLICIES)}"
        ) from None
