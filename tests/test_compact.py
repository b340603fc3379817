"""Updates in few bits: what comes back, how many bytes it takes, what is refused."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from colearn.compact import BLOCK, compact, compact_schema, restored
from colearn.errors import NotFinite
from colearn.records import digest_of
from colearn.weights import Schema, encode

MODEL = {
    "w": np.zeros((50, 70), np.float32),
    "bn.running_var": np.full(3, 1e-9, np.float32),
    "bn.num_batches_tracked": np.array(7, np.int64),
    "b": np.zeros(3, np.float64),
    "none": np.zeros((0, 4), np.float32),
}


def trained(seed=0, length=1.0):
    """A model that moved, every number by itself."""
    rng = np.random.default_rng(seed)
    return {
        name: array + rng.normal(0, length, array.shape).astype(array.dtype)
        if array.dtype.kind == "f"
        else np.asarray(array + 1)
        for name, array in MODEL.items()
    }


@given(
    st.lists(st.floats(-(2.0**99), 2.0**99), max_size=3 * BLOCK),
    st.floats(-1e3, 1e3),
)
def test_a_number_comes_back_to_within_half_a_step_of_its_block(numbers, start):
    """A step is a fifteenth of the largest move in the block, and rounded up by a little."""
    base = {"w": np.full(len(numbers), start)}
    after = {"w": np.array(numbers, np.float64)}
    back = restored(base, compact(base, after))["w"]
    moved = after["w"] - base["w"]
    for first in range(0, len(numbers), BLOCK):
        block = slice(first, first + BLOCK)
        step = np.abs(moved[block]).max() / 15 * (1 + 2**-7)
        error = np.abs(back[block] - after["w"][block])
        assert error.max() <= step / 2 * (1 + 1e-9) + 1e-9


def test_statistics_and_counts_come_back_exactly():
    """A variance cannot become negative by rounding, and a count stays one."""
    after = trained()
    back = restored(MODEL, compact(MODEL, after))
    for name in ("bn.running_var", "bn.num_batches_tracked"):
        assert np.array_equal(back[name], after[name])
        assert back[name].dtype == MODEL[name].dtype
    assert back.keys() == MODEL.keys()
    assert not any(array.flags.writeable for array in back.values())


def test_it_takes_a_sixth_of_float32():
    """5 bits a number and 16 a block: 0.164 of what the weights take."""
    base = {"w": np.zeros((640, 100), np.float32)}
    sent = compact(base, {"w": np.ones((640, 100), np.float32)})
    assert sum(array.nbytes for array in sent.values()) == 0.1640625 * base["w"].nbytes


def test_the_bytes_are_always_the_same():
    """The same move gives these very bytes, on every machine and with any numpy."""
    numbers = (np.arange(200) * 37 % 101 - 50) / 2.0 ** (np.arange(200) % 7)
    base = {"w": np.zeros(200, np.float32)}
    sent = compact(base, {"w": numbers.astype(np.float32)})
    assert digest_of(encode(sent, Schema.of(sent)).parts)[:16] == "a453da85a1fae72b"


def test_whole_chunks_and_rests_are_told_apart():
    """Tensors longer than what is looked at in one go come back like short ones."""
    size = 2 * 1024 * BLOCK + 5
    base = {"w": np.zeros(size, np.float32)}
    after = {"w": np.random.default_rng(0).normal(size=size).astype(np.float32)}
    back = restored(base, compact(base, after))["w"]
    assert np.linalg.norm(back - after["w"]) < 0.06 * np.linalg.norm(after["w"])
    last = {"w": after["w"][-5:]}
    assert np.array_equal(
        back[-5:],
        restored({"w": np.zeros(5, np.float32)}, compact({"w": np.zeros(5, np.float32)}, last))[
            "w"
        ],
    )


def test_the_schema_of_what_is_sent_follows_from_that_of_the_weights():
    """Both sides know the bytes' form beforehand, so that nothing in them is parsed."""
    assert compact_schema(Schema.of(MODEL)) == Schema.of(compact(MODEL, trained()))


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e300])
def test_what_no_scale_can_tell_is_refused(value):
    """NaN, infinity and moves beyond float32 are no update."""
    after = trained() | {"b": np.array([0.0, value, 0.0])}
    with pytest.raises(NotFinite, match="'b'"):
        compact(MODEL, after)


@pytest.mark.parametrize("scale", [0x7F80, 0xFF80, 0x7FC0, 0x7F7F])
def test_scales_that_a_liar_makes_up_are_refused(scale):
    """Infinity, NaN, and a scale that carries the weights beyond their dtype."""
    sent = compact(MODEL, trained())
    sent["scales"][-1] = scale
    with pytest.raises(NotFinite, match="'w'"):
        restored(MODEL, sent)
