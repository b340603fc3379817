"""What a round costs on the wire, method by method: all that members give to their sockets.

Members of one process with a server, board and store each, as on machines of their own;
notes and weights go over HTTP on loopback, with real signatures and collected ballots. The
ledger is a local one and is not counted, nor are the addresses that members tell each
other once. Training moves every number by chance and testing approves. With a committee,
those drawn and the proposer train and vote.

    python benchmarks/round_bytes.py     # needs the extra `evm`, for the signatures
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from contextlib import ExitStack

import numpy as np
from coincurve import PrivateKey
from eth_hash.auto import keccak
from eth_utils.address import to_checksum_address
from holding import Holding
from wire import count_sent_bytes, sent

from colearn.course import Course
from colearn.ledgers.local import LocalLedger
from colearn.ledgers.signing import KeySigner
from colearn.methods import method as named
from colearn.ml_interface import Weights
from colearn.network import Network
from colearn.participant import Participant
from colearn.records import PLAIN, Ballot, Entry, Experiment, Propose, Rule, Vote
from colearn.stores.memory import MemoryStore
from colearn.weights import Schema
from colearn.weights_store import WeightsStore

ROUNDS = 3
ALLOWED = {"plain": "(n-1)", "solo-dc": "(n-1)", "fast": "2(n-1)", "shield": "n(n-1)"}


class Wandering(Holding):
    """Moves every number by chance, and approves."""

    def __init__(self, size_bytes: int, seed: int) -> None:
        super().__init__(Weights({"w": np.zeros(size_bytes // 4, np.float32)}))
        self._rng = np.random.default_rng(seed)

    def mli_propose_weights(self) -> Weights:
        before = self.current.weights["w"]
        return Weights({"w": before + self._rng.normal(size=before.shape).astype(np.float32)})


class Collecting(LocalLedger):
    """Takes ballots with a proposal, as one on a chain does."""

    def submit_together(self, propose: Propose, ballots: Sequence[Ballot]) -> Entry:
        votes = [Vote(each.round, each.sender, each.proposal, each.choice) for each in ballots]
        return self.submit(propose, *votes)


def measure(name: str, members: int, size_bytes: int, committee: int = 0) -> float:
    """Bytes sent in a round, on average, all members together."""
    keys = {
        to_checksum_address(keccak(key.public_key.format(compressed=False)[1:])[-20:]): key.secret
        for key in (PrivateKey(bytes([number + 1] * 32)) for number in range(members))
    }
    method, initial = named(name), Wandering(size_bytes, 0).mli_get_current_weights()
    schema = Schema.of(initial.weights)
    first = WeightsStore(MemoryStore(), schema).put(initial, round_index=0, sender="", base="")
    ledger = Collecting(
        Experiment(
            members=tuple(keys),
            initial=first,
            schema=schema.digest,
            rule=Rule(committee=committee),
            method=name,
        )
    )
    with ExitStack() as opened:
        participants = []
        for index, (member, key) in enumerate(keys.items()):
            signer = KeySigner({member: key}, 1, "0x" + "11" * 20)
            store = MemoryStore()
            WeightsStore(store, schema).put(initial, round_index=0, sender="", base="")
            network = opened.enter_context(
                Network(
                    member,
                    ledger,
                    store,
                    signer=signer,
                    seeds=[each.board._book.endpoints()[0].url for each in participants[:1]],  # noqa: SLF001
                )
            )
            weights = WeightsStore(network.store, schema)
            participants.append(
                Participant(
                    member,
                    Wandering(size_bytes, index),
                    ledger=ledger,
                    weights=weights,
                    board=network.board,
                    course=None if name == PLAIN else Course(method, ledger, weights, signer),
                    signer=signer,
                )
            )
        play(participants, 1)
        time.sleep(2)  # they tell each other their addresses, once
        sent[0] = 0
        play(participants, 1 + ROUNDS)
        return sent[0] / ROUNDS


def play(participants: Sequence[Participant], rounds: int) -> None:
    """Go on until so many rounds are over and nobody has anything left to do."""
    ledger = participants[0].ledger
    while ledger.view().round < rounds:
        busy = False
        for each in participants:
            if ledger.view().round < rounds:
                busy |= each.step() is not None
        if not busy:
            time.sleep(0.02)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--megabytes", type=float, default=1.0, help="of weights, P")
    parser.add_argument("--members", type=int, nargs="*", default=[5, 10])
    parser.add_argument("--committee", type=int, default=0, help="members drawn; 0: all vote")
    parser.add_argument("--methods", nargs="*", default=list(ALLOWED))
    options = parser.parse_args()
    size_bytes = round(options.megabytes * 1e6)
    count_sent_bytes()
    for members in options.members:
        for name in options.methods:
            allowed = ALLOWED[name]
            took = measure(name, members, size_bytes, options.committee) / size_bytes
            factor = {"(n-1)": 1, "2(n-1)": 2, "n(n-1)": members}[allowed] * (members - 1)
            print(
                f"n = {members:2}  {name:8} {took:6.2f} P   allowed {allowed} P = {factor} P"
                f"   {took / members:5.2f} n P",
                flush=True,
            )


if __name__ == "__main__":
    main()
