"""How far an experiment is: the proposals that count, the model they led to, what is left."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from colearn.records import Digest, Experiment
from colearn.state import Decision, Outcome


class Progress(NamedTuple):
    """How far an experiment is, whatever its ledger holds beyond the last round agreed on.

    Attributes:
        counted: Decisions of all rounds up to the end, those without a proposal as well.
        settled: Those of them that were on a proposal.
        model: Digest of the proposal accepted last among them: everyone's model.
        left: How many proposals are still to be decided.
    """

    counted: tuple[Decision, ...]
    settled: tuple[Decision, ...]
    model: Digest
    left: int

    @property
    def accepted(self) -> tuple[Digest, ...]:
        """The proposals that were accepted."""
        return tuple(
            each.proposal
            for each in self.settled
            if each.outcome is Outcome.ACCEPTED and each.proposal is not None
        )


def progress(experiment: Experiment, decisions: Sequence[Decision], rounds: int) -> Progress:
    """Say how far an experiment is that takes so many rounds, by a ledger's decisions."""
    counted: list[Decision] = []
    settled: list[Decision] = []
    for decision in decisions:
        if len(settled) == rounds:
            break
        counted.append(decision)
        if decision.proposal is not None:
            settled.append(decision)
    found = Progress(tuple(counted), tuple(settled), experiment.initial, rounds - len(settled))
    return found._replace(model=found.accepted[-1]) if found.accepted else found
