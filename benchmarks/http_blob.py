"""A blob of 100 MB from one process to another: HTTP as members speak it against raw TCP.

Both ways send from the memory of one process into fresh memory of another, over loopback,
in turns. The memory is of the kind that a member fetches into: a `bytearray` would cost the
floor alone what its pages cost. Counted is the processor time of both ends.

    python benchmarks/http_blob.py
"""

from __future__ import annotations

import multiprocessing
import socket
import statistics
import time
from multiprocessing.connection import Connection
from threading import Thread
from types import SimpleNamespace

import numpy as np

from colearn.peers.client import Peer
from colearn.peers.server import PeerServer, Shown
from colearn.records import digest_of
from colearn.stores.http import PeerStore
from colearn.stores.memory import MemoryStore

SIZE_BYTES = 100_000_000
ROUNDS = 9
LIMIT, STRETCH = 0.5, 0.7


def serve(pipe: Connection) -> None:
    """Hold the blob; serve it by HTTP and by TCP; say how much processor time was used."""
    blob = bytearray(SIZE_BYTES)
    blob[::4096] = bytes(index % 251 for index in range(len(blob[::4096])))
    store = MemoryStore()
    digest = store.put([blob])
    listener = socket.create_server(("127.0.0.1", 0))

    def send() -> None:
        while True:
            connection, _ = listener.accept()
            with connection:
                connection.sendall(blob)

    Thread(target=send, daemon=True).start()
    server = PeerServer()
    nothing = SimpleNamespace()
    server.start(Shown(store, nothing, nothing, dict))
    pipe.send((digest, server.url, listener.getsockname()))
    while pipe.recv():
        pipe.send(time.process_time())


def fresh() -> memoryview:
    return np.empty(SIZE_BYTES, np.uint8).data


def over_tcp(address: tuple[str, int]) -> None:
    view = fresh()
    with socket.create_connection(address) as connection:
        while view:
            view = view[connection.recv_into(view) :]


def over_http(peer: Peer, digest: str) -> None:
    view = fresh()
    with peer.blob(digest, 0, SIZE_BYTES) as stream:
        assert stream is not None
        while view:
            view = view[stream.response.readinto(view[:262_144]) :]


def fetched(peer: Peer, digest: str) -> None:
    """What a voter does: the same, and the digest is checked while the bytes come."""
    book = SimpleNamespace(peers=lambda: {"holder": peer})
    store = PeerStore(MemoryStore(), book, holder=lambda digest: "holder")
    assert store.open(digest, SIZE_BYTES)


def main() -> None:
    spawn = multiprocessing.get_context("spawn")
    pipe, other = spawn.Pipe()
    process = spawn.Process(target=serve, args=(other,), daemon=True)
    process.start()
    digest, url, address = pipe.recv()
    peer = Peer(url)
    known = np.ones(SIZE_BYTES, np.uint8).data
    ways = {
        "raw TCP": lambda: over_tcp(address),
        "HTTP": lambda: over_http(peer, digest),
        "HTTP, digest checked": lambda: fetched(peer, digest),
        "blake3 alone": lambda: digest_of([known]),
    }
    used: dict[str, list[float]] = {way: [] for way in ways}

    def now() -> float:
        pipe.send(True)
        return time.process_time() + pipe.recv()

    for _ in range(ROUNDS):
        for way, move in ways.items():
            began = now()
            move()
            used[way].append(now() - began)
    pipe.send(False)
    process.join()
    speed = {way: SIZE_BYTES / 1e9 / statistics.median(each) for way, each in used.items()}
    print(
        f"{SIZE_BYTES // 1_000_000} MB over loopback, medians of {ROUNDS}, processor time of both"
    )
    for way, gigabytes in speed.items():
        print(f"  {way:22} {gigabytes:5.2f} GB per CPU-second   {gigabytes / speed['raw TCP']:.2f}")
    print(f"  allowed: HTTP at least {LIMIT} of raw TCP, better {STRETCH}")


if __name__ == "__main__":
    main()
