"""Weights by the proposal that carries them: a typed view of a byte store.

Whatever goes in or out is checked against the schema once; all participants of
one process share the arrays, read-only.
"""

from __future__ import annotations

from threading import Lock

from colearn.errors import BlobCorrupt, ConfigError, WrongLength, WrongOrigin
from colearn.ml_interface import Weights
from colearn.protocols import Store
from colearn.records import MAX_RECORD_BYTES, Digest, Proposal, decode, encode
from colearn.weights import Schema
from colearn.weights import decode as decode_weights
from colearn.weights import encode as encode_weights


class WeightsStore:
    """Puts and gets weights of one schema.

    Arrays that are put are given away. Whether they were put here or read back from
    bytes, what is had is the same: C-contiguous, little-endian, read-only.
    """

    def __init__(self, store: Store, schema: Schema) -> None:
        self._store = store
        self._schema = schema
        self._held: dict[Digest, tuple[Proposal, Weights]] = {}
        self._lock = Lock()

    def put(self, weights: Weights, *, round_index: int, sender: str, base: str) -> Digest:
        """Store weights and the proposal record that names them; return the record's digest.

        Raises:
            SchemaMismatch: A tensor is not as the schema says.
            NotFinite: A tensor holds NaN or infinity.
        """
        encoded = encode_weights(weights.weights, self._schema)
        proposal = Proposal(
            round=round_index,
            sender=sender,
            base=base,
            weights=self._store.put(encoded.parts),
            size_bytes=encoded.size_bytes,
            dims=encoded.dims,
        )
        digest = self._store.put((encode(proposal),))
        self._held[digest] = proposal, Weights(encoded.tensors)
        return digest

    def proposal(self, digest: Digest) -> Proposal:
        """The proposal record of that digest.

        Raises:
            BlobMissing: The store does not hold it.
            BlobCorrupt: The bytes are not a proposal record.
        """
        held = self._held.get(digest)
        if held is not None:
            return held[0]
        parts = self._store.open(digest)
        size_bytes = sum(part.nbytes for part in parts)
        if size_bytes > MAX_RECORD_BYTES:
            raise BlobCorrupt(
                f"proposal {digest[:12]} has {size_bytes} bytes, "
                f"more than the {MAX_RECORD_BYTES} a record may have"
            )
        try:
            return decode(b"".join(parts), Proposal)
        except ConfigError as reason:
            raise BlobCorrupt(f"proposal {digest[:12]}: {reason}") from None

    def get(self, digest: Digest) -> Weights:
        """The weights a proposal carries, checked: length, digest, header, finite.

        Raises:
            BlobMissing: The store does not hold the record or the weights.
            BlobCorrupt: The bytes held are not those that were put.
            WeightsError: The bytes are not weights of this schema.
        """
        held = self._held.get(digest)
        if held is not None:
            return held[1]
        with self._lock:
            held = self._held.get(digest)
            if held is None:
                proposal = self.proposal(digest)
                size_bytes = self._schema.layout(proposal.dims).size_bytes
                if proposal.size_bytes != size_bytes:
                    raise WrongLength(
                        f"proposal {digest[:12]} announces {proposal.size_bytes} bytes, "
                        f"expected {size_bytes} by its schema: refuse it"
                    )
                parts = self._store.open(proposal.weights, size_bytes)
                tensors = decode_weights(parts, self._schema, proposal.dims, digest=None)
                held = self._held[digest] = proposal, Weights(tensors)
        return held[1]

    def check_origin(self, digest: Digest, *, round_index: int, sender: str, base: str) -> None:
        """Check that a proposal's record names the round, proposer and base it stands under.

        Raises:
            WrongOrigin: It names others.
            BlobMissing: The store does not hold it.
            BlobCorrupt: The bytes are not a proposal record.
        """
        proposal = self.proposal(digest)
        if (proposal.round, proposal.sender, proposal.base) != (round_index, sender, base):
            raise WrongOrigin(
                f"proposal {digest[:12]} says it is for round {proposal.round}, by "
                f"{proposal.sender!r}, from {proposal.base[:12]!r}, but it stands for round "
                f"{round_index}, by {sender!r}, from {base[:12]!r}"
            )

    def forget(self, digest: Digest) -> None:
        """Let go of the arrays in memory; the store keeps the bytes."""
        self._held.pop(digest, None)

    def drop(self, digest: Digest) -> None:
        """Let go of the arrays and of the bytes, unless another proposal in use shares them."""
        weights = self.proposal(digest).weights
        self.forget(digest)
        self._store.drop(digest)
        if all(proposal.weights != weights for proposal, _ in self._held.values()):
            self._store.drop(weights)
