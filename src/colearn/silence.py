"""When a member must not speak: where it may have spoken already, and has lost what it said.

A member whose journal is new cannot tell by itself whether it is new, too. The ledger
may have an event of it; others may hold a note that it signed, or have known its address
before it came. Where none of them knows it, it is new. Until that can be said it waits;
and in the round that was live when it began, it is silent if it is not.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence

from colearn.journal import Journal, Published
from colearn.protocols import Ledger
from colearn.records import Ballot, Candidate, Commit, Note, Pass, Propose, Update, Vote
from colearn.state import State

MetBefore = Callable[[], bool | None]
"""Whether others know a member from an earlier life; None while that cannot be said."""

_KEPT_AS: dict[type[Note], type[Published]] = {Update: Update, Candidate: Propose, Ballot: Vote}
_log = logging.getLogger(__name__)


def newcomer() -> bool:
    """Nobody knows the member: there is nobody to ask."""
    return False


def unseen_through(counted: State, newest: State) -> int | None:
    """The last round in which a member may have spoken, though nothing of it is seen yet.

    A commitment, unlike a signed vote, is no note that others keep; and what is in a
    block may not count yet. There is neither before the round has its proposal.

    Args:
        counted: The ledger's state, by the blocks that count.
        newest: The same by all blocks.

    Returns:
        The live round or a later one; None if there is no such round.
    """
    through = newest.round - (newest.proposal is None)
    return through if through >= counted.round else None


class Silence:
    """Keeps one member silent in the rounds that it may have spoken in.

    Args:
        member: The member.
        ledger: Its ledger.
        journal: What it knows that it has said.
        met_before: Asked where the journal is new.
    """

    def __init__(
        self, member: str, ledger: Ledger, journal: Journal, met_before: MetBefore
    ) -> None:
        self._member = member
        self._journal = journal
        self._met_before = met_before
        self._began = ledger.view().round
        events = (entry.event for entry in ledger.events())
        if any(
            isinstance(event, Propose | Pass | Vote | Commit)
            and event.sender == member
            and self._is_forgotten(event.round, type(event))
            for event in events
        ):
            self._keep(self._began)

    def holds(self, state: State, notes: Sequence[Note] = ()) -> bool:
        """Whether the member is silent in the live round, whose notes these are."""
        if self._journal.silent_through is None:
            if state.round > self._began:
                _log.warning(
                    "%s was silent in round %d: whether it is new could not be told there",
                    self._member,
                    self._began,
                )
                self._journal.settle(self._began)
            elif (met := self._met_before()) is None:
                return True
            elif met:
                self._keep(self._began)
            else:
                self._journal.settle(-1)
        for note in notes:
            kind = _KEPT_AS.get(type(note))
            if note.sender == self._member and kind and self._is_forgotten(note.round, kind):
                self._keep(state.round)
        return state.round <= self._through

    @property
    def _through(self) -> int:
        through = self._journal.silent_through
        return -1 if through is None else through

    def _is_forgotten(self, round_index: int, kind: type[Published]) -> bool:
        return round_index > self._through and self._journal.recall(round_index, kind) is None

    def _keep(self, live: int) -> None:
        _log.warning(
            "%s may have spoken in round %d and has lost what it said: it is silent there",
            self._member,
            live,
        )
        self._journal.settle(max(self._through, live))
