"""Where members are reached: signed endpoints, of which the newest counts.

A member knows some addresses to begin with, the seeds. It sends its own endpoint
there and is told all that are known there; so everybody soon knows everybody, and a
member that moves is found again.
"""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Callable, Iterable
from threading import Condition, Thread

from msgspec.structs import replace

from colearn.errors import ColearnError, ConfigError, NotAMember, PeerError
from colearn.peers.client import Peer
from colearn.peers.tls import Identity, check_url
from colearn.protocols import Signer
from colearn.records import Endpoint, decode, encode

_FIRST_SECONDS = 0.1
_MAX_SECONDS = 5.0
_RARELY_SECONDS = 60.0
_JOIN_SECONDS = 1.0
_log = logging.getLogger(__name__)


class AddressBook:
    """The other members' addresses; thread-safe. Asks around from a thread of its own.

    Args:
        member: This member.
        url: Where it is reached.
        members: Gives all members' names at present.
        signer: Signs this member's endpoint and checks those of others.
        seeds: URLs to ask first.
        identity: This member's certificate and whom it trusts; None on loopback.
    """

    def __init__(
        self,
        member: str,
        url: str,
        *,
        members: Callable[[], tuple[str, ...]],
        signer: Signer,
        seeds: Iterable[str] = (),
        identity: Identity | None = None,
    ) -> None:
        self.member = member
        self._members = members
        self._signer = signer
        self._identity = identity
        self._seeds = [Peer(seed, identity) for seed in seeds]
        check_url(url, encrypted=identity is not None)
        own = Endpoint(
            sender=member,
            counter=time.time_ns(),
            url=url,
            fingerprint=identity.fingerprint if identity else "",
        )
        self._changed = Condition()
        self._known = {member: signer.sign(own)}
        self._peers: dict[str, Peer] = {}
        self._told: set[tuple[str, int]] = set()
        self._counters = {own.counter}
        self._remembered = False
        self._hear: Callable[[str], None] = lambda member: None
        self._closed = False
        self._thread = Thread(target=self._ask_around, name="address-book", daemon=True)

    def start(self) -> None:
        """Begin to ask around."""
        self._thread.start()

    def receive(self, endpoint: Endpoint) -> None:
        """Take an endpoint if it is newer than what is known of its sender.

        Raises:
            BadSignature: It does not bear its sender's signature.
            NotAMember: Its sender is none.
            ConfigError: Its URL is not allowed.
        """
        if endpoint.sender not in self._members():
            raise NotAMember(f"{endpoint.sender!r:.80} is no member: its endpoint is refused")
        if endpoint == self._known.get(endpoint.sender):
            self._hear(endpoint.sender)
            return
        check_url(endpoint.url, encrypted=self._identity is not None)
        if self._identity is not None and not endpoint.fingerprint:
            raise ConfigError(f"{endpoint.sender!r} names no certificate: its endpoint is refused")
        self._signer.check(endpoint)
        with self._changed:
            known = self._known.get(endpoint.sender)
            own_one = endpoint.sender == self.member
            if own_one and endpoint.counter not in self._counters:
                self._remembered = True
            if known is not None and endpoint.counter < known.counter + (not own_one):
                return
            if own_one:  # of an earlier life of this member
                self._counters.add(endpoint.counter + 1)
                own = replace(self._known[self.member], counter=endpoint.counter + 1, signature="")
                endpoint = self._signer.sign(own)
            self._known[endpoint.sender] = endpoint
            moved = self._peers.pop(endpoint.sender, None)
            self._changed.notify_all()
        if moved is not None:
            moved.close()
        self._hear(endpoint.sender)

    def listen(self, hear: Callable[[str], None]) -> None:
        """Call this with the name of a member whenever it tells its address."""
        self._hear = hear

    def endpoints(self) -> list[Endpoint]:
        """The newest endpoint of each member that is known, this one's too."""
        with self._changed:
            return list(self._known.values())

    def peers(self) -> dict[str, Peer]:
        """The other members whose addresses are known, this member's successors first."""
        members = self._members()
        at = members.index(self.member) if self.member in members else 0
        return {
            name: peer
            for name in members[at:] + members[:at]
            if name != self.member and (peer := self.peer(name)) is not None
        }

    def peer(self, member: str) -> Peer | None:
        """A member at its newest address; None while that is unknown."""
        with self._changed:
            peer = self._peers.get(member)
            endpoint = self._known.get(member)
            if peer is None and endpoint is not None:
                peer = Peer(endpoint.url, self._identity, endpoint.fingerprint)
                self._peers[member] = peer
            return peer

    def met_before(self, member: str) -> bool | None:
        """Whether others know this member from an earlier life.

        Args:
            member: Whose word is needed that they do not; this member's own stands for
                anybody's.

        Returns:
            None before that one was asked.
        """
        peer = self.peer(member)
        with self._changed:
            if self._remembered:
                return True
            told = {url for url, _ in self._told}
            asked = bool(told) if member == self.member else peer is not None and peer.url in told
            return False if asked else None

    def wait(self, known: int, timeout_seconds: float) -> bool:
        """Return True once the addresses of so many members are known, this one's included."""
        with self._changed:
            return self._changed.wait_for(lambda: len(self._known) >= known, timeout_seconds)

    def close(self) -> None:
        """Ask no more, and end all idle connections."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
            peers = [*self._peers.values(), *self._seeds]
        if self._thread.is_alive():
            self._thread.join(_JOIN_SECONDS)
        for peer in peers:
            peer.close()

    def _ask_around(self) -> None:
        """Ask often while somebody is missing or has not been told of us, then rarely."""
        pause = _FIRST_SECONDS
        while True:
            before = self.endpoints()
            done = self._ask_those_untold()
            pause = _RARELY_SECONDS if done else min(2 * pause, _MAX_SECONDS)
            if self._rest(before, pause * random.uniform(0.8, 1.2)):  # noqa: S311
                pause = _FIRST_SECONDS
            if self._closed:
                return

    def _rest(self, before: list[Endpoint], seconds: float) -> bool:
        """Return True as soon as other endpoints than those are known, False in the end."""
        with self._changed:
            self._changed.wait_for(
                lambda: self._closed or list(self._known.values()) != before, seconds
            )
            return list(self._known.values()) != before

    def _ask_those_untold(self) -> bool:
        """Exchange endpoints with who does not know ours yet; else with anyone."""
        own = self._known[self.member]
        complete = set(self._known) >= set(self._members())
        peers = self.peers()
        known_urls = {peer.url for peer in peers.values()} | {own.url}
        asked = [seed for seed in self._seeds if seed.url not in known_urls and not complete]
        asked += [peer for peer in peers.values() if (peer.url, own.counter) not in self._told]
        if not asked and peers:
            asked = [random.choice(list(peers.values()))]  # noqa: S311
        for peer in asked:
            if self._closed:
                return True
            try:
                self._exchange(peer, own)
                self._told.add((peer.url, own.counter))
            except ColearnError as reason:
                _log.debug("%s", reason)
        told = all((peer.url, own.counter) in self._told for peer in self.peers().values())
        return complete and told

    def _exchange(self, peer: Peer, own: Endpoint) -> None:
        answer = peer.ask("POST", "/endpoints", encode(own))
        if answer.status != 200:
            raise PeerError(f"{peer.url} answers {answer.status} to our endpoint")
        for line in answer.body.splitlines():
            try:
                self.receive(decode(line, Endpoint))
            except ColearnError as reason:
                _log.debug("%s gives an endpoint that is refused: %s", peer.url, reason)
