"""One member's place among the others' machines: its server, address book, board and store."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Self

from colearn.boards.http import PeerBoard
from colearn.boards.local import LocalBoard
from colearn.peers.book import AddressBook
from colearn.peers.limits import Limits
from colearn.peers.server import PeerServer, Shown
from colearn.peers.tls import Identity
from colearn.protocols import Ledger, Signer, Store
from colearn.records import WIRE_VERSION, digest_of, encode
from colearn.stores.http import PeerStore

NOTES_FILE = "notes.log"
CONTRADICTIONS_FILE = "contradictions.log"


class Network:
    """Connects a member with the others over HTTP, from the moment it is made.

    Args:
        member: This member's name on the ledger.
        ledger: Tells the experiment, the members and the live round.
        store: Where this member's blobs are held; the others may fetch all of them.
        signer: Signs for this member and checks what others signed.
        seeds: URLs of other members, as many as are known.
        folder: Where to keep notes, and proof against who contradicts itself. None to
            keep them in memory.
        host: The interface to listen on; beyond loopback only with an identity.
        port: The port to listen on; 0 for one that is free.
        url: Where others reach this member, if not at that host and port.
        identity: This member's certificate and whom it trusts; None on loopback.
        limits: What others are granted.

    Attributes:
        url: Where others reach this member.
        book: Who is reached where.
        board: The `colearn.protocols.Board` among the members.
        store: The `colearn.protocols.Store` among the members.

    Raises:
        ConfigError: It may not or cannot listen there, or a URL is not allowed.
        BoardError: The folder's files cannot be used.
    """

    def __init__(
        self,
        member: str,
        ledger: Ledger,
        store: Store,
        *,
        signer: Signer,
        seeds: Iterable[str] = (),
        folder: Path | None = None,
        host: str = "127.0.0.1",
        port: int = 0,
        url: str | None = None,
        identity: Identity | None = None,
        limits: Limits | None = None,
    ) -> None:
        self._ledger = ledger
        with ExitStack() as opened:
            server = opened.enter_context(PeerServer(host, port, identity=identity, limits=limits))
            self.url = url or server.url
            self.book = AddressBook(
                member,
                self.url,
                members=lambda: ledger.view().members,
                signer=signer,
                seeds=seeds,
                identity=identity,
            )
            notes = folder / NOTES_FILE if folder else None
            kept = opened.enter_context(LocalBoard(ledger.experiment, notes))
            self.board = PeerBoard(
                kept,
                self.book,
                view=ledger.view,
                signer=signer,
                evidence=folder / CONTRADICTIONS_FILE if folder else None,
            )
            self.store = PeerStore(store, self.book, holder=self.board.holder)
            server.start(Shown(store, self.board, self.book, self.health))
            opened.callback(self.book.close)
            opened.callback(self.board.close)
            opened.callback(server.close)
            self.book.start()
            self.board.start()
            self._opened = opened.pop_all()

    def health(self) -> dict[str, Any]:
        """What anybody who may connect is told about this member."""
        state = self._ledger.view()
        return {
            "version": WIRE_VERSION,
            "experiment": digest_of((encode(self._ledger.experiment),)),
            "round": state.round,
            "reached": len(self.book.endpoints()) - 1,
            "members": len(state.members),
        }

    def met_before(self) -> bool | None:
        """Whether others know this member from an earlier life; None before that can be said.

        Whoever leads the live round must have been asked, for there this member's vote
        would be.
        """
        return self.book.met_before(self._ledger.view().proposer)

    def close(self) -> None:
        """Leave; what is held stays held."""
        self._opened.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
