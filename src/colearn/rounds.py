"""How far an experiment is: the proposals that count, the model they led to, what is left."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from colearn.records import Digest, Entry, Experiment, Pass
from colearn.state import Decision, Outcome

TURNS = 2
"""How often in a row all members pass before it is over: training that failed has another try."""


class Progress(NamedTuple):
    """How far an experiment is, whatever its ledger holds beyond its end.

    Attributes:
        counted: Decisions of all rounds up to the end, those without a proposal as well.
        settled: Those of them that were on a proposal.
        model: Digest of the proposal accepted last among them: everyone's model.
        left: How many proposals are still to be decided.
        spent: Whether nobody can make them: all members passed, turn after turn.
    """

    counted: tuple[Decision, ...]
    settled: tuple[Decision, ...]
    model: Digest
    left: int
    spent: bool

    @property
    def over(self) -> bool:
        """Whether there is no round to come."""
        return self.spent or not self.left

    @property
    def accepted(self) -> tuple[Digest, ...]:
        """The proposals that were accepted."""
        return tuple(
            each.proposal
            for each in self.settled
            if each.outcome is Outcome.ACCEPTED and each.proposal is not None
        )


def progress(
    experiment: Experiment, decisions: Sequence[Decision], entries: Sequence[Entry], rounds: int
) -> Progress:
    """Say how far an experiment is that takes so many rounds, by a ledger's decisions and entries.

    It ends before when each member has passed `TURNS` times and nothing else happened: who could
    train would have proposed. A member that is away passes nothing, and is waited for.
    """
    passed = {entry.event.round for entry in entries if isinstance(entry.event, Pass)}
    counted: list[Decision] = []
    settled: list[Decision] = []
    members, passes = experiment.members, 0
    for decision in decisions:
        if len(settled) == rounds or passes == TURNS * len(members):
            break
        counted.append(decision)
        if decision.proposal is not None:
            settled.append(decision)
        if decision.members != members:
            members, passes = decision.members, 0
        passes = passes + 1 if decision.round in passed else 0
    spent = passes == TURNS * len(members)
    left = rounds - len(settled)
    found = Progress(tuple(counted), tuple(settled), experiment.initial, left, spent)
    return found._replace(model=found.accepted[-1]) if found.accepted else found
