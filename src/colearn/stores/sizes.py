"""What all store drivers say of a blob that is larger than it may be."""

from __future__ import annotations

from colearn.errors import BlobCorrupt
from colearn.protocols import Blob
from colearn.records import Digest


def check_size(digest: Digest, blob: Blob, most_bytes: int | None) -> Blob:
    """Return the blob unless it has more bytes than it may have.

    Raises:
        BlobCorrupt: It has.
    """
    found = sum(part.nbytes for part in blob)
    if most_bytes is not None and found > most_bytes:
        raise BlobCorrupt(
            f"blob {digest[:12]} has {found} bytes, expected at most {most_bytes}: refuse it"
        )
    return blob
