"""What weights look like: names, dtypes and shapes, and the bytes these alone decide.

A schema is agreed on before the first round. All of the canonical bytes but the
numbers follows from it: the header, the length, and where each tensor lies.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property, lru_cache
from typing import Any, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from colearn.errors import SchemaMismatch, WeightsError, WrongHeader
from colearn.records import Digest, Record, digest_of
from colearn.records import encode as encode_record

MAX_SIZE_BYTES = 1 << 40
"""Largest weights a schema may describe."""

MAX_HEADER_BYTES = 100_000_000
"""Longest header that the safetensors library reads."""

MAX_STATE_HEADER_BYTES = 1 << 20
"""Longest header that `schema_of_bytes` reads."""

_MAX_AXES = 32
_SURROGATES = re.compile("[\ud800-\udfff]")

Array = NDArray[np.generic]


class Kind(NamedTuple):
    """A supported dtype: its safetensors tag, size, and exponent bits (0: not a float)."""

    tag: str
    itemsize: int
    exponent: int = 0


# In the order in which the format lays tensors out.
KINDS = {
    "uint64": Kind("U64", 8),
    "int64": Kind("I64", 8),
    "float64": Kind("F64", 8, 0x7FF0_0000_0000_0000),
    "float32": Kind("F32", 4, 0x7F80_0000),
    "uint32": Kind("U32", 4),
    "int32": Kind("I32", 4),
    "bfloat16": Kind("BF16", 2, 0x7F80),
    "float16": Kind("F16", 2, 0x7C00),
    "uint16": Kind("U16", 2),
    "int16": Kind("I16", 2),
    "int8": Kind("I8", 1),
    "uint8": Kind("U8", 1),
    "bool": Kind("BOOL", 1),
}
_RANKS = {dtype: rank for rank, dtype in enumerate(KINDS)}


class TensorSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What every member's tensor of one name must look like.

    Attributes:
        dtype: Numpy's name of it, such as ``"float32"``; or ``"bfloat16"``.
        shape: Sizes of the axes. Text names a dimension that may grow; the same
            name stands for the same size everywhere in a schema.
    """

    dtype: str
    shape: tuple[int | str, ...]

    def __str__(self) -> str:
        return _describe(self.dtype, self.shape)


class Slot(NamedTuple):
    """Where a tensor lies in the canonical bytes: ``[start, stop)``, header included."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    start: int
    stop: int


class Layout(NamedTuple):
    """The canonical bytes of weights, but for the numbers in them."""

    header: bytes
    size_bytes: int
    slots: tuple[Slot, ...]


class Schema(Record, frozen=True, dict=True, tag="schema"):
    """Names, dtypes and shapes that all members' weights share.

    Attributes:
        tensors: One spec a tensor, by name.
        bounds: The largest size of each named dimension.

    Raises:
        WeightsError: No weights can have this schema.
    """

    tensors: dict[str, TensorSpec]
    bounds: dict[str, int] = msgspec.field(default_factory=dict)

    def __post_init__(self) -> None:
        _check_schema(self)

    @staticmethod
    def of(tensors: Mapping[str, Array]) -> Schema:
        """Return the schema of these tensors, every dimension fixed.

        Raises:
            SchemaMismatch: What a name stands for is no numpy array.
            WeightsError: No schema can hold these tensors: a dtype, a name or a size.
        """
        arrays = {name: _check_array(name, array) for name, array in tensors.items()}
        return Schema(
            {
                name: TensorSpec(_dtype_name(array.dtype), array.shape)
                for name, array in arrays.items()
            }
        )

    @cached_property
    def digest(self) -> Digest:
        """Digest of the schema as a record; the order of its tensors is no part of it."""
        return digest_of((encode_record(self),))

    def dims(self, tensors: Mapping[str, Array]) -> dict[str, int]:
        """Check tensors against the schema and return the sizes of its named dimensions.

        Raises:
            SchemaMismatch: Names the first tensor that differs.
        """
        sizes: dict[str, int] = {}
        for name, spec in self.tensors.items():
            array = _check_array(name, tensors.get(name))
            expected = tuple(
                sizes.setdefault(dim, min(size, self.bounds[dim])) if isinstance(dim, str) else dim
                for dim, size in zip(spec.shape, array.shape, strict=False)
            )
            same_shape = len(spec.shape) == array.ndim and expected == array.shape
            if _dtype_name(array.dtype) != spec.dtype or not same_shape:
                where = f" with {sizes}, bounded by {self.bounds}" if sizes else ""
                raise SchemaMismatch(
                    f"tensor {name!r}: got {_describe(_dtype_name(array.dtype), array.shape)}, "
                    f"expected {spec}{where}: all members must use the same model"
                )
        extra = [name for name in tensors if name not in self.tensors]
        if extra:
            raise SchemaMismatch(
                f"tensor {extra[0]!r}: got one, expected none of this name: "
                "leave it out, or agree on a schema that has it"
            )
        return sizes

    def difference(self, other: Schema) -> str | None:
        """Say in what first tensor or bound two schemas differ; None if they do not."""
        for name in self.tensors | other.tensors:
            ours, theirs = self.tensors.get(name), other.tensors.get(name)
            if ours != theirs:
                return f"tensor {name!r}: {ours or 'none'} against {theirs or 'none'}"
        for dim, bound in self.bounds.items():
            if other.bounds[dim] != bound:
                return f"dimension {dim!r}: at most {bound} against {other.bounds[dim]}"
        return None

    def layout(self, dims: Mapping[str, int]) -> Layout:
        """Lay out the canonical bytes for these sizes of the named dimensions.

        Raises:
            WrongHeader: A size is missing, unknown, not a whole number or out of bounds.
        """
        if not dims and not self.bounds:
            return self._fixed
        if dims.keys() != self.bounds.keys():
            raise WrongHeader(
                f"sizes of the dimensions {sorted(map(str, dims))}, "
                f"expected those of {sorted(self.bounds)}: refuse these weights"
            )
        for dim, size in dims.items():
            if type(size) is not int or not 0 <= size <= self.bounds[dim]:
                # Python refuses to print whole numbers of thousands of digits.
                huge = type(size) is int and abs(size) > MAX_SIZE_BYTES
                got = "beyond any bound" if huge else repr(size)
                raise WrongHeader(
                    f"dimension {dim!r} has size {got}, expected a whole number "
                    f"from 0 to {self.bounds[dim]}: refuse these weights"
                )
        return self._cached_layout(tuple(dims.items()))

    @cached_property
    def _fixed(self) -> Layout:
        return _lay_out(self.tensors, {})

    @cached_property
    def _cached_layout(self) -> Callable[[tuple[tuple[str, int], ...]], Layout]:
        tensors = self.tensors
        return lru_cache(maxsize=8)(lambda dims: _lay_out(tensors, dict(dims)))


class _Field(msgspec.Struct, forbid_unknown_fields=True):
    dtype: str
    shape: tuple[int, ...]
    data_offsets: tuple[int, int]


def schema_of_bytes(parts: Sequence[memoryview]) -> Schema:
    """Read a schema off canonical bytes, for tensors that no schema was agreed on for.

    What is read asks for no memory: `colearn.weights.decode` checks it against the bytes.

    Raises:
        WeightsError: The bytes do not begin with a header.
    """
    start = b"".join(part[: MAX_STATE_HEADER_BYTES + 8] for part in parts[:2])
    length = int.from_bytes(start[:8], "little")
    if not 0 < length <= MAX_STATE_HEADER_BYTES or len(start) < 8 + length:
        raise WrongHeader("bytes that do not begin with a header of tensors: refuse them")
    try:
        fields = msgspec.json.decode(start[8 : 8 + length], type=dict[str, _Field])
    except (msgspec.MsgspecError, ValueError, RecursionError) as reason:
        raise WrongHeader(f"a header of tensors that cannot be read: {reason}") from None
    dtypes = {kind.tag: dtype for dtype, kind in KINDS.items()}
    return Schema(
        {
            name: TensorSpec(dtypes.get(field.dtype, field.dtype), field.shape)
            for name, field in fields.items()
        }
    )


def _check_array(name: str, array: object) -> Array:
    if not isinstance(array, (np.ndarray, np.generic)):
        raise SchemaMismatch(
            f"tensor {name!r}: got {type(array).__name__}, expected a numpy array: "
            "give one for every tensor of the model"
        )
    return np.asarray(array)


@lru_cache(maxsize=64)
def _dtype_name(dtype: np.dtype[Any]) -> str:
    return dtype.name  # slow: numpy derives it afresh each time


def _describe(dtype: str, shape: Sequence[int | str]) -> str:
    return f"{dtype} of shape ({', '.join(map(str, shape))})"


def _check_schema(schema: Schema) -> None:
    if not schema.tensors:
        raise WeightsError("a schema of no tensors: weights need one tensor at least")
    for dim, bound in schema.bounds.items():
        if type(bound) is not int or bound < 0:
            raise WeightsError(f"dimension {dim!r} has bound {bound!r}, expected a whole number")
    for name, spec in schema.tensors.items():
        _check_spec(name, spec, schema.bounds)
    used = {dim for spec in schema.tensors.values() for dim in spec.shape if isinstance(dim, str)}
    if used != schema.bounds.keys():
        raise WeightsError(
            f"bounds for the dimensions {sorted(schema.bounds)}, expected one for each of "
            f"{sorted(used)}: bound every named dimension, and no other"
        )
    largest = schema.layout(schema.bounds)
    if largest.size_bytes > MAX_SIZE_BYTES or len(largest.header) > MAX_HEADER_BYTES:
        raise WeightsError(
            f"weights of up to {largest.size_bytes} bytes, {len(largest.header)} of them header, "
            f"expected at most {MAX_SIZE_BYTES} and {MAX_HEADER_BYTES}: lower the bounds"
        )


def _check_spec(name: Any, spec: TensorSpec, bounds: Mapping[str, int]) -> None:
    if not isinstance(name, str) or name == "__metadata__" or _SURROGATES.search(name):
        raise WeightsError(f"tensor name {name!r} cannot stand in a file: rename the tensor")
    if spec.dtype not in KINDS:
        raise WeightsError(
            f"tensor {name!r} is {spec.dtype}, expected one of {', '.join(KINDS)}: convert it"
        )
    sizes = [bounds.get(dim) if isinstance(dim, str) else dim for dim in spec.shape]
    whole = [size for size in sizes if type(size) is int and size >= 0]
    if len(whole) != len(sizes):
        raise WeightsError(
            f"tensor {name!r} is {spec}, expected whole sizes or dimensions that have a bound"
        )
    # Empty axes count as one: numpy refuses to shape even an empty array beyond its limits.
    if len(sizes) > _MAX_AXES or math.prod(max(size, 1) for size in whole) > MAX_SIZE_BYTES:
        raise WeightsError(
            f"tensor {name!r} is {spec}, expected at most {_MAX_AXES} axes "
            f"and {MAX_SIZE_BYTES} elements: lower its sizes or bounds"
        )


def _lay_out(tensors: Mapping[str, TensorSpec], dims: Mapping[str, int]) -> Layout:
    slots, fields, end = [], {}, 0
    for name, spec in sorted(tensors.items(), key=lambda item: (_RANKS[item[1].dtype], item[0])):
        shape = tuple(dims[dim] if isinstance(dim, str) else dim for dim in spec.shape)
        kind, start = KINDS[spec.dtype], end
        end += kind.itemsize * math.prod(shape)
        fields[name] = {"dtype": kind.tag, "shape": shape, "data_offsets": (start, end)}
        slots.append(Slot(name, spec.dtype, shape, start, end))
    text = msgspec.json.encode(fields)
    text += b" " * (-len(text) % 8)
    header = len(text).to_bytes(8, "little") + text
    shifted = (
        slot._replace(start=slot.start + len(header), stop=slot.stop + len(header))
        for slot in slots
    )
    return Layout(header, len(header) + end, tuple(shifted))
