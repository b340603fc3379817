"""Keeps a member's blobs from filling a disk or a bucket: what was accepted stays."""

from __future__ import annotations

from colearn.errors import BlobCorrupt, BlobMissing, ColearnError, WeightsError
from colearn.experiment import Agreement
from colearn.records import Digest, Entry, digest_of, encode
from colearn.rules import Decision, Outcome, State
from colearn.stores.retention import Tidied, collect
from colearn.weights_store import WeightsStore


class Tidier:
    """A `colearn.member.Watcher` that drops the oldest blobs that nobody needs any more.

    Args:
        agreement: What the members agreed on.
        store: The member's own blobs.
        weights: Tells which blobs a proposal is made of.
        spare_bytes: What blobs that need not be kept may take together.
    """

    def __init__(
        self, agreement: Agreement, store: Tidied, weights: WeightsStore, spare_bytes: int
    ) -> None:
        self._store = store
        self._weights = weights
        self._spare_bytes = spare_bytes
        records = (agreement.schema, agreement.proposal, agreement.experiment)
        self._keep = {digest_of((encode(each),)) for each in records}
        self._keep.add(agreement.initial.weights)
        self._accepted: list[Digest] = []
        self._closed = False

    def ordered(self, entry: Entry) -> None:
        """The ledger has a new entry."""

    def decided(self, decision: Decision) -> None:
        """A round has ended."""
        self._closed = True
        if decision.proposal is not None and decision.outcome is Outcome.ACCEPTED:
            self._accepted.append(decision.proposal)

    def read(self, state: State) -> None:
        """The ledger was read: drop what is too much, once after each round."""
        if self._closed:
            self._closed = False
            if sum(blob.size_bytes for blob in self._store.held()) <= self._spare_bytes:
                return
            for digest in self._accepted:
                self._keep |= self._parts_of(digest)
            # What is not held yet may be fetched later, and its parts are known then.
            self._accepted = [each for each in self._accepted if each not in self._store]
            live = set() if state.proposal is None else self._parts_of(state.proposal)
            collect(self._store, self._keep | live, self._spare_bytes)

    def failed(self, reason: ColearnError) -> None:
        """Something failed that may pass."""

    def _parts_of(self, digest: Digest) -> set[Digest]:
        """A proposal, its weights, its method's state and its updates, as far as held."""
        parts = {digest}
        if digest in self._store:
            try:
                proposal = self._weights.proposal(digest)
            except (BlobCorrupt, BlobMissing, WeightsError):  # nothing in it can be trusted
                return parts
            updates = (update.weights for update in proposal.merged)
            parts |= {proposal.weights, proposal.state, *updates} - {""}
        return parts
