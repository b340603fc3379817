"""What members say of the live round is told only where it is signed."""

from __future__ import annotations

import pytest
from members import rogue

pytest.importorskip("web3")

from evm import KEYS, NAMES

from colearn.cli.notes import signed
from colearn.ledgers.signing import KeySigner
from colearn.records import Ballot, Candidate, Choice, encode

ADA, BOB, CYD = NAMES[:3]
DIGEST = "2" * 64
SIGNER = KeySigner(KEYS, 1, "0x" + "1" * 40)


def answering(body):
    """A member that gives this for the notes of a round."""
    head = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body)
    return rogue(lambda connection, _: connection.sendall(head + body))


def test_forged_notes_are_not_told():
    """One member forges a vote, brings one of another round and garbage; another is away."""
    true = [
        SIGNER.sign(Candidate(3, ADA, DIGEST)),
        SIGNER.sign(Ballot(3, BOB, DIGEST, Choice.APPROVE)),
    ]
    lies = [
        Ballot(3, CYD, DIGEST, Choice.APPROVE, true[1].signature),
        SIGNER.sign(Ballot(2, CYD, DIGEST, Choice.APPROVE)),
    ]
    lines = [b"\n".join(map(encode, notes)) for notes in (true, lies)]
    with answering(lines[0]) as honest, answering(lines[1] + b"\n{") as liar:
        away = "http://127.0.0.1:1"
        found = signed([away, liar, "https://elsewhere.example:7411", honest], 3, SIGNER)
    assert found == {ADA: {"proposed"}, BOB: {"voted"}}
