"""``colearn status``."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from colearn import experiment as files
from colearn.cli.changes import to_come, wanted
from colearn.cli.feed import rule_text
from colearn.cli.options import LOCAL, Node
from colearn.duty import patience
from colearn.records import PLAIN, Entry
from colearn.rounds import progress
from colearn.rules import Phase, State

if TYPE_CHECKING:
    from colearn.ledgers.ethereum import EthereumLedger

_BITS = ("approve", "reject", "abstain")
_WAITS_FOR = {
    Phase.PROPOSING: "a proposal",
    Phase.VOTING: "votes",
    Phase.COMMITTING: "commitments to votes",
    Phase.REVEALING: "votes to be revealed",
}


class Standing(msgspec.Struct, frozen=True, kw_only=True):
    """Where one member stands in the live round.

    Attributes:
        member: Its name.
        role: What the round asks of it: propose, vote, commit, reveal, or nothing.
        drawn: Whether the round may ask something of it: no committee votes, or it is
            in it, or proposes.
        vote: Its vote, once it is known.
        committed: Whether it has committed to a vote that it has not revealed yet.
        signed: What it has done in the live round off the chain, as members of this
            machine tell: trained, proposed, voted.
        missing_since: Ledger time from which it is waited for; None if it is not. A
            proposer is not while it may collect what no ledger shows.
        last_heard: Ledger time of its last event; None if there never was one.
    """

    member: str
    role: str
    drawn: bool = True
    vote: str | None
    committed: bool = False
    signed: tuple[str, ...] = ()
    missing_since: int | None
    last_heard: int | None


def status(
    experiment: Path = Path("experiment.toml"), /, *, node: Node = LOCAL, json: bool = False
) -> None:
    """Say how an experiment stands: the round, who voted, who is missing and since when.

    Args:
        experiment: The experiment's file.
        node: A node of the chain.
        json: Print one JSON object, for machines.
    """
    from colearn.drivers import open_ledger  # noqa: PLC0415 - brings web3 with it

    agreement = files.read(experiment)
    ledger = open_ledger(agreement, node.chain)
    state, entries, now = ledger.view(), ledger.events(), ledger.now()
    found = progress(ledger.experiment, ledger.decisions(), entries, agreement.rounds)
    decided, accepted, over = len(found.settled), len(found.accepted), found.over
    gathered, gathered_by = _gathering(agreement.method, state)
    since = gathered_by if now >= gathered_by else None
    done = {} if over else _signed(agreement, ledger, state.round)
    standings = [
        msgspec.structs.replace(
            standing(member, state, entries, proposer_since=since, over=over),
            signed=tuple(sorted(done.get(member, ()))),
        )
        for member in state.members
    ]
    if json:
        said = {
            "experiment": agreement.experiment_digest,
            "contract": ledger.address,
            "now": now,
            "round": state.round,
            "rounds": agreement.rounds,
            "decided": decided,
            "accepted": accepted,
            "model": found.model,
            "proposal": state.proposal,
            "phase": "over" if over else state.phase.value,
            "rule": state.rule,
            "opened": state.opened,
            "deadline": state.deadline,
            "scheduled": state.scheduled,
            "endorsed": {
                member: change
                for member, change in zip(state.members, state.endorsed, strict=True)
                if change is not None
            },
            "members": standings,
        }
        print(msgspec.json.encode(said, enc_hook=str).decode())
        return
    print(f"experiment  {agreement.experiment_digest}")
    print(f"contract    {ledger.address}")
    print(f"decided     {decided} of {agreement.rounds} proposals, {accepted} accepted")
    print(f"model       {found.model}")
    print(f"rule        {rule_text(state.rule)}")
    if over:
        why = "all members passed, turn after turn" if found.left else "all rounds are over"
        print(f"round       none: {why}\n")
    else:
        print(f"round       {state.round}, waiting for {_WAITS_FOR[state.phase]}")
        print(f"until       {_at(state.deadline)}, {_span(state.deadline - now)} from now")
        if gathered and state.phase is Phase.PROPOSING:
            print(
                f"off chain   {gathered} may be under way, which no chain shows: members' "
                "notes.log have them, and their logs and /health tell of trouble"
            )
        print()
    for each in standings:
        print(f"  {each.member}  {_text_of(each, now, gathered)}")
    for text in to_come(state):
        print(f"\nfrom round {state.round + 1} on: {text}")
    if wanted(state):
        print(f"\n{len(wanted(state))} change(s) wanted: see colearn members list {experiment}")


def _signed(
    agreement: files.Agreement, ledger: EthereumLedger, round_index: int
) -> dict[str, set[str]]:
    from colearn.cli.notes import signed  # noqa: PLC0415 - like the ledger, of an extra
    from colearn.ledgers.signing import KeySigner  # noqa: PLC0415

    urls = agreement.reach.values()
    signer = KeySigner({}, ledger.chain_id, ledger.address)
    return signed(urls, round_index, signer)


def _gathering(method: str, state: State) -> tuple[str, int]:
    """What the proposer collects off the chain before it proposes, and by when it has."""
    updates, votes = method != PLAIN, not state.rule.reveal_seconds
    what = " and ".join(["updates"] * updates + ["votes"] * votes)
    return what, patience(state, 2 if votes else 1) if what else state.opened


def standing(
    member: str,
    state: State,
    entries: list[Entry],
    *,
    proposer_since: int | None,
    over: bool = False,
) -> Standing:
    """Where a member stands in the live round.

    Args:
        member: The member.
        state: The ledger's.
        entries: The ledger's, all of them.
        proposer_since: Ledger time from which a proposal is waited for; None before.
        over: There is no round to come.
    """
    index = state.members.index(member)
    cast = next((name for name in _BITS if getattr(state, name) >> index & 1), None)
    committed = bool(state.commitments) and state.commitments[index] is not None
    role, since = "", None
    if not over and state.phase is Phase.PROPOSING:
        role, since = ("propose", proposer_since) if member == state.proposer else ("", None)
    elif not over:
        role, since = _vote_role(member, state, committed=committed)
    heard = [entry.time for entry in entries if entry.event.sender == member]
    return Standing(
        member=member,
        role=role,
        drawn=member in state.at_work,
        vote=cast,
        committed=committed,
        missing_since=None if cast else since,
        last_heard=heard[-1] if heard else None,
    )


def _vote_role(member: str, state: State, *, committed: bool) -> tuple[str, int | None]:
    """What a member that has not voted on a proposal is to do, and since when."""
    if not state.voters >> state.members.index(member) & 1:
        return "", None
    if state.phase is Phase.REVEALING:  # who has not committed has no vote any more
        return ("reveal", state.revealing) if committed else ("", None)
    if state.phase is Phase.COMMITTING:
        return "commit", None if committed else state.proposed
    return "vote", state.proposed


def _text_of(each: Standing, now: int, gathered: str) -> str:
    if each.vote is not None:
        return f"voted: {each.vote}"
    heard = "never heard of"
    if each.last_heard is not None:
        heard = f"last heard of {_span(now - each.last_heard)} ago"
    if each.signed:
        heard = f"has {' and '.join(each.signed)} off the chain; {heard}"
    if not each.drawn:
        return f"not drawn; {heard}"
    if each.role == "propose" and each.missing_since is None:
        return f"is to propose; {gathered} are collected off the chain; {heard}"
    if each.missing_since is None:
        return f"has committed to a vote; {heard}" if each.committed else heard
    has = "has committed to a vote and " if each.committed else ""
    return f"{has}is to {each.role}, missing for {_span(now - each.missing_since)}; {heard}"


def _at(seconds: int) -> str:
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M:%S} UTC"


def _span(seconds: int) -> str:
    """A length of time in its two largest units."""
    if seconds < 0:
        return "0 s"
    hours, rest = divmod(seconds, 3_600)
    minutes, seconds = divmod(rest, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {seconds} s" if minutes else f"{seconds} s"
