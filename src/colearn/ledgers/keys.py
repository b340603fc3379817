"""A member's private key: kept in an encrypted file, or given by the environment.

A key that this module gives never shows itself: its text is its address. No error
here has a key or a passphrase in it, or follows from one that has.
"""

from __future__ import annotations

import contextlib
import getpass
import json
import os
import re
import secrets
import sys
from functools import cached_property
from pathlib import Path

from colearn.errors import ConfigError, MissingExtra
from colearn.log import sync_directory

try:
    import coincurve
    from eth_account import Account
    from eth_hash.auto import keccak
    from eth_utils.address import is_checksum_address, to_checksum_address
except ModuleNotFoundError as reason:
    raise MissingExtra("a member's key", reason.name or "eth_account", "evm") from None

KEY_VARIABLE = "COLEARN_KEY"
"""The environment variable that may hold a private key itself, as 64 hex digits."""

PASSPHRASE_VARIABLE = "COLEARN_PASSPHRASE"  # noqa: S105 - the name of a variable
"""The environment variable that may hold the passphrase of a key's file."""

_SCRYPT_ITERATIONS = 2**17
_ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
_is_key = re.compile("(?:0x)?([0-9a-fA-F]{64})").fullmatch


class Key(bytes):
    """A private key, 32 bytes, that prints as its address and never as itself."""

    @cached_property
    def address(self) -> str:
        """The checksummed address that it signs for: its member's name."""
        public = coincurve.PrivateKey(self).public_key.format(compressed=False)
        return str(to_checksum_address(keccak(public[1:])[12:]))

    def __repr__(self) -> str:
        return f"<key of {self.address}>"

    __str__ = __repr__


def checked_address(text: str) -> str:
    """What is a member's address, as keys have it.

    Raises:
        ConfigError: It is none, or its checksum does not match.
    """
    if not is_checksum_address(text):
        raise ConfigError(f"{text!r:.80} is no checksummed address: colearn keys new prints one")
    return text


def new_key() -> Key:
    """Draw a new key from the operating system's randomness."""
    while not 0 < int.from_bytes(drawn := secrets.token_bytes(32)) < _ORDER:
        pass
    return Key(drawn)


def write_key(key: Key, path: Path, passphrase: str) -> None:
    """Keep a key in a new file, encrypted, which only its owner may read.

    The file is an Ethereum keystore (version 3), as wallets read it; it is there whole
    or not at all.

    Raises:
        ConfigError: The file is there already or cannot be written, or the passphrase
            is empty.
    """
    if not passphrase:
        raise ConfigError(f"{path} is not written: its passphrase must not be empty")
    content = Account.encrypt(bytes(key), passphrase, "scrypt", _SCRYPT_ITERATIONS)
    unfinished = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    try:
        with os.fdopen(
            os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w"
        ) as file:
            json.dump(content, file)
            file.flush()
            os.fsync(file.fileno())
        os.link(unfinished, path)
        sync_directory(path.parent)
    except FileExistsError:
        raise ConfigError(f"{path} is there already: keys are never overwritten") from None
    except OSError as reason:
        raise ConfigError(f"{path} cannot be written: {reason.strerror}") from None
    finally:
        with contextlib.suppress(OSError):
            unfinished.unlink(missing_ok=True)


def read_key(path: Path, passphrase: str) -> Key:
    """Read a key from its encrypted file.

    Raises:
        ConfigError: The file cannot be read, is no keystore, or the passphrase is wrong.
    """
    try:
        content = json.loads(path.read_bytes())
    except OSError as reason:
        raise ConfigError(
            f"{path} cannot be read: {reason.strerror}; colearn keys new makes a key"
        ) from None
    except ValueError:
        content = None
    if not isinstance(content, dict) or not {"crypto", "Crypto"} & content.keys():
        raise ConfigError(f"{path} is no keystore: colearn keys new makes one")
    try:
        return _checked(bytes(Account.decrypt(content, passphrase)), str(path))
    except ConfigError:
        raise
    except Exception as reason:  # noqa: BLE001 - what a damaged file leads to has no common class
        wrong = "MAC mismatch" in str(reason)
    if wrong:
        raise ConfigError(f"the passphrase of {path} is wrong, or the file is damaged")
    raise ConfigError(f"{path} is a damaged keystore: take it from a backup")


def open_key(path: Path | None) -> Key:
    """A member's key: from its file, or, where none is named, from ``COLEARN_KEY``.

    Raises:
        ConfigError: There is no key, or it cannot be read.
    """
    if path is not None:
        return read_key(path, passphrase_of(path))
    given = _is_key(os.environ.get(KEY_VARIABLE, "").strip())
    if KEY_VARIABLE not in os.environ:
        raise ConfigError(f"no key: name its file, or set {KEY_VARIABLE} to 64 hex digits")
    if given is None:
        raise ConfigError(f"{KEY_VARIABLE} holds no private key: expected 64 hex digits")
    return _checked(bytes.fromhex(given[1]), KEY_VARIABLE)


def passphrase_of(path: Path, *, new: bool = False) -> str:
    """The passphrase of a key's file: from ``COLEARN_PASSPHRASE``, else asked for.

    Args:
        path: The file, for the question.
        new: The file is to be made: ask twice.

    Raises:
        ConfigError: There is nobody to ask, or the two answers differ.
    """
    given = os.environ.get(PASSPHRASE_VARIABLE)
    if given is not None:
        return given
    if not sys.stdin.isatty():
        raise ConfigError(
            f"no passphrase for {path}: set {PASSPHRASE_VARIABLE}, or start this in a terminal"
        )
    passphrase = getpass.getpass(f"Passphrase of {path}: ")
    if new and getpass.getpass("Again: ") != passphrase:
        raise ConfigError("the two passphrases differ: nothing was written")
    return passphrase


def _checked(key: bytes, source: str) -> Key:
    if len(key) != 32 or not 0 < int.from_bytes(key) < _ORDER:
        raise ConfigError(f"{source} holds a number that is no private key: make another")
    return Key(key)
