"""Signed notes: by their sender, for one experiment, in one form only."""

from __future__ import annotations

import msgspec
import pytest
from coincurve import PrivateKey
from eth_account import Account
from evm import KEYS, NAMES

from colearn.errors import BadSignature, LedgerError
from colearn.ledgers.contract import sign_vote
from colearn.ledgers.signing import KeySigner, compact_of
from colearn.records import Ballot, Candidate, Choice, Scores, Update, digest_of, encode

ADA, BOB = NAMES[:2]
CONTRACT, OTHER_CONTRACT = NAMES[10:12]
DIGEST, OTHER = digest_of([b"p"]), digest_of([b"q"])
SIGNER = KeySigner(KEYS, 31_337, CONTRACT)
ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
UPDATE = Update(round=3, sender=ADA, base=OTHER, weights=DIGEST, size_bytes=8, steps=5, samples=40)
NOTES = (
    Ballot(3, ADA, DIGEST, Choice.APPROVE),
    Candidate(3, ADA, DIGEST),
    UPDATE,
)
CHANGES = {
    "round": 4,
    "sender": BOB,
    "proposal": OTHER,
    "choice": Choice.REJECT,
    "weights": OTHER,
    "size_bytes": 9,
    "samples": 41,
}


@pytest.mark.parametrize("note", NOTES)
def test_any_change_breaks_the_signature(note):
    """What is signed is every field of a note, its sender included."""
    signed = SIGNER.sign(note)
    SIGNER.check(signed)
    assert msgspec.structs.replace(signed, signature="") == note
    for field in CHANGES.keys() & set(note.__struct_fields__):
        changed = msgspec.structs.replace(signed, **{field: CHANGES[field]})
        with pytest.raises(BadSignature, match="is signed by"):
            SIGNER.check(changed)


@pytest.mark.parametrize("note", NOTES)
def test_signed_for_one_contract_on_one_chain(note):
    """Nothing can be replayed in another experiment, or on another chain."""
    signed = SIGNER.sign(note)
    for other in (KeySigner({}, 1, CONTRACT), KeySigner({}, 31_337, OTHER_CONTRACT)):
        with pytest.raises(BadSignature, match="for another experiment"):
            other.check(signed)


@pytest.mark.parametrize("choice", list(Choice))
def test_a_ballot_is_the_vote_that_wallets_sign(choice):
    """eth-account, given the typed data as JSON, makes the same signature."""
    ballot = SIGNER.sign(Ballot(7, BOB, DIGEST, choice))
    assert compact_of(ballot.signature) == sign_vote(
        key=KEYS[BOB],
        chain_id=31_337,
        contract=CONTRACT,
        round_index=7,
        proposal=DIGEST,
        choice=choice,
    )


def test_a_note_is_typed_data():
    """Any wallet can sign a note: it is EIP-712, over the digest of the bare note."""
    typed = Account.sign_typed_data(
        KEYS[ADA],
        {
            "name": "CollectiveLearning",
            "version": "1",
            "chainId": 31_337,
            "verifyingContract": CONTRACT,
        },
        {"Note": [{"name": "digest", "type": "bytes32"}]},
        {"digest": bytes.fromhex(digest_of([encode(UPDATE)]))},
    )
    r, s = compact_of(SIGNER.sign(UPDATE).signature)
    assert (r, s) == (typed.r, (typed.v - 27) << 255 | typed.s)


@pytest.mark.parametrize("note", NOTES)
def test_one_form_only(note):
    """Other lengths, other letters and the second of a signature's two forms are refused."""
    signature = SIGNER.sign(note).signature
    r, last = compact_of(signature)
    high = ORDER - (last & (1 << 255) - 1)
    for text in (
        "",
        signature[:-2],
        signature + "00",
        signature + "\n",
        "0x" + signature[2:],
        "zz" + signature[2:],
        "00" * 64,
        "ff" * 64,
        signature[:64] + f"{0:064x}",
        signature[:64] + f"{last ^ 1 << 255:064x}",
        f"{r:064x}{high % (1 << 256):064x}",
    ):
        with pytest.raises(BadSignature) as refusal:
            SIGNER.check(msgspec.structs.replace(note, signature=text))
        assert "\n" not in str(refusal.value)


def test_letters_have_one_case():
    """A signature in capital letters would be a second record with the same meaning."""
    signed = SIGNER.sign(UPDATE)
    with pytest.raises(BadSignature, match="lower-case"):
        SIGNER.check(msgspec.structs.replace(signed, signature=signed.signature.upper()))


def test_a_high_s_is_malleable():
    """Of (r, s) and (r, −s) only the lower is taken, also where both fit the compact form."""
    ballot = Ballot(0, ADA, DIGEST, Choice.APPROVE)
    nonce, high = 5, (1 << 255) - 1
    r, y = PrivateKey.from_int(nonce).public_key.point()
    key = (high * nonce - int.from_bytes(SIGNER._hash(ballot))) * pow(r, -1, ORDER) % ORDER
    ballot = msgspec.structs.replace(ballot, sender=Account.from_key(key.to_bytes(32)).address)
    lower, upper = (1 - (y & 1)) << 255 | ORDER - high, (y & 1) << 255 | high
    SIGNER.check(msgspec.structs.replace(ballot, signature=f"{r:064x}{lower:064x}"))
    with pytest.raises(BadSignature, match="malleable"):
        SIGNER.check(msgspec.structs.replace(ballot, signature=f"{r:064x}{upper:064x}"))


def test_whose_key_is_not_held_is_not_signed_for():
    """Without the sender's key nothing is signed, and the error says whose."""
    with pytest.raises(LedgerError, match=f"no key of {ADA}"):
        KeySigner({BOB: KEYS[BOB]}, 1, CONTRACT).sign(UPDATE)


def test_what_cannot_be_signed():
    """Scores bear no signature; a ballot on no digest, or of a negative round, is refused."""
    scores = Scores(0, ADA, 1.0, None)
    for note in (
        scores,
        Ballot(0, ADA, "not-a-digest", Choice.APPROVE, "00" * 64),
        Ballot(-1, ADA, DIGEST, Choice.APPROVE, "00" * 64),
        Ballot(1 << 256, ADA, DIGEST, Choice.APPROVE, "00" * 64),
    ):
        for act in (SIGNER.sign, SIGNER.check):
            with pytest.raises(BadSignature):
                act(note)
