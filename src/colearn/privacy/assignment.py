"""Which records train and which vote: by a keyed hash, so that no record does both.

A record that is in one part only costs the larger of the two budgets, not their sum.
Equal records fall on the same side, and the key keeps others from knowing which.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from blake3 import blake3

from colearn.records import digest_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

_VOTE_SHARE = 5  # one record in five votes


def record_digests(x: NDArray[Any], y: NDArray[Any]) -> list[bytes]:
    """The hash of each sample's bytes, features and target; x and y of n rows each."""
    rows, targets = np.ascontiguousarray(x), np.ascontiguousarray(y)
    return [
        blake3(row.tobytes()).update(target.tobytes()).digest()
        for row, target in zip(rows, targets, strict=True)
    ]


def fingerprint(digests: list[bytes]) -> str:
    """Tells a data set from every other, whatever order its records are in; 64 hex digits."""
    return digest_of(sorted(digests))


def voting(digests: list[bytes], secret: bytes) -> NDArray[np.bool_]:
    """Which records vote, shape (n,): a fifth of them, as the 32-byte secret decides."""
    keyed = (blake3(digest, key=secret).digest(8) for digest in digests)
    return np.array([int.from_bytes(each, "little") % _VOTE_SHARE == 0 for each in keyed])
