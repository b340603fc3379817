"""Changing the group takes no less than accepting weights: what commands ask of a rule.

A `Rule` and the contract take any share from a half on; see ``docs/rules.md``.
"""

from __future__ import annotations

from fractions import Fraction

from colearn.errors import InvalidRule
from colearn.records import Rule

_USUAL = Fraction(2, 3)


def usual_governance(threshold: Fraction) -> Fraction:
    """The share for changes where nobody names one: two thirds, or the threshold if above.

    Of unanimity it is two thirds: else one member that is lost could never be removed.
    """
    return max(_USUAL, threshold) if threshold < 1 else _USUAL


def check_governance(rule: Rule) -> None:
    """Refuse a rule under which fewer can change the group than can accept weights.

    Raises:
        InvalidRule: It is one; a threshold of 1, which no share for changes reaches, is none.
    """
    if rule.governance < rule.threshold < 1:
        raise InvalidRule(
            f"governance {rule.governance} is refused: expected at least the threshold, "
            f"{rule.threshold}, for fewer could change rule and members than accept weights; "
            f"give --governance {rule.threshold} or more, or a lower --threshold"
        )
