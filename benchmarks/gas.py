"""What each transaction costs, in gas, once every slot of storage is in use.

Prints a table against the goals; fails if one is missed.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from evm import KEYS, NAMES, Contract, begin_again, chain

from colearn.committee import named
from colearn.ledgers.contract import call_of, commitment_on, sign_vote, together
from colearn.records import (
    AddMember,
    Choice,
    Commit,
    Endorse,
    Event,
    Experiment,
    Pass,
    Propose,
    Reveal,
    Rotate,
    Rule,
    Vote,
    digest_of,
)

ROUNDS_BEFORE = 6
GOALS = {
    "vote": (34_000, 31_000),
    "propose": (37_000, 36_000),
    "round in one transaction, n = 10": (88_000, 80_000),
    "round in one transaction, n = 100": (515_000, 460_000),
    "one more signed vote": (4_750, 4_300),
}


def digest(number: int) -> str:
    """The digest that is proposed in a round."""
    return digest_of([str(number).encode()])


def found(size: int, rule: Rule | None = None) -> Contract:
    """A contract of so many members."""
    begin_again()
    initial = digest_of([b"initial"])
    return Contract(
        Experiment(members=NAMES[:size], initial=initial, schema=initial, rule=rule or Rule())
    )


def send(contract: Contract, event: Event) -> int:
    """The gas of one event, by a transaction of its own."""
    return contract.send(event.sender, *call_of(event)).gas


def direct(contract: Contract, size: int, number: int) -> dict[str, int]:
    """A round by one transaction for each act, in which all approve."""
    members, proposal = NAMES[:size], digest(number)
    proposer = members[number % size]
    voters = named(members, contract.view("voters"))
    costs = {"propose": send(contract, Propose(number, proposer, proposal))}
    deciding = len(voters) // 2
    names = {deciding: "vote that decides", deciding + 1: "vote after the decision"}
    for index, voter in enumerate(voters):
        name = names.get(index, "vote")
        cost = send(contract, Vote(number, voter, proposal, Choice.APPROVE))
        costs.setdefault(name, cost)
    return costs


def secret(contract: Contract, size: int, number: int) -> dict[str, int]:
    """A round in which all commit to an approval and then reveal it."""
    members, proposal = NAMES[:size], digest(number)
    proposer = members[number % size]
    costs = {"propose, votes secret": send(contract, Propose(number, proposer, proposal))}
    voters = [member for member in members if member != proposer]
    commitments = {
        voter: commitment_on(
            chain_id=chain().web3.eth.chain_id,
            contract=contract.address,
            vote=Vote(number, voter, proposal, Choice.APPROVE),
            salt=digest(number),
        )
        for voter in voters
    }
    commits = [
        send(contract, Commit(number, voter, proposal, commitments[voter])) for voter in voters
    ]
    costs |= {"commit": commits[0], "commit, the last": commits[-1]}
    reveals = [
        send(contract, Reveal(number, voter, Choice.APPROVE, digest(number))) for voter in voters
    ]
    deciding = (size - 1) // 2
    names = {0: "reveal", deciding: "reveal that decides", deciding + 1: "reveal after it"}
    costs |= {name: reveals[index] for index, name in names.items()}
    costs[f"round of secret votes, n = {size}"] = sum((*costs.values(), *commits[1:-1])) + sum(
        reveal for index, reveal in enumerate(reveals) if index not in names
    )
    return costs


def at_once(contract: Contract, size: int, number: int, silent: int = 0) -> int:
    """A round in one transaction, in which all approve but some that are silent."""
    members, proposal = NAMES[:size], digest(number)
    proposer = members[number % size]
    voters = named(members, contract.view("voters"))
    votes = {
        voter: (
            Choice.APPROVE,
            sign_vote(
                key=KEYS[voter],
                chain_id=chain().web3.eth.chain_id,
                contract=contract.address,
                round_index=number,
                proposal=proposal,
                choice=Choice.APPROVE,
            ),
        )
        for voter in voters[: len(voters) - silent]
    }
    call = together(Propose(number, proposer, proposal), votes, members)
    return contract.send(proposer, *call).gas


def measure() -> dict[str, int]:
    """The gas of everything, by name."""
    costs: dict[str, int] = {}
    for size in (5, 10, 100):
        contract = found(size)
        costs[f"deployment, n = {size}"] = contract.deployment_gas
        for number in range(ROUNDS_BEFORE):
            at_once(contract, size, number)
        number = ROUNDS_BEFORE
        costs[f"round in one transaction, n = {size}"] = at_once(contract, size, number)
    one_less = at_once(contract, size, number + 1, silent=1)
    costs["one more signed vote"] = costs[f"round in one transaction, n = {size}"] - one_less

    contract = found(10)
    for number in range(ROUNDS_BEFORE):
        direct(contract, 10, number)
    costs |= direct(contract, 10, ROUNDS_BEFORE)
    number = ROUNDS_BEFORE + 1
    costs["pass"] = send(contract, Pass(number, NAMES[number]))
    costs["endorse a newcomer"] = send(contract, Endorse(NAMES[0], AddMember(NAMES[10])))
    costs["rotate a key, n = 10"] = send(contract, Rotate(NAMES[0], NAMES[11]))
    number += 1
    costs["pass before a change, n = 10"] = send(contract, Pass(number, NAMES[number]))

    for size, drawn in ((20, 9), (100, 9), (100, 64)):
        contract = found(size, Rule(committee=drawn))
        for number in range(ROUNDS_BEFORE):
            direct(contract, size, number)
        number = ROUNDS_BEFORE
        costs[f"vote, {drawn} of {size} drawn"] = direct(contract, size, number)["vote"]
        name = f"round in one transaction, {drawn} of {size} drawn"
        costs[name] = at_once(contract, size, number + 1)

    contract = found(10, Rule(reveal_seconds=3_600))
    for number in range(ROUNDS_BEFORE):
        secret(contract, 10, number)
    costs |= secret(contract, 10, ROUNDS_BEFORE)
    return costs


def main() -> int:
    """Print the table; the number of goals that are missed."""
    print(f"{'gas':<44} {'measured':>10} {'goal':>10} {'stretch':>10}")
    missed = 0
    for name, gas in measure().items():
        goal, stretch = GOALS.get(name, (None, None))
        missed += goal is not None and gas > goal
        goals = "" if goal is None else f"{goal:>10,} {stretch:>10,}"
        print(f"{name:<44} {gas:>10,} {goals}")
    return missed


if __name__ == "__main__":
    sys.exit(main())
