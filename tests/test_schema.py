"""Schemas: what weights must look like, and the layout that follows from it."""

from __future__ import annotations

import numpy as np
import pytest

from colearn.errors import SchemaMismatch, WeightsError, WrongHeader
from colearn.records import decode as decode_record
from colearn.records import encode as encode_record
from colearn.schema import KINDS, MAX_SIZE_BYTES, Schema, TensorSpec

FOREST = Schema(
    {
        "nodes/threshold": TensorSpec("float64", ("nodes",)),
        "nodes/value": TensorSpec("float32", ("nodes", 3)),
        "trees/root": TensorSpec("int32", ("trees",)),
    },
    {"nodes": 100, "trees": 10},
)


def forest(nodes, trees, values=3):
    """Tensors of `FOREST`, if ``values`` is 3."""
    return {
        "nodes/threshold": np.zeros(nodes),
        "nodes/value": np.zeros((nodes, values), np.float32),
        "trees/root": np.zeros(trees, np.int32),
    }


def test_dims_solve_named_dimensions():
    """The sizes of named dimensions are read off the tensors, 0 and the bound included."""
    assert FOREST.dims(forest(7, 2)) == {"nodes": 7, "trees": 2}
    assert FOREST.dims(forest(0, 10)) == {"nodes": 0, "trees": 10}
    assert FOREST.dims(forest(100, 0)) == {"nodes": 100, "trees": 0}


def without(tensors, name):
    """Return the tensors but for one."""
    return {key: value for key, value in tensors.items() if key != name}


@pytest.mark.parametrize(
    ("tensors", "message"),
    [
        (without(forest(7, 2), "nodes/value"), "'nodes/value': got NoneType"),
        (forest(7, 2) | {"extra": np.zeros(1)}, "'extra': got one, expected none"),
        (forest(7, 2) | {"trees/root": [0, 0]}, "'trees/root': got list"),
        (forest(7, 2) | {"trees/root": np.zeros(2)}, "got float64 of shape .2., expected int32"),
        (forest(7, 2) | {"trees/root": np.zeros((2, 1), np.int32)}, "got int32 of shape .2, 1."),
        (forest(7, 2) | {"nodes/value": np.zeros(7, np.float32)}, "got float32 of shape .7.,"),
        (forest(7, 2, values=4), "of shape .7, 4., expected float32 of shape .nodes, 3."),
        (forest(7, 2) | {"nodes/threshold": np.zeros(8)}, "'nodes/value'.*with {'nodes': 8}"),
        (forest(101, 2), "'nodes/threshold'.*bounded by {'nodes': 100, 'trees': 10}"),
    ],
)
def test_dims_name_the_first_tensor_that_differs(tensors, message):
    """Every way to differ from the schema is refused in one line that says got and expected."""
    with pytest.raises(SchemaMismatch, match=message) as caught:
        FOREST.dims(tensors)
    assert "\n" not in str(caught.value)


def test_of_describes_arrays_of_any_order_byte_order_and_rank():
    """Memory order, byte order and numpy scalars make no difference to a schema."""
    tensors = {
        "a": np.asfortranarray(np.zeros((2, 3), np.float32)),
        "b": np.zeros(2, ">i8"),
        "c": np.float16(1),
    }
    schema = Schema.of(tensors)
    assert schema.tensors == {
        "a": TensorSpec("float32", (2, 3)),
        "b": TensorSpec("int64", (2,)),
        "c": TensorSpec("float16", ()),
    }
    assert schema.dims(tensors) == {}


def test_of_refuses_what_is_no_array():
    """A learner that hands out lists gets an error that names the tensor."""
    with pytest.raises(SchemaMismatch, match="'w': got list, expected a numpy array"):
        Schema.of({"w": [1.0, 2.0]})


def test_digest_ignores_the_order_of_tensors_and_nothing_else():
    """Equal schemas have equal digests, whatever the order; any difference changes them."""
    a, b = TensorSpec("float32", (2,)), TensorSpec("int8", (3,))
    schema = Schema({"a": a, "b": b})
    assert schema.digest == Schema({"b": b, "a": a}).digest
    others = [
        Schema({"a": a}),
        Schema({"a": b, "b": a}),
        Schema({"a": a, "c": b}),
        Schema({"a": TensorSpec("float32", ("n",)), "b": b}, {"n": 2}),
        Schema({"a": TensorSpec("float32", ("n",)), "b": b}, {"n": 3}),
    ]
    assert len({schema.digest, *(other.digest for other in others)}) == len(others) + 1


def test_schema_is_a_record():
    """A schema survives its canonical record bytes."""
    raw = encode_record(FOREST)
    assert decode_record(raw, Schema) == FOREST
    assert decode_record(raw, Schema).digest == FOREST.digest


@pytest.mark.parametrize(
    ("other", "sentence"),
    [
        ({"a": TensorSpec("int8", ("n",))}, "'b': float32 of shape (2) against none"),
        (
            {"a": TensorSpec("int8", ("n",)), "b": TensorSpec("float64", (2,))},
            "'b': float32 of shape (2) against float64 of shape (2)",
        ),
        (
            {"a": TensorSpec("int8", ("n", 1)), "b": TensorSpec("float32", (2,))},
            "'a': int8 of shape (n) against int8 of shape (n, 1)",
        ),
        (
            {
                "b": TensorSpec("float32", (2,)),
                "a": TensorSpec("int8", ("n",)),
                "c": TensorSpec("bool", ()),
            },
            "'c': none against bool of shape ()",
        ),
        (
            {"b": TensorSpec("float32", (2,)), "a": TensorSpec("int8", ("n",))},
            "dimension 'n': at most 5 against 6",
        ),
    ],
)
def test_difference_says_what_differs_first(other, sentence):
    """Two schemas that differ give one sentence; a schema and itself give none."""
    schema = Schema({"a": TensorSpec("int8", ("n",)), "b": TensorSpec("float32", (2,))}, {"n": 5})
    assert sentence in str(schema.difference(Schema(other, {"n": 6})))
    assert schema.difference(schema) is None


def test_layout_covers_the_bytes_without_gaps():
    """Header and slots follow each other to the last byte, each slot on its dtype's boundary."""
    tensors = {dtype: TensorSpec(dtype, (3, "n")) for dtype in reversed(KINDS)}
    layout = Schema(tensors, {"n": 9}).layout({"n": 5})
    end = len(layout.header)
    assert end % 8 == 0
    for slot in layout.slots:
        assert slot.start == end
        assert slot.start % KINDS[slot.dtype].itemsize == 0
        assert slot.shape == (3, 5)
        end = slot.stop
    assert end == layout.size_bytes


@pytest.mark.parametrize(
    "dims",
    [
        {},
        {"nodes": 1},
        {"nodes": 1, "trees": 1, "leaves": 1},
        {"nodes": 1, "leaves": 1},
        {"nodes": -1, "trees": 1},
        {"nodes": 101, "trees": 1},
        {"nodes": 10**5_000, "trees": 1},
        {"nodes": -(10**5_000), "trees": 1},
        {"nodes": 2**63, "trees": 1},
        {"nodes": True, "trees": 1},
        {"nodes": 1.0, "trees": 1},
        {"nodes": float("nan"), "trees": 1},
        {"nodes": np.int64(1), "trees": 1},
        {"nodes": "1", "trees": 1},
        {"nodes": None, "trees": 1},
        {"nodes": [1], "trees": 1},
    ],
)
def test_layout_refuses_hostile_dims(dims):
    """Sizes that are missing, unknown, out of bounds or no whole number never lay anything out.

    A legal layout of equal-comparing sizes (1 == True == 1.0) is cached beforehand.
    """
    FOREST.layout({"nodes": 1, "trees": 1})
    with pytest.raises(WrongHeader):
        FOREST.layout(dims)


@pytest.mark.parametrize(
    ("tensors", "bounds", "message"),
    [
        ({}, {}, "no tensors"),
        ({"__metadata__": TensorSpec("int8", ())}, {}, "'__metadata__' cannot stand in a file"),
        ({"\ud800": TensorSpec("int8", ())}, {}, "cannot stand in a file"),
        ({3: TensorSpec("int8", ())}, {}, "tensor name 3 cannot stand"),
        ({"w": TensorSpec("complex64", ())}, {}, "'w' is complex64, expected one of uint64"),
        ({"w": TensorSpec("object", ())}, {}, "'w' is object"),
        ({"w": TensorSpec("str32", ())}, {}, "'w' is str32"),
        ({"w": TensorSpec("int8", (-1,))}, {}, "expected whole sizes"),
        ({"w": TensorSpec("int8", (True,))}, {}, "expected whole sizes"),
        ({"w": TensorSpec("int8", (1.5,))}, {}, "expected whole sizes"),
        ({"w": TensorSpec("int8", ("n",))}, {}, "expected whole sizes or dimensions"),
        ({"w": TensorSpec("int8", ())}, {"n": 1}, "bound every named dimension, and no other"),
        ({"w": TensorSpec("int8", ("n",))}, {"n": -1}, "'n' has bound -1"),
        ({"w": TensorSpec("int8", ("n",))}, {"n": True}, "'n' has bound True"),
        ({"w": TensorSpec("int8", (1,) * 33)}, {}, "at most 32 axes"),
        ({"w": TensorSpec("int8", (2**40, 2, 0))}, {}, "lower its sizes or bounds"),
        ({"w": TensorSpec("int8", ("n", "n"))}, {"n": 2**21}, "lower its sizes or bounds"),
        ({"v": TensorSpec("int8", (2**40,))}, {}, f"expected at most {MAX_SIZE_BYTES}"),
    ],
)
def test_schema_refuses_what_no_weights_can_have(tensors, bounds, message):
    """A schema that the format, numpy or the size limit cannot carry is refused when made."""
    with pytest.raises(WeightsError, match=message):
        Schema(tensors, bounds)
