"""Training on a proposal while the vote on it runs.

Who has nothing left to say in a round may begin with what the next one asks of it if the
proposal is accepted: the round then costs the vote or the training, whichever takes longer,
and no longer both. If it is rejected the work is dropped.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from threading import Thread
from typing import NamedTuple

from colearn.ml_interface import Weights
from colearn.records import Digest

Train = Callable[[], Weights | None]
"""Gives what a training does; None where the learner has nothing to give."""


class Place(NamedTuple):
    """What a training is for: a round, and everyone's model in it."""

    round: int
    base: Digest


class Ahead:
    """At most one training that has begun before it is known to be needed."""

    def __init__(self) -> None:
        self._begun: tuple[Place, Future[Weights | None]] | None = None

    @property
    def place(self) -> Place | None:
        """What has begun."""
        return None if self._begun is None else self._begun[0]

    def begin(self, place: Place, train: Train) -> None:
        """Train in a thread of its own, which no end of the process waits for."""
        done: Future[Weights | None] = Future()

        def run() -> None:
            try:
                done.set_result(train())
            except BaseException as reason:  # noqa: BLE001 - raised where the result is taken
                done.set_exception(reason)

        self._begun = place, done
        Thread(target=run, name="ahead", daemon=True).start()

    def take(self, place: Place, train: Train) -> Weights | None:
        """What a training gives: the one that has begun for this place, else one that begins now.

        Raises whatever the training does.
        """
        if self.place != place:
            self.drop()
        if self._begun is None:
            return train()
        (_, done), self._begun = self._begun, None
        return done.result()

    def drop(self) -> None:
        """Wait for the end of what has begun, and forget it: the learner is free then."""
        if self._begun is not None:
            self._begun[1].exception()
            self._begun = None
