"""Parameters that are not trained do not travel: a digest says which ones weights go with."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from colearn.errors import UnusableWeights
from colearn.records import digest_of
from colearn.weights import Schema, encode

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

FROZEN = "frozen.blake3"
"""Name of the tensor that holds the digest of all frozen parameters, if there are any."""


def frozen_digest(frozen: Mapping[str, NDArray[Any]]) -> NDArray[np.uint8] | None:
    """Return the digest of frozen parameters, shape (32,); None where there are none."""
    if not frozen:
        return None
    digest = digest_of(encode(frozen, Schema.of(frozen)).parts)
    return np.frombuffer(bytes.fromhex(digest), np.uint8)


def check_frozen(tensors: Mapping[str, Any], digest: NDArray[np.uint8] | None) -> None:
    """Raise `UnusableWeights` if weights go with other frozen parameters than these."""
    if digest is not None and not np.array_equal(tensors[FROZEN], digest):
        raise UnusableWeights(
            "these weights were trained around other frozen parameters than this module's: "
            "all members must start from the same pretrained module"
        )
