"""Three kinds of tensors that are told apart wherever weights are merged or sent.

Floating ones are *trained*: they move. *Statistics*, such as BatchNorm's running variance,
are floating too and known by their names: a variance must not become negative, neither by
momentum nor by rounding. The others, whole numbers and truth values, are *counts*.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from colearn.schema import KINDS, Array

_is_statistic = re.compile(
    r"(.*[./])?(running_mean|running_var|moving_mean|moving_variance|samples_seen)"
    r"|(.*[./])?batch_stats[./].*"
).fullmatch


def trained(base: Mapping[str, Array]) -> list[str]:
    """Names of the tensors that training moves, sorted."""
    return [name for name in sorted(base) if _floats(base, name) and not _is_statistic(name)]


def statistics(base: Mapping[str, Array]) -> list[str]:
    """Names of the floating tensors that describe data, sorted."""
    return [name for name in sorted(base) if _floats(base, name) and _is_statistic(name)]


def counts(base: Mapping[str, Array]) -> list[str]:
    """Names of the tensors of whole numbers or truth values, sorted."""
    return [name for name in sorted(base) if not _floats(base, name)]


def _floats(tensors: Mapping[str, Array], name: str) -> bool:
    return KINDS[tensors[name].dtype.name].exponent > 0
