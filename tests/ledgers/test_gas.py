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
        "deployment, n = 5": 5_173_533,
        "round in one transaction, n = 5": 65_042,
        "deployment, n = 10": 5_295_686,
        "round in one transaction, n = 10": 87_217,
        "deployment, n = 100": 8_397_371,
        "round in one transaction, n = 100": 505_939,
        "one more signed vote": 4_423,
        "propose": 36_282,
        "vote": 33_850,
        "vote that decides": 34_420,
        "vote after the decision": 33_973,
        "pass": 30_607,
        "endorse a newcomer": 115_512,
        "rotate a key, n = 10": 378_513,
        "pass before a change, n = 10": 152_184,
        "vote, 9 of 20 drawn": 41_013,
        "round in one transaction, 9 of 20 drawn": 95_247,
        "vote, 9 of 100 drawn": 40_023,
        "round in one transaction, 9 of 100 drawn": 110_095,
        "vote, 64 of 100 drawn": 49_500,
        "round in one transaction, 64 of 100 drawn": 365_661,
        "propose, votes secret": 36_282,
        "commit": 39_536,
        "commit, the last": 42_667,
        "reveal": 37_145,
        "reveal that decides": 37_528,
        "reveal after it": 36_392,
        "round of secret votes, n = 10": 726_901,
    }


def test_the_goals_are_met(costs: dict[str, int]) -> None:
    """Votes, proposals and whole rounds cost no more than was set out for."""
    for name, (goal, _) in GAS["GOALS"].items():
        assert costs[name] <= goal, name
