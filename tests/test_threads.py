"""Calls side by side."""

from __future__ import annotations

import threading
from threading import Barrier

import pytest

from colearn.threads import side_by_side


def test_results_come_in_order_from_calls_that_wait_for_each_other():
    """Each call ends only when the others have begun."""
    meeting = Barrier(5)

    def call(number):
        meeting.wait(10)
        return number * number

    assert side_by_side(call, range(5)) == [0, 1, 4, 9, 16]
    assert side_by_side(call, []) == []


def test_many_calls_take_few_threads():
    """A thousand arguments start no thousand threads."""
    names = set()

    def call(number):
        names.add(threading.get_ident())
        assert threading.active_count() < 100
        return -number

    assert side_by_side(call, range(1_000)) == [-number for number in range(1_000)]
    assert 1 <= len(names) <= 16


def test_what_a_call_raises_is_raised():
    """The first in order, though all are called."""
    with pytest.raises(ZeroDivisionError):
        side_by_side(lambda number: 1 / number, [1, 0, 2])
