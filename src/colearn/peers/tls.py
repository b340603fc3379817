"""Who may connect: TLS with certificates on both sides, pinned to members.

Every member makes its own certificate and hands it to the others, who keep all of
them in one file; a group with a certificate authority of its own puts that in the
file instead. Both ends of a connection must show a certificate that the file
vouches for. The one at a member's address must besides be the very one that its
signed endpoint names, so that names of hosts need no trust.

Without TLS members talk over loopback only.
"""

from __future__ import annotations

import hashlib
import ipaddress
import re
import ssl
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from colearn.errors import ConfigError

_MAX_URL = 256
_url_parts = re.compile(
    r"(https?)://(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?):(\d{1,5})/?"
).fullmatch


@dataclass(frozen=True)
class Identity:
    """A member's certificate and key, and the certificates it trusts: three PEM files."""

    certificate: Path
    key: Path
    trusted: Path

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 of the certificate, as 64 hex digits.

        Raises:
            ConfigError: The file holds no certificate.
        """
        try:
            pem = self.certificate.read_text("ascii")
            return fingerprint_of(ssl.PEM_cert_to_DER_cert(pem))
        except (OSError, ValueError) as reason:
            raise ConfigError(
                f"{self.certificate} holds no certificate in PEM form ({reason}): make one"
            ) from None

    @cached_property
    def server_context(self) -> ssl.SSLContext:
        """TLS of the side that is connected to; it asks for a certificate."""
        return self._context(ssl.PROTOCOL_TLS_SERVER)

    @cached_property
    def client_context(self) -> ssl.SSLContext:
        """TLS of the side that connects; the caller checks the fingerprint."""
        return self._context(ssl.PROTOCOL_TLS_CLIENT)

    def _context(self, protocol: int) -> ssl.SSLContext:
        context = ssl.SSLContext(protocol)
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        context.check_hostname = False
        context.verify_mode = ssl.CERT_REQUIRED
        try:
            context.load_cert_chain(self.certificate, self.key)
            context.load_verify_locations(self.trusted)
        except (OSError, ssl.SSLError) as reason:
            raise ConfigError(
                f"TLS cannot use {self.certificate}, {self.key} and {self.trusted} "
                f"({reason.strerror or reason}): give PEM files of the certificate, its key, "
                "and all members' certificates"
            ) from None
        return context


def fingerprint_of(certificate: bytes | None) -> str:
    """SHA-256 of a certificate in DER form, as hex; empty for none."""
    return hashlib.sha256(certificate).hexdigest() if certificate else ""


def is_loopback(host: str) -> bool:
    """Whether a host is this machine and no other can reach it."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def check_host(host: str, *, encrypted: bool) -> None:
    """Allow a member to listen somewhere.

    Args:
        host: The interface.
        encrypted: Whether TLS is used; without it only loopback is allowed.

    Raises:
        ConfigError: It is another one.
    """
    if not encrypted and not is_loopback(host):
        raise ConfigError(
            f"listening on {host} is refused without TLS: give this member a certificate, "
            "its key and the certificates of the others, or listen on 127.0.0.1"
        )


def check_url(url: str, *, encrypted: bool) -> tuple[str, int]:
    """Return host and port of a member's URL.

    Args:
        url: ``https://host:port``, or ``http://`` where nothing is encrypted.
        encrypted: Whether TLS is used; without it only loopback is allowed.

    Raises:
        ConfigError: It is another kind of URL.
    """
    parts = _url_parts(url) if len(url) <= _MAX_URL else None
    if parts is None or not 0 < int(parts[4]) < 2**16:
        raise ConfigError(f"{url!r:.80} is no member's URL: it reads https://host:port")
    host = parts[2].strip("[]")
    if encrypted and parts[1] != "https":
        raise ConfigError(f"{url} is refused: with TLS every member's URL begins with https://")
    if not encrypted and (parts[1] != "http" or not is_loopback(host)):
        raise ConfigError(
            f"{url} is refused without TLS: give this member a certificate, "
            "its key and the certificates of the others, or stay on loopback with http://"
        )
    return host, int(parts[4])
