"""What callers of a server are granted."""

from __future__ import annotations

from colearn.peers.limits import Callers, Limits


def test_all_addresses_together_have_so_many_connections():
    """Where all are taken nobody enters, and whoever leaves makes room for one."""
    callers = Callers(Limits(connections=3, per_address=2))
    assert [callers.enter(each) for each in ("a", "a", "a", "b", "c")] == [1, 1, 0, 1, 0]
    callers.leave("a")
    assert callers.enter("c")
    assert not callers.enter("a")


def test_who_does_not_enter_takes_nothing():
    """Attempts beyond the limit need no leaving."""
    callers = Callers(Limits(connections=1))
    assert callers.enter("a")
    assert not any(callers.enter("a") for _ in range(9))
    callers.leave("a")
    assert callers.enter("a")
