"""The outcome of a run, as a notebook or a terminal shows it."""

from __future__ import annotations

import html
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgspec

from colearn.committee import named
from colearn.records import Choice, Digest, Scores
from colearn.rules import Decision, Outcome

if TYPE_CHECKING:
    from pathlib import Path

    from colearn.ml_interface import Weights

PROPOSED = "propose"
NOT_DRAWN = "not drawn"
BEST_SOLO = "best solo"
POOLED = "pooled"
FEDAVG = "FedAvg"
PLAIN_PROTOCOL = "plain"
_MARKS = {
    Choice.APPROVE.value: "✓",
    Choice.REJECT.value: "✗",
    Choice.ABSTAIN.value: "–",
    PROPOSED: "P",
    NOT_DRAWN: " ",
}


DEEDS = tuple(_MARKS)
"""What a member can do in a round, in a word."""


@dataclass(frozen=True, slots=True)
class Row:
    """One round in plain words and numbers: a row of a table or a file.

    Attributes:
        approvals: Approvals recorded, those after the decision included.
        did: What each member did: ``propose``, ``approve``, ``reject`` or
            ``abstain``; or ``not drawn``. Who else did nothing is left out.
    """

    round: int
    proposer: str
    decision: str
    approvals: int
    needed: int
    score: float
    model: Digest
    seconds: float
    did: Mapping[str, str]

    @property
    def accepted(self) -> bool:
        """Whether the proposal became everyone's model."""
        return self.decision == Outcome.ACCEPTED.value

    def marks(self, members: tuple[str, ...]) -> str:
        """One character a member: P proposed, ✓, ✗, – abstained, · nothing; blank if not drawn."""
        return "".join(_MARKS.get(self.did.get(member, ""), "·") for member in members)


@dataclass(frozen=True, slots=True)
class Round:
    """One round, from proposal to decision.

    Attributes:
        decision: How it ended, by the rules; holds round number, proposer and tally.
        votes: Every vote recorded, late ones included, by member.
        scores: What members measured for their votes. Only a simulation sees them.
        model: Digest of the proposal that is everyone's model after the round.
        score: The collective model's score after the round; NaN if not evaluated.
        seconds: How long the round took here; NaN for a round read back from a ledger.
    """

    decision: Decision
    votes: Mapping[str, Choice]
    scores: Mapping[str, Scores]
    model: Digest
    score: float = math.nan
    seconds: float = math.nan

    @property
    def accepted(self) -> bool:
        """Whether the proposal became everyone's model."""
        return self.decision.outcome is Outcome.ACCEPTED

    @property
    def row(self) -> Row:
        """The round in plain words and numbers."""
        decision = self.decision
        did = {member: choice.value for member, choice in self.votes.items()}
        if decision.proposal is not None:
            did.setdefault(decision.proposer, PROPOSED)
            resting = (1 << len(decision.members)) - 1 & ~decision.workers
            for member in named(decision.members, resting):
                did.setdefault(member, NOT_DRAWN)
        return Row(
            round=decision.round,
            proposer=decision.proposer,
            decision=decision.outcome.value,
            approvals=list(self.votes.values()).count(Choice.APPROVE),
            needed=decision.needed,
            score=self.score,
            model=self.model,
            seconds=self.seconds,
            did=did,
        )


@dataclass(frozen=True, slots=True, repr=False)
class Result:
    """All rounds of a run and the model they led to.

    A notebook shows it as a table, and so does rich; `plot` draws it.

    Attributes:
        members: The learners' names, in join order.
        rounds: The rounds, in order.
        weights: Everyone's weights after the last round.
        initial_score: Score of M₀; NaN if not evaluated.
        bytes_moved: What the proposals' weights would have cost on a network: each
            fetched once by every member but its proposer (where a committee votes, by
            those drawn); where updates are merged, each of those by every member but
            its own.
    """

    members: tuple[str, ...]
    rounds: tuple[Round, ...]
    weights: Weights
    initial_score: float = math.nan
    bytes_moved: int = 0

    @property
    def scores(self) -> list[float]:
        """The collective model's score after each round."""
        return [each.score for each in self.rounds]

    @property
    def final_score(self) -> float:
        """The collective model's score at the end."""
        return self.rounds[-1].score if self.rounds else self.initial_score

    @property
    def accepted(self) -> int:
        """How many proposals were accepted."""
        return sum(each.accepted for each in self.rounds)

    def plot(self, path: str | Path | None = None) -> Any:
        """Draw the score per round and the vote map; return the matplotlib figure.

        Args:
            path: Where to save it as well, in the format its suffix names.

        Raises:
            MissingExtra: matplotlib is not installed.
        """
        from colearn.report.plot import draw  # noqa: PLC0415  matplotlib is optional

        return draw(
            self.members,
            [each.row for each in self.rounds],
            path=path,
        )

    def __rich__(self) -> Any:
        """Show as a rich table."""
        from rich.table import Table  # noqa: PLC0415  only when shown

        table = Table(title=self._title(), title_justify="left")
        for heading in _HEADINGS:
            table.add_column(heading)
        for row in self._cells():
            table.add_row(*row)
        return table

    def _repr_html_(self) -> str:
        head = "".join(f"<th>{heading}</th>" for heading in _HEADINGS)
        body = "".join(
            "<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in row) + "</tr>"
            for row in self._cells()
        )
        return (
            f"<table><caption>{html.escape(self._title())}</caption>"
            f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
        )

    def __repr__(self) -> str:
        """The title: a run has many rounds."""
        return f"<Result: {self._title()}>"

    def __str__(self) -> str:
        """A title and a line a round, in plain text."""
        rows = [_HEADINGS, *self._cells()]
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        lines = ("  ".join(map(str.ljust, row, widths)).rstrip() for row in rows)
        return "\n".join([self._title(), *lines])

    def _title(self) -> str:
        title = (
            f"{len(self.members)} learners, {len(self.rounds)} rounds: "
            f"{self.accepted} accepted, {len(self.rounds) - self.accepted} not"
        )
        if math.isfinite(self.final_score):
            title += f"; score {number(self.initial_score)} → {number(self.final_score)}"
        return title

    def _cells(self) -> list[tuple[str, ...]]:
        rows = (each.row for each in self.rounds)
        return [
            (
                str(row.round),
                row.proposer,
                row.marks(self.members),
                f"{row.approvals}/{row.needed}",
                row.decision,
                number(row.score),
                row.model[:10],
            )
            for row in rows
        ]


class Comparison(msgspec.Struct, frozen=True, kw_only=True):
    """Test scores of the collective and of other ways to learn.

    Attackers train alone too, but count in none of the solo numbers.

    Attributes:
        collective: After the last round.
        solo: Each honest learner's own, at the round its vote samples like best.
        others: Of other ways, by name: `POOLED`, one learner with everybody's data at
            its own best round, `FEDAVG` and `PLAIN_PROTOCOL` after the last.
        curves: The scores after each round, of the others and of the best solo.
    """

    collective: float
    solo: dict[str, float]
    others: dict[str, float]
    curves: dict[str, tuple[float, ...]]

    @property
    def best_solo(self) -> str:
        """Who does best alone."""
        return max(self.solo, key=lambda name: at_worst(self.solo[name]))

    @property
    def mean_solo(self) -> float:
        """Mean score of those who train alone."""
        return sum(self.solo.values()) / len(self.solo)


def at_worst(score: float) -> float:
    """A score to compare by: what is no finite number is below all."""
    return score if math.isfinite(score) else -math.inf


_HEADINGS = ("round", "proposer", "votes", "yes/needed", "decision", "score", "model")


def number(score: float) -> str:
    """A score to four digits, or a dash where there is none."""
    return f"{score:.4f}" if math.isfinite(score) else "–"
