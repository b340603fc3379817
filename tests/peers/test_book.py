"""Endpoints: who is believed about whose address, and how a move is followed."""

from __future__ import annotations

import pytest
from members import EXPERIMENT, MEMBERS, KeyedSigner, eventually, join, joined, rogue
from msgspec.structs import replace

from colearn.errors import BadSignature, ConfigError, NotAMember
from colearn.ledgers.local import LocalLedger
from colearn.records import Endpoint


def endpoint(sender, counter, port=9):
    """A signed endpoint."""
    unsigned = Endpoint(sender=sender, counter=counter, url=f"http://127.0.0.1:{port}")
    return KeyedSigner(sender).sign(unsigned)


@pytest.fixture
def book():
    """The address book of ada, who knows nobody yet."""
    with join("ada") as network:
        yield network.book


def test_the_newest_endpoint_counts(book):
    """A higher counter replaces; a lower or equal one, replayed by whomever, changes nothing."""
    book.receive(endpoint("bob", 5, port=1))
    for old in (endpoint("bob", 4, port=2), endpoint("bob", 5, port=3)):
        book.receive(old)
    assert book.peer("bob").url == "http://127.0.0.1:1"
    book.receive(endpoint("bob", 6, port=4))
    assert book.peer("bob").url == "http://127.0.0.1:4"
    assert book.peer("cid") is None


def test_forged_endpoints_are_refused(book):
    """Only a member says where it is reached, and only in this experiment."""
    with pytest.raises(BadSignature):
        book.receive(Endpoint(sender="bob", counter=9, url="http://127.0.0.1:1"))
    altered = replace(endpoint("bob", 1), counter=2)
    with pytest.raises(BadSignature):
        book.receive(altered)
    with pytest.raises(NotAMember):
        book.receive(endpoint("eve", 1))
    nowhere = KeyedSigner("bob").sign(Endpoint(sender="bob", counter=1, url="http://127.0.0.1:1/x"))
    with pytest.raises(ConfigError, match="no member's URL"):
        book.receive(nowhere)
    assert book.peers() == {}


def test_a_member_outdoes_what_its_earlier_life_has_said(book):
    """With the clock set back, a member learns its own counter from others and goes beyond."""
    mine = book.endpoints()[0]
    earlier = endpoint("ada", mine.counter + 10**12)
    book.receive(earlier)
    now = book.endpoints()[0]
    assert (now.url, now.counter) == (mine.url, earlier.counter + 1)
    KeyedSigner("ada").check(now)


def test_an_earlier_life_is_remembered_by_others():
    """A newcomer is told by the one it asks that it is none, if it has been there before."""
    ledger = LocalLedger(EXPERIMENT)
    with join("ada", ledger) as ada:
        assert ada.book.met_before("ada") is None
        for met in (False, True):
            with join("bob", ledger, seeds=[ada.url]) as bob:
                assert bob.book.met_before("cid") is None
                assert eventually(lambda: bob.book.met_before("ada") is not None)
                assert bob.met_before() is bob.book.met_before("ada") is met
                assert bob.book.met_before("cid") is (True if met else None)
                assert eventually(lambda: ada.book.met_before("ada") is False)


def test_those_who_sit_after_this_member_are_asked_first():
    """Members' requests are spread: each begins with its own successor."""
    with joined() as networks:
        orders = [list(network.book.peers()) for network in networks]
        assert orders == [["bob", "cid"], ["cid", "ada"], ["ada", "bob"]]


def test_a_move_is_followed_by_those_it_was_not_told():
    """A member that comes back elsewhere tells one; the others hear of it from that one."""
    ledger = LocalLedger(EXPERIMENT)
    with join("ada", ledger) as ada, join("bob", ledger, seeds=[ada.url]) as bob:
        with join("cid", ledger, seeds=[ada.url]) as cid:
            for network in (ada, bob, cid):
                assert network.book.wait(3, 10)
        with join("cid", ledger, seeds=[ada.url]) as cid:
            for network in (ada, bob):
                assert eventually(lambda: network.book.peers()["cid"].url == cid.url)  # noqa: B023


def test_a_seed_that_talks_nonsense_does_no_harm():
    """Garbage from a seed is ignored; others are found through another seed."""

    def nonsense(connection, request):
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{}\nxx\n\xff\xfe")

    ledger = LocalLedger(EXPERIMENT)
    with (
        rogue(nonsense) as url,
        join("ada", ledger) as ada,
        join("bob", ledger, seeds=[url, ada.url]) as bob,
    ):
        assert bob.book.wait(2, 10)
        assert set(bob.book.peers()) <= set(MEMBERS) - {"bob"}
