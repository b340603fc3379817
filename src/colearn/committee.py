"""Who votes in a round, and who works: everybody, or a few members drawn anew each time.

The draw follows from what all know before the round begins, the digest of the proposal
accepted last, and from the round. Anyone repeats it; a smart contract does, to the bit.
Whoever made that proposal may have made others before and kept the one whose draws it
liked: see the page on the rules.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import lru_cache

from colearn.records import Digest, Rule

_LANE_BYTES = 2
_LANES = 1 << 8 * _LANE_BYTES


def eligible(rule: Rule, members: int) -> int:
    """How many of so many members may vote in a round."""
    if rule.committee:
        return min(rule.committee, members - 1)
    return members if rule.proposer_votes else members - 1


def voters(rule: Rule, current: Digest, round_index: int, members: int) -> int:
    """Bitmap of the members that may vote in a round.

    Args:
        rule: The rule of the round.
        current: Digest of the proposal accepted last before it.
        round_index: The round.
        members: How many members there are.
    """
    if rule.committee:
        return drawn(current, round_index, members, rule.committee)
    everybody = (1 << members) - 1
    return everybody if rule.proposer_votes else everybody ^ 1 << round_index % members


def workers(rule: Rule, current: Digest, round_index: int, members: int) -> int:
    """Bitmap of the members that a round asks for something: its voters and its proposer."""
    return voters(rule, current, round_index, members) | 1 << round_index % members


def named(members: Sequence[str], bitmap: int) -> list[str]:
    """The members that a bitmap stands for, in order."""
    found = []
    while bitmap:
        lowest = bitmap & -bitmap
        found.append(members[lowest.bit_length() - 1])
        bitmap ^= lowest
    return found


@lru_cache(maxsize=64)
def drawn(seed: Digest, round_index: int, members: int, count: int) -> int:
    """Draw some members other than the round's proposer, all with the same chance.

    Pairs of bytes of SHA-256(seed, round, 0, 1, 2, …) are numbers below 65,536, each part
    in 32 bytes, all big-endian. Numbers at or above the greatest multiple of the number of
    members are left out; of the others, the remainders are members' places. A place that
    was drawn before, or is the proposer's, is left out too. Where more than half are to be
    drawn, those are drawn in this way that are left out.

    Args:
        seed: What the draw follows from, with the round.
        round_index: The round.
        members: How many members there are, at most 65,536.
        count: How many to draw. All others are drawn, if there are no more.

    Returns:
        A bitmap: bit *i* stands for the member at place *i*.

    Example:
        ```python
        from colearn.committee import drawn

        assert drawn("00" * 32, round_index=7, members=20, count=9).bit_count() == 9
        ```
    """
    proposer = 1 << round_index % members
    others = (1 << members) - 1 ^ proposer
    few = min(count, members - 1 - count)
    if few <= 0:
        return others
    whole = _LANES - _LANES % members
    message = bytes.fromhex(seed) + round_index.to_bytes(32)
    picked, counter = proposer, 0
    while True:
        hashed = hashlib.sha256(message + counter.to_bytes(32)).digest()
        for start in range(0, len(hashed), _LANE_BYTES):
            lane = int.from_bytes(hashed[start : start + _LANE_BYTES])
            if lane < whole:
                picked |= 1 << lane % members
            if picked.bit_count() > few:
                return picked ^ proposer if few == count else others & ~picked
        counter += 1
