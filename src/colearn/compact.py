"""Updates in few bits: how far training moved every number, in 5 bits and a bit.

All that a method needs of a member is its move, and of that the first digits: rounding
every number of a block of 64 to one of 31 steps costs nothing that can be measured
(``docs/numbers.md``), and takes a sixth of what float32 takes. In the manner of QSGD
(arXiv 1610.02132), but rounded to the nearest step: the sums over members are then the
same bits everywhere, and no dice have to be agreed on.

Only the move is rounded, once, by the member that publishes it. Whoever decodes it adds it
to M and finds the same weights to the bit; M′ is made of those and has full precision.
Statistics and counts are not rounded.

Example:
    ```python
    import numpy as np
    from colearn.compact import compact, restored

    base = {"w": np.zeros((2, 3), np.float32)}
    sent = compact(base, {"w": np.full((2, 3), 0.5, np.float32)})
    same_everywhere = restored(base, sent)
    ```
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from colearn.errors import NotFinite
from colearn.kinds import trained
from colearn.schema import Array, Schema
from colearn.weights import numpy_dtype

BITS = 5
"""Of every number's move."""

BLOCK = 64
"""Consecutive numbers of a tensor that share one scale."""

_MOST = (1 << (BITS - 1)) - 1
_CHUNK_BLOCKS = 1_024
_CODES, _SCALES, _EXACT = "codes", "scales", "exact/"
_Codes = NDArray[np.uint8]


def compact(base: Mapping[str, Array], tensors: Mapping[str, Array]) -> dict[str, Array]:
    """What to send of trained weights to who holds those they were trained from.

    Args:
        base: M.
        tensors: The trained weights, of the same schema.

    Returns:
        ``codes``, uint8 of shape (blocks, 40); ``scales``, the upper halves of float32
        numbers, uint16 of shape (blocks,); and every tensor that is not rounded.

    Raises:
        NotFinite: A number is NaN or infinite, or moved beyond what float32 can tell.
    """
    codes: _Codes = np.empty((_blocks(base), BLOCK * BITS // 8), np.uint8)
    scales = np.empty(len(codes), np.uint16)
    for name, rows, numbers in _chunks(base):
        before, after = base[name].reshape(-1), tensors[name].reshape(-1)
        moved = np.zeros((rows.stop - rows.start, BLOCK))
        with np.errstate(invalid="ignore"):
            moved.reshape(-1)[: numbers.stop - numbers.start] = after[numbers].astype(
                np.float64
            ) - before[numbers].astype(np.float64)
        scales[rows] = _scales(name, moved)
        scale = _widened(scales[rows])
        moved /= np.where(scale, scale, 1.0)[:, None]
        np.rint(moved, out=moved)
        codes[rows] = _packed(np.clip(moved, -_MOST, _MOST, out=moved))
    exact = {f"{_EXACT}{name}": tensors[name] for name in base.keys() - set(trained(base))}
    return {_CODES: codes, _SCALES: scales, **exact}


def restored(base: Mapping[str, Array], sent: Mapping[str, Array]) -> dict[str, Array]:
    """The weights that `compact` has sent, as everybody finds them.

    Args:
        base: M.
        sent: What `compact` gave; of the schema `compact_schema` gives.

    Raises:
        NotFinite: A number would be NaN or infinite.
    """
    result = {
        name: sent.get(f"{_EXACT}{name}", np.empty(tensor.shape, tensor.dtype))
        for name, tensor in base.items()
    }
    for name, rows, numbers in _chunks(base):
        flat = result[name].reshape(-1)
        with np.errstate(over="ignore", invalid="ignore"):
            moved = _unpacked(sent[_CODES][rows]) * _widened(sent[_SCALES][rows])[:, None]
            flat[numbers] = (
                base[name].reshape(-1)[numbers].astype(np.float64)
                + moved.reshape(-1)[: numbers.stop - numbers.start]
            ).astype(flat.dtype)
        if not np.isfinite(flat[numbers]).all():
            raise NotFinite(f"tensor {name!r} would hold NaN or infinity: refuse this update")
    for array in result.values():
        array.flags.writeable = False
    return result


def compact_schema(schema: Schema) -> Schema:
    """The schema of what `compact` gives for weights of a schema without growing dimensions."""
    like = {name: _like(spec.dtype, spec.shape) for name, spec in schema.tensors.items()}
    return Schema.of(
        {
            _CODES: _like("uint8", (_blocks(like), BLOCK * BITS // 8)),
            _SCALES: _like("uint16", (_blocks(like),)),
            **{f"{_EXACT}{name}": like[name] for name in like.keys() - set(trained(like))},
        }
    )


def _chunks(base: Mapping[str, Array]) -> Iterator[tuple[str, slice, slice]]:
    """Every trained tensor piece by piece: its name, the blocks, and its numbers in them."""
    first = 0
    for name in trained(base):
        size = base[name].size
        blocks = -(-size // BLOCK)
        for start in range(0, blocks, _CHUNK_BLOCKS):
            stop = min(start + _CHUNK_BLOCKS, blocks)
            rows = slice(first + start, first + stop)
            yield name, rows, slice(start * BLOCK, min(stop * BLOCK, size))
        first += blocks


def _blocks(base: Mapping[str, Array]) -> int:
    return sum(-(-base[name].size // BLOCK) for name in trained(base))


def _scales(name: str, moved: NDArray[np.float64]) -> NDArray[np.uint16]:
    """What one step is in each block: rounded up, so that the largest move is within reach."""
    with np.errstate(over="ignore"):
        scale = (np.abs(moved).max(axis=1) / _MOST).astype(np.float32)
    halves: NDArray[np.uint16] = (
        (scale.view(np.uint32).astype(np.uint64) + 0xFFFF) >> np.uint64(16)
    ).astype(np.uint16)
    if not np.isfinite(_widened(halves)).all():
        raise NotFinite(
            f"tensor {name!r} moved to NaN, to infinity or too far: "
            "lower the learning rate or clip gradients"
        )
    return halves


def _widened(scales: Array) -> NDArray[np.float64]:
    return (scales.astype(np.uint32) << 16).view(np.float32).astype(np.float64)


def _packed(steps: NDArray[np.float64]) -> _Codes:
    """Low four bits of the first half of a block beside those of the second; then high bits."""
    codes = (steps + _MOST).astype(np.uint8)
    low = codes & 15
    halves = low[:, : BLOCK // 2] | low[:, BLOCK // 2 :] << 4
    return np.concatenate([halves, np.packbits(codes >> 4, axis=1)], axis=1)


def _unpacked(codes: Array) -> NDArray[np.float64]:
    halves, high = np.split(codes.astype(np.uint8), [BLOCK // 2], axis=1)
    low = np.concatenate([halves & 15, halves >> 4], axis=1)
    steps: NDArray[np.uint8] = low | np.unpackbits(high, axis=1) << 4
    return steps.astype(np.float64) - _MOST


def _like(dtype: str, shape: tuple[Any, ...]) -> Array:
    """A tensor of that dtype and shape that takes no memory."""
    return np.broadcast_to(np.zeros((), numpy_dtype(dtype)), shape)
