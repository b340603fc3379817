"""Deadlines end what waits for a socket, when they should and not before."""

from __future__ import annotations

import socket
import time

import pytest

from colearn.peers.deadlines import Deadlines


@pytest.fixture
def pair():
    """Two ends of a connection."""
    one, other = socket.socketpair()
    with one, other:
        one.settimeout(5)
        yield one, other


def test_what_is_late_is_shut_down(pair):
    """A call that waits ends soon after the deadline, though bytes kept coming."""
    deadlines, began = Deadlines(), time.monotonic()
    deadlines.set(pair[0], 0.2)
    pair[1].sendall(b"x")
    assert pair[0].recv(1) == b"x"
    assert pair[0].recv(1) == b""
    assert 0.15 < time.monotonic() - began < 3


def test_the_nearest_deadline_counts(pair):
    """A later deadline set first does not hide an earlier one set later."""
    deadlines, began = Deadlines(), time.monotonic()
    deadlines.set(pair[1], 60)
    time.sleep(0.05)
    deadlines.set(pair[0], 0.1)
    assert pair[0].recv(1) == b""
    assert time.monotonic() - began < 3


def test_a_limit_that_was_kept_ends_nothing(pair):
    """What was done in time goes on afterwards, and a new deadline replaces the old."""
    deadlines = Deadlines()
    with deadlines.limit(pair[0], 0.1):
        pass
    deadlines.set(pair[1], 0.1)
    deadlines.set(pair[1], 60)
    time.sleep(0.3)
    pair[1].sendall(b"x")
    assert pair[0].recv(1) == b"x"
