"""A store over another."""

from __future__ import annotations

from colearn.stores.memory import MemoryStore
from colearn.stores.overlay import Overlay
from colearn.testing import check_store


def test_the_store_promises_hold():
    """The conformance kit finds nothing."""
    check_store(lambda: Overlay(MemoryStore()))


def test_the_store_below_is_read_and_never_changed():
    """Its blobs are had; none is added to it, and none dropped."""
    under = MemoryStore()
    below = under.put((b"below",))
    overlay = Overlay(under)
    above = overlay.put((b"above",))
    assert b"".join(overlay.open(below)) == b"below"
    assert b"".join(overlay.open(above)) == b"above"
    overlay.drop(below)
    overlay.drop(above)
    assert below in overlay
    assert above not in overlay
    assert above not in under
