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

from eth_account import Account

from colearn.errors import (
    AlreadyEndorsed,
    AlreadyProposed,
    AlreadyVoted,
    InvalidChange,
    NoProposal,
    NotAMember,
    NotYourTurn,
    ProposerMayNotVote,
    RefusedEvent,
    WrongProposal,
    WrongRound,
)
from colearn.records import (
    AddMember,
    Change,
    Choice,
    Digest,
    Endorse,
    Event,
    Pass,
    Propose,
    RemoveMember,
    ReplaceMember,
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
    "colearn: already voted": AlreadyVoted,
    "colearn: already endorsed": AlreadyEndorsed,
    "colearn: invalid change": InvalidChange,
}
"""The error that each of the contract's refusals stands for."""

_SHARES = ("threshold", "quorum", "governance")
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
        *rule.governance.as_integer_ratio(),
    )


def rule_from_abi(values: Values) -> Rule:
    """A rule from the contract's struct."""
    shares = {name: Fraction(values[f"{name}_num"], values[f"{name}_den"]) for name in _SHARES}
    return Rule(
        **shares,
        inclusive=values["inclusive"],
        proposer_votes=values["proposer_votes"],
        propose_seconds=values["propose_seconds"],
        vote_seconds=values["vote_seconds"],
    )


def call_of(event: Event) -> tuple[str, tuple[Any, ...]]:
    """The contract's function that does what an event says, and its arguments."""
    if isinstance(event, Propose):
        return "propose", (event.round, bytes.fromhex(event.proposal))
    if isinstance(event, Vote):
        number = CHOICES.index(event.choice) + 1
        return "vote", (event.round, bytes.fromhex(event.proposal), number)
    if isinstance(event, Pass):
        return "pass_turn", (event.round,)
    change = event.change
    if isinstance(change, AddMember):
        return "endorse_add", (change.member,)
    if isinstance(change, RemoveMember):
        return "endorse_remove", (change.member,)
    if isinstance(change, ReplaceMember):
        return "endorse_replace", (change.member, change.successor)
    return "endorse_rule", (rule_to_abi(change.rule),)


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
    "Passed": _passed,
    "Endorsed": _endorsed,
}


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
            "choice": CHOICES.index(choice) + 1,
        },
    )
    return signed.r, (signed.v - 27) << 255 | signed.s
