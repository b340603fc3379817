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
        "deployment, n = 5": 4_753_402,
        "round in one transaction, n = 5": 64_987,
        "deployment, n = 10": 4_875_555,
        "round in one transaction, n = 10": 87_162,
        "deployment, n = 100": 7_977_240,
        "round in one transaction, n = 100": 505_884,
        "one more signed vote": 4_423,
        "propose": 36_267,
        "vote": 33_983,
        "vote that decides": 34_420,
        "vote after the decision": 33_973,
        "pass": 30_592,
        "endorse a newcomer": 115_195,
        "rotate a key, n = 10": 378_389,
        "pass before a change, n = 10": 151_481,
        "propose, votes secret": 36_267,
        "commit": 39_520,
        "commit, the last": 42_651,
        "reveal": 37_129,
        "reveal that decides": 37_512,
        "reveal after it": 36_376,
        "round of secret votes, n = 10": 726_598,
    }


def test_the_goals_are_met(costs: dict[str, int]) -> None:
    """Votes, proposals and whole rounds cost no more than was set out for."""
    for name, (goal, _) in GAS["GOALS"].items():
        assert costs[name] <= goal, name
