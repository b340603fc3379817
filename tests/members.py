"""Members on one machine that talk over real sockets, with real signatures."""

from __future__ import annotations

import contextlib
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Thread

from blake3 import blake3
from msgspec.structs import replace

from colearn.errors import BadSignature
from colearn.ledgers.local import LocalLedger
from colearn.network import Network
from colearn.peers.certificates import make_certificate
from colearn.peers.tls import Identity
from colearn.protocols import Ledger, NoteT, Store
from colearn.records import Ballot, Choice, Experiment, Rule, Scores, Signed, digest_of, encode
from colearn.stores.memory import MemoryStore

MEMBERS = ("ada", "bob", "cid")
EXPERIMENT = Experiment(members=MEMBERS, initial="0" * 64, schema="1" * 64, rule=Rule())
PROPOSAL = digest_of([b"proposal"])


class KeyedSigner:
    """Signs by a keyed hash; every member's key follows from its name and the experiment."""

    def __init__(self, member: str, experiment: Experiment = EXPERIMENT) -> None:
        self.member = member
        self._experiment = encode(experiment)

    def _signature(self, note: Signed) -> str:
        key = blake3(note.sender.encode() + self._experiment).digest()
        return blake3(encode(replace(note, signature="")), key=key).hexdigest()

    def sign(self, note: NoteT) -> NoteT:
        assert note.sender == self.member
        return replace(note, signature=self._signature(note))

    def check(self, note: Signed) -> None:
        if isinstance(note, Scores) or note.signature != self._signature(note):
            raise BadSignature(f"not signed by {note.sender!r}")


def ballot(sender: str, choice: Choice = Choice.APPROVE, round_index: int = 0) -> Ballot:
    """A signed ballot."""
    return KeyedSigner(sender).sign(Ballot(round_index, sender, PROPOSAL, choice))


def join(
    member: str,
    ledger: Ledger | None = None,
    store: Store | None = None,
    **options: object,
) -> Network:
    """One member's network, by default on a ledger of its own in round 0."""
    return Network(
        member,
        ledger or LocalLedger(EXPERIMENT),
        MemoryStore() if store is None else store,
        signer=KeyedSigner(member),
        **options,
    )


@contextlib.contextmanager
def joined(*members: str, **options: object) -> Iterator[list[Network]]:
    """Networks of these members, on one ledger, who all know and have visited each other."""
    ledger = LocalLedger(EXPERIMENT)
    with contextlib.ExitStack() as stack:
        networks: list[Network] = []
        for member in members or MEMBERS:
            seeds = [networks[0].url] if networks else []
            networks.append(stack.enter_context(join(member, ledger, seeds=seeds, **options)))
        for network in networks:
            assert network.book.wait(len(networks), 10), f"{network.book.member} knows too few"
        couriers = [
            network.board._couriers[other.book.member]
            for network in networks
            for other in networks
            if other is not network
        ]
        assert eventually(lambda: all(each._caught_up for each in couriers)), "visits failed"
        yield networks


def identities(folder: Path, *members: str) -> dict[str, Identity]:
    """A certificate for each, and one file of all of them that all trust."""
    trusted = folder / "members.pem"
    made = {}
    for member in members:
        made[member] = Identity(folder / f"{member}.pem", folder / f"{member}.key", trusted)
        make_certificate(member, made[member].certificate, made[member].key)
    trusted.write_bytes(b"".join(each.certificate.read_bytes() for each in made.values()))
    return made


def eventually(holds: Callable[[], object], seconds: float = 10) -> bool:
    """Whether something comes true in time."""
    end = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > end:
            return False
        time.sleep(0.005)
    return True


@contextlib.contextmanager
def rogue(behave: Callable[[socket.socket, bytes], None]) -> Iterator[str]:
    """A server of an attacker: hands each connection and its request's head to a function."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            with contextlib.suppress(OSError):
                while True:
                    connection, _ = listener.accept()
                    Thread(target=answer, args=(connection,), daemon=True).start()

        def answer(connection: socket.socket) -> None:
            with connection, contextlib.suppress(OSError):
                behave(connection, connection.recv(65_536))

        Thread(target=serve, daemon=True).start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        with contextlib.suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)
