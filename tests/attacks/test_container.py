"""Hostile blobs: 200,000 mutants, not one of which gets in, crashes or asks for memory."""

from __future__ import annotations

import random
import tracemalloc

import numpy as np
import pytest

from colearn.errors import NotFinite, WeightsError, WrongDigest, WrongHeader, WrongLength
from colearn.records import digest_of
from colearn.weights import Schema, TensorSpec, decode, encode

MUTANTS = 100_000
SCHEMA = Schema(
    {
        "w": TensorSpec("float32", ("n", 2)),
        "h": TensorSpec("float16", (3,)),
        "step": TensorSpec("int64", ()),
        "mask": TensorSpec("bool", (2,)),
    },
    {"n": 4},
)
DIMS = {"n": 3}
TENSORS = {
    "w": np.arange(6, dtype=np.float32).reshape(3, 2),
    "h": np.ones(3, np.float16),
    "step": np.array(1),
    "mask": np.array([True, False]),
}
BLOB = b"".join(encode(TENSORS, SCHEMA).parts)
HEADER_BYTES = len(SCHEMA.layout(DIMS).header)
SPLICES = [
    b"\x00", b"\xff" * 8, b"\x7f", b" ", b"{", b"}", b'"', b",", b"0", b"9" * 20, b"-1", b"1e9",
    b"[1099511627776]", b"F64", b"I32", b'"__metadata__":{"a":"b"},', b"\xff\x7f\x80\x7f",
]  # fmt: skip


def seeded(seed):
    """Return the same random numbers on every run."""
    return random.Random(seed)


def mutant_of(blob, rng):
    """Return the blob with one to three random changes; never the blob itself."""
    mutant = bytearray(blob)
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        place = rng.randrange(len(mutant) + 1)
        match rng.randrange(8):
            case 0 | 1 if place < len(mutant):
                mutant[place] ^= 1 << rng.randrange(8)
            case 2 if place < len(mutant):
                mutant[place] = rng.randrange(256)
            case 3:
                del mutant[place : place + rng.randrange(1, 17)]
            case 4:
                mutant[place:place] = rng.choice(SPLICES)
            case 5:
                splice = rng.choice(SPLICES)
                mutant[place : place + len(splice)] = splice
            case 6:
                other = rng.randrange(len(mutant) + 1)
                mutant[place : place + 8] = mutant[other : other + 8]
            case _:
                mutant[:8] = rng.getrandbits(rng.choice((8, 32, 64))).to_bytes(8, "little")
    return bytes(mutant) if mutant != blob else mutant_of(blob, rng)


def random_parts(blob, rng):
    """Split a blob in one to three parts, empty ones included."""
    a, b = sorted((rng.randrange(len(blob) + 1), rng.randrange(len(blob) + 1)))
    return rng.choice(([blob], [blob[:a], blob[a:]], [blob[:a], blob[a:b], blob[b:]]))


def verdict(mutant):
    """Say what a mutant is, from where it differs and what numpy makes of its numbers."""
    if len(mutant) != len(BLOB):
        return WrongLength
    if mutant[:HEADER_BYTES] != BLOB[:HEADER_BYTES]:
        return WrongHeader
    step, w, h, mask = np.split(np.frombuffer(mutant[HEADER_BYTES:], np.uint8), [8, 32, 38])
    assert (step.size, mask.size) == (8, 2)
    if not (np.isfinite(w.view(np.float32)).all() and np.isfinite(h.view(np.float16)).all()):
        return NotFinite
    return WeightsError if mask.max() > 1 else None


def test_no_mutant_passes_for_the_announced_blob():
    """Against the announced digest, none of 100,000 mutants is accepted."""
    rng = seeded(1)
    digest = digest_of([BLOB])
    refused = {WrongLength: 0, WrongDigest: 0}
    for _ in range(MUTANTS):
        mutant = mutant_of(BLOB, rng)
        with pytest.raises(WeightsError) as caught:
            decode([mutant], SCHEMA, DIMS, digest)
        refused[caught.type] += 1
    assert sum(refused.values()) == MUTANTS
    assert min(refused.values()) > MUTANTS // 10


def test_a_proposer_that_announces_a_mutant_gains_nothing():
    """With the digest recomputed, a mutant is refused for what is wrong with it, or is weights.

    Every structural change is refused, a change of numbers alone gives arrays of the
    schema's shapes with exactly those bytes, and nothing allocates beyond the schema.
    """
    rng = seeded(2)
    verdicts = dict.fromkeys((WrongLength, WrongHeader, NotFinite, WeightsError, None), 0)
    for _ in range(MUTANTS):
        blob = BLOB if rng.randrange(2) else BLOB[:HEADER_BYTES] + rng.randbytes(40)
        mutant = mutant_of(blob, rng)
        expected = verdict(mutant)
        verdicts[expected] += 1
        parts = random_parts(mutant, rng)
        if expected:
            with pytest.raises(expected) as caught:
                decode(parts, SCHEMA, DIMS, digest_of(parts))
            assert caught.type is expected
        else:
            tensors = decode(parts, SCHEMA, DIMS, digest_of(parts))
            assert SCHEMA.dims(tensors) == DIMS
            again = encode(tensors, SCHEMA)
            assert b"".join(again.parts) == mutant
    assert min(verdicts.values()) > MUTANTS // 1_000


def test_hostile_blobs_ask_for_no_memory():
    """Reading a mutant never allocates more than its tensors and a small constant."""
    schema = Schema({"w": TensorSpec("float32", ("n", 64))}, {"n": 10**9})
    dims = {"n": 4_096}
    encoded = encode({"w": np.ones((4_096, 64), np.float32)}, schema)
    header, numbers = (bytes(part) for part in encoded.parts)
    rng = seeded(3)
    outcomes = set()
    tracemalloc.start()
    try:
        for _ in range(300):
            mutant = mutant_of(header, rng) if rng.randrange(2) else header
            payload = bytearray(numbers)
            payload[-4:] = rng.randbytes(3) + rng.choice((b"\x7f", b"\x00"))
            parts = random_parts(mutant + payload, rng)
            digest = digest_of(parts)
            claimed = dims if rng.randrange(4) else {"n": rng.randrange(10**9)}
            before, _ = tracemalloc.get_traced_memory()
            tracemalloc.reset_peak()
            try:
                decode(parts, schema, claimed, digest)
                outcomes.add(None)
            except WeightsError as reason:
                outcomes.add(type(reason))
            _, peak = tracemalloc.get_traced_memory()
            assert peak - before < len(numbers) + 300_000
    finally:
        tracemalloc.stop()
    assert outcomes == {None, WrongLength, WrongHeader, NotFinite}


@pytest.mark.parametrize(
    "dims",
    [
        *({"n": size} for size in (-1, 5, 2**31, 2**63, 2**64, 10**5_000, True, 3.0, "3", None)),
        {},
        {"n": 3, "m": 1},
        {"m": 3},
    ],
)
def test_hostile_dims_are_refused_before_any_byte_is_read(dims):
    """Dims a proposal must not hold are refused, whatever blob comes with them."""
    with pytest.raises(WrongHeader):
        decode([BLOB], SCHEMA, dims, digest_of([BLOB]))


@pytest.mark.parametrize("size", [0, 1, 2, 4])
def test_legal_dims_of_another_blob_are_refused(size):
    """Dims within bounds that are not the blob's own are refused by its length."""
    with pytest.raises(WrongLength):
        decode([BLOB], SCHEMA, {"n": size}, digest_of([BLOB]))
