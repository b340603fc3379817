"""Weights by the proposal or the update that carries them: a typed view of a byte store.

Whatever goes in or out is checked against the schema once; all participants of
one process share the arrays, read-only.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from threading import RLock

import msgspec

from colearn.compact import compact, compact_schema, restored
from colearn.errors import (
    ConfigError,
    SchemaMismatch,
    StoreError,
    WeightsError,
    WrongHeader,
    WrongOrigin,
)
from colearn.ml_interface import DiffPrivBudget, TrainingSummary, Weights
from colearn.protocols import Blob, Store, Tensors
from colearn.records import MAX_RECORD_BYTES, Digest, Proposal, Update, decode, encode
from colearn.schema import Layout, Schema, schema_of_bytes
from colearn.threads import side_by_side
from colearn.weights import Encoded
from colearn.weights import decode as decode_weights
from colearn.weights import encode as encode_weights

_STATE_TIMES = 4
"""A method's state may take this many times what the weights of all members take."""


class WeightsStore:
    """Puts and gets weights of one schema.

    Arrays that are put are given away. Whether they were put here or read back from
    bytes, what is had is the same: C-contiguous, little-endian, read-only.
    """

    def __init__(self, store: Store, schema: Schema) -> None:
        self._store = store
        self._schema = self._last_state = schema
        self._proposals: dict[Digest, Proposal] = {}
        self._tensors: dict[Digest, Weights] = {}
        self._restored: dict[tuple[Digest, Digest], Weights] = {}
        self._lock = RLock()

    def put(
        self,
        weights: Weights,
        *,
        round_index: int,
        sender: str,
        base: str,
        state: str = "",
        merged: tuple[Update, ...] = (),
    ) -> Digest:
        """Store weights and the proposal record that names them; return the record's digest.

        Raises:
            SchemaMismatch: A tensor is not as the schema says.
            NotFinite: A tensor holds NaN or infinity.
        """
        encoded, content = self._put(weights)
        proposal = Proposal(
            round=round_index,
            sender=sender,
            base=base,
            weights=content,
            size_bytes=encoded.size_bytes,
            dims=encoded.dims,
            state=state,
            merged=merged,
            dp_budget=_dp_budget(weights),
        )
        digest = self._store.put((encode(proposal),))
        self._proposals[digest] = proposal
        return digest

    def put_update(self, weights: Weights, update: Update) -> Update:
        """Store what a training gave, compactly; return the record with its digest and size.

        Raises:
            SchemaMismatch: A tensor is not as the schema says.
            NotFinite: A tensor holds NaN or infinity.
            StoreError: The weights trained on cannot be had.
        """
        trained = encode_weights(weights.weights, self._schema).tensors
        sent = compact(self.get(update.base).weights, trained)
        encoded = encode_weights(sent, self._compact)
        return msgspec.structs.replace(
            update,
            weights=self._store.put(encoded.parts),
            size_bytes=encoded.size_bytes,
            dp_budget=_dp_budget(weights),
        )

    def _put(self, weights: Weights) -> tuple[Encoded, Digest]:
        encoded = encode_weights(weights.weights, self._schema)
        content = self._store.put(encoded.parts)
        self._tensors[content] = Weights(encoded.tensors)
        return encoded, content

    def put_weights(self, weights: Weights) -> Digest:
        """Store weights that a proposal elsewhere may name; return their bytes' digest.

        Raises:
            SchemaMismatch: A tensor is not as the schema says.
            NotFinite: A tensor holds NaN or infinity.
        """
        return self._put(weights)[1]

    def holds(self, content: Digest) -> bool:
        """Whether weights of which the bytes hash to this are at hand."""
        return content in self._tensors

    def proposal(self, digest: Digest) -> Proposal:
        """The proposal record of that digest.

        Raises:
            BlobMissing: The store does not hold it.
            BlobCorrupt: The bytes held are not those that were put, or too many.
            WeightsError: The bytes are not a proposal record.
        """
        held = self._proposals.get(digest)
        if held is not None:
            return held
        parts = self._store.open(digest, MAX_RECORD_BYTES)
        try:
            return decode(b"".join(parts), Proposal)
        except ConfigError as reason:
            raise WeightsError(f"{digest[:12]} is no proposal: {reason}") from None

    def get(self, digest: Digest) -> Weights:
        """The weights a proposal carries, checked: length, digest, header, finite.

        Raises:
            BlobMissing: The store does not hold the record or the weights.
            BlobCorrupt: The bytes held are not those that were put.
            WeightsError: The bytes are not weights of this schema.
        """
        held = self._proposals.get(digest)
        if held is None:
            with self._lock:
                held = self.proposal(digest)
                weights = self._get(held.weights, held.size_bytes, held.dims)
                self._proposals[digest] = held
        else:
            weights = self._get(held.weights, held.size_bytes, held.dims)
        return _with_budget(weights, held.dp_budget)

    def get_updates(
        self, updates: Sequence[Update], base: Digest
    ) -> list[Weights | StoreError | WeightsError]:
        """The weights that updates lead to from a proposal's, as everybody finds them.

        What is not here is fetched side by side, so that the slowest alone is waited for.

        Args:
            updates: The updates.
            base: The proposal: the one trained on or, where an update is late, the next.

        Returns:
            In their order; why, where an update or the base cannot be had, or the update
            is none of this schema, or leads to NaN or infinity.
        """
        layout = self._compact.layout({})
        with self._lock:
            absent = {
                each.weights
                for each in updates
                if each.size_bytes == layout.size_bytes
                and (each.weights, base) not in self._restored
            }
            blobs = (map if len(absent) < 2 else side_by_side)(self._sent, absent)
            sent = dict(zip(absent, blobs, strict=True))
            return [self._restore(each, base, sent) for each in updates]

    def _sent(self, content: Digest) -> Blob | StoreError | WeightsError:
        try:
            return self._store.open(content, self._compact.layout({}).size_bytes)
        except (StoreError, WeightsError) as reason:
            return reason

    def _restore(
        self,
        update: Update,
        base: Digest,
        sent: Mapping[Digest, Blob | StoreError | WeightsError],
    ) -> Weights | StoreError | WeightsError:
        place = update.weights, base
        try:
            _check_size(update.weights, update.size_bytes, self._compact.layout({}))
            if place not in self._restored:
                blob = sent[update.weights]
                if isinstance(blob, StoreError | WeightsError):
                    return blob
                moves = decode_weights(blob, self._compact, {}, digest=None)
                self._restored[place] = Weights(restored(self.get(base).weights, moves))
        except (StoreError, WeightsError) as reason:
            return reason
        return _with_budget(self._restored[place], update.dp_budget)

    @cached_property
    def _compact(self) -> Schema:
        return compact_schema(self._schema)

    def _get(self, content: Digest, size_bytes: int, dims: Mapping[str, int]) -> Weights:
        held = self._tensors.get(content)
        layout = self._schema.layout(dims)
        if held is not None and size_bytes == layout.size_bytes:
            return held
        with self._lock:
            held = self._tensors.get(content)
            if held is None:
                parts = self._store.open(content, layout.size_bytes)
                held = Weights(decode_weights(parts, self._schema, dims, digest=None))
            _check_size(content, size_bytes, layout)
            self._tensors[content] = held
        return held

    def put_state(self, tensors: Tensors) -> Digest:
        """Store a method's state, for who joins late."""
        try:
            encoded = encode_weights(tensors, self._last_state)
        except SchemaMismatch:
            self._last_state = Schema.of(tensors)
            encoded = encode_weights(tensors, self._last_state)
        return self._store.put(encoded.parts)

    def get_state(self, digest: Digest, members: int) -> Tensors:
        """A method's state, checked: digest, size, header, finite.

        Raises:
            BlobMissing: The store does not hold it.
            BlobCorrupt: The bytes held are not those that were put, or too many.
            WeightsError: The bytes are not tensors.
        """
        limit = _STATE_TIMES * (members + 1) * self._schema.layout(self._schema.bounds).size_bytes
        parts = self._store.open(digest, limit)
        return decode_weights(parts, schema_of_bytes(parts), {}, digest=None)

    def drop_state(self, digest: Digest) -> None:
        """Hold a method's state no longer."""
        self._store.drop(digest)

    def check_origin(self, digest: Digest, *, round_index: int, sender: str, base: str) -> None:
        """Check that a proposal's record names the round, proposer and base it stands under.

        Raises:
            WrongOrigin: It names others.
            StoreError: It cannot be had.
            WeightsError: The bytes are not a proposal record.
        """
        proposal = self.proposal(digest)
        if (proposal.round, proposal.sender, proposal.base) != (round_index, sender, base):
            raise WrongOrigin(
                f"proposal {digest[:12]} says it is for round {proposal.round}, by "
                f"{proposal.sender!r}, from {proposal.base[:12]!r}, but it stands for round "
                f"{round_index}, by {sender!r}, from {base[:12]!r}"
            )

    def forget(self, digest: Digest) -> None:
        """Let go of a proposal's arrays in memory, and of its updates'; the bytes stay.

        What is not in memory is not looked for.
        """
        if digest in self._proposals:
            for content in self._only_of(digest):
                self._forget_content(content)

    def drop(self, digest: Digest) -> None:
        """Let go of a proposal, and of all bytes that no other proposal in use has."""
        for content in self._only_of(digest):
            self._drop_content(content)
        self._store.drop(digest)

    def forget_updates(self, updates: Iterable[Update]) -> None:
        """Let go of updates' arrays in memory; the bytes stay."""
        for content in self._unused(updates):
            self._forget_content(content)

    def drop_updates(self, updates: Iterable[Update]) -> None:
        """Let go of updates' arrays and bytes, where no proposal in use has the same."""
        for content in self._unused(updates):
            self._drop_content(content)

    def _forget_content(self, content: Digest) -> None:
        self._tensors.pop(content, None)
        for place in [place for place in self._restored if place[0] == content]:
            self._restored.pop(place, None)

    def _drop_content(self, content: Digest) -> None:
        self._forget_content(content)
        self._store.drop(content)

    def _only_of(self, digest: Digest) -> set[Digest]:
        """Forget a proposal; return the contents that no other proposal in use has."""
        proposal = self.proposal(digest)
        self._proposals.pop(digest, None)
        return self._unused((proposal, *proposal.merged))

    def _unused(self, records: Iterable[Proposal | Update]) -> set[Digest]:
        used = {other.weights for other in self._proposals.values()}
        return {record.weights for record in records} - used - {""}


def _check_size(content: Digest, size_bytes: int, layout: Layout) -> None:
    if layout.size_bytes != size_bytes:
        raise WrongHeader(
            f"weights {content[:12]} are announced with {size_bytes} bytes, "
            "but this schema's have another size"
        )


def _dp_budget(weights: Weights) -> DiffPrivBudget | None:
    return weights.training_summary.dp_budget if weights.training_summary else None


def _with_budget(weights: Weights, dp_budget: DiffPrivBudget | None) -> Weights:
    return Weights(weights.weights, TrainingSummary(dp_budget)) if dp_budget else weights
