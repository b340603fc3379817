"""Draft."""

from __future__ import annotations

from eth_account import Account
from eth_account.messages import encode_defunct
from msgspec.structs import replace

from colearn.errors import BadSignature
from colearn.records import digest_of, encode


class KeySigner:
    def __init__(self, experiment, me, key):
        self._experiment, self._me, self._key = encode(experiment), me, key

    def _text(self, note):
        return encode_defunct(
            hexstr=digest_of((self._experiment, encode(replace(note, signature=""))))
        )

    def sign(self, note):
        return replace(
            note, signature=Account.sign_message(self._text(note), self._key).signature.hex()
        )

    def check(self, note):
        try:
            who = Account.recover_message(self._text(note), signature=bytes.fromhex(note.signature))
        except Exception:
            who = None
        if who != note.sender:
            raise BadSignature(f"not signed by {note.sender!r}")
