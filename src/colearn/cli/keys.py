"""``colearn keys``."""

from __future__ import annotations

import json
import os
from pathlib import Path

from eth_account import Account

from colearn.cli.keyfile import password_for
from colearn.errors import ConfigError


def new(keystore: Path, /, *, password_file: Path | None = None) -> None:
    """Make a key, kept in an encrypted file, and print its address.

    Args:
        keystore: The file to make.
        password_file: File with a password for it; else it is taken from
            COLEARN_PASSWORD, or asked for.
    """
    print(make(keystore, password_for(keystore, password_file, new=True)))


def make(keystore: Path, password: str) -> str:
    """Make a key, and return its address."""
    account = Account.create()
    content = json.dumps(Account.encrypt(account.key, password, iterations=2**14))
    try:
        with os.fdopen(os.open(keystore, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(content)
    except OSError as reason:
        raise ConfigError(f"{keystore} cannot be written: {reason.strerror}") from None
    return str(account.address)
