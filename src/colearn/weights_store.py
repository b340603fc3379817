"""Weights by the proposal that carries them: a typed view of a byte store.

Whatever goes in or out is checked against the schema once; all participants of
one process share the arrays, read-only.
"""

from __future__ import annotations

from collections.abc import Mapping
from threading import Lock
from typing import TYPE_CHECKING

from colearn.errors import BlobCorrupt, ConfigError, WrongHeader
from colearn.ml_interface import Weights
from colearn.protocols import Store
from colearn.records import Digest, Proposal, decode, encode
from colearn.weights import Schema
from colearn.weights import decode as decode_weights
from colearn.weights import encode as encode_weights

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_MAX_PROPOSAL_BYTES = 65_536


class WeightsStore:
    """Puts and gets weights of one schema.

    The arrays of weights put are held by reference where the store can: they are
    given away, and seen from here on through read-only views.
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
        self._held[digest] = proposal, Weights(_read_only(weights.weights))
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
        if size_bytes > _MAX_PROPOSAL_BYTES:
            raise BlobCorrupt(
                f"proposal {digest[:12]} has {size_bytes} bytes, "
                f"more than the {_MAX_PROPOSAL_BYTES} a record may have"
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
                parts = self._store.open(proposal.weights)
                tensors = decode_weights(parts, self._schema, proposal.dims, digest=None)
                if sum(part.nbytes for part in parts) != proposal.size_bytes:
                    raise WrongHeader(
                        f"proposal {digest[:12]} announces {proposal.size_bytes} bytes "
                        "but its weights have another size"
                    )
                held = self._held[digest] = proposal, Weights(tensors)
        return held[1]

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


def _read_only(tensors: Mapping[str, NDArray[np.generic]]) -> dict[str, NDArray[np.generic]]:
    views = {name: tensor.view() for name, tensor in tensors.items()}
    for view in views.values():
        view.flags.writeable = False
    return views
