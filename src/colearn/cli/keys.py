"""``colearn keys``."""

from __future__ import annotations

from pathlib import Path

from colearn.cli.keyfile import passphrase_for
from colearn.errors import ConfigError
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


def certificate(certificate: Path, /, *, certificate_key: Path | None = None) -> None:
    """Make a TLS certificate for colearn join, which signs itself, and its key.

    The certificate goes to all members, who gather everybody's in one file; the key to
    nobody.

    Args:
        certificate: The certificate's file to make, such as me.pem.
        certificate_key: Its key's file to make, which only you may read; by default
            beside it, ending in .key.
    """
    from colearn.peers.certificates import make_certificate  # noqa: PLC0415 - an extra of its own

    key = certificate_key or certificate.with_suffix(".key")
    if key == certificate:
        raise ConfigError(f"{key} cannot hold both: name another file with --certificate-key")
    make_certificate(certificate.stem, certificate, key)
    print(f"{certificate}  for all members: each adds it to the file of --trust")
    print(f"{key}  for you alone")
