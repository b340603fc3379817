"""A voting committee: some members, drawn anew each round, so that a round's cost stays.

The draw is a hash that anyone repeats. Whoever can choose the seed can choose the
committee: take one that no member sets alone and all know in time, such as the digest
of the proposal accepted last. A proposer that tries many proposals then biases the
*next* round's draw, once for every proposal that the vote would accept.
"""

from __future__ import annotations

from collections.abc import Sequence

from colearn.errors import ConfigError
from colearn.records import Digest, digest_of


def committee(members: Sequence[str], size: int, seed: Digest, round_index: int) -> tuple[str, ...]:
    """Draw some of the members, in member order; all, if there are no more than ``size``.

    Args:
        members: All members, in join order.
        size: How many to draw.
        seed: What the draw follows from, with the round and the members' names.
        round_index: The round.

    Raises:
        ConfigError: Fewer than two are to be drawn: who proposes needs a judge.

    Example:
        ```python
        from colearn.voting import committee

        drawn = committee(["ann", "bob", "cem", "dee"], 2, seed="00" * 32, round_index=7)
        ```
    """
    if size < 2:
        raise ConfigError(f"a committee of {size} cannot vote: it needs 2 members at least")
    drawn = sorted(
        members, key=lambda member: digest_of((f"{seed}/{round_index}/{member}".encode(),))
    )[:size]
    chosen = set(drawn)
    return tuple(member for member in members if member in chosen)
