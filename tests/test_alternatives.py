"""Ways to learn that are compared: with as much training."""

from __future__ import annotations

import pytest

from colearn.alternatives import of_method
from colearn.simulation import Settings


@pytest.mark.parametrize(
    ("method", "committee", "rounds"),
    [("plain", 0, 8), ("plain", 3, 4), ("plain", 7, 8), ("fast", 0, 1), ("fast", 3, 1)],
)
def test_a_turn_is_as_many_trainings_whatever_the_method(method, committee, rounds):
    """Where one trains a round, there are as many rounds as others train in one."""
    settings = Settings(task="digits", learners=8, committee=committee)
    job = of_method(settings, method, 5)
    assert (job.turns, job.rounds) == (5, rounds)
