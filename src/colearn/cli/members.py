"""``colearn members``: who takes part, and how the members change that."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from colearn import experiment as files
from colearn.cli.feed import change_text
from colearn.cli.keyfile import unlock
from colearn.cli.options import FROM_ENVIRONMENT, LOCAL, Account, Node, Whole
from colearn.drivers import open_ledger
from colearn.errors import ConfigError
from colearn.ledgers.ethereum import EthereumLedger
from colearn.records import AddMember, Change, Endorse, RemoveMember, ReplaceMember, Rotate
from colearn.rules import State


def list_all(experiment: Path = Path("experiment.toml"), /, *, node: Node = LOCAL) -> None:
    """List the members, and the changes that some of them want, by number.

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
    _endorse(experiment, AddMember(_address(member)), account, node)


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
    _endorse(experiment, RemoveMember(_address(member)), account, node)


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
    change = ReplaceMember(_address(member), _address(successor))
    _endorse(experiment, change, account, node)


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
    ledger.submit(Rotate(me, _address(successor)))
    print(f"{successor} takes the place of {me} with the next round: join with its key then")


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
    changes = list(_wanted(open_ledger(files.read(experiment), node.chain).view()))
    if not 1 <= number <= len(changes):
        raise ConfigError(
            f"there is no change {number}: colearn members list {experiment} shows "
            f"{len(changes)} that members want"
        )
    _endorse(experiment, changes[number - 1], account, node)


def _endorse(experiment: Path, change: Change, account: Account, node: Node) -> None:
    ledger, me = _opened(experiment, account, node)
    ledger.submit(Endorse(me, change))
    state = ledger.view()
    if change in state.scheduled:
        print(f"enough members want it: {change_text(change)}, from the next round on")
        return
    share = state.rule.governance
    print(
        f"{state.endorsed.count(change)} of {len(state.members)} members want it, and more than "
        f"{share} must: {change_text(change)}"
    )
    _print_changes(state)


def _opened(experiment: Path, account: Account, node: Node) -> tuple[EthereumLedger, str]:
    agreement = files.read(experiment)
    key = unlock(account)
    return open_ledger(agreement, node.chain, {key.address: key}), key.address


def _wanted(state: State) -> Counter[Change]:
    """Changes that stand endorsed, with the number of members that want them."""
    return Counter(change for change in state.endorsed if change is not None)


def _print_changes(state: State) -> None:
    if not _wanted(state):
        return
    print("\nmembers want:")
    for number, (change, count) in enumerate(_wanted(state).items(), start=1):
        print(f"  {number}  {change_text(change)}  ({count} of {len(state.members)})")


def _address(text: str) -> str:
    from eth_utils.address import is_checksum_address  # noqa: PLC0415 - only here

    if not is_checksum_address(text):
        raise ConfigError(f"{text!r} is no checksummed address: colearn keys new prints one")
    return text
