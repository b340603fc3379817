"""Weights: canonical bytes, strict reading, and merges with the same bits everywhere."""

from __future__ import annotations

import itertools
import math
import sys
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest
import safetensors.numpy
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from colearn.errors import (
    MissingExtra,
    NotFinite,
    SchemaMismatch,
    WeightsError,
    WrongDigest,
    WrongHeader,
    WrongLength,
)
from colearn.records import digest_of
from colearn.schema import KINDS
from colearn.weights import Schema, TensorSpec, decode, encode, equal, merge

GOLDEN = Path(__file__).parent / "golden" / "weights.safetensors"
GOLDEN_MERGE = "61153fceb7dd8546e23f74692468b5dd912c234ebe8cd7f2a745f5b53f574da8"
BFLOAT16 = np.dtype(ml_dtypes.bfloat16)


def raw_of(tensors):
    """Return the canonical bytes of tensors as one run."""
    return b"".join(encode(tensors, Schema.of(tensors)).parts)


@st.composite
def arrays(draw):
    """Draw an array of any supported dtype, rank 0 to 3, any memory order, finite."""
    name = draw(st.sampled_from(sorted(KINDS)))
    shape = draw(hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4))
    if name == "bfloat16":
        halves = hnp.arrays(np.float32, shape, elements=st.floats(-1e3, 1e3, width=32))
        array = draw(halves).astype(BFLOAT16)
    else:
        finite = {"allow_nan": False, "allow_infinity": False} if "float" in name else {}
        elements = hnp.from_dtype(np.dtype(name), **finite)
        array = draw(hnp.arrays(name, shape, elements=elements))
    order = draw(st.sampled_from(["C", "F", "reversed", "strided", "swapped"]))
    if order == "F":
        return np.asfortranarray(array)
    if order == "reversed":
        return array.T
    if order == "strided" and array.ndim:
        return np.repeat(array, 2, axis=-1)[..., ::2]
    if order == "swapped" and name != "bfloat16":
        return array.astype(array.dtype.newbyteorder(">"))
    return array


dicts = st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), arrays(), min_size=1)


def plain(array):
    """Return the array in C order and native byte order, as the library wants it."""
    return np.array(array, array.dtype.newbyteorder("="), order="C")


def same_bits(ours, theirs):
    """Say whether two arrays agree in dtype, shape and every bit."""
    ours, theirs = plain(ours), plain(theirs)
    return (ours.dtype, ours.shape, ours.tobytes()) == (
        theirs.dtype,
        theirs.shape,
        theirs.tobytes(),
    )


@given(dicts.filter(lambda tensors: "__metadata__" not in tensors))
def test_bytes_are_those_of_the_library(tensors):
    """Canonical bytes are what the safetensors library writes for C-ordered arrays."""
    library = safetensors.numpy.save({name: plain(array) for name, array in tensors.items()})
    assert raw_of(tensors) == library


def test_every_dtype_stands_where_the_library_puts_it():
    """All supported dtypes in one dict, sorted against both name and insertion order."""
    tensors = {
        f"{name} {rank}": np.zeros(3, BFLOAT16 if name == "bfloat16" else name)
        for rank, name in itertools.product("ba", sorted(KINDS))
    }
    assert raw_of(tensors) == safetensors.numpy.save(tensors)


@given(dicts.filter(lambda tensors: "__metadata__" not in tensors), st.data())
def test_decode_gives_back_what_encode_took(tensors, data):
    """Tensors come back bit for bit, wherever the bytes are split."""
    schema = Schema.of(tensors)
    encoded = encode(tensors, schema)
    raw = b"".join(encoded.parts)
    assert encoded.size_bytes == len(raw)
    cuts = data.draw(st.lists(st.integers(0, len(raw))))
    parts = [raw[a:b] for a, b in itertools.pairwise([0, *sorted(cuts), len(raw)])]
    digest = digest_of(encoded.parts)
    for pieces in (parts, encoded.parts, [bytearray(raw)]):
        decoded = decode(pieces, schema, encoded.dims, digest)
        assert decoded.keys() == tensors.keys()
        for name, array in decoded.items():
            assert same_bits(array, tensors[name])
            assert array.flags.aligned
            assert not array.flags.writeable


def test_the_library_reads_our_bytes(tmp_path):
    """A tool that knows only safetensors reads the tensors from our bytes."""
    tensors = {
        "coef": np.asfortranarray(np.arange(6.0).reshape(2, 3)),
        "step": np.array(7, np.int64),
        "none": np.zeros((0, 4), np.float32),
    }
    path = tmp_path / "weights.safetensors"
    path.write_bytes(raw_of(tensors))
    loaded = safetensors.numpy.load_file(path)
    assert loaded.keys() == tensors.keys()
    assert all(same_bits(loaded[name], tensors[name]) for name in tensors)


def test_growing_dimensions_travel_in_dims():
    """The same schema reads weights of several sizes, each by its own dims."""
    schema = Schema({"value": TensorSpec("float32", ("nodes", 2))}, {"nodes": 50})
    for nodes in (0, 3, 50):
        tensors = {"value": np.arange(2.0 * nodes, dtype=np.float32).reshape(nodes, 2)}
        encoded = encode(tensors, schema)
        assert encoded.dims == {"nodes": nodes}
        assert b"".join(encoded.parts) == raw_of(tensors)
        decoded = decode(encoded.parts, schema, encoded.dims, digest_of(encoded.parts))
        assert same_bits(decoded["value"], tensors["value"])


def test_nothing_is_copied_either_way():
    """Parts are the tensors' own memory, and decoded arrays are the parts' memory."""
    tensors = {"w": np.ones((3, 4), np.float32), "b": np.ones(5)}
    schema = Schema.of(tensors)
    parts = encode(tensors, schema).parts
    decoded = decode(parts, schema, {}, digest_of(parts))
    for name, array in decoded.items():
        assert np.shares_memory(array, tensors[name])
    blob = np.frombuffer(b"".join(parts), np.uint8)
    for array in decode([blob.data], schema, {}, None).values():
        assert np.shares_memory(array, blob)


def test_parts_and_arrays_cannot_be_written():
    """Nobody can change a proposal through what encode and decode hand out."""
    tensors = {"w": np.ones(3)}
    schema = Schema.of(tensors)
    parts = encode(tensors, schema).parts
    with pytest.raises(TypeError, match="read-only"):
        parts[1][0] = 0
    decoded = decode([bytearray(b"".join(parts))], schema, {}, None)
    with pytest.raises(ValueError, match="read-only"):
        decoded["w"][0] = 0


def test_unaligned_bytes_are_copied_to_alignment():
    """Bytes that begin at an odd address decode into aligned, read-only arrays."""
    tensors = {"w": np.arange(5.0), "b": np.arange(3, dtype=np.int16)}
    schema = Schema.of(tensors)
    raw = raw_of(tensors)
    buffer = np.zeros(len(raw) + 16, np.uint8)
    start = 1 - buffer.ctypes.data % 8 + 8
    buffer[start : start + len(raw)] = np.frombuffer(raw, np.uint8)
    for name, array in decode([buffer[start : start + len(raw)].data], schema, {}, None).items():
        assert array.flags.aligned
        assert not array.flags.writeable
        assert same_bits(array, tensors[name])


def test_encode_refuses_other_tensors():
    """Tensors of another schema are refused by name before any byte is made."""
    schema = Schema.of({"w": np.zeros(3)})
    with pytest.raises(SchemaMismatch, match=r"'w': got float64 of shape .4., expected"):
        encode({"w": np.zeros(4)}, schema)


@pytest.mark.parametrize("name", ["float16", "bfloat16", "float32", "float64"])
@pytest.mark.parametrize("value", [math.nan, -math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("place", [0, 32_768, 99_999])
def test_values_that_are_not_finite_are_counted_and_refused(name, value, place):
    """One NaN or infinity anywhere in a large tensor is found, going out and coming in."""
    array = np.full(100_000, 3, BFLOAT16 if name == "bfloat16" else name)
    tensors = {"bias": np.zeros(1), "w": array}
    schema = Schema.of(tensors)
    parts = encode(tensors, schema).parts
    array[place] = value
    message = "'w' holds 1 NaN or infinite value.s. of 100000, expected none: lower"
    with pytest.raises(NotFinite, match=message):
        encode(tensors, schema)
    with pytest.raises(NotFinite, match=message):
        decode(parts, schema, {}, digest_of(parts))


@pytest.mark.parametrize("name", ["float16", "float32", "float64"])
def test_the_largest_and_smallest_values_are_finite(name):
    """Limits of a dtype, denormals and negative zero pass, as numpy's isfinite says."""
    limits = np.finfo(name)
    values = np.array([limits.max, limits.min, limits.smallest_subnormal, -0.0, 1], name)
    assert np.isfinite(values).all()
    assert raw_of({"w": values})


def test_bools_are_true_or_false():
    """A byte of a bool tensor that is neither 0 nor 1 is refused, going out and coming in."""
    array = np.array([True, False, True])
    schema = Schema.of({"mask": array})
    parts = encode({"mask": array}, schema).parts
    array.view(np.uint8)[1] = 2
    with pytest.raises(WeightsError, match="'mask' holds bytes that are neither"):
        encode({"mask": array}, schema)
    with pytest.raises(WeightsError, match="'mask' holds bytes that are neither"):
        decode(parts, schema, {}, digest_of(parts))


def test_decode_checks_length_then_digest_then_header_then_values():
    """A blob wrong in several ways is refused for the cheapest reason first."""
    tensors = {"w": np.ones(4)}
    schema = Schema.of(tensors)
    raw = raw_of(tensors)
    bad_values = raw[:-8] + np.float64(math.nan).tobytes()
    bad_header = bad_values.replace(b"F64", b"I64")
    digest = digest_of([raw])
    with pytest.raises(WrongLength, match=f"weights of {len(raw) - 1} bytes, expected {len(raw)}"):
        decode([bad_header[:-1]], schema, {}, digest)
    with pytest.raises(WrongLength, match="weights of 0 bytes"):
        decode([], schema, {}, None)
    with pytest.raises(WrongDigest, match=rf"weights hash to [0-9a-f]{{64}}, expected {digest}"):
        decode([bad_header], schema, {}, digest)
    with pytest.raises(WrongHeader, match="header is not the one of this schema"):
        decode([bad_header], schema, {}, digest_of([bad_header]))
    with pytest.raises(NotFinite):
        decode([bad_values], schema, {}, digest_of([bad_values]))


def test_bfloat16_without_its_package_says_what_to_install(monkeypatch):
    """Without ml_dtypes, bfloat16 weights give the install command, not an import error."""
    tensors = {"w": np.ones(3, BFLOAT16)}
    schema = Schema.of(tensors)
    parts = encode(tensors, schema).parts
    monkeypatch.setitem(sys.modules, "ml_dtypes", None)
    with pytest.raises(MissingExtra, match=r"pip install 'colearn-protocol\[bf16\]'"):
        decode(parts, schema, {}, None)


def golden_tensors():
    """Return one small tensor of every dtype, by exact arithmetic alone."""
    ramp = np.arange(-6, 6)
    tensors = {
        name: (ramp * 7 % 5 - 2).astype(BFLOAT16 if name == "bfloat16" else name).reshape(3, 4)
        for name in KINDS
    }
    return tensors | {
        "layer/0.weight": np.asfortranarray(ramp.reshape(4, 3) / np.float32(8)),
        "scalar": np.array(0.1, np.float16),
        "empty": np.zeros((2, 0), np.float32),
        'é "quoted"\n': np.array([True]),
    }


def test_golden_bytes():
    """The bytes of one dict of all dtypes never change, whatever numpy or machine."""
    assert raw_of(golden_tensors()) == GOLDEN.read_bytes()


def member(seed, names=("float16", "bfloat16", "float32", "float64")):
    """Return a member's float tensors: divisions only, which IEEE 754 fixes to the bit."""
    ramp = (np.arange(100_000) * (2 * seed + 1) % 1_009 - 500) / (7.0 + seed)
    return {name: ramp.astype(BFLOAT16 if name == "bfloat16" else name) for name in names}


def test_golden_merge():
    """A merge of three members hashes to the same digest on every machine."""
    merged = merge([member(seed) for seed in range(3)], [0.1, 0.2, 0.7])
    assert digest_of([raw_of(merged)]) == GOLDEN_MERGE


@st.composite
def shared_members(draw):
    """Draw 1 to 5 members' arrays of 3 float32 numbers, and their shares."""
    numbers = hnp.arrays(np.float32, 3, elements=st.floats(-(2.0**100), 2.0**100, width=32))
    members = draw(st.lists(numbers, min_size=1, max_size=5))
    shares = st.lists(st.floats(-1e3, 1e3), min_size=len(members), max_size=len(members))
    return members, draw(shares)


@given(shared_members())
def test_merge_sums_in_float64_in_member_order(drawn):
    """Each element is what plain Python floats give, summed in member order."""
    members, shares = drawn
    merged = merge([{"w": array} for array in members], shares)["w"]
    for place in range(3):
        total = float(members[0][place]) * shares[0]
        for array, share in zip(members[1:], shares[1:], strict=True):
            total += float(array[place]) * share
        assert np.float32(total).tobytes() == merged[place].tobytes()


def test_merge_keeps_dtypes_shapes_and_any_memory_order():
    """Fortran-ordered, 0-d and empty tensors merge element by element, members unchanged."""
    first = {
        "w": np.asfortranarray(np.arange(6, dtype=np.float32).reshape(2, 3)),
        "b": np.array(2, BFLOAT16),
        "e": np.zeros((0, 2), np.float16),
    }
    second = {name: np.array(array * 3, order="C") for name, array in first.items()}
    before = {name: array.copy() for name, array in first.items()}
    merged = merge([first, second], [0.5, 0.5])
    assert merged.keys() == first.keys()
    for name, array in merged.items():
        assert same_bits(array, first[name] * 2)
        assert same_bits(first[name], before[name])


def test_merge_beyond_a_dtypes_range_is_refused_by_encode():
    """An overflowing sum becomes infinite without a warning, and never a proposal."""
    largest = {"w": np.array([np.finfo(np.float32).max])}
    merged = merge([largest, largest], [1, 1])
    assert np.isinf(merged["w"]).all()
    with pytest.raises(NotFinite):
        raw_of(merged)


@pytest.mark.parametrize(
    ("members", "shares", "error", "message"),
    [
        ([], [], WeightsError, "one member at least"),
        ([{"w": np.ones(2)}], [0.5, 0.5], WeightsError, "one finite share a member"),
        ([{"w": np.ones(2)}], [math.nan], WeightsError, "one finite share a member"),
        ([{"w": np.ones(2)}, {"w": np.ones(3)}], [1, 1], SchemaMismatch, "'w': got float64"),
        ([{"w": np.ones(2)}, {}], [1, 1], SchemaMismatch, "'w': got NoneType"),
        ([{"step": np.ones(2, int)}], [1], WeightsError, "'step' is int64, expected floats"),
    ],
)
def test_merge_refuses_what_cannot_be_averaged(members, shares, error, message):
    """Members that differ, whole numbers and shares that do not fit are refused."""
    with pytest.raises(error, match=message):
        merge(members, shares)


def test_equal_compares_numbers_not_memory():
    """Equal numbers in other memory or order are equal; one other number or shape is not."""
    array = np.arange(100_000.0).reshape(100, 1000)
    changed = array.copy()
    changed[-1, -1] += 1
    assert equal(array, array)
    assert equal(np.asfortranarray(array), array)
    assert equal(array.astype(">f8"), array)
    assert not equal(changed, array)
    assert not equal(array[:-1], array)
    assert not equal(None, array)
    assert not equal(array[::-1], array)
