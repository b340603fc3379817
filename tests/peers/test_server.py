"""The HTTP server of a member: what it gives, takes and refuses."""

from __future__ import annotations

import contextlib
import socket
import time
import weakref
from http.client import HTTPConnection
from threading import Thread

import msgspec
import pytest
from members import EXPERIMENT, MEMBERS, KeyedSigner, ballot, eventually, join, joined

from colearn.errors import ConfigError
from colearn.ledgers.local import LocalLedger
from colearn.peers.limits import Limits
from colearn.peers.server import PeerServer
from colearn.records import (
    WIRE_VERSION,
    Candidate,
    Choice,
    Endpoint,
    decode_note,
    digest_of,
    encode,
)
from colearn.stores.directory import DirectoryStore
from colearn.stores.memory import MemoryStore

BLOB = bytes(range(256)) * 5_000


def ask(url, method, path, body=None, **headers):
    """One request, without any of the client's own care: status, headers, body."""
    connection = HTTPConnection(url.removeprefix("http://"), timeout=10)
    try:
        with contextlib.suppress(BrokenPipeError):  # it may end the connection at once
            connection.request(method, path, body, headers)
        response = connection.getresponse()
        return response.status, response.headers, response.read()
    finally:
        connection.close()


@pytest.fixture
def ada():
    """A member without others."""
    with join("ada") as network:
        yield network


@pytest.mark.parametrize("kind", ["memory", "directory"])
def test_a_blob_is_given_whole_and_from_any_position(kind, tmp_path):
    """GET gives the bytes, Range the rest from anywhere, HEAD the number, over several parts."""
    store = MemoryStore() if kind == "memory" else DirectoryStore(tmp_path)
    digest = store.put([BLOB[:1000], b"", BLOB[1000:]])
    with join("ada", store=store) as ada:
        path = f"/blobs/{digest}"
        assert ask(ada.url, "GET", path)[::2] == (200, BLOB)
        for start in (1, 999, 1000, 1001, len(BLOB) - 1):
            status, headers, body = ask(ada.url, "GET", path, Range=f"bytes={start}-")
            assert (status, body) == (206, BLOB[start:])
            assert headers["Content-Range"] == f"bytes {start}-{len(BLOB) - 1}/{len(BLOB)}"
        assert ask(ada.url, "GET", path, Range=f"bytes={len(BLOB)}-")[0] == 416
        status, headers, body = ask(ada.url, "HEAD", path)
        assert (status, headers["Content-Length"], body) == (200, str(len(BLOB)), b"")


def test_what_is_dropped_is_no_longer_given():
    """A server remembers no blob beyond its store."""
    store = MemoryStore()
    digest = store.put([BLOB])
    with join("ada", store=store) as ada:
        assert ask(ada.url, "GET", f"/blobs/{digest}")[0] == 200
        store.drop(digest)
        assert ask(ada.url, "GET", f"/blobs/{digest}")[0] == 404


class Parts(list):
    """A blob that can be seen to be let go of."""


class Watched(MemoryStore):
    """Remembers, weakly, what it gave."""

    def __init__(self):
        super().__init__()
        self.given = []

    def open(self, digest, most_bytes=None):
        parts = Parts(super().open(digest, most_bytes))
        self.given.append(weakref.ref(parts))
        return parts


def test_a_blob_is_open_as_long_as_somebody_is_given_it():
    """Who asks meanwhile gets the same one; after the last answer it is let go of."""
    store = Watched()
    digest = store.put([bytes(2**25)])
    with join("ada", store=store) as ada:
        path = f"/blobs/{digest}"
        slow = HTTPConnection(ada.url.removeprefix("http://"), timeout=10)
        with contextlib.closing(slow):
            slow.request("GET", path)
            assert slow.getresponse().status == 200
            assert len(ask(ada.url, "GET", path)[2]) == 2**25
            (given,) = store.given
            assert given() is not None
        assert eventually(lambda: given() is None)
        assert ask(ada.url, "HEAD", path)[0] == 200
        assert len(store.given) == 2


def test_a_damaged_file_is_not_given(tmp_path):
    """Bytes that no longer are those of their digest are not held out to others."""
    store = DirectoryStore(tmp_path)
    digest = store.put([BLOB])
    (tmp_path / digest[:2] / digest).write_bytes(b"else")
    with join("ada", store=store) as ada:
        assert ask(ada.url, "GET", f"/blobs/{digest}")[0] == 404


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/blobs/",
        "/blobs/../../etc/passwd",
        "/blobs/%2e%2e%2fetc%2fpasswd",
        "//blobs/" + "0" * 64,
        "/blobs/" + "0" * 63 + "/",
        "/blobs/" + "A" * 64,
        "/blobs/" + "0" * 64 + "?x",
        "/notes/-1",
        "/notes/" + "9" * 40,
        "/notes/0?seen=-1&wait=0",
        "/notes/0?wait=1",
        "http://elsewhere/health",
    ],
)
def test_no_other_path_has_an_answer(ada, path):
    """Only digests and numbers of rounds are looked up: no name becomes a path."""
    assert ask(ada.url, "GET", path)[0] == 404


def test_health_says_where_the_member_is(ada):
    """Experiment, round and how many others are reached; no scores, no paths."""
    status, _, body = ask(ada.url, "GET", "/health")
    assert status == 200
    assert msgspec.json.decode(body) == {
        "version": WIRE_VERSION,
        "experiment": digest_of([encode(EXPERIMENT)]),
        "round": 0,
        "reached": 0,
        "members": 3,
    }


def test_notes_are_taken_and_given(ada):
    """A signed note is taken once or twice, and given by round, from any number on."""
    for sender in ("bob", "cid", "bob"):
        assert ask(ada.url, "POST", "/notes", encode(ballot(sender)))[0] == 204
    notes = [ballot("bob"), ballot("cid")]
    assert ada.board.read(0) == notes
    given = ask(ada.url, "GET", "/notes/0")[2]
    assert [decode_note(line) for line in given.splitlines()] == notes
    assert ask(ada.url, "GET", "/notes/0?seen=1&wait=0")[2] == encode(notes[1]) + b"\n"
    assert ask(ada.url, "GET", "/notes/1")[2] == b""


def test_a_long_poll_ends_with_the_note_it_waits_for(ada):
    """Who waits is answered when the note comes, not at the time-out; in vain, at the time-out."""
    began = time.monotonic()
    assert ask(ada.url, "GET", "/notes/0?seen=0&wait=1")[::2] == (200, b"")
    assert 0.9 < time.monotonic() - began < 5
    answers = []
    waiting = Thread(target=lambda: answers.append(ask(ada.url, "GET", "/notes/0?seen=0&wait=20")))
    waiting.start()
    began = time.monotonic()
    ask(ada.url, "POST", "/notes", encode(ballot("bob")))
    waiting.join()
    assert answers[0][::2] == (200, encode(ballot("bob")) + b"\n")
    assert time.monotonic() - began < 10


FORGED = Candidate(0, "bob", "0" * 64, "1" * 64)
REFUSED = {
    "no JSON": (b"{", 400),
    "no note": (encode(EXPERIMENT), 400),
    "not canonical": (b" " + encode(ballot("bob")), 400),
    "forged": (encode(FORGED), 403),
    "unsigned": (encode(Candidate(0, "bob", "0" * 64)), 403),
    "scores": (
        b'{"kind":"scores","round":0,"sender":"bob","vote_score":1.0,"test_score":1.0}',
        403,
    ),
    "stranger": (encode(ballot("eve")), 403),
    "a round far off": (encode(ballot("bob", round_index=2)), 422),
    "another experiment": (
        encode(
            KeyedSigner(
                "bob",
                LocalLedger(EXPERIMENT).experiment.__class__(
                    members=MEMBERS, initial="2" * 64, schema="1" * 64
                ),
            ).sign(Candidate(0, "bob", "0" * 64))
        ),
        403,
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_other_notes_are_refused(ada, case):
    """Each with its own status, and nothing of it is kept."""
    body, status = REFUSED[case]
    assert ask(ada.url, "POST", "/notes", body)[0] == status
    assert ada.board.read(0) == ada.board.read(2) == []


def test_a_contradiction_is_answered_with_both_notes(ada):
    """409, the first note stands, and the pair is kept as evidence once."""
    first, second = ballot("bob"), ballot("bob", Choice.REJECT)
    assert ask(ada.url, "POST", "/notes", encode(first))[0] == 204
    for _ in range(2):
        status, _, body = ask(ada.url, "POST", "/notes", encode(second))
        assert status == 409
        assert [decode_note(line) for line in body.splitlines()] == [first, second]
    assert ada.board.read(0) == [first]
    assert ada.board.contradictions == [(first, second)]


def test_bodies_without_a_length_or_too_long_are_not_read(ada):
    """411, 413: before a byte of the body is taken, and the connection ends."""
    assert ask(ada.url, "POST", "/notes", iter([b"x"]))[0] == 411
    status, headers, _ = ask(ada.url, "POST", "/notes", b"x" * 16_385)
    assert (status, headers["Connection"]) == (413, "close")
    with socket.create_connection(("127.0.0.1", int(ada.url.rpartition(":")[2]))) as raw:
        raw.sendall(b"POST /notes HTTP/1.1\r\nContent-Length: 99999999999999999999\r\n\r\n")
        assert raw.recv(100).startswith(b"HTTP/1.1 413")


def test_other_methods_and_heads_too_large_are_refused(ada):
    """501 for what is no method here, and an end to endless headers."""
    assert ask(ada.url, "DELETE", "/blobs/" + "0" * 64)[0] == 501
    status, headers, body = ask(ada.url, "PUT", "/notes", b"")
    assert (status, headers["Content-Length"], body) == (501, "0", b"")
    assert ask(ada.url, "GET", "/health", None, Long="x" * 9_000)[0] == 431
    with socket.create_connection(("127.0.0.1", int(ada.url.rpartition(":")[2]))) as raw:
        raw.settimeout(5)
        raw.sendall(b"GET /" + b"x" * 20_000)
        assert raw.recv(100) in (b"", b"HTTP/1.1 414")[:1]


def test_endpoints_are_exchanged():
    """Who tells its endpoint is told all that were known before, its own earlier one too."""
    with join("ada") as ada:
        for counter in (1, 2):
            bob = KeyedSigner("bob").sign(
                Endpoint(sender="bob", counter=counter, url="http://127.0.0.1:9")
            )
            known = [encode(each) for each in ada.book.endpoints()]
            status, _, body = ask(ada.url, "POST", "/endpoints", encode(bob))
            assert status == 200
            assert body.splitlines() == known
            assert bob in ada.book.endpoints()


def test_one_address_has_so_many_connections():
    """Beyond that they are closed unheard, and when one ends there is room again."""
    with join("ada", limits=Limits(per_address=2)) as ada:
        address = ("127.0.0.1", int(ada.url.rpartition(":")[2]))
        held = [socket.create_connection(address) for _ in range(2)]
        for each in held:
            each.sendall(b"GET /health HTTP/1.1\r\n\r\n")
            assert each.recv(100).startswith(b"HTTP/1.1 200")
        with socket.create_connection(address) as third:
            third.settimeout(5)
            assert third.recv(1) == b""
        held[0].close()

        def answered():
            try:
                return ask(ada.url, "GET", "/health")[0] == 200
            except OSError:
                return False

        assert eventually(answered)
        held[1].close()


def test_one_address_may_ask_so_often():
    """Beyond that the answer is 429, and after a while it may ask again."""
    with join("ada", limits=Limits(requests_per_second=5)) as ada:
        statuses = [ask(ada.url, "GET", "/health")[0] for _ in range(12)]
        assert statuses[:5] == [200] * 5
        assert 429 in statuses
        assert eventually(lambda: ask(ada.url, "GET", "/health")[0] == 200)


@pytest.mark.parametrize(
    "beginning",
    [
        b"",
        b"GET /hea",
        b"GET /health HTTP/1.1\r\nA:",
        b"POST /notes HTTP/1.1\r\nContent-Length: 9\r\n\r\nx",
    ],
    ids=["silence", "line", "headers", "body"],
)
def test_a_request_that_comes_drop_by_drop_is_ended(beginning):
    """However often a byte comes, a request has so much time in all, and others are served."""
    with join("ada", limits=Limits(request_seconds=0.4, idle_seconds=0.4)) as ada:
        address = ("127.0.0.1", int(ada.url.rpartition(":")[2]))
        with socket.create_connection(address) as slow:
            slow.sendall(beginning)
            slow.settimeout(0.05)
            began = time.monotonic()
            ended = False
            while not ended and time.monotonic() - began < 10:
                try:
                    if beginning:
                        slow.sendall(b"x")
                    ended = slow.recv(1) == b""
                except TimeoutError:
                    assert ask(ada.url, "GET", "/health")[0] == 200
                except OSError:
                    ended = True
            assert ended
            assert time.monotonic() - began < 5


def test_closing_ends_what_is_going_on():
    """A member that leaves does not wait for who is connected."""
    with join("ada") as ada:
        address = ("127.0.0.1", int(ada.url.rpartition(":")[2]))
        idle = socket.create_connection(address)
        idle.sendall(b"GET /health HTTP/1.1\r\n\r\n")
        assert idle.recv(100)
        began = time.monotonic()
    assert time.monotonic() - began < 5
    idle.settimeout(5)
    with idle:
        while idle.recv(1000):
            pass
    with pytest.raises(OSError, match="refused"):
        socket.create_connection(address)


def test_listening_beyond_loopback_needs_tls():
    """Neither the whole machine nor another address is listened on in the clear."""
    for host in ("0.0.0.0", "::", "192.0.2.1", "example.org"):  # noqa: S104
        with pytest.raises(ConfigError, match=r"refused without TLS.*127\.0\.0\.1"):
            PeerServer(host)


def test_a_port_in_use_is_a_clear_error(ada):
    """Two members cannot listen on one port."""
    with pytest.raises(ConfigError, match="cannot listen on 127.0.0.1.*choose another port"):
        PeerServer(port=int(ada.url.rpartition(":")[2]))


def test_ipv6_loopback_works(tmp_path):
    """A member may listen on ::1 and be reached there."""
    if not socket.has_ipv6:
        pytest.skip("may lack: IPv6")
    try:
        network = join("ada", host="::1")
    except ConfigError as reason:
        pytest.skip(f"may lack: IPv6 on loopback, for {reason}")
    with network, join("bob", seeds=[network.url]) as bob:
        assert network.url.startswith("http://[::1]:")
        assert bob.book.wait(2, 10)


def test_all_members_meet_through_one_seed():
    """Two who know the first one's address only are told each other's."""
    with joined() as networks:
        for network in networks:
            assert set(network.book.peers()) == set(MEMBERS) - {network.book.member}
