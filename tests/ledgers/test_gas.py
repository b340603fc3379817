"""What the contract costs: a change of a single unit of gas is seen, and must be meant."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest

GAS = runpy.run_path(str(Path(__file__).parents[2] / "benchmarks/gas.py"))


@pytest.fixture(scope="module")
def costs() -> dict[str, int]:
    """The gas of everything, as it is now."""
    return GAS["measure"]()


def test_gas_is_as_it_was(costs: dict[str, int]) -> None:
    """Every transaction costs exactly what it did when this was last looked at."""
    assert costs == {
        "deployment, n = 5": 3_639_203,
        "round in one transaction, n = 5": 64_901,
        "deployment, n = 10": 3_761_356,
        "round in one transaction, n = 10": 87_076,
        "deployment, n = 100": 6_863_041,
        "round in one transaction, n = 100": 505_798,
        "one more signed vote": 4_423,
        "propose": 36_234,
        "vote": 33_987,
        "vote that decides": 34_424,
        "vote after the decision": 33_658,
        "pass": 30_592,
        "endorse a newcomer": 114_678,
    }


def test_the_goals_are_met(costs: dict[str, int]) -> None:
    """Votes, proposals and whole rounds cost no more than was set out for."""
    for name, (goal, _) in GAS["GOALS"].items():
        assert costs[name] <= goal, name
