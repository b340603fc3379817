"""The key that a command signs with, as its options and the environment say."""

from __future__ import annotations

from pathlib import Path

from colearn.cli.options import Account
from colearn.errors import ConfigError
from colearn.ledgers.keys import Key, open_key, passphrase_of, read_key


def unlock(account: Account) -> Key:
    """Read the key.

    Raises:
        ConfigError: There is none, or the passphrase is wrong.
    """
    if account.key is None or account.passphrase_file is None:
        return open_key(account.key)
    return read_key(account.key, passphrase_in(account.passphrase_file))


def passphrase_for(keystore: Path, passphrase_file: Path | None) -> str:
    """The passphrase for a keystore that is to be made; raises as `unlock`."""
    if passphrase_file is None:
        return passphrase_of(keystore, new=True)
    return passphrase_in(passphrase_file)


def passphrase_in(file: Path) -> str:
    """The first line of a file.

    Raises:
        ConfigError: It cannot be read, or there is none.
    """
    try:
        return file.read_text("utf-8").splitlines()[0]
    except OSError as reason:
        raise ConfigError(f"{file} cannot be read: {reason.strerror}") from None
    except (IndexError, UnicodeDecodeError):
        raise ConfigError(f"{file} holds no passphrase in its first line") from None
