"""Signatures of members' notes, by the keys that their transactions are signed with.

A ballot is signed as the very vote that the contract checks, so that its proposer can
put it on the ledger. Every other note is signed by its digest. Both are EIP-712 typed
data under the contract's domain: a signature is worth nothing for another experiment.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import msgspec
from coincurve import PrivateKey, PublicKey
from eth_hash.auto import keccak
from eth_utils.address import to_checksum_address

from colearn.errors import BadSignature, LedgerError
from colearn.ledgers.contract import CHOICES, Signature
from colearn.protocols import NoteT
from colearn.records import Ballot, Signed, digest_of, encode, is_digest

_DOMAIN_TYPE = keccak(
    b"EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)"
)
_NAME, _VERSION = keccak(b"CollectiveLearning"), keccak(b"1")
_VOTE_TYPE = keccak(b"Vote(uint256 round,bytes32 proposal,uint256 choice)")
_NOTE_TYPE = keccak(b"Note(bytes32 digest)")

_HALF_ORDER = 0x7FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF5D576E7357A4501DDFE92F46681B20A0
_S_MASK = (1 << 255) - 1
_is_signature = re.compile("[0-9a-f]{128}").fullmatch


class KeySigner:
    """A `colearn.protocols.Signer` for the members of one contract.

    Args:
        keys: Private keys by address, 32 bytes each, of whom this machine signs for.
        chain_id: Number of the contract's chain.
        contract: Checksummed address of the contract.
    """

    def __init__(self, keys: Mapping[str, bytes], chain_id: int, contract: str) -> None:
        self._keys = keys
        self._domain = keccak(
            _DOMAIN_TYPE + _NAME + _VERSION + _word(chain_id) + _word(int(contract, 16))
        )

    def sign(self, note: NoteT) -> NoteT:
        """Return the note with its sender's signature.

        Raises:
            LedgerError: The sender's key is not held.
            BadSignature: Notes of this kind bear none.
        """
        key = key_of(self._keys, note.sender)
        signed = PrivateKey(key).sign_recoverable(self._hash(note), hasher=None)
        r, s, parity = signed[:32], int.from_bytes(signed[32:64]), signed[64]
        compact = int.from_bytes(r), parity << 255 | s
        return msgspec.structs.replace(note, signature=text_of(compact))

    def check(self, note: Signed) -> None:
        """Return if the note bears its sender's signature.

        Raises:
            BadSignature: It does not.
        """
        kind, hashed = type(note).__name__.lower(), self._hash(note)
        r, last = compact_of(getattr(note, "signature", ""))
        s, parity = last & _S_MASK, last >> 255
        if s > _HALF_ORDER:
            raise BadSignature(f"{note.sender!r:.60}: the signature of its {kind} is malleable")
        try:
            signature = r.to_bytes(32) + s.to_bytes(32) + bytes([parity])
            public = PublicKey.from_signature_and_message(signature, hashed, hasher=None)
            signer: str = to_checksum_address(keccak(public.format(compressed=False)[1:])[12:])
        except Exception:  # noqa: BLE001 - the library raises this very class
            signer = "nobody"
        if signer != note.sender:
            raise BadSignature(
                f"a {kind} of {note.sender!r:.60}, round {getattr(note, 'round', '-')}, "
                f"is signed by {signer}: for another experiment, or by somebody else"
            )

    def _hash(self, note: Signed) -> bytes:
        if isinstance(note, Ballot):
            number = CHOICES.index(note.choice) + 1
            proposal = _bytes32(note.proposal)
            struct = _VOTE_TYPE + _word(note.round) + proposal + _word(number)
        elif hasattr(note, "signature"):
            bare = msgspec.structs.replace(note, signature="")
            struct = _NOTE_TYPE + bytes.fromhex(digest_of([encode(bare)]))
        else:
            raise BadSignature(f"{type(note).__name__.lower()} records bear no signature")
        return keccak(b"\x19\x01" + self._domain + keccak(struct))


def compact_of(signature: str) -> Signature:
    """Read a signature from its text: 128 hex digits, compact as in EIP-2098.

    Raises:
        BadSignature: The text is no such thing.
    """
    if not _is_signature(signature):
        raise BadSignature(f"{signature!r:.40} is no signature: expected 128 lower-case hex digits")
    return int(signature[:64], 16), int(signature[64:], 16)


def text_of(signature: Signature) -> str:
    """Write a compact signature as `compact_of` reads it."""
    return "".join(f"{each:064x}" for each in signature)


def key_of(keys: Mapping[str, bytes], address: str) -> bytes:
    """An address's private key.

    Raises:
        LedgerError: It is not among those that are held.
    """
    try:
        return keys[address]
    except KeyError:
        raise LedgerError(
            f"no key of {address} is held here: only its owner can act for it"
        ) from None


def _word(number: int) -> bytes:
    if not 0 <= number < 1 << 256:
        raise BadSignature(f"{number} cannot be signed: expected 0 or more, below 2**256")
    return number.to_bytes(32)


def _bytes32(digest: str) -> bytes:
    if not is_digest(digest):
        raise BadSignature(f"{digest!r:.80} cannot be signed: it is no digest")
    return bytes.fromhex(digest)
