"""How a member's process is doing, for whoever operates it: health and metrics over HTTP.

Numbers of rounds, votes, bytes and seconds; never a score, nor anything that a vote
was made of.
"""

from __future__ import annotations

import math
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import msgspec

from colearn.errors import ColearnError, ConfigError, MissingExtra
from colearn.records import Choice, Entry, Propose, Reveal, Vote
from colearn.rules import Decision, Outcome, State

try:
    from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Gauge
    from prometheus_client.exposition import generate_latest
except ModuleNotFoundError:
    raise MissingExtra("the health endpoint", "prometheus-client", "net") from None

STALE_SECONDS = 60.0
"""A member that has not read its ledger for this long is not healthy."""


class Health:
    """A `colearn.member.Watcher` that counts what a member does, and says whether it is well.

    Args:
        member: Its name on the ledger.
        folder: Where it keeps its blobs and its journal.
        now: Gives ledger time, in seconds since 1970, where it has just been read.
    """

    def __init__(self, member: str, folder: Path, now: Callable[[], int]) -> None:
        self.registry = CollectorRegistry()
        self._member = member
        self._problem = ""
        self._live = 0
        self._read = time.monotonic()
        self._now = now
        self._ledger_time = math.nan
        self._rounds = Counter(
            "colearn_rounds", "Rounds that ended.", ["outcome"], registry=self.registry
        )
        self._votes = Counter(
            "colearn_votes", "Votes of this member.", ["choice"], registry=self.registry
        )
        self._proposals = Counter(
            "colearn_proposals", "Proposals of this member.", registry=self.registry
        )
        self._failures = Counter(
            "colearn_failures",
            "Times that something failed and was retried.",
            registry=self.registry,
        )
        for name, text, value in (
            ("round", "The live round.", lambda: self._live),
            ("lag_seconds", "Seconds since the ledger was last read.", lambda: self.lag_seconds),
            (
                "ledger_age_seconds",
                "Seconds from ledger time, as last read, to this machine's clock.",
                lambda: self.ledger_age_seconds,
            ),
            ("store_bytes", "Bytes in this member's folder.", lambda: _size_bytes(folder)),
            ("disk_free_bytes", "Bytes free there.", lambda: shutil.disk_usage(folder).free),
        ):
            Gauge(f"colearn_{name}", text, registry=self.registry).set_function(value)
        for outcome in Outcome:
            if outcome is not Outcome.PENDING:
                self._rounds.labels(outcome.value)
        for choice in Choice:
            self._votes.labels(choice.value)

    @property
    def lag_seconds(self) -> float:
        """Seconds since the ledger was last read."""
        return time.monotonic() - self._read

    @property
    def ledger_age_seconds(self) -> float:
        """Seconds since the newest block that counts was made; grows on a chain that stands still.

        By this machine's clock; not a number before the ledger was read.
        """
        return time.time() - self._ledger_time

    def read(self, state: State) -> None:
        """The ledger was read, and all is well."""
        self._ledger_time = self._now()
        self._read = time.monotonic()
        self._problem = ""
        self._live = state.round

    def ordered(self, entry: Entry) -> None:
        """The ledger has a new entry."""
        event = entry.event
        if not isinstance(event, Vote | Reveal | Propose) or event.sender != self._member:
            return
        if isinstance(event, Propose):
            self._proposals.inc()
        else:
            self._votes.labels(event.choice.value).inc()

    def decided(self, decision: Decision) -> None:
        """A round, or a run of rounds without proposal, has ended."""
        count = decision.through - decision.round + 1
        self._rounds.labels(decision.outcome.value).inc(count)

    def failed(self, reason: ColearnError) -> None:
        """Something failed that may pass; it will be tried again."""
        self._problem = " ".join(str(reason).split())
        self._failures.inc()

    def status(self) -> tuple[bool, bytes]:
        """Whether the member is well, and what to say about it, as JSON."""
        lag = self.lag_seconds
        well = lag < STALE_SECONDS
        said = {
            "status": "ok" if well else "stale",
            "round": self._live,
            "lag_seconds": round(lag, 1),
            "ledger_age_seconds": round(self.ledger_age_seconds, 1),
            "problem": self._problem,
        }
        return well, msgspec.json.encode(said)


@contextmanager
def serving(health: Health, host: str, port: int) -> Iterator[int]:
    """Serve ``/health`` and ``/metrics`` meanwhile; gives the port.

    Raises:
        ConfigError: The port cannot be had.
    """

    class Handler(_Handler):
        about = health

    try:
        server = ThreadingHTTPServer((host, port), Handler)
    except (OSError, OverflowError) as reason:
        raise ConfigError(f"{host}:{port} cannot be listened on: {reason}") from None
    server.daemon_threads = True
    thread = Thread(target=server.serve_forever, name="health", daemon=True)
    thread.start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Handler(BaseHTTPRequestHandler):
    about: Health
    timeout = 10

    def do_GET(self) -> None:
        if self.path == "/health":
            well, body = self.about.status()
            self._answer(200 if well else 503, "application/json", body)
        elif self.path == "/metrics":
            self._answer(200, CONTENT_TYPE_LATEST, generate_latest(self.about.registry))
        else:
            self._answer(404, "text/plain", b"/health or /metrics\n")

    def _answer(self, status: int, kind: str, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing: the member's own lines are what its log is for."""


def _size_bytes(folder: Path) -> int:
    total = 0
    for path in folder.rglob("*"):
        try:
            total += path.stat().st_size
        except OSError:  # removed meanwhile
            continue
    return total
