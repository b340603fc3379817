"""Opening an object store by its URL, and what its errors mean."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import unquote, urlsplit

from colearn.errors import ConfigError, MissingExtra

try:
    from obstore.exceptions import BaseError
    from obstore.store import LocalStore, MemoryStore, ObjectStore, from_url
except ModuleNotFoundError:
    raise MissingExtra("an object store", "obstore", "objects") from None

__all__ = ["FAILURES", "Bucket", "bucket", "said"]

Bucket = ObjectStore

FAILURES = (BaseError, OSError)
"""What an operation may raise; an object that is not there is a `FileNotFoundError`."""


def bucket(url: str) -> Bucket:
    """Open ``s3://``, ``gs://``, ``az://``, ``file://`` or ``memory://``.

    Keys and regions come from the environment variables of each service.

    Raises:
        ConfigError: The URL names no object store, or one that cannot be opened.
    """
    parts = urlsplit(url)
    try:
        if parts.scheme == "memory":
            return MemoryStore()
        if parts.scheme == "file":
            return LocalStore(Path(unquote(parts.path)), mkdir=True)
        if parts.scheme in ("s3", "gs", "az") and parts.netloc:
            return from_url(url)
    except (*FAILURES, ValueError) as reason:
        raise ConfigError(f"{url} cannot be opened: {said(reason)}") from None
    raise ConfigError(
        f"{url} names no object store: use s3://bucket/path, gs://, az:// or file:///folder"
    )


def said(reason: Exception) -> str:
    """The first line of an error, for many go on with details of the library."""
    return str(reason).partition("\n")[0]
