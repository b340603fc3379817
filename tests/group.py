"""Members over real sockets, with real signatures and journals, driven by the real contract."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from evm import KEYS, NAMES
from members import eventually
from toys import Seeking

from colearn.duty import Action
from colearn.journal import Journal
from colearn.ledgers.ethereum import EthereumLedger
from colearn.ledgers.inprocess import InProcessChain
from colearn.ledgers.signing import KeySigner
from colearn.ml_interface import Weights
from colearn.network import Network
from colearn.participant import Participant
from colearn.records import Digest, Experiment, Note, Rule, Vote, encode
from colearn.stores.memory import MemoryStore
from colearn.weights import Schema
from colearn.weights_store import WeightsStore

PATIENCE_SECONDS = 20
RULE = Rule(propose_seconds=900, vote_seconds=900)


@dataclass
class Member:
    """One machine: what it holds, where it is reached, and who acts."""

    name: str
    held: MemoryStore
    network: Network
    signer: KeySigner
    weights: WeightsStore
    participant: Participant

    def tell(self, other: Member, note: Note) -> int:
        """Bring another member one note, past the board; return the answer's status."""
        peer = self.network.book.peer(other.name)
        assert peer is not None
        return peer.ask("POST", "/notes", encode(note)).status

    def offer(self, guess: float, base: Digest, round_index: int = 0) -> Digest:
        """Hold a proposal of one number, and return its digest."""
        return self.weights.put(
            Weights({"guess": np.array([guess])}),
            round_index=round_index,
            sender=self.name,
            base=base,
        )


class Group:
    """Five members whose numbers lie round 3; the first proposes in round 0."""

    def __init__(self, members: list[Member], ledger: EthereumLedger, chain: InProcessChain):
        self.members, self.ledger, self.chain = members, ledger, chain

    @property
    def attacker(self) -> Member:
        """The member that the test plays."""
        return self.members[0]

    @property
    def honest(self) -> list[Member]:
        """The others, which only do what they have to."""
        return self.members[1:]

    def go_on(self, done: Callable[[], object], *members: Member) -> None:
        """Let the honest members, or some of them, do what is due until something holds."""
        end = time.monotonic() + PATIENCE_SECONDS
        while not done():
            assert time.monotonic() < end, self.ledger.view()
            acted = [each.participant.step() for each in members or self.honest]
            if not any(acted):
                time.sleep(0.005)

    def idle(self, seconds: float = 0.2) -> list[Action | None]:
        """Let the honest members look again and again; return what they did."""
        end, did = time.monotonic() + seconds, []
        while time.monotonic() < end:
            did += [each.participant.step() for each in self.honest]
            time.sleep(0.01)
        return [each for each in did if each is not None]

    def votes(self, round_index: int = 0) -> dict[str, str]:
        """What was voted on the ledger, by sender."""
        return {
            entry.event.sender: entry.event.choice.value
            for entry in self.ledger.events()
            if isinstance(entry.event, Vote) and entry.event.round == round_index
        }

    def expire(self) -> None:
        """Let the live phase's deadline pass."""
        self.chain.travel(self.ledger.view().deadline + 1)


@contextmanager
def group(folder: Path, rule: Rule = RULE) -> Iterator[Group]:
    """Start five members on a contract of their own."""
    names, keys = NAMES[:5], {name: KEYS[name] for name in NAMES[:6]}
    first = Seeking([0]).mli_get_current_weights()
    schema = Schema.of(first.weights)
    initial = WeightsStore(MemoryStore(), schema).put(first, round_index=0, sender="", base="")
    experiment = Experiment(members=names, initial=initial, schema=schema.digest, rule=rule)
    chain = InProcessChain(keys)
    ledger = EthereumLedger.found(experiment, keys, chain=chain)
    with ExitStack() as opened:
        members: list[Member] = []
        for number, name in enumerate(names):
            held = MemoryStore()
            WeightsStore(held, schema).put(first, round_index=0, sender="", base="")
            signer = KeySigner({name: keys[name]}, ledger.chain_id, ledger.address)
            network = opened.enter_context(
                Network(
                    name,
                    ledger,
                    held,
                    signer=signer,
                    seeds=[members[0].network.url] if members else (),
                    folder=_made(folder / str(number)),
                )
            )
            journal = Journal(folder / f"{number}.sqlite", experiment, name, silent_through=-1)
            opened.callback(journal.close)
            participant = Participant(
                name,
                Seeking([2.5 + number / 4, 3, 3.5], noise=0.0),
                ledger=ledger,
                weights=WeightsStore(network.store, schema),
                board=network.board,
                signer=signer,
                journal=journal,
            )
            rests = participant.duty.rests(ledger.view())
            assert participant.step() is (None if rests else Action.ACCEPT)
            weights = WeightsStore(held, schema)
            members.append(Member(name, held, network, signer, weights, participant))
        for each in members:
            assert each.network.book.wait(len(members), 10)
        assert eventually(
            lambda: all(
                courier._caught_up
                for each in members
                for courier in each.network.board._couriers.values()
            )
        )
        yield Group(members, ledger, chain)


def _made(folder: Path) -> Path:
    folder.mkdir()
    return folder
