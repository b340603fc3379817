"""What one member shows the others over HTTP: blobs by digest, notes, endpoints.

======  ============================  ==================================================
GET     ``/blobs/<digest>``           the bytes; with ``Range: bytes=N-`` from N on
HEAD    ``/blobs/<digest>``           whether they are held, and how many they are
POST    ``/notes``                    takes a signed note: 204; 400 it is none,
                                      403 not its sender's, 422 not of a round near the
                                      live one, 409 with both where it contradicts another
GET     ``/notes/<round>``            the round's notes, one a line; with
                                      ``?seen=N&wait=S`` those after the first N, up
                                      to S seconds later if there are none yet
POST    ``/endpoints``                takes one endpoint and gives all that were known
                                      before, one a line
GET     ``/health``                   experiment and round
======  ============================  ==================================================

Nothing else has an answer: no name that a request holds becomes a path. Bodies are
memory as the store holds it; nothing is copied.
"""

from __future__ import annotations

import contextlib
import http.client
import logging
import re
import socket
from collections.abc import Callable, Iterator
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from io import BufferedReader
from socketserver import ThreadingTCPServer
from threading import Lock, Thread
from typing import Any, NamedTuple, Protocol, Self
from weakref import WeakValueDictionary

import msgspec

from colearn.errors import (
    BadSignature,
    BlobCorrupt,
    BlobMissing,
    ColearnError,
    ConfigError,
    NotAMember,
    WrongRound,
)
from colearn.peers.client import MIN_BYTES_PER_SECOND
from colearn.peers.deadlines import DEADLINES, shut
from colearn.peers.limits import Callers, Limits
from colearn.peers.tls import Identity, check_host
from colearn.protocols import Blob, Store
from colearn.records import Digest, Endpoint, Note, decode, decode_note, encode

MAX_WAIT_SECONDS = 25
_log = logging.getLogger(__name__)
_range = re.compile(r"bytes=(\d{1,15})-").fullmatch
_blob_path = re.compile(r"/blobs/([0-9a-f]{64})").fullmatch
_notes_path = re.compile(r"/notes/(\d{1,15})(?:\?seen=(\d{1,9})&wait=(\d{1,2}))?").fullmatch


class Inbox(Protocol):
    """Where notes of other members go, and what is shown of them."""

    def receive(self, note: Note) -> Note | None:
        """Take a note; return the earlier one if it contradicts that.

        Raises:
            BadSignature: It does not bear its sender's signature.
            NotAMember: Its sender is none.
            WrongRound: Its round is not near the live one.
        """
        ...

    def read(self, round_index: int) -> list[Note]:
        """All notes of a round, in the order they came."""
        ...

    def wait(self, round_index: int, seen: int, timeout_seconds: float) -> bool:
        """Return True once the round has more than ``seen`` notes, False at the time-out."""
        ...


class Book(Protocol):
    """Where members' addresses are kept."""

    def receive(self, endpoint: Endpoint) -> None:
        """Take an endpoint if it is newer; raises as `Inbox.receive`."""
        ...

    def endpoints(self) -> list[Endpoint]:
        """The newest endpoint of each member that is known."""
        ...


class Shown(NamedTuple):
    """What a server works on. The store must be the member's own, not one of peers."""

    store: Store
    inbox: Inbox
    book: Book
    health: Callable[[], dict[str, Any]]


class PeerServer:
    """Listens at once, answers once started; each connection has a thread of its own.

    Args:
        host: The interface to listen on. Beyond loopback only with an identity.
        port: 0 for one that is free.
        identity: This member's certificate, and those of whom it talks to.
        limits: What callers are granted.

    Raises:
        ConfigError: It may not or cannot listen there.
    """

    def __init__(
        self,
        host: str = "127.0.0.1",
        port: int = 0,
        *,
        identity: Identity | None = None,
        limits: Limits | None = None,
    ) -> None:
        check_host(host, encrypted=identity is not None)
        try:
            self._server = _Server(host, port, identity, limits or Limits())
        except OSError as reason:
            raise ConfigError(
                f"cannot listen on {host}:{port}: {reason.strerror}; choose another port"
            ) from None
        self.port: int = self._server.server_address[1]
        shown_host = f"[{host}]" if ":" in host else host
        self.url = f"http{'s' * (identity is not None)}://{shown_host}:{self.port}"
        self._thread: Thread | None = None

    def start(self, shown: Shown) -> None:
        """Begin to answer."""
        self._server.shown = shown
        self._thread = Thread(
            target=self._server.serve_forever, args=(0.1,), name="peer-server", daemon=True
        )
        self._thread.start()

    def close(self) -> None:
        """Stop listening and end every connection; closing again changes nothing."""
        if self._thread is not None:
            self._server.shutdown()
            self._thread.join()
            self._thread = None
        self._server.server_close()
        self._server.end_connections()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class _Server(ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True
    request_queue_size = 128
    shown: Shown

    def __init__(self, host: str, port: int, identity: Identity | None, limits: Limits) -> None:
        if ":" in host:
            self.address_family = socket.AF_INET6
        self.limits = limits
        self.callers = Callers(limits)
        self._context = identity.server_context if identity else None
        self._lock = Lock()
        self._live: set[socket.socket] = set()
        self._opened = WeakValueDictionary[Digest, _Opened]()
        super().__init__((host, port), _Handler)

    def verify_request(self, request: Any, client_address: Any) -> bool:
        """Whether there is room for one more connection."""
        if not self.callers.enter(client_address[0]):
            return False
        with self._lock:
            self._live.add(request)
        return True

    def finish_request(self, request: Any, client_address: Any) -> None:
        """Answer one connection's requests, in its own thread."""
        connection = request
        try:
            if self._context is not None:
                connection = self._context.wrap_socket(
                    request, server_side=True, do_handshake_on_connect=False
                )
                with self._lock:
                    self._live.remove(request)
                    self._live.add(connection)
                DEADLINES.set(connection, self.limits.request_seconds)
                connection.do_handshake()
            _Handler(connection, client_address, self)
        finally:
            DEADLINES.clear(connection)
            with self._lock:
                self._live.remove(connection)
            self.callers.leave(client_address[0])
            if connection is not request:
                shut(connection)
                connection.close()

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ARG002
        """Say little of what goes wrong with one connection: others can cause it at will."""
        _log.debug("a connection from %s ended early", client_address[0], exc_info=True)

    def end_connections(self) -> None:
        """End what is going on."""
        with self._lock:
            live = list(self._live)
        for connection in live:
            shut(connection)

    def open(self, digest: Digest) -> _Opened:
        """Open a blob, which a store may hash anew each time, once for all who are given it."""
        opened = self._opened.get(digest)
        if opened is None or digest not in self.shown.store:
            opened = self._opened[digest] = _Opened(self.shown.store.open(digest))
        return opened


class _Opened:
    """A blob that is being given; it is closed with the last answer that holds this."""

    def __init__(self, blob: Blob) -> None:
        self.blob = blob


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1
    server: _Server
    connection: socket.socket

    def setup(self) -> None:
        super().setup()
        self.rfile: _Bounded = _Bounded(self.rfile)  # type: ignore[assignment, arg-type]

    def handle_one_request(self) -> None:
        """Give one request its time and its size."""
        limits = self.server.limits
        self.close_connection = True
        DEADLINES.set(self.connection, limits.idle_seconds)
        if not self.rfile.peek():
            return
        DEADLINES.set(self.connection, limits.request_seconds)
        self.rfile.left = limits.head_bytes
        with contextlib.suppress(http.client.LineTooLong):
            super().handle_one_request()

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        if not self._may_ask():
            return
        blob, notes = _blob_path(self.path), _notes_path(self.path)
        if blob is not None:
            self._give_blob(blob[1])
        elif notes is not None:
            self._give_notes(int(notes[1]), int(notes[2] or 0), int(notes[3] or 0))
        elif self.path == "/health":
            self._answer(HTTPStatus.OK, msgspec.json.encode(self.server.shown.health()))
        else:
            self._answer(HTTPStatus.NOT_FOUND)

    def do_POST(self) -> None:
        if not self._may_ask():
            return
        body = self._body()
        if body is None:
            return
        try:
            if self.path == "/notes":
                self._take_note(decode_note(body))
            elif self.path == "/endpoints":
                self._take_endpoint(decode(body, Endpoint))
            else:
                self._answer(HTTPStatus.NOT_FOUND)
        except ColearnError as reason:
            self._refuse(reason)

    def _may_ask(self) -> bool:
        if self.server.callers.may_ask(self.client_address[0]):
            return True
        self.close_connection = True
        self._answer(HTTPStatus.TOO_MANY_REQUESTS)
        return False

    def _body(self) -> bytes | None:
        length = self.headers.get("Content-Length", "")
        if "Transfer-Encoding" in self.headers or not length.isascii() or not length.isdigit():
            self.close_connection = True
            self._answer(HTTPStatus.LENGTH_REQUIRED)
            return None
        if len(length) > 15 or int(length) > self.server.limits.note_bytes:
            self.close_connection = True
            self._answer(HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
            return None
        body = self.rfile.read(int(length))
        if len(body) < int(length):
            self.close_connection = True
            return None
        return body

    def _take_note(self, note: Note) -> None:
        held = self.server.shown.inbox.receive(note)
        if held is None:
            self._answer(HTTPStatus.NO_CONTENT)
        else:
            self._answer(HTTPStatus.CONFLICT, _lines([held, note]))

    def _take_endpoint(self, endpoint: Endpoint) -> None:
        book = self.server.shown.book
        known = book.endpoints()  # with what was known of the sender before
        book.receive(endpoint)
        self._answer(HTTPStatus.OK, _lines(known))

    def _refuse(self, reason: ColearnError) -> None:
        status = HTTPStatus.SERVICE_UNAVAILABLE
        if isinstance(reason, ConfigError):
            status = HTTPStatus.BAD_REQUEST
        elif isinstance(reason, BadSignature | NotAMember):
            status = HTTPStatus.FORBIDDEN
        elif isinstance(reason, WrongRound):
            status = HTTPStatus.UNPROCESSABLE_ENTITY
        else:
            _log.warning("a note could not be taken: %s", reason)
        self._answer(status)

    def _give_notes(self, round_index: int, seen: int, wait_seconds: int) -> None:
        inbox = self.server.shown.inbox
        if wait_seconds:
            wait_seconds = min(wait_seconds, MAX_WAIT_SECONDS)
            DEADLINES.set(self.connection, wait_seconds + self.server.limits.request_seconds)
            inbox.wait(round_index, seen, wait_seconds)
        self._answer(HTTPStatus.OK, _lines(inbox.read(round_index)[seen:]))

    def _give_blob(self, digest: Digest) -> None:
        try:
            opened = self.server.open(digest)
        except (BlobMissing, BlobCorrupt) as reason:
            _log.debug("%s", reason)
            self._answer(HTTPStatus.NOT_FOUND)
            return
        size = sum(part.nbytes for part in opened.blob)
        asked = _range(self.headers.get("Range", ""))
        start = int(asked[1]) if asked else 0
        if asked and start >= size:
            self._answer(HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE)
            return
        self.send_response_only(HTTPStatus.PARTIAL_CONTENT if asked else HTTPStatus.OK)
        if asked:
            self.send_header("Content-Range", f"bytes {start}-{size - 1}/{size}")
        self.send_header("Content-Length", str(size - start))
        self.end_headers()
        self.wfile.flush()
        if self.command == "HEAD":
            return
        seconds = self.server.limits.request_seconds + size / MIN_BYTES_PER_SECOND
        DEADLINES.set(self.connection, seconds)
        for part in _from(opened.blob, start):
            self.connection.sendall(part)

    def _answer(self, status: HTTPStatus, body: bytes = b"") -> None:
        self.send_response_only(status)
        if status is not HTTPStatus.NO_CONTENT:
            self.send_header("Content-Length", str(len(body)))
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:  # noqa: ARG002
        """Answer what the parser refuses, in one line and without a page."""
        self.close_connection = True
        self.command = ""
        self.request_version = self.protocol_version
        self._answer(HTTPStatus(code))

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        _log.debug("%s: " + format, self.client_address[0], *args)


class _Bounded:
    """A connection's bytes, of which a request's head may have so many."""

    def __init__(self, connection: BufferedReader) -> None:
        self._connection = connection
        self.left = 0
        self.read = connection.read
        self.close = connection.close

    def peek(self) -> bytes:
        """What has come, once something has; empty at the end."""
        return self._connection.peek(1)

    def readline(self, limit: int) -> bytes:
        """One line of the head."""
        line = self._connection.readline(min(limit, self.left + 1))
        self.left -= len(line)
        if self.left < 0:
            raise http.client.LineTooLong("head")
        return line


def _lines(records: list[Note] | list[Endpoint]) -> bytes:
    return b"".join(encode(record) + b"\n" for record in records)


def _from(blob: Blob, start: int) -> Iterator[memoryview]:
    for part in blob:
        flat = part.cast("B") if part.nbytes else part
        if start < part.nbytes:
            yield flat[start:]
        start = max(start - part.nbytes, 0)
