"""Drawing some members to vote."""

from __future__ import annotations

from collections import Counter

import pytest

from colearn.errors import ConfigError
from colearn.voting import committee

MEMBERS = [f"m{number}" for number in range(20)]
SEED = "ab" * 32


def test_draw_is_repeated_and_keeps_member_order():
    """The same seed and round draw the same members, whatever order they are given in."""
    drawn = committee(MEMBERS, 5, SEED, 3)
    assert len(drawn) == 5
    assert list(drawn) == [member for member in MEMBERS if member in drawn]
    assert set(committee(MEMBERS[::-1], 5, SEED, 3)) == set(drawn)


def test_round_and_seed_change_the_draw():
    """Another round, or another seed, draws anew."""
    assert committee(MEMBERS, 5, SEED, 3) != committee(MEMBERS, 5, SEED, 4)
    assert committee(MEMBERS, 5, SEED, 3) != committee(MEMBERS, 5, "cd" * 32, 3)


def test_everybody_is_drawn_about_equally_often():
    """Over 400 rounds each of 20 members sits about 100 times in a committee of 5."""
    times = Counter(member for index in range(400) for member in committee(MEMBERS, 5, SEED, index))
    assert set(times) == set(MEMBERS)
    assert min(times.values()) > 65
    assert max(times.values()) < 135


def test_small_group_is_its_own_committee():
    """No more members than places: all are drawn."""
    assert committee(MEMBERS[:3], 5, SEED, 0) == tuple(MEMBERS[:3])


def test_committee_of_one_is_refused():
    """Whoever proposes must be judged by somebody else."""
    with pytest.raises(ConfigError, match="2 members at least"):
        committee(MEMBERS, 1, SEED, 0)
