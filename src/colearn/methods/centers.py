"""What stands for many moves: their mean, or a centre that a minority cannot drag away.

A centre takes the moves in member order and each one's share, shares adding up to 1.
Only `mean` heeds the shares: they follow from numbers that members declare, and a
liar could declare anything.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial

import numpy as np

from colearn.methods.moves import Array, Move, by_tensor, distance, total

Center = Callable[[Sequence[Move], Sequence[float]], Move]

_WEISZFELD_STEPS = 100
_WEISZFELD_TOLERANCE = 1e-6


def shares_of(counts: Sequence[float]) -> list[float]:
    """Each count's part of their sum; 0, which tells nothing, is taken for the others' mean."""
    told = [count for count in counts if count]
    usual = sum(told) / len(told) if told else 1
    whole = sum(count or usual for count in counts)
    return [(count or usual) / whole for count in counts]


def mean(moves: Sequence[Move], shares: Sequence[float]) -> Move:
    """The mean, weighted by shares (federated averaging, arXiv 1602.05629)."""
    return total(zip(shares, moves, strict=True))


def median(moves: Sequence[Move], shares: Sequence[float]) -> Move:  # noqa: ARG001
    """The median of every number by itself (arXiv 1803.01498)."""
    return by_tensor(moves, middle)


def trimmed_mean(moves: Sequence[Move], shares: Sequence[float], *, trim: float) -> Move:  # noqa: ARG001
    """The mean of every number without its extremes (arXiv 1803.01498).

    Args:
        moves: The moves.
        shares: Not heeded.
        trim: Share of the members left out at either end, below 1/2.
    """
    return by_tensor(moves, partial(_trimmed, cut=int(trim * len(moves))))


def geometric_median(moves: Sequence[Move], shares: Sequence[float]) -> Move:  # noqa: ARG001
    """The point with the least sum of distances to the moves (arXiv 1912.13445).

    Found by Weiszfeld's iteration from the median of every number, until a step is
    shorter than a millionth of the median distance.
    """
    center = by_tensor(moves, middle)
    for _ in range(_WEISZFELD_STEPS):
        distances = [distance(each, center) for each in moves]
        typical = sorted(distances)[len(distances) // 2]
        if typical in (0, math.inf):
            break
        pulls = [1.0 / max(each, _WEISZFELD_TOLERANCE * typical) for each in distances]
        whole = sum(pulls)
        closer = total((pull / whole, each) for pull, each in zip(pulls, moves, strict=True))
        step = distance(closer, center)
        center = closer
        if step <= _WEISZFELD_TOLERANCE * typical:
            break
    return center


def multi_krum(moves: Sequence[Move], shares: Sequence[float], *, liars: float) -> Move:  # noqa: ARG001
    """The mean of the moves with the nearest neighbours (arXiv 1703.02757).

    Args:
        moves: The moves.
        shares: Not heeded.
        liars: Share of the members that may lie; as many are left out.
    """
    count = len(moves)
    out = min(int(liars * count), count - 1)
    near = max(count - out - 2, 1)
    scores = []
    for index, one in enumerate(moves):
        others = (distance(one, other) ** 2 for at, other in enumerate(moves) if at != index)
        scores.append(sum(sorted(others)[:near]))
    best = sorted(sorted(range(count), key=lambda index: scores[index])[: count - out])
    return equal_mean([moves[index] for index in best])


def nearby_mean(
    moves: Sequence[Move],
    shares: Sequence[float],
    *,
    trust: float,
    reach: float,
) -> Move:
    """The mean of the moves around the geometric median.

    What lies near counts as it is; what lies farther is drawn in, as in centred clipping
    (arXiv 2012.10333); what lies out of reach is left out (Hampel's three-part estimate,
    doi 10.1080/01621459.1974.10482962).

    Args:
        moves: The moves.
        shares: Not heeded.
        trust: How far away a move counts as it is, in median distances; one that lies
            farther away is drawn in to there.
        reach: How far away a move may lie, in median distances.
    """
    center = geometric_median(moves, shares)
    distances = [distance(each, center) for each in moves]
    typical = float(middle([np.array(each) for each in distances]))
    return equal_mean(
        [
            each if far <= trust * typical else _between(center, each, trust * typical / far)
            for each, far in zip(moves, distances, strict=True)
            if far <= reach * typical
        ]
        or [center]
    )


def _between(one: Move, other: Move, share: float) -> Move:
    """The move that lies a share of the way from one to the other."""
    return total(((1.0 - share, one), (share, other)))


def equal_mean(moves: Sequence[Move], shares: Sequence[float] = ()) -> Move:  # noqa: ARG001
    """The mean of moves that count alike, whatever the shares."""
    return total((1.0 / len(moves), each) for each in moves)


def middle(arrays: Sequence[Array]) -> Array:
    """The median of every number; of two middle ones the mean."""
    return _trimmed(arrays, cut=(len(arrays) - 1) // 2)


def _trimmed(arrays: Sequence[Array], *, cut: int) -> Array:
    kept = np.sort(np.stack(arrays), axis=0)[cut : len(arrays) - cut]
    result: Array = kept[0].copy()
    for each in kept[1:]:
        result += each
    return result / len(kept)
