"""What a member drops once nobody needs it."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from colearn import Weights
from colearn.ledgers.local import LocalLedger
from colearn.records import Choice, Experiment, Propose, Vote, digest_of, encode
from colearn.stores.directory import DirectoryStore
from colearn.stores.own import OwnObjects
from colearn.tidying import Tidier
from colearn.weights import Schema
from colearn.weights_store import WeightsStore

MEMBERS = ("ann", "bob", "cyd")
SCHEMA = Schema.of({"w": np.zeros(100)})


class Member:
    """A member's blobs and its ledger, with room for nothing that need not be kept."""

    def __init__(self, store):
        self.store = store
        self.weights = WeightsStore(self.store, SCHEMA)
        initial = self.put(0, 0, "", "")
        experiment = Experiment(members=MEMBERS, initial=initial, schema=SCHEMA.digest)
        self.ledger = LocalLedger(experiment)
        self.agreement = SimpleNamespace(
            schema=SCHEMA,
            proposal=self.weights.proposal(initial),
            experiment=experiment,
            initial=self.weights.proposal(initial),
        )
        self.store.put([encode(SCHEMA)])

    def put(self, value, round_index, sender, base):
        """A proposal of weights that all have this value."""
        weights = Weights({"w": np.full(100, float(value))})
        return self.weights.put(weights, round_index=round_index, sender=sender, base=base)

    def round(self, choice):
        """A round that ends so; its proposal, and the blob of its weights."""
        state = self.ledger.view()
        digest = self.put(state.round + 1, state.round, state.proposer, state.current)
        self.ledger.submit(Propose(state.round, state.proposer, digest))
        for voter in (each for each in MEMBERS if each != state.proposer):
            self.ledger.submit(Vote(state.round, voter, digest, choice))
        return digest, self.weights.proposal(digest).weights

    def tidied(self, cap_bytes=0):
        """What a process does that starts now: it is told all decisions, and tidies up."""
        tidier = Tidier(self.agreement, self.store, self.weights, cap_bytes)
        for decision in self.ledger.decisions():
            tidier.decided(decision)
        tidier.read(self.ledger.view())
        return tidier


@pytest.fixture(params=["disk", "bucket"])
def member(request, tmp_path):
    """A member that has M₀, on its disk or in a bucket."""
    if request.param == "disk":
        yield Member(DirectoryStore(tmp_path))
        return
    request.getfixturevalue("optional")("obstore")
    from colearn.peers.bucket import bucket  # noqa: PLC0415 - an extra of its own
    from colearn.stores.objects import ObjectStore  # noqa: PLC0415

    with OwnObjects(ObjectStore(bucket("memory://")), tmp_path / "objects.log") as own:
        yield Member(own)


def test_what_was_accepted_stays_and_what_was_not_goes(member):
    """However little room there is, also after a restart, which is told all decisions anew."""
    accepted, rejected = member.round(Choice.APPROVE), member.round(Choice.REJECT)
    later = member.round(Choice.APPROVE)
    for _ in range(2):
        member.tidied()
        assert all(blob in member.store for blob in (*accepted, *later))
        assert not any(blob in member.store for blob in rejected)
        assert member.weights.get(member.agreement.experiment.initial).weights["w"][0] == 0
        assert digest_of((encode(SCHEMA),)) in member.store


def test_while_there_is_room_nothing_goes(member):
    """Others may still want what was rejected."""
    rejected = member.round(Choice.REJECT)
    member.tidied(cap_bytes=1_000_000)
    assert all(blob in member.store for blob in rejected)


def test_what_is_voted_on_stays(member):
    """The live proposal is needed until its round has ended."""
    member.round(Choice.REJECT)
    state = member.ledger.view()
    live = member.put(7, state.round, state.proposer, state.current)
    member.ledger.submit(Propose(state.round, state.proposer, live))
    member.tidied()
    assert live in member.store
    assert member.weights.proposal(live).weights in member.store


def test_what_was_accepted_stays_though_it_came_late(member):
    """Who joins late fetches what was accepted before; it is known for that once it is here."""
    digest, content = member.round(Choice.APPROVE)
    parts = [bytes(b"".join(member.store.open(blob))) for blob in (digest, content)]
    member.store.drop(digest)
    member.store.drop(content)
    tidier = member.tidied()
    for part in parts:
        member.store.put([part])
    (decision,) = member.ledger.decisions()
    member.round(Choice.REJECT)
    tidier.decided(member.ledger.decisions()[-1])
    tidier.read(member.ledger.view())
    assert decision.proposal == digest
    assert digest in member.store
    assert content in member.store
