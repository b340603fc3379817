"""Making a member's own TLS certificate."""

from __future__ import annotations

import datetime as dt
import os
from pathlib import Path

from colearn.errors import ConfigError, MissingExtra

try:
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
    from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
except ModuleNotFoundError:
    raise MissingExtra("a TLS certificate", "cryptography", "net") from None

_DAYS = 3650
_MAX_NAME = 64


def make_certificate(member: str, certificate: Path, key: Path) -> None:
    """Write a new key, readable by its owner only, and a certificate that it signs itself.

    Neither file may exist yet. The certificate goes to the other members, the key to nobody.

    Raises:
        ConfigError: A file exists, or cannot be written.
    """
    for path in (key, certificate):
        if path.exists():  # before the other is written
            raise ConfigError(f"{path} cannot be written: it is there already")
    private = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, member[:_MAX_NAME])])
    now = dt.datetime.now(dt.UTC)
    usage = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
    signed = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(private.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=_DAYS))
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.ExtendedKeyUsage(usage), critical=False)
        .sign(private, hashes.SHA256())
    )
    secret = private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    _write_new(key, secret)
    _write_new(certificate, signed.public_bytes(Encoding.PEM))


def _write_new(path: Path, content: bytes) -> None:
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
    except OSError as reason:
        raise ConfigError(f"{path} cannot be written: {reason.strerror}") from None
