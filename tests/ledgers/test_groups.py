"""Groups that the contract refuses, and the largest that it takes."""

from __future__ import annotations

from typing import Any

import pytest
from evm import KEYS, NAMES, Contract, begin_again, chain

from colearn.committee import drawn, named
from colearn.ledgers.contract import Signature, commitment_on, rule_to_abi, sign_vote, together
from colearn.records import Choice, Experiment, Propose, Rule, Vote, digest_of

DIGEST, OTHER = digest_of([b"p"]), digest_of([b"q"])
YES = Choice.APPROVE
NOBODY = "0x" + 40 * "0"
BLOCK_GAS = 30_000_000


def found(*members: str, rule: Rule | None = None) -> Contract:
    """A contract with a group."""
    return Contract(Experiment(members=members, initial=OTHER, schema=OTHER, rule=rule or Rule()))


def signed(contract: Contract, voter: str, number: int) -> tuple[Choice, Signature]:
    """A member's approval."""
    return YES, sign_vote(
        key=KEYS[voter],
        chain_id=chain().web3.eth.chain_id,
        contract=contract.address,
        round_index=number,
        proposal=DIGEST,
        choice=YES,
    )


def test_256_members() -> None:
    """In the largest group there is room for everybody's vote, by hand and together."""
    contract = found(*NAMES, rule=Rule(threshold="1", inclusive=True, proposer_votes=True))
    assert contract.deployment_gas < BLOCK_GAS
    everybody = {voter: signed(contract, voter, 0) for voter in NAMES}
    receipt = contract.send(NAMES[0], *together(Propose(0, NAMES[0], DIGEST), everybody, NAMES))
    assert receipt.gas < BLOCK_GAS
    assert contract.view("state")[0] == bytes.fromhex(DIGEST)
    assert contract.view("last")[3] == (1 << 256) - 1

    contract.send(NAMES[1], "propose", (1, bytes.fromhex(DIGEST)))
    by_hand = (0, 62, 63, 64, 65, 254, 255)
    for index in by_hand:
        vote = (1, bytes.fromhex(DIGEST), 1)
        contract.send(NAMES[index], "vote", vote)
        assert contract.refusal(NAMES[index], "vote", vote) == "colearn: already voted"
    assert contract.view("state")[6:9] == (7, 7, sum(1 << index for index in by_hand))
    contract.send(NAMES[100], "vote", (1, bytes.fromhex(DIGEST), 2))
    assert contract.view("last")[3] == sum(1 << index for index in (*by_hand, 100))


def test_256_secret_votes() -> None:
    """In the largest group everybody's commitment and vote has its place and is counted."""
    rule = Rule(threshold="1", inclusive=True, proposer_votes=True, reveal_seconds=3_600)
    contract = found(*NAMES, rule=rule)
    chain_id, digest, salt = chain().web3.eth.chain_id, bytes.fromhex(DIGEST), digest_of([b"salt"])
    contract.send(NAMES[0], "propose", (0, digest))
    for voter in NAMES:
        vote = Vote(0, voter, DIGEST, YES)
        commitment = commitment_on(
            chain_id=chain_id, contract=contract.address, vote=vote, salt=salt
        )
        contract.send(voter, "commit", (0, digest, bytes.fromhex(commitment)))
    state = contract.view("state")
    assert (state[0], state[4], state[8]) == (bytes.fromhex(OTHER), 3, (1 << 256) - 1)
    for voter in reversed(NAMES):
        contract.send(voter, "reveal", (0, 1, bytes.fromhex(salt)))
    assert contract.view("state")[0] == digest
    assert contract.view("last")[3] == 0


def test_256_no_votes() -> None:
    """Where one approval of 256 would do, all 256 may vote no."""
    contract = found(*NAMES, rule=Rule(threshold="1/300", proposer_votes=True))
    contract.send(NAMES[0], "propose", (0, bytes.fromhex(DIGEST)))
    for voter in NAMES:
        assert contract.view("state")[1] == 0
        contract.send(voter, "vote", (0, bytes.fromhex(DIGEST), 3))
    assert contract.view("state")[1] == 1


@pytest.mark.parametrize("size", [4, 65, 251, 256])
def test_the_contract_draws_whom_the_rules_draw(size: int) -> None:
    """In groups of any size, of few, of half and of all, in one round after the other."""
    begin_again()
    for count in (2, size // 2, size - 2, size):
        contract = found(*NAMES[:size], rule=Rule(committee=count))
        for number in range(3):
            assert contract.view("voters") == drawn(OTHER, number, size, count), (count, number)
            contract.send(NAMES[number % size], "pass_turn", (number,))


def test_committees_of_256() -> None:
    """Votes of members beyond the head count, of those drawn alone, by hand and together."""
    begin_again()
    contract = found(*NAMES, rule=Rule(committee=100))
    sitting = named(NAMES, drawn(OTHER, 0, 256, 100))
    votes = {voter: signed(contract, voter, 0) for voter in sitting}
    resting = next(each for each in NAMES[1:] if each not in sitting)
    call = together(Propose(0, NAMES[0], DIGEST), votes | {resting: votes[sitting[0]]}, NAMES)
    assert contract.refusal(NAMES[0], *call) == "colearn: not drawn"
    contract.send(NAMES[0], *together(Propose(0, NAMES[0], DIGEST), votes, NAMES))
    assert contract.view("state")[0] == bytes.fromhex(DIGEST)

    bitmap = drawn(DIGEST, 1, 256, 100)
    assert contract.view("voters") == bitmap
    contract.send(NAMES[1], "propose", (1, bytes.fromhex(OTHER)))
    for index, voter in enumerate(NAMES):
        vote = (1, bytes.fromhex(OTHER), 1)
        if index != 1 and not bitmap >> index & 1:
            assert contract.refusal(voter, "vote", vote) == "colearn: not drawn"
    for voter in named(NAMES, bitmap)[:51]:
        assert contract.view("state")[1] == 1
        contract.send(voter, "vote", (1, bytes.fromhex(OTHER), 1))
    assert contract.view("state")[:2] == (bytes.fromhex(OTHER), 2)


def test_a_257th_member_is_refused() -> None:
    """A full group grows no further, but its members may change, all in one block."""
    contract = found(*NAMES, rule=Rule(governance="1/2"))
    newcomer = chain().web3.to_checksum_address("0x" + 40 * "1")
    assert contract.refusal(NAMES[0], "endorse_add", (newcomer,)) == "colearn: invalid change"
    for member in NAMES[:129]:
        contract.send(member, "endorse_replace", (NAMES[255], newcomer))
    assert contract.send(NAMES[0], "pass_turn", (0,)).gas < BLOCK_GAS
    assert contract.view("members")[255] == newcomer


@pytest.mark.parametrize(
    "members", [(), NAMES[:1], (*NAMES[:2], NAMES[0]), (NAMES[0], NOBODY)], ids=len
)
def test_no_group_is_founded(members: tuple[str, ...]) -> None:
    """Nobody, one alone, somebody twice, and the address that is nobody's are refused."""
    assert Contract.refused_founding(members, rule_to_abi(Rule()))
    assert not Contract.refused_founding(NAMES[:2], rule_to_abi(Rule()))


def changed(**fields: Any) -> tuple[Any, ...]:
    """The usual rule as the contract's struct, with some fields changed."""
    names = (
        *("threshold_num", "threshold_den", "inclusive", "proposer_votes"),
        *("quorum_num", "quorum_den", "propose_seconds", "vote_seconds", "reveal_seconds"),
        "committee",
        *("governance_num", "governance_den"),
    )
    return tuple((dict(zip(names, rule_to_abi(Rule()), strict=True)) | fields).values())


@pytest.mark.parametrize(
    "fields",
    [
        {"threshold_num": 0, "threshold_den": 1},
        {"threshold_num": 0},
        {"threshold_num": 1, "threshold_den": 1},
        {"threshold_num": 3, "threshold_den": 2},
        {"threshold_num": 2, "threshold_den": 4},
        {"threshold_num": 100, "threshold_den": 1000},
        {"threshold_den": 0},
        {"quorum_num": 2, "quorum_den": 1},
        {"quorum_num": 0, "quorum_den": 2},
        {"quorum_den": 0},
        {"governance_num": 1, "governance_den": 1},
        {"governance_num": 1, "governance_den": 3},
        {"governance_num": 0, "governance_den": 1},
        {"propose_seconds": 0},
        {"vote_seconds": 0},
        {"propose_seconds": 2**26},
        {"vote_seconds": 2**26},
        {"reveal_seconds": 2**26},
        {"committee": 1},
        {"committee": 2, "proposer_votes": True},
        {"committee": 2, "reveal_seconds": 1},
    ],
    ids=str,
)
def test_no_group_runs_under_a_rule_that_is_none(fields: dict[str, int]) -> None:
    """Rules that the records refuse, and fractions not in lowest terms, are refused here too."""
    wrong = changed(**fields)
    assert Contract.refused_founding(NAMES[:2], wrong)
    assert found(*NAMES[:2]).refusal(NAMES[0], "endorse_rule", (wrong,)) is not None


@pytest.mark.parametrize(
    "fields",
    [
        {"threshold_num": 1, "threshold_den": 1, "inclusive": True},
        {"threshold_num": 28657, "threshold_den": 46368},
        {"threshold_num": 65534, "threshold_den": 65535},
        {"quorum_num": 1, "quorum_den": 1},
        {"governance_num": 1, "governance_den": 2},
        {"propose_seconds": 1, "vote_seconds": 2**26 - 1, "reveal_seconds": 2**26 - 1},
        {"committee": 2},
        {"committee": 65535},
    ],
    ids=str,
)
def test_rules_at_the_edge_are_taken(fields: dict[str, int]) -> None:
    """What is just allowed is allowed, by founding and by endorsement."""
    assert not Contract.refused_founding(NAMES[:2], changed(**fields))
    assert found(*NAMES[:2]).refusal(NAMES[0], "endorse_rule", (changed(**fields),)) is None
