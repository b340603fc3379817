"""What all store drivers say of a blob whose size is not the one announced."""

from __future__ import annotations

from colearn.errors import BlobCorrupt
from colearn.protocols import Blob
from colearn.records import Digest


def check_size(digest: Digest, blob: Blob, size_bytes: int | None) -> Blob:
    """Return the blob if it has the size that was announced, or none was.

    Raises:
        BlobCorrupt: It has another.
    """
    found = sum(part.nbytes for part in blob)
    if size_bytes not in (None, found):
        raise BlobCorrupt(
            f"blob {digest[:12]} has {found} bytes but {size_bytes} were announced: refuse it"
        )
    return blob
