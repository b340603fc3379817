"""TLS between members: real handshakes, on loopback, with and without the right certificate."""

from __future__ import annotations

import contextlib
import socket
import ssl
import time
from stat import S_IMODE

import pytest
from members import EXPERIMENT, KeyedSigner, ballot, identities, join

from colearn.errors import ConfigError, PeerError
from colearn.ledgers.local import LocalLedger
from colearn.peers.certificates import make_certificate
from colearn.peers.client import Peer
from colearn.peers.limits import Limits
from colearn.peers.tls import Identity, check_url
from colearn.records import Endpoint, encode


@pytest.fixture
def certified(tmp_path):
    """Identities of ada and bob, who trust each other."""
    return identities(tmp_path, "ada", "bob")


def status(url, identity, fingerprint, *request):
    """The status that a peer answers a request with."""
    with contextlib.closing(Peer(url, identity, fingerprint)) as peer:
        return peer.ask(*request).status


def test_members_with_certificates_talk(certified):
    """Notes and blobs pass between two members by TLS, however large."""
    ledger = LocalLedger(EXPERIMENT)
    with (
        join("ada", ledger, identity=certified["ada"]) as ada,
        join("bob", ledger, identity=certified["bob"], seeds=[ada.url]) as bob,
    ):
        assert ada.url.startswith("https://127.0.0.1:")
        assert ada.book.wait(2, 10)
        note = ballot("bob")
        bob.board.post(note)
        assert ada.board.wait(0, 0, 10)
        assert ada.board.read(0) == [note]
        blob = bytes(range(256)) * 20_000
        digest = ada.store.put([blob])
        assert b"".join(bob.store.open(digest, len(blob))) == blob


def test_a_stranger_is_not_heard(certified, tmp_path):
    """Without a certificate, or with one nobody trusts, there is no answer at all."""
    (tmp_path / "eve").mkdir()
    eve = identities(tmp_path / "eve", "eve")["eve"]
    knows_ada = Identity(eve.certificate, eve.key, certified["ada"].trusted)
    with join("ada", identity=certified["ada"]) as ada:
        for stranger in (eve, knows_ada):
            with pytest.raises(PeerError, match="does not answer"):
                Peer(ada.url, stranger).ask("GET", "/health")
        address = ("127.0.0.1", int(ada.url.rpartition(":")[2]))
        heard = []
        bare = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        bare.check_hostname, bare.verify_mode = False, ssl.CERT_NONE
        plain = socket.create_connection(address)
        with (
            bare.wrap_socket(plain, do_handshake_on_connect=False) as encrypted,
            contextlib.suppress(OSError),
        ):
            encrypted.do_handshake()
            encrypted.sendall(b"GET /health HTTP/1.1\r\n\r\n")
            heard.append(encrypted.recv(1))
        assert not any(heard)
        with socket.create_connection(address) as plain:
            plain.settimeout(5)
            plain.sendall(b"GET /health HTTP/1.1\r\n\r\n")
            assert b"200" not in plain.recv(100)
        assert status(ada.url, certified["bob"], "", "GET", "/health") == 200


def test_a_member_at_another_members_address_is_found_out(certified):
    """A trusted certificate is not enough: it must be the one that the endpoint names."""
    with join("ada", identity=certified["ada"]) as ada:
        right = certified["ada"].fingerprint
        assert status(ada.url, certified["bob"], right, "GET", "/health") == 200
        wrong = Peer(ada.url, certified["bob"], certified["bob"].fingerprint)
        with pytest.raises(PeerError, match="another machine answers there"):
            wrong.ask("GET", "/health")


def test_an_endpoint_without_tls_is_refused_by_who_has_it(certified):
    """A member cannot lead others to talk in the clear, to whatever listens there."""
    bob = KeyedSigner("bob")
    with join("ada", identity=certified["ada"]) as ada:
        for url, fingerprint in (("http://127.0.0.1:9", "0" * 64), ("https://127.0.0.1:9", "")):
            lured = Endpoint(sender="bob", counter=1, url=url, fingerprint=fingerprint)
            with pytest.raises(ConfigError, match="refused"):
                ada.book.receive(bob.sign(lured))
            body = encode(bob.sign(lured))
            assert status(ada.url, certified["bob"], "", "POST", "/endpoints", body) == 400
        assert ada.book.peers() == {}


def test_a_handshake_that_dawdles_is_ended(certified):
    """Who connects and says nothing holds its place for a moment only."""
    with (
        join("ada", identity=certified["ada"], limits=Limits(request_seconds=0.3)) as ada,
        socket.create_connection(("127.0.0.1", int(ada.url.rpartition(":")[2]))) as slow,
    ):
        slow.settimeout(5)
        began = time.monotonic()
        assert slow.recv(1) == b""
        assert time.monotonic() - began < 4


def test_a_server_that_never_shakes_hands_is_left(certified, monkeypatch):
    """The side that connects does not wait for ever either."""
    monkeypatch.setattr("colearn.peers.client.CONNECT_SECONDS", 0.3)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        began = time.monotonic()
        with pytest.raises(PeerError, match="does not answer"):
            Peer(f"https://127.0.0.1:{silent.getsockname()[1]}", certified["bob"]).ask("GET", "/")
        assert time.monotonic() - began < 4


def test_without_tls_nothing_leaves_loopback():
    """A member without a certificate neither connects beyond loopback nor is told to."""
    for url in ("http://192.0.2.1:80", "http://example.org:80", "https://127.0.0.1:80"):
        with pytest.raises(ConfigError, match="refused without TLS"):
            Peer(url)
        with pytest.raises(ConfigError, match="refused without TLS"):
            join("ada", url=url)
    with join("ada") as ada:
        away = Endpoint(sender="bob", counter=1, url="http://192.0.2.1:80")
        with pytest.raises(ConfigError, match="refused without TLS"):
            ada.book.receive(KeyedSigner("bob").sign(away))


@pytest.mark.parametrize(
    "url",
    [
        "",
        "ftp://127.0.0.1:1",
        "http://127.0.0.1",
        "http://127.0.0.1:0",
        "http://127.0.0.1:65536",
        "http://127.0.0.1:1/path",
        "http://user@127.0.0.1:1",
        "http://127.0.0.1:1@192.0.2.1:2",
        "http://127.0.0.1:1#x",
        "http://127.0.0.1:1\r\nX: y",
        "http://" + "a" * 300 + ":1",
        "http://[::1:1",
    ],
)
def test_a_url_is_scheme_host_and_port(url):
    """Nothing else is taken for a member's URL."""
    with pytest.raises(ConfigError):
        check_url(url, encrypted=False)


def test_good_urls():
    """Host and port are read from every allowed form."""
    assert check_url("http://127.0.0.1:80", encrypted=False) == ("127.0.0.1", 80)
    assert check_url("http://localhost:80/", encrypted=False) == ("localhost", 80)
    assert check_url("http://[::1]:65535", encrypted=False) == ("::1", 65535)
    assert check_url("https://hospital-3.example.org:7", encrypted=True) == (
        "hospital-3.example.org",
        7,
    )


def test_a_key_is_its_owners_only_and_is_never_written_over(tmp_path):
    """The key's file is readable by its owner; making one again is an error."""
    certificate, key = tmp_path / "c.pem", tmp_path / "k.pem"
    make_certificate("ada", certificate, key)
    assert S_IMODE(key.stat().st_mode) == 0o600
    before = key.read_bytes()
    with pytest.raises(ConfigError, match="k.pem cannot be written"):
        make_certificate("ada", certificate, key)
    assert key.read_bytes() == before
    assert b"PRIVATE" not in certificate.read_bytes()


def test_files_that_are_no_certificates_are_a_clear_error(tmp_path, certified):
    """Missing or wrong files are named before anything listens."""
    ada = certified["ada"]
    nothing = tmp_path / "nothing.pem"
    with pytest.raises(ConfigError, match="TLS cannot use"):
        join("ada", identity=Identity(nothing, ada.key, ada.trusted))
    with pytest.raises(ConfigError, match="TLS cannot use"):
        join("ada", identity=Identity(ada.certificate, certified["bob"].key, ada.trusted))
    with pytest.raises(ConfigError, match="holds no certificate"):
        _ = Identity(ada.key, ada.key, ada.trusted).fingerprint
