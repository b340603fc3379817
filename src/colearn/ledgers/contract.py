"""How records and the smart contract say the same: calls, events, signed votes.

A member's name on this ledger is its checksummed address; a digest's 64 hex digits
are a ``bytes32``. The contract's source lies in ``contracts/``, with what the compiler
made of it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from fractions import Fraction
from functools import cache
from importlib.resources import files
from typing import Any

from eth_abi.abi import encode as abi_encode
from eth_account import Account
from eth_utils.crypto import keccak

from colearn.errors import (
    AlreadyEndorsed,
    AlreadyProposed,
    AlreadyVoted,
    InvalidChange,
    NoProposal,
    NotAMember,
    NotDrawn,
    NothingToReveal,
    NotYourTurn,
    ProposerMayNotVote,
    RefusedEvent,
    WrongPhase,
    WrongProposal,
    WrongReveal,
    WrongRound,
)
from colearn.records import (
    AddMember,
    Change,
    Choice,
    Commit,
    Digest,
    Endorse,
    Event,
    Pass,
    Propose,
    RemoveMember,
    ReplaceMember,
    Reveal,
    Rotate,
    Rule,
    SetRule,
    Vote,
)
from colearn.rules import State

Signature = tuple[int, int]
"""A compact signature (EIP-2098): r; parity of y in the highest bit, s in the others."""

CHOICES = (Choice.APPROVE, Choice.REJECT, Choice.ABSTAIN)
"""The contract's numbers for choices, from 1."""

REFUSALS: dict[str, type[RefusedEvent]] = {
    "colearn: not a member": NotAMember,
    "colearn: wrong round": WrongRound,
    "colearn: not your turn": NotYourTurn,
    "colearn: already proposed": AlreadyProposed,
    "colearn: no proposal": NoProposal,
    "colearn: wrong proposal": WrongProposal,
    "colearn: proposer may not vote": ProposerMayNotVote,
    "colearn: not drawn": NotDrawn,
    "colearn: already voted": AlreadyVoted,
    "colearn: wrong phase": WrongPhase,
    "colearn: nothing to reveal": NothingToReveal,
    "colearn: wrong reveal": WrongReveal,
    "colearn: already endorsed": AlreadyEndorsed,
    "colearn: invalid change": InvalidChange,
}
"""The error that each of the contract's refusals stands for."""

_SHARES = ("threshold", "quorum", "governance")
_AS_THEY_ARE = (
    *("inclusive", "proposer_votes"),
    *("propose_seconds", "vote_seconds", "reveal_seconds", "committee"),
)
_COMMITMENT_TYPES = (
    *("uint256", "address", "uint256", "address"),
    *("bytes32", "uint256", "bytes32"),
)
_VOTE_TYPE = {
    "Vote": [
        {"name": "round", "type": "uint256"},
        {"name": "proposal", "type": "bytes32"},
        {"name": "choice", "type": "uint256"},
    ]
}

Values = Mapping[str, Any]


@cache
def compiled() -> dict[str, Any]:
    """What the compiler made: ``abi``, ``bytecode``, ``bytecode_runtime``, and its name."""
    path = files("colearn.ledgers") / "contracts" / "CollectiveLearning.json"
    output: dict[str, Any] = json.loads(path.read_text())
    return output


def rule_to_abi(rule: Rule) -> tuple[int | bool, ...]:
    """A rule as the contract's struct."""
    return (
        *rule.threshold.as_integer_ratio(),
        rule.inclusive,
        rule.proposer_votes,
        *rule.quorum.as_integer_ratio(),
        rule.propose_seconds,
        rule.vote_seconds,
        rule.reveal_seconds,
        rule.committee,
        *rule.governance.as_integer_ratio(),
    )


def rule_from_abi(values: Values) -> Rule:
    """A rule from the contract's struct."""
    fields: dict[str, Any] = {name: values[name] for name in _AS_THEY_ARE}
    for name in _SHARES:
        fields[name] = Fraction(values[f"{name}_num"], values[f"{name}_den"])
    return Rule(**fields)


def call_of(event: Event) -> tuple[str, tuple[Any, ...]]:
    """The contract's function that does what an event says, and its arguments."""
    if isinstance(event, Propose):
        return "propose", (event.round, bytes.fromhex(event.proposal))
    if isinstance(event, Vote):
        return "vote", (event.round, bytes.fromhex(event.proposal), _number(event.choice))
    if isinstance(event, Pass):
        return "pass_turn", (event.round,)
    if isinstance(event, Commit):
        digests = (bytes.fromhex(event.proposal), bytes.fromhex(event.commitment))
        return "commit", (event.round, *digests)
    if isinstance(event, Reveal):
        return "reveal", (event.round, _number(event.choice), bytes.fromhex(event.salt))
    if isinstance(event, Rotate):
        return "rotate_key", (event.successor,)
    change = event.change
    if isinstance(change, AddMember):
        return "endorse_add", (change.member,)
    if isinstance(change, RemoveMember):
        return "endorse_remove", (change.member,)
    if isinstance(change, ReplaceMember):
        return "endorse_replace", (change.member, change.successor)
    return "endorse_rule", (rule_to_abi(change.rule),)


def _number(choice: Choice) -> int:
    return CHOICES.index(choice) + 1


def together(
    propose: Propose, votes: Mapping[str, tuple[Choice, Signature]], members: tuple[str, ...]
) -> tuple[str, tuple[Any, ...]]:
    """The call that puts a proposal and signed votes on the ledger in one transaction.

    Args:
        propose: The proposal.
        votes: Each voter's choice and signature.
        members: The members of the round, in order.
    """
    bitmaps = dict.fromkeys(CHOICES, 0)
    signatures = []
    for index, member in enumerate(members):
        if member in votes:
            choice, signature = votes[member]
            bitmaps[choice] |= 1 << index
            signatures.append(signature)
    digest = bytes.fromhex(propose.proposal)
    return "propose_with_votes", (propose.round, digest, *bitmaps.values(), signatures)


def events_of(name: str, values: Values, state: State) -> list[Event]:
    """What one of the contract's log entries records.

    Args:
        name: Its name.
        values: Its arguments.
        state: The rules' state just before.
    """
    return _READERS[name](values, state)


def _proposed(values: Values, _: State) -> list[Event]:
    return [Propose(values["round"], values["proposer"], values["proposal"].hex())]


def _proposed_with_votes(values: Values, state: State) -> list[Event]:
    digest = values["proposal"].hex()
    votes: list[Event] = [
        Vote(values["round"], member, digest, choice)
        for index, member in enumerate(state.members)
        for choice in CHOICES
        if values[choice.value] >> index & 1
    ]
    return [*_proposed(values, state), *votes]


def _voted(values: Values, state: State) -> list[Event]:
    last, number = state.last, values["round"]
    late = last is not None and number == last.round
    digest = last.proposal if last is not None and late else state.proposal or ""
    return [Vote(number, values["voter"], digest, CHOICES[values["choice"] - 1])]


def _committed(values: Values, state: State) -> list[Event]:
    commitment = values["commitment"].hex()
    return [Commit(values["round"], values["voter"], state.proposal or "", commitment)]


def _revealed(values: Values, _: State) -> list[Event]:
    choice = CHOICES[values["choice"] - 1]
    return [Reveal(values["round"], values["voter"], choice, values["salt"].hex())]


def _rotated(values: Values, _: State) -> list[Event]:
    return [Rotate(values["member"], values["successor"])]


def _passed(values: Values, _: State) -> list[Event]:
    return [Pass(values["round"], values["proposer"])]


def _endorsed(values: Values, _: State) -> list[Event]:
    change = values["change"]
    changes: tuple[Callable[[], Change], ...] = (
        lambda: AddMember(change["member"]),
        lambda: RemoveMember(change["member"]),
        lambda: ReplaceMember(change["member"], change["successor"]),
        lambda: SetRule(rule_from_abi(change["rule"])),
    )
    return [Endorse(values["member"], changes[change["kind"] - 1]())]


_READERS: dict[str, Callable[[Values, State], list[Event]]] = {
    "Proposed": _proposed,
    "ProposedWithVotes": _proposed_with_votes,
    "Voted": _voted,
    "Committed": _committed,
    "Revealed": _revealed,
    "Passed": _passed,
    "Endorsed": _endorsed,
    "Rotated": _rotated,
}


def commitment_on(*, chain_id: int, contract: str, vote: Vote, salt: str) -> Digest:
    """What hides a vote on this chain and contract only (keccak256), until it is revealed.

    Args:
        chain_id: Number of the chain.
        contract: Checksummed address of the contract.
        vote: The vote.
        salt: 64 hex digits that nobody can guess.
    """
    proposal, hidden = bytes.fromhex(vote.proposal), bytes.fromhex(salt)
    values = (chain_id, contract, vote.round, vote.sender, proposal, _number(vote.choice), hidden)
    return keccak(abi_encode(_COMMITMENT_TYPES, values)).hex()


def sign_vote(
    *, key: bytes, chain_id: int, contract: str, round_index: int, proposal: Digest, choice: Choice
) -> Signature:
    """Sign a vote (EIP-712), to be handed to the proposer, for this chain and contract only.

    Args:
        key: The voter's private key, 32 bytes.
        chain_id: Number of the chain.
        contract: Checksummed address of the contract.
        round_index: The round.
        proposal: Digest of the proposal voted on.
        choice: The vote.
    """
    signed = Account.sign_typed_data(
        key,
        domain_data={
            "name": "CollectiveLearning",
            "version": "1",
            "chainId": chain_id,
            "verifyingContract": contract,
        },
        message_types=_VOTE_TYPE,
        message_data={
            "round": round_index,
            "proposal": bytes.fromhex(proposal),
            "choice": _number(choice),
        },
    )
    return signed.r, (signed.v - 27) << 255 | signed.s
