"""How much privacy a list of noisy releases costs, as (epsilon, delta).

The charge is the larger of what two accountants say, both by dp-accounting: privacy
loss distributions (PLD, arXiv 2207.04380), which are all but exact, and Rényi
differential privacy (RDP, arXiv 1702.07476, 1908.10530). An error in one of them
alone cannot undercharge. Two data sets are neighbours if one has one record more.

Counts are folded into the events, as the library's ``compose(event, count)`` ignores
the count for some of them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from functools import lru_cache
from typing import NamedTuple

from colearn.errors import ConfigError, MissingExtra

try:
    import dp_accounting as dp
    from dp_accounting.pld import PLDAccountant
    from dp_accounting.rdp import RdpAccountant
except ModuleNotFoundError:
    raise MissingExtra("privacy", "dp-accounting", "privacy") from None

_PLD_INTERVAL = 1e-3  # rounded up: too high by at most 1e-3 for any budget worth the name
_RDP_ORDERS = (*range(2, 65), 80, 96, 128, 192, 256, 384, 512, 1024)
_MIN_NOISE, _MAX_NOISE = 0.1, 1e6
_PRECISION = 1.001


class Event(NamedTuple):
    """Gaussian noise added some times over: one vote, or the steps of one training.

    Attributes:
        noise_multiplier: The noise's standard deviation over what one record can change.
        sampling_rate: Chance of each record to be in a step (Poisson sampling).
        steps: How many times.
    """

    noise_multiplier: float
    sampling_rate: float = 1.0
    steps: int = 1


def epsilon(events: Iterable[Event], delta: float) -> float:
    """The epsilon of all these together: the larger of PLD's and RDP's; 0 for none.

    The order of the events is of no account, and later ones may depend on what
    earlier ones gave.
    """
    together = total(events)
    return _epsilon(together, delta) if together else 0.0


def total(events: Iterable[Event]) -> tuple[Event, ...]:
    """The same events with the steps of equal ones added up, in a fixed order."""
    steps: Counter[tuple[float, float]] = Counter()
    for event in events:
        steps[event[:2]] += event.steps
    return tuple(Event(*kind, steps=count) for kind, count in sorted(steps.items()) if count)


def noise_multiplier(
    target_epsilon: float, delta: float, *, sampling_rate: float = 1.0, steps: int = 1
) -> float:
    """The least noise, to 0.1 %, with which that many steps cost at most ``target_epsilon``.

    Raises:
        ConfigError: No amount of noise is enough.
    """

    def events(noise: float) -> tuple[Event, ...]:
        return (Event(noise, sampling_rate, steps),)

    low, high = _MIN_NOISE, _MAX_NOISE
    if not rdp_epsilon(events(high), delta) <= target_epsilon:
        raise ConfigError(
            f"no noise makes {steps} steps cost epsilon {target_epsilon} at delta {delta}: "
            "take a larger epsilon"
        )
    while high / low > _PRECISION:
        middle = (low * high) ** 0.5
        if rdp_epsilon(events(middle), delta) <= target_epsilon:
            high = middle
        else:
            low = middle
    while epsilon(events(high), delta) > target_epsilon:  # where RDP is not the larger of the two
        high *= _PRECISION
    return high


@lru_cache(maxsize=4096)
def _epsilon(events: tuple[Event, ...], delta: float) -> float:
    return max(pld_epsilon(events, delta), rdp_epsilon(events, delta))


def pld_epsilon(events: tuple[Event, ...], delta: float) -> float:
    """What privacy loss distributions say, rounded up."""
    accountant = PLDAccountant(value_discretization_interval=_PLD_INTERVAL)
    return float(accountant.compose(_composed(events)).get_epsilon(delta))


def rdp_epsilon(events: tuple[Event, ...], delta: float) -> float:
    """What Rényi differential privacy says, at whole orders."""
    return float(RdpAccountant(_RDP_ORDERS).compose(_composed(events)).get_epsilon(delta))


def _composed(events: tuple[Event, ...]) -> dp.DpEvent:
    composed = []
    for noise, rate, steps in events:
        event = dp.GaussianDpEvent(noise)
        if rate < 1:
            event = dp.PoissonSampledDpEvent(rate, event)
        composed.append(dp.SelfComposedDpEvent(event, steps))
    return dp.ComposedDpEvent(composed)
