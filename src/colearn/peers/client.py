"""Asking one other member over HTTP: no redirects, no proxies, an end to every wait."""

from __future__ import annotations

import contextlib
import re
import socket
import ssl
from collections.abc import Iterator
from functools import partial
from http.client import HTTPConnection, HTTPException, HTTPResponse
from threading import Lock
from typing import NamedTuple

from colearn.errors import PeerError
from colearn.peers.deadlines import DEADLINES
from colearn.peers.tls import Identity, check_url, fingerprint_of
from colearn.records import Digest

CONNECT_SECONDS = 5.0
EXCHANGE_SECONDS = 15.0
STALL_SECONDS = 10.0
MIN_BYTES_PER_SECOND = 250_000
"""Slower than this on average, a transfer ends; what has come is kept."""

MAX_ANSWER_BYTES = 4_194_304
_MAX_IDLE = 4
_content_range = re.compile(r"bytes (\d{1,15})-(\d{1,15})/(\d{1,15})").fullmatch


class Answer(NamedTuple):
    """Status and body of a short answer."""

    status: int
    body: bytes


class BlobStream(NamedTuple):
    """A blob on its way: its whole size, and where to read it from."""

    size_bytes: int
    response: HTTPResponse


class Peer:
    """Another member at one address; thread-safe, connections are used again.

    Args:
        url: Where it is; see `colearn.peers.tls.check_url`.
        identity: This member's certificate and whom it trusts; None on loopback.
        fingerprint: Of the certificate that must be found there; empty if any that
            the identity trusts will do.

    Raises:
        ConfigError: The URL is not allowed.
    """

    def __init__(self, url: str, identity: Identity | None = None, fingerprint: str = "") -> None:
        self.url = url.rstrip("/")
        self._address = check_url(url, encrypted=identity is not None)
        self._identity = identity
        self._fingerprint = fingerprint
        self._idle: list[HTTPConnection] = []
        self._most_idle = _MAX_IDLE
        self._lock = Lock()

    def ask(
        self, method: str, path: str, body: bytes = b"", seconds: float = EXCHANGE_SECONDS
    ) -> Answer:
        """Exchange one short message, within so many seconds.

        Raises:
            PeerError: It cannot be reached, is too slow, or answers too much.
        """
        with self._response(
            method, path, body=body, seconds=seconds, stall_seconds=seconds
        ) as response:
            answer = response.read(MAX_ANSWER_BYTES + 1)
            if len(answer) > MAX_ANSWER_BYTES:
                raise PeerError(f"{self.url} answers more than {MAX_ANSWER_BYTES} bytes")
            return Answer(response.status, answer)

    @contextlib.contextmanager
    def blob(self, digest: Digest, start: int, most_bytes: int) -> Iterator[BlobStream | None]:
        """Ask for a blob from a position on; None if it is not held there.

        Raises:
            PeerError: It cannot be reached, is too slow, or answers something else.
        """
        seconds = EXCHANGE_SECONDS + most_bytes / MIN_BYTES_PER_SECOND
        wanted = {"Range": f"bytes={start}-"} if start else {}
        path = f"/blobs/{digest}"
        with self._response(
            "GET", path, headers=wanted, seconds=seconds, stall_seconds=STALL_SECONDS
        ) as response:
            if response.status == 404:
                response.read(MAX_ANSWER_BYTES)
                yield None
                return
            size = response.length
            if start and response.status == 206:
                found = _content_range(response.headers.get("Content-Range", ""))
                if found is None or int(found[1]) != start or size != int(found[3]) - start:
                    raise PeerError(f"{self.url} gives another part of a blob than was asked for")
                yield BlobStream(int(found[3]), response)
            elif not start and response.status == 200 and size is not None:
                yield BlobStream(size, response)
            else:
                raise PeerError(f"{self.url} answers {response.status} when asked for a blob")

    def close(self) -> None:
        """End the connections that are not in use, and others as soon as they are not."""
        with self._lock:
            idle, self._idle = self._idle, []
            self._most_idle = 0
        for connection in idle:
            connection.close()

    @contextlib.contextmanager
    def _response(
        self,
        method: str,
        path: str,
        *,
        seconds: float,
        stall_seconds: float,
        body: bytes = b"",
        headers: dict[str, str] | None = None,
    ) -> Iterator[HTTPResponse]:
        connection, response = None, None
        ask = partial(_ask, method=method, path=path, body=body, headers=headers or {})
        ask = partial(ask, seconds=seconds, stall_seconds=stall_seconds)
        try:
            with self._lock:
                connection = self._idle.pop() if self._idle else None
            if connection is not None:
                # The other side may have ended it meanwhile; every request may be repeated.
                with contextlib.suppress(OSError, HTTPException, ValueError):
                    response = ask(connection)
                if response is None:
                    connection.close()
            if response is None:
                connection = self._connect()
                response = ask(connection)
            assert connection is not None  # noqa: S101
            yield response
        except (OSError, HTTPException, ValueError) as reason:
            raise PeerError(f"{self.url} does not answer: {_said(reason)}") from None
        finally:
            if connection is not None:
                self._put_back(connection, response)

    def _put_back(self, connection: HTTPConnection, response: HTTPResponse | None) -> None:
        whole = response is not None and response.isclosed()
        if connection.sock is not None:
            DEADLINES.clear(connection.sock)
            with self._lock:
                if whole and len(self._idle) < self._most_idle:
                    self._idle.append(connection)
                    return
        if response is not None:
            response.close()
        connection.close()

    def _connect(self) -> HTTPConnection:
        connection = HTTPConnection(*self._address)
        plain = socket.create_connection(self._address, CONNECT_SECONDS)
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.sock = plain
        if self._identity is not None:
            connection.sock = self._encrypted(self._identity, plain)
        return connection

    def _encrypted(self, identity: Identity, plain: socket.socket) -> ssl.SSLSocket:
        context = identity.client_context
        encrypted = context.wrap_socket(plain, do_handshake_on_connect=False)
        try:
            with DEADLINES.limit(encrypted, CONNECT_SECONDS):
                encrypted.do_handshake()
            found = fingerprint_of(encrypted.getpeercert(binary_form=True))
            if self._fingerprint and found != self._fingerprint:
                raise PeerError(
                    f"{self.url} shows the certificate {found[:12]}, expected "
                    f"{self._fingerprint[:12]}: another machine answers there"
                )
        except BaseException:
            encrypted.close()
            raise
        return encrypted


def _ask(
    connection: HTTPConnection,
    *,
    method: str,
    path: str,
    body: bytes,
    headers: dict[str, str],
    seconds: float,
    stall_seconds: float,
) -> HTTPResponse:
    if connection.sock is None:
        raise ConnectionError("it ended the connection")
    DEADLINES.set(connection.sock, seconds)
    connection.sock.settimeout(stall_seconds)
    connection.putrequest(method, path, skip_accept_encoding=True)
    for name, value in headers.items():
        connection.putheader(name, value)
    if method == "POST":
        connection.putheader("Content-Length", str(len(body)))
    connection.endheaders(body or None)
    return connection.getresponse()


def _said(reason: Exception) -> str:
    return str(reason) or type(reason).__name__
