"""``colearn keys``."""

from __future__ import annotations

from pathlib import Path

from colearn.cli.keyfile import passphrase_for
from colearn.ledgers.keys import new_key, write_key


def new(keystore: Path, /, *, passphrase_file: Path | None = None) -> None:
    """Make a key, kept in an encrypted file, and print its address.

    Args:
        keystore: The file to make.
        passphrase_file: File with a passphrase for it. Else it is taken from
            COLEARN_PASSPHRASE, or asked for.
    """
    key = new_key()
    write_key(key, keystore, passphrase_for(keystore, passphrase_file))
    print(key.address)
