"""``colearn members``: who takes part, and how the members change that."""

from __future__ import annotations

import shlex
from pathlib import Path

import msgspec

from colearn import experiment as files
from colearn.cli.changes import has_happened, rule_to_come, text_of, to_come, wanted
from colearn.cli.folders import state_folder
from colearn.cli.governance import check_governance
from colearn.cli.keyfile import unlock
from colearn.cli.learners import BUDGET_FILE
from colearn.cli.options import FROM_ENVIRONMENT, LOCAL, Account, Node, Whole
from colearn.drivers import open_ledger
from colearn.errors import ConfigError
from colearn.ledgers.ethereum import EthereumLedger
from colearn.ledgers.keys import checked_address
from colearn.records import (
    AddMember,
    Change,
    Endorse,
    RemoveMember,
    ReplaceMember,
    Rotate,
    SetRule,
)
from colearn.rules import State
from colearn.tasks.own import is_factory


def list_all(experiment: Path = Path("experiment.toml"), /, *, node: Node = LOCAL) -> None:
    """List the members, changes to come, and those that some want, by number, and who does.

    Args:
        experiment: The experiment's file.
        node: A node of the chain.
    """
    state = open_ledger(files.read(experiment), node.chain).view()
    for member in state.members:
        print(member)
    _print_changes(state)


def add(
    experiment: Path,
    member: str,
    /,
    *,
    account: Account = FROM_ENVIRONMENT,
    node: Node = LOCAL,
) -> None:
    """Vote for a newcomer, who joins once enough members want it.

    Args:
        experiment: The experiment's file.
        member: The newcomer's address.
        account: Who votes.
        node: A node of the chain.
    """
    _endorse(*_opened(experiment, account, node), AddMember(checked_address(member)))


def remove(
    experiment: Path,
    member: str,
    /,
    *,
    account: Account = FROM_ENVIRONMENT,
    node: Node = LOCAL,
) -> None:
    """Vote for a member to leave.

    Args:
        experiment: The experiment's file.
        member: Its address.
        account: Who votes.
        node: A node of the chain.
    """
    _endorse(*_opened(experiment, account, node), RemoveMember(checked_address(member)))


def replace(
    experiment: Path,
    member: str,
    successor: str,
    /,
    *,
    account: Account = FROM_ENVIRONMENT,
    node: Node = LOCAL,
) -> None:
    """Vote for another key in a member's place, such as one that was lost.

    Args:
        experiment: The experiment's file.
        member: The address that is to go.
        successor: The address that takes its place.
        account: Who votes.
        node: A node of the chain.
    """
    change = ReplaceMember(checked_address(member), checked_address(successor))
    _endorse(*_opened(experiment, account, node), change)


def rule(
    experiment: Path,
    /,
    *,
    threshold: str | None = None,
    inclusive: bool | None = None,
    quorum: str | None = None,
    governance: str | None = None,
    propose_seconds: Whole | None = None,
    vote_seconds: Whole | None = None,
    reveal_seconds: Whole | None = None,
    committee: Whole | None = None,
    account: Account = FROM_ENVIRONMENT,
    node: Node = LOCAL,
) -> None:
    """Vote for another voting rule: what is given changes, all else stays as it is.

    Args:
        experiment: The experiment's file.
        threshold: Share of the voters that more than must approve.
        inclusive: Exactly the threshold is enough, too.
        quorum: Share of the voters that must vote.
        governance: Share of the members that more than must want a change; no less than
            the threshold.
        propose_seconds: Time a proposer has before its turn is skipped.
        vote_seconds: Time voters have after a proposal.
        reveal_seconds: Time to reveal votes that are secret at first; 0 for open votes.
        committee: How many members are drawn each round to vote; 0 for all.
        account: Who votes.
        node: A node of the chain.
    """
    given = {
        "threshold": threshold,
        "inclusive": inclusive,
        "quorum": quorum,
        "governance": governance,
        "propose_seconds": propose_seconds,
        "vote_seconds": vote_seconds,
        "reveal_seconds": reveal_seconds,
        "committee": committee,
    }
    terms = {name: value for name, value in given.items() if value is not None}
    if not terms:
        raise ConfigError("nothing of the rule is to change: say what, such as --threshold 2/3")
    ledger, me = _opened(experiment, account, node)
    before = rule_to_come(ledger.view())
    after = msgspec.structs.replace(before, **terms)
    if after == before:
        same = ", ".join(f"{name} {value}" for name, value in terms.items())
        raise ConfigError(f"the rule says so already: {same}")
    if threshold is not None or governance is not None:
        check_governance(after)
    _endorse(ledger, me, SetRule(after))


def rotate(
    experiment: Path,
    successor: str,
    /,
    *,
    account: Account = FROM_ENVIRONMENT,
    node: Node = LOCAL,
) -> None:
    """Give your own place to a new key of yours, from the next round on; nobody has to agree.

    Args:
        experiment: The experiment's file.
        successor: The new key's address.
        account: Your key so far.
        node: A node of the chain.
    """
    ledger, me = _opened(experiment, account, node)
    ledger.submit(Rotate(me, checked_address(successor)))
    print(f"{successor} takes the place of {me} with the next round. It needs funds. Then join by")
    print(f"  {_join_line(experiment, me, node)}")


def _join_line(experiment: Path, me: str, node: Node) -> str:
    """How to go on with a new key, on the same data and the same account of its privacy."""
    agreement = files.read(experiment)
    words = ["colearn join", shlex.quote(str(experiment)), "--key NEW_KEY"]
    words += [f"--rpc {shlex.quote(url)}" for url in node.rpc]
    if node.depth != LOCAL.depth:
        words.append(f"--depth {node.depth}")
    if is_factory(agreement.task):
        words.append(f"--learner {agreement.task}")
    elif me in agreement.members:
        words.append(f"--share {agreement.members.index(me) + 1}/{len(agreement.members)}")
    else:
        words.append("--share THE_ONE_YOU_GAVE")
    budget = state_folder(experiment, me) / BUDGET_FILE
    if agreement.privacy is not None or budget.exists():
        words.append(f"--budget {shlex.quote(str(budget))}")
    return " ".join(words)


def vote(
    experiment: Path,
    number: Whole,
    /,
    *,
    account: Account = FROM_ENVIRONMENT,
    node: Node = LOCAL,
) -> None:
    """Vote for a change that another member wants.

    Args:
        experiment: The experiment's file.
        number: Of the change, as colearn members list prints it.
        account: Who votes.
        node: A node of the chain.
    """
    ledger, me = _opened(experiment, account, node)
    changes = list(wanted(ledger.view()))
    if not 1 <= number <= len(changes):
        raise ConfigError(
            f"there is no change {number}: colearn members list {experiment} shows "
            f"{len(changes)} that members want"
        )
    _endorse(ledger, me, changes[number - 1])


def _endorse(ledger: EthereumLedger, me: str, change: Change) -> None:
    text = text_of(change, rule_to_come(ledger.view()))
    ledger.submit(Endorse(me, change))
    state = ledger.view()
    count = state.endorsed.count(change)
    if change in state.scheduled:
        print(f"enough members want it: {text}, from the next round on")
    elif count:
        print(
            f"{count} of {len(state.members)} members want it, and more than "
            f"{state.rule.governance} must: {text}"
        )
        _print_changes(state)
    elif has_happened(change, state):
        print(f"enough members wanted it, and a new round has begun: {text}")
    else:
        print(
            f"your vote is void: another change took effect with round {state.round}, which "
            f"voids all votes for changes; ask again for it: {text}"
        )


def _opened(experiment: Path, account: Account, node: Node) -> tuple[EthereumLedger, str]:
    agreement = files.read(experiment)
    key = unlock(account)
    return open_ledger(agreement, node.chain, {key.address: key}), key.address


def _print_changes(state: State) -> None:
    """What is to come, and what members want, by number."""
    if state.scheduled:
        print(f"\nfrom round {state.round + 1} on:")
        for text in to_come(state):
            print(f"  {text}")
    if wanted(state):
        print(f"\nmembers want, and more than {state.rule.governance} of them must:")
        for number, (change, count) in enumerate(wanted(state).items(), start=1):
            text = text_of(change, rule_to_come(state))
            print(f"  {number}  {text}  ({count} of {len(state.members)})")
            for member, endorsed in zip(state.members, state.endorsed, strict=True):
                if endorsed == change:
                    print(f"       {member}")
