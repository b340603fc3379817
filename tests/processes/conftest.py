"""A chain with an experiment on it, for each test that asks for one."""

from __future__ import annotations

import pytest
from terminals import Net


@pytest.fixture
def net(tmp_path, anvil_program):
    """Start a chain with an experiment on it; all processes are ended with the test."""
    nets = []

    def start(*options):
        nets.append(Net(tmp_path, *options))
        return nets[-1]

    yield start
    for each in nets:
        each.close()
