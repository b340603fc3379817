"""A round among five processes that share nothing but HTTP: bytes on the wire, and time.

Training adds 1 and testing approves. Notes and weights go over HTTP, with real signatures
and collected ballots; the ledger is a local one in a process of its own and is not
counted. The floor is the same bytes as one raw TCP copy from one process to the others,
at once, into memory of the same kind, in the same run. A member that a round did not wait
for fetches its weights in the end, and these bytes count. Members that meet tell each other
their addresses, once; that is not counted.

    python benchmarks/wire.py            # needs the extra `evm`, for the signatures
"""

from __future__ import annotations

import argparse
import multiprocessing
import socket
import statistics
import threading
import time
from collections.abc import Callable, Sequence
from itertools import pairwise
from multiprocessing.connection import Connection
from multiprocessing.managers import BaseManager

import numpy as np
from coincurve import PrivateKey
from eth_hash.auto import keccak
from eth_utils.address import to_checksum_address
from overhead import AddOne

from colearn.duty import Action
from colearn.ledgers.local import LocalLedger
from colearn.ledgers.signing import KeySigner
from colearn.ml_interface import Weights
from colearn.network import Network
from colearn.participant import Participant
from colearn.records import Ballot, Entry, Event, Experiment, Propose, Vote
from colearn.rules import State
from colearn.stores.memory import MemoryStore
from colearn.weights import Schema
from colearn.weights_store import WeightsStore

MEMBERS, ROUNDS, WARM = 5, 9, 3
LIMIT, STRETCH, NOTE_BYTES = 2.0, 1.5, 2_000
KEYS = {
    to_checksum_address(keccak(key.public_key.format(compressed=False)[1:])[-20:]): key.secret
    for key in (PrivateKey(bytes([number + 1] * 32)) for number in range(MEMBERS))
}
MEMORY: dict[str, Callable[[int], memoryview]] = {
    "usual pages": lambda size_bytes: memoryview(bytearray(size_bytes)),
    "huge pages ": lambda size_bytes: np.empty(size_bytes, np.uint8).data,
}
"""What a copy may be received into: much of its time is the system's, for clean pages."""

sent = [0]
changes = multiprocessing.get_context("fork").Value("Q")


def count_sent_bytes() -> None:
    """Count all that this process gives to its sockets."""
    send, sendall = socket.socket.send, socket.socket.sendall

    def counted_send(self: socket.socket, data: bytes, *flags: int) -> int:
        done = send(self, data, *flags)
        sent[0] += done
        return done

    def counted_sendall(self: socket.socket, data: bytes, *flags: int) -> None:
        sendall(self, data, *flags)
        sent[0] += memoryview(data).nbytes

    socket.socket.send = counted_send  # type: ignore[method-assign, assignment]
    socket.socket.sendall = counted_sendall  # type: ignore[method-assign, assignment]


class Shared:
    """A local ledger for several processes, which also notes when rounds close."""

    def __init__(self, experiment: Experiment) -> None:
        self._ledger = LocalLedger(experiment)
        self._lock = threading.Lock()
        self._closed = [time.monotonic()]

    def view(self) -> State:
        return self._ledger.view()

    def submit_together(self, proposal: Propose, ballots: Sequence[Ballot]) -> Entry:
        votes = [Vote(each.round, each.sender, each.proposal, each.choice) for each in ballots]
        return self.submit(proposal, *votes)

    def submit(self, *events: Event) -> Entry:
        with self._lock:
            before = self._ledger.view().round
            entry = self._ledger.submit(*events)
            changes.value += 1
            if self._ledger.view().round > before:
                self._closed.append(time.monotonic())
            return entry

    def closed(self) -> list[float]:
        return self._closed


class Manager(BaseManager):
    """Gives every process the one ledger."""


class Proxy:
    """The ledger as a participant needs it, from another process."""

    def __init__(self, address: str, experiment: Experiment) -> None:
        manager = Manager(address)
        manager.connect()
        shared = manager.ledger()
        self.experiment = experiment
        self.submit, self.submit_together = shared.submit, shared.submit_together
        self._fetch = shared.view
        self._seen, self._state = changes.value, self._fetch()

    def view(self) -> State:
        """The state; asked for only where it has changed."""
        if (count := changes.value) != self._seen:
            self._seen, self._state = count, self._fetch()
        return self._state

    def now(self) -> int:
        return 0

    def events(self, since: int = 0) -> list[Entry]:  # noqa: ARG002
        return []

    def wait(self, seen: int, until: int) -> None:
        raise NotImplementedError


def member(index: int, size_bytes: int, address: str, pipe: Connection) -> None:
    """One process: first raw TCP copies, then rounds."""
    count_sent_bytes()
    experiment, schema = agreed(size_bytes)
    name = experiment.members[index]
    copy(index, size_bytes, pipe)
    learner = AddOne(size_bytes)
    store = MemoryStore()
    weights = WeightsStore(store, schema)
    current = weights.put(learner.current, round_index=0, sender="", base="")
    ledger = Proxy(address, experiment)
    signer = KeySigner({name: KEYS[name]}, 1, "0x" + "11" * 20)
    with Network(name, ledger, store, signer=signer) as network:
        pipe.send(network.book.endpoints()[0])
        for endpoint in pipe.recv():
            network.book.receive(endpoint)
        participant = Participant(
            name,
            learner,
            ledger=ledger,
            weights=WeightsStore(network.store, schema),
            board=network.board,
            signer=signer,
        )
        participant.step()
        weights.forget(current)
        time.sleep(2)  # they tell each other their addresses, once
        pipe.send(None)
        pipe.recv()
        sent[0] = 0
        while (state := ledger.view()).round < ROUNDS:
            notes = network.board.read(state.round)
            if participant.step() is None:
                network.board.wait(state.round, len(notes), 0.004)
            if state.current != current and participant.due(state) is None:
                participant._weights.drop(current)  # noqa: SLF001
                current = state.current
        while participant.due(ledger.view()) is Action.ACCEPT:
            participant.step()
        pipe.send(None)  # but it still serves those who have to fetch
        pipe.recv()
        pipe.send(sent[0])
        pipe.recv()


def copy(index: int, size_bytes: int, pipe: Connection) -> None:
    """The floor: the first process sends, the others receive, all at once."""
    blob = memoryview(np.ones(size_bytes, np.uint8))
    if index == 0:
        listener = socket.create_server(("127.0.0.1", 0))
        pipe.send(listener.getsockname())

        def send(connection: socket.socket) -> None:
            with connection:
                connection.sendall(blob)

        for _ in range(len(MEMORY) * ROUNDS * (MEMBERS - 1)):
            threading.Thread(target=send, args=(listener.accept()[0],)).start()
        return
    address = pipe.recv()
    for new in MEMORY.values():
        for _ in range(ROUNDS):
            pipe.recv()
            view = new(size_bytes)
            with socket.create_connection(address) as connection:
                while view:
                    view = view[connection.recv_into(view) :]
            pipe.send(None)


def agreed(size_bytes: int) -> tuple[Experiment, Schema]:
    first = Weights({"w": np.zeros(size_bytes // 4, np.float32)})
    schema = Schema.of(first.weights)
    initial = WeightsStore(MemoryStore(), schema).put(first, round_index=0, sender="", base="")
    return Experiment(members=tuple(KEYS), initial=initial, schema=schema.digest), schema


def floors(pipes: list[Connection]) -> dict[str, float]:
    """Median seconds of a copy to all, into each kind of memory."""
    address, medians = pipes[0].recv(), {}
    for pipe in pipes[1:]:
        pipe.send(address)
    for memory in MEMORY:
        seconds = []
        for _ in range(ROUNDS):
            began = time.monotonic()
            for pipe in pipes[1:]:
                pipe.send(None)
            for pipe in pipes[1:]:
                pipe.recv()
            seconds.append(time.monotonic() - began)
        medians[memory] = statistics.median(seconds[WARM:])
    return medians


def measure(size_bytes: int) -> None:
    experiment, schema = agreed(size_bytes)
    shared = Shared(experiment)
    Manager.register("ledger", callable=lambda: shared)
    manager = Manager(("127.0.0.1", 0))
    server = manager.get_server()
    threading.Thread(target=server.serve_forever, daemon=True).start()
    fork = multiprocessing.get_context("fork")
    ends = [fork.Pipe() for _ in KEYS]
    for index, (_, other) in enumerate(ends):
        arguments = (index, size_bytes, server.address, other)
        fork.Process(target=member, args=arguments, daemon=True).start()
    pipes = [own for own, _ in ends]
    copied = floors(pipes)
    endpoints = [pipe.recv() for pipe in pipes]
    for message in (endpoints, None):
        for pipe in pipes:
            pipe.send(message)
        if message is not None:
            for pipe in pipes:
                pipe.recv()
    for pipe in pipes:
        pipe.recv()
    for pipe in pipes:
        pipe.send(None)
    moved = sum(pipe.recv() for pipe in pipes) / ROUNDS
    for pipe in pipes:
        pipe.send(None)
    closed = shared.closed()
    rounds = [after - before for before, after in pairwise(closed)][WARM:]
    models = (MEMBERS - 1) * schema.layout({}).size_bytes
    took = statistics.median(rounds)
    print(f"{size_bytes / 1e6:6.1f} MB  a round {took * 1e3:7.1f} ms")
    for memory, seconds in copied.items():
        print(f"  raw copy into {memory} {seconds * 1e3:7.1f} ms   ratio {took / seconds:5.2f}")
    print(
        f"  bytes beyond {MEMBERS - 1} models: {moved - models:8.0f}, "
        f"allowed {NOTE_BYTES * MEMBERS}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--megabytes", type=float, nargs="*", default=[100.0])
    options = parser.parse_args()
    print(f"{MEMBERS} processes, medians of {ROUNDS - WARM} rounds after {WARM}")
    for megabytes in options.megabytes:
        measure(round(megabytes * 1e6))
    print(f"  allowed: a round of 100 MB at most {LIMIT} copies, better {STRETCH}")


if __name__ == "__main__":
    main()
