"""Methods: how M′ is made from M, and what each remembers from round to round."""

from __future__ import annotations

from functools import partial

from colearn.errors import ConfigError
from colearn.methods.centers import (
    Center,
    equal_mean,
    geometric_median,
    mean,
    median,
    multi_krum,
    nearby_mean,
    trimmed_mean,
)
from colearn.methods.controls import always
from colearn.methods.merged import Merged
from colearn.methods.plain import Plain
from colearn.protocols import Method
from colearn.records import PLAIN

_ALL_UP_TO = 12
_DRAWN = 10


def _widening(rounds: int) -> Center:
    """In the first rounds honest controls lie close together, and those of liars stand out."""
    return partial(nearby_mean, trust=1.0, reach=min(1.5 + 0.05 * rounds, 3.0))


METHODS: dict[str, Method] = {
    each.name: each
    for each in (
        Plain(),
        Merged("solo-dc", mean, control=partial(always, equal_mean), all_train=False),
        Merged("fast", mean, control=partial(always, mean), momentum=0.6),
        Merged(
            "shield", partial(nearby_mean, trust=2.0, reach=2.0), control=_widening, momentum=0.7
        ),
        Merged("average", mean),
        Merged("median", median),
        Merged("trimmed-mean", partial(trimmed_mean, trim=0.3)),
        Merged("geometric-median", geometric_median),
        Merged("multi-krum", partial(multi_krum, liars=0.3)),
    )
}
"""By name: what an experiment calls it, and anyone may repeat."""


def method(name: str) -> Method:
    """The method of that name, or a `ConfigError` that lists the names."""
    try:
        return METHODS[name]
    except KeyError:
        raise ConfigError(
            f"no method is called {name!r}; choose one of {', '.join(METHODS)}"
        ) from None


def method_for(*, merges: bool, trusted: bool) -> str:
    """The method that suits the members.

    Members that trust each other learn fastest by ``fast``; if some may lie, ``shield``
    withstands them. Models that cannot be merged keep the plain protocol.

    Args:
        merges: Whether their models can be merged, as those whose tensors grow cannot.
        trusted: Whether the members trust each other.
    """
    if not merges:
        return PLAIN
    return "fast" if trusted else "shield"


def committee_for(method: str, members: int) -> int:
    """How large a committee suits so many members; 0: all vote and train.

    In a merging method each update goes to every member, so that the bytes of a round grow with
    the square of their number. Members that trust each other lose little where ten and the
    proposer train, and a round takes less than 2 (n − 1) models. Where some may lie, a small
    committee can by chance have a majority of liars: there it is for the user to choose.
    """
    return _DRAWN if method == "fast" and members > _ALL_UP_TO else 0
