"""A vote that hides every single record behind it.

A proposer that rewires its model to recognise one record learns from a plain vote
whether the voter has it. This vote is differentially private: each record moves the
sum of what the samples say by at most one, and noise of many records' size is added.
"""

from __future__ import annotations

from fractions import Fraction
from math import ceil
from typing import TYPE_CHECKING

import numpy as np

from colearn.privacy.noise import discrete_gaussian

if TYPE_CHECKING:
    from numpy.typing import NDArray

_ONE = 2**20  # fixed point: sums are exact, and no rounding of floats tells of a record


def noisy_vote(
    before: NDArray[np.float64], after: NDArray[np.float64], *, sigma: float, margin: float = 0.0
) -> bool:
    """Approve if and only if the samples' gain, with noise, is above 0.

    Args:
        before: The samples' losses under the current weights, shape (n,).
        after: The same samples' losses under the proposal.
        sigma: Standard deviation of the noise, in records.
        margin: What each sample's loss must fall by to count in favour.
    """
    deviation = ceil(Fraction(sigma) * _ONE)
    return gain(before, after, margin) + discrete_gaussian(Fraction(deviation**2)) > 0


def gain(before: NDArray[np.float64], after: NDArray[np.float64], margin: float) -> int:
    """Sum of the falls in loss, each cut to ±1, in units of 2⁻²⁰.

    One record more or less changes it by at most 2²⁰, whatever the losses: NaN counts
    as an infinite loss, and two infinite losses as no change.
    """
    old, new = (np.where(np.isnan(losses), np.inf, losses) for losses in (before, after))
    with np.errstate(invalid="ignore", over="ignore"):
        falls = np.clip(old - new - margin, -1.0, 1.0)
    falls[np.isnan(falls)] = 0.0
    return int(np.rint(falls * _ONE).astype(np.int64).sum())
