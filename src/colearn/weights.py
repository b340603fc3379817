"""Named tensors, their canonical bytes and their digest.

Weights are data, never code. Their canonical bytes are those the safetensors
library writes for the same tensors without metadata, so any tool that reads
safetensors reads them. Reading is stricter than the format: the header is
computed from the local schema and compared, never parsed, so nothing in a blob
can ask for memory, name a type or add a tensor.

Example:
    ```python
    import numpy as np
    from colearn.records import digest_of
    from colearn.weights import Schema, decode, encode

    tensors = {"w": np.ones((2, 3), np.float32)}
    schema = Schema.of(tensors)
    encoded = encode(tensors, schema)
    digest = digest_of(encoded.parts)
    same = decode(encoded.parts, schema, encoded.dims, digest)
    ```
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from itertools import accumulate
from typing import Any

import numpy as np

from colearn.errors import (
    MissingExtra,
    NotFinite,
    WeightsError,
    WrongDigest,
    WrongHeader,
    WrongLength,
)
from colearn.records import Buffer, Digest, digest_of
from colearn.schema import KINDS, Array, Schema, Slot, TensorSpec

__all__ = ["Array", "Encoded", "Schema", "TensorSpec", "decode", "encode", "merge"]

_CHUNK = 32_768
"""Elements looked at in one go, few enough to stay in a core's own cache."""


@dataclass(frozen=True, slots=True)
class Encoded:
    """Canonical bytes of weights in consecutive parts, ready to hash, put or send.

    ``parts`` holds the header and read-only views of the tensors' own memory, so
    the tensors must not change while the parts are in use. ``tensors`` are arrays
    over the same memory, as `decode` would give them.
    """

    parts: tuple[bytes | memoryview, ...]
    tensors: dict[str, Array]
    size_bytes: int
    dims: dict[str, int]


def encode(tensors: Mapping[str, Array], schema: Schema) -> Encoded:
    """Turn tensors into canonical bytes, copying only those not in C order already.

    Raises:
        SchemaMismatch: The tensors are not those of the schema.
        NotFinite: A float tensor holds NaN or infinity.
        WeightsError: A bool tensor's memory holds other bytes than 0 and 1.
    """
    dims = schema.dims(tensors)
    layout = schema.layout(dims)
    parts: list[bytes | memoryview] = [layout.header]
    canonical = {}
    for slot in layout.slots:
        tensor = tensors[slot.name]
        flat = np.ascontiguousarray(tensor, tensor.dtype.newbyteorder("<")).reshape(-1)
        _check_values(slot, flat)
        if flat.size:
            parts.append(flat.view(np.uint8).data.toreadonly())
        canonical[slot.name] = array = flat.reshape(slot.shape)
        array.flags.writeable = False
    return Encoded(tuple(parts), canonical, layout.size_bytes, dims)


def decode(
    parts: Sequence[Buffer], schema: Schema, dims: Mapping[str, int], digest: Digest | None
) -> dict[str, Array]:
    """Check canonical bytes and return read-only arrays over them.

    The checks, in order: length, digest, header, values. A tensor that lies
    within one part is a view of it; one that is split or unaligned is copied once.

    Args:
        parts: The bytes, split anywhere.
        schema: What the weights must look like.
        dims: Sizes of the schema's named dimensions, as the proposal gives them.
        digest: What the bytes must hash to; None if the store has checked it.

    Raises:
        WeightsError: These bytes are not weights of this schema; the subclass says why.
        MissingExtra: A bfloat16 tensor, and ml_dtypes is not installed.
    """
    layout = schema.layout(dims)
    views = [memoryview(part).toreadonly() for part in parts]
    views = [view.cast("B") for view in views if view.nbytes]
    ends = list(accumulate(map(len, views)))
    length = ends[-1] if ends else 0
    if length != layout.size_bytes:
        raise WrongLength(
            f"weights of {length} bytes, expected {layout.size_bytes}: refuse them, "
            "they were cut short or made for another schema"
        )
    if digest is not None and (got := digest_of(views)) != digest:
        raise WrongDigest(f"weights hash to {got}, expected {digest}: fetch them again")
    if _cut(views, ends, 0, len(layout.header)) != layout.header:
        raise WrongHeader(
            "weights whose header is not the one of this schema: refuse them, "
            "they were made for another model"
        )
    tensors = {}
    for slot in layout.slots:
        array: Array = np.ndarray(
            slot.shape, numpy_dtype(slot.dtype), _cut(views, ends, slot.start, slot.stop)
        )
        if not array.flags.aligned:
            array = array.copy()
            array.flags.writeable = False
        _check_values(slot, array.reshape(-1))
        tensors[slot.name] = array
    return tensors


def _cut(views: Sequence[memoryview], ends: Sequence[int], start: int, stop: int) -> Buffer:
    """Bytes ``[start, stop)`` of consecutive views: a view, or a copy if they are split."""
    pieces = []
    index = bisect_right(ends, start)
    while start < stop:
        begin = ends[index] - len(views[index])
        pieces.append(views[index][start - begin : stop - begin])
        start, index = ends[index], index + 1
    return pieces[0] if len(pieces) == 1 else b"".join(pieces)


def numpy_dtype(name: str) -> np.dtype[Any]:
    """Return numpy's dtype of a spec's name.

    Raises:
        MissingExtra: It is bfloat16, and ml_dtypes is not installed.
    """
    if name != "bfloat16":
        return np.dtype(name).newbyteorder("<")
    try:
        bfloat16: np.dtype[Any] = np.dtype(import_module("ml_dtypes").bfloat16)
    except ImportError:
        raise MissingExtra("bfloat16 tensors", "ml_dtypes", "bf16") from None
    return bfloat16


def _check_values(slot: Slot, flat: Array) -> None:
    """Refuse NaN, infinity, and bytes of a bool that are neither 0 nor 1."""
    if slot.dtype == "bool":
        if flat.view(np.uint8).max(initial=0) > 1:
            raise WeightsError(
                f"tensor {slot.name!r} holds bytes that are neither true nor false: "
                "refuse these weights"
            )
        return
    exponent = KINDS[slot.dtype].exponent
    if not exponent:
        return
    bits = flat.view(f"<u{flat.itemsize}")
    mask = bits.dtype.type(exponent)
    scratch = np.empty(min(_CHUNK, bits.size), bits.dtype)
    bad = 0
    for start in range(0, bits.size, _CHUNK):
        chunk = bits[start : start + _CHUNK]
        exponents = np.bitwise_and(chunk, mask, out=scratch[: chunk.size])
        if exponents.max() == mask:
            bad += int(np.count_nonzero(exponents == mask))
    if bad:
        raise NotFinite(
            f"tensor {slot.name!r} holds {bad} NaN or infinite value(s) of {bits.size}, "
            "expected none: lower the learning rate or clip gradients"
        )


def equal(one: object, other: Array) -> bool:
    """Whether two arrays hold the same numbers; instantly true of the same memory."""
    array = np.asarray(one)
    if array.shape != other.shape:
        return False
    if (array.ctypes.data, array.strides, array.dtype) == (
        other.ctypes.data,
        other.strides,
        other.dtype,
    ):
        return True
    ours, theirs = array.reshape(-1), other.reshape(-1)
    return all(
        np.array_equal(ours[start : start + _CHUNK], theirs[start : start + _CHUNK])
        for start in range(0, ours.size, _CHUNK)
    )


def merge(members: Sequence[Mapping[str, Array]], shares: Sequence[float]) -> dict[str, Array]:
    """Add up members' tensors, each times its member's share.

    The sum runs in float64, in member order, one element at a time, and is cast
    back to each tensor's dtype: the same bits on every machine. A sum beyond that
    dtype's range becomes infinite, which `encode` refuses.

    Raises:
        SchemaMismatch: Members' tensors differ.
        WeightsError: A tensor is not of floats, or the shares do not fit the members.
    """
    if not members or len(members) != len(shares) or not all(map(math.isfinite, shares)):
        raise WeightsError(
            f"{len(members)} member(s) and the shares {list(shares)}: "
            "give one finite share a member, and one member at least"
        )
    schema = Schema.of(members[0])
    for member in members[1:]:
        schema.dims(member)
    merged = {}
    for name, spec in schema.tensors.items():
        if not KINDS[spec.dtype].exponent:
            raise WeightsError(
                f"tensor {name!r} is {spec.dtype}, expected floats: merge without it "
                "and take it from one member"
            )
        flats = [np.ascontiguousarray(member[name]).reshape(-1) for member in members]
        total = np.empty(flats[0].size, numpy_dtype(spec.dtype))
        for start in range(0, total.size, _CHUNK):
            chunks = [flat[start : start + _CHUNK] for flat in flats]
            total[start : start + _CHUNK] = _weighted_sum(chunks, shares, total.dtype)
        merged[name] = total.reshape(members[0][name].shape)
    return merged


def _weighted_sum(arrays: Sequence[Array], shares: Sequence[float], dtype: np.dtype[Any]) -> Array:
    with np.errstate(over="ignore", invalid="ignore"):
        total = arrays[0].astype(np.float64) * shares[0]
        for array, share in zip(arrays[1:], shares[1:], strict=True):
            total += array.astype(np.float64) * share
        return total.astype(dtype)
