"""Attacks on signed votes: whatever is wrong with one, nothing of its round happens."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import rlp
from coincurve import PrivateKey
from eth_account import Account
from eth_utils import keccak, to_canonical_address, to_checksum_address
from evm import KEYS, NAMES, Contract, chain

from colearn.ledgers.contract import Signature, sign_vote, together
from colearn.records import Choice, Experiment, Propose, digest_of

DIGEST, OTHER = digest_of([b"p"]), digest_of([b"q"])
ADA, BOB, CYD, DAN = MEMBERS = NAMES[:4]
STRANGER = NAMES[4]
YES = Choice.APPROVE
ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141

Bitmaps = tuple[int, int, int]


def found(*members: str) -> Contract:
    """A contract, in round 0 of which it is the first member's turn."""
    return Contract(Experiment(members=members, initial=OTHER, schema=OTHER))


@pytest.fixture
def contract() -> Contract:
    """A contract of four."""
    return found(*MEMBERS)


def sign(contract: Contract, voter: str, choice: Choice = YES, /, **wrong: Any) -> Signature:
    """A voter's signature, right but for what is given."""
    said = {
        "key": KEYS[voter],
        "chain_id": chain().web3.eth.chain_id,
        "contract": contract.address,
        "round_index": 0,
        "proposal": DIGEST,
        "choice": choice,
    } | wrong
    return sign_vote(**said)


def attempt(contract: Contract, bitmaps: Bitmaps, signatures: list[Signature]) -> str | None:
    """Ada proposes with votes; say why that is refused, None if it is not."""
    arguments = (0, bytes.fromhex(DIGEST), *bitmaps, signatures)
    return contract.refusal(ADA, "propose_with_votes", arguments)


def test_honest_votes_are_counted(contract: Contract) -> None:
    """What the attacks below start from is accepted, and decides."""
    votes = {
        BOB: (YES, sign(contract, BOB)),
        CYD: (Choice.REJECT, sign(contract, CYD, Choice.REJECT)),
        DAN: (YES, sign(contract, DAN)),
    }
    contract.send(ADA, *together(Propose(0, ADA, DIGEST), votes, MEMBERS))
    assert contract.view("state")[:2] == (bytes.fromhex(DIGEST), 1)
    assert contract.view("last") == (True, 0, bytes.fromhex(DIGEST), 0b1110)


@pytest.mark.parametrize(
    "wrong",
    [
        {"key": KEYS[STRANGER]},
        {"key": KEYS[CYD]},
        {"key": KEYS[ADA]},
        {"round_index": 1},
        {"proposal": OTHER},
        {"choice": Choice.REJECT},
        {"choice": Choice.ABSTAIN},
        {"chain_id": 1},
        {"contract": ADA},
    ],
    ids="-".join,
)
def test_a_signature_for_something_else_is_refused(
    contract: Contract, wrong: dict[str, Any]
) -> None:
    """By another key, or for another round, proposal, choice, chain or contract: no vote."""
    good = [sign(contract, voter) for voter in (BOB, CYD)]
    assert attempt(contract, (0b0110, 0, 0), good) is None
    forged = [sign(contract, BOB, **wrong), good[1]]
    assert attempt(contract, (0b0110, 0, 0), forged) == "colearn: wrong signature"


def test_a_vote_for_one_contract_is_none_for_another(contract: Contract) -> None:
    """The same members under another contract cannot be made to repeat their votes there."""
    twin = found(*MEMBERS)
    signatures = [sign(contract, voter) for voter in (BOB, CYD)]
    assert attempt(contract, (0b0110, 0, 0), signatures) is None
    assert attempt(twin, (0b0110, 0, 0), signatures) == "colearn: wrong signature"


@pytest.mark.parametrize(
    ("bitmaps", "reason"),
    [
        ((0b0010, 0b0010, 0), "colearn: already voted"),
        ((0b0010, 0, 0b0010), "colearn: already voted"),
        ((0, 0b0010, 0b0010), "colearn: already voted"),
        ((0b10010, 0, 0), "colearn: not a member"),
        ((0, 0, 1 << 255), "colearn: not a member"),
        ((0b0011, 0, 0), "colearn: proposer may not vote"),
        ((0, 0b0001, 0), "colearn: proposer may not vote"),
    ],
)
def test_bitmaps_must_be_of_voters(contract: Contract, bitmaps: Bitmaps, reason: str) -> None:
    """Nobody votes twice, no stranger votes, and the proposer does not, whoever signed."""
    signatures = [sign(contract, BOB), sign(contract, BOB, Choice.REJECT)]
    assert attempt(contract, bitmaps, signatures) == reason


@pytest.mark.parametrize(
    "change",
    [
        lambda signatures: signatures[::-1],
        lambda signatures: signatures[:1] * 2,
        lambda signatures: [*signatures, signatures[0]],
        lambda signatures: signatures[:1],
        lambda signatures: [],
        lambda signatures: [(0, 0), signatures[1]],
        lambda signatures: [(signatures[0][0], signatures[0][1] ^ 1 << 255), signatures[1]],
        lambda signatures: [(signatures[0][0] ^ 1, signatures[0][1]), signatures[1]],
        lambda signatures: [(ORDER, signatures[0][1]), signatures[1]],
    ],
)
def test_signatures_must_be_those_of_the_bitmaps(
    contract: Contract, change: Callable[[list[Signature]], list[Signature]]
) -> None:
    """Out of order, doubled, missing, too many, empty or bent: all is refused."""
    signatures = [sign(contract, voter) for voter in (BOB, CYD)]
    assert attempt(contract, (0b0110, 0, 0), signatures) is None
    assert attempt(contract, (0b0110, 0, 0), change(signatures)) is not None


def test_only_the_proposer_submits_votes(contract: Contract) -> None:
    """A member that is not due cannot use the votes of others."""
    arguments = (0, bytes.fromhex(DIGEST), 0b0100, 0, 0, [sign(contract, CYD)])
    refused = contract.refusal(BOB, "propose_with_votes", arguments)
    assert refused == "colearn: not your turn"
    refused = contract.refusal(STRANGER, "propose_with_votes", arguments)
    assert refused == "colearn: not a member"


def test_votes_do_not_work_twice(contract: Contract) -> None:
    """A signed vote is spent with its round: it is neither taken again nor carried over."""
    call = together(Propose(0, ADA, DIGEST), {BOB: (YES, sign(contract, BOB))}, MEMBERS)
    contract.send(ADA, *call)
    assert contract.refusal(ADA, *call) == "colearn: already proposed"
    vote = (0, bytes.fromhex(DIGEST), 1)
    assert contract.refusal(BOB, "vote", vote) == "colearn: already voted"
    contract.send(CYD, "vote", vote)
    assert contract.refusal(ADA, *call) == "colearn: wrong round"


def test_a_vote_left_out_is_cast_directly(contract: Contract) -> None:
    """A collector that drops a vote gains nothing: the member puts it on the ledger itself."""
    contract.send(ADA, *together(Propose(0, ADA, DIGEST), {}, MEMBERS))
    for voter in (BOB, CYD):
        contract.send(voter, "vote", (0, bytes.fromhex(DIGEST), 1))
    assert contract.view("state")[0] == bytes.fromhex(DIGEST)


def test_no_signature_has_a_second_form() -> None:
    """Of (r, s) and (r, −s) only the lower is valid, also where both fit the compact form."""
    nonce, high = 5, (1 << 255) - 1
    point = PrivateKey.from_int(nonce).public_key.point()
    deployer = to_canonical_address(NAMES[0])
    count = chain().web3.eth.get_transaction_count(NAMES[0])
    address = to_checksum_address(keccak(rlp.encode([deployer, count]))[12:])
    message = int.from_bytes(signing_hash(address))
    key = (high * nonce - message) * pow(point[0], -1, ORDER) % ORDER
    voter = Account.from_key(key.to_bytes(32)).address

    contract = found(ADA, voter)
    assert contract.address == address
    parity = point[1] & 1
    lower = (point[0], (1 - parity) << 255 | ORDER - high)
    upper = (point[0], parity << 255 | high)
    assert attempt(contract, (0b10, 0, 0), [lower]) is None
    assert attempt(contract, (0b10, 0, 0), [upper]) == "colearn: malleable signature"


def signing_hash(contract: str) -> bytes:
    """What is signed for an approval in round 0, put together by hand from EIP-712."""

    def word(number: int) -> bytes:
        return number.to_bytes(32)

    domain = keccak(
        keccak(
            b"EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)"
        )
        + keccak(b"CollectiveLearning")
        + keccak(b"1")
        + word(chain().web3.eth.chain_id)
        + word(int(contract, 16))
    )
    vote = keccak(
        keccak(b"Vote(uint256 round,bytes32 proposal,uint256 choice)")
        + word(0)
        + bytes.fromhex(DIGEST)
        + word(1)
    )
    return keccak(b"\x19\x01" + domain + vote)
