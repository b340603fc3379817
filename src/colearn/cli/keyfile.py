"""A member's key, from its keystore file and the password of that."""

from __future__ import annotations

import getpass
import json
import os
import sys
from pathlib import Path

import eth_account

from colearn.cli.options import Account
from colearn.errors import ConfigError

PASSWORD_VARIABLE = "COLEARN_PASSWORD"  # noqa: S105 - the name of a variable


def unlock(account: Account) -> tuple[str, bytes]:
    """Return the address and the private key."""
    content = json.loads(account.key.read_text())
    key = bytes(
        eth_account.Account.decrypt(content, password_for(account.key, account.password_file))
    )
    return eth_account.Account.from_key(key).address, key


def password_for(keystore: Path, password_file: Path | None, *, new: bool = False) -> str:
    """The password: from the file, else the environment, else asked for.

    Raises:
        ConfigError: The file cannot be read, or there is nobody to ask.
    """
    if password_file is not None:
        try:
            return password_file.read_text("utf-8").splitlines()[0]
        except OSError as reason:
            raise ConfigError(f"{password_file} cannot be read: {reason.strerror}") from None
        except (IndexError, UnicodeDecodeError):
            raise ConfigError(f"{password_file} holds no password in its first line") from None
    given = os.environ.get(PASSWORD_VARIABLE)
    if given is not None:
        return given
    if not sys.stdin.isatty():
        raise ConfigError(
            f"no password for {keystore}: give --password-file, or set {PASSWORD_VARIABLE}"
        )
    password = getpass.getpass(f"Password of {keystore}: ")
    if new and getpass.getpass("Again: ") != password:
        raise ConfigError("the two passwords differ: nothing was written")
    return password
