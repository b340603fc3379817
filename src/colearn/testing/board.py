"""What every board promises."""

from __future__ import annotations

import time
from collections.abc import Callable
from threading import Thread, Timer

from colearn.errors import Equivocation
from colearn.protocols import Board
from colearn.records import Experiment, Scores
from colearn.testing.promises import require, require_error

_EXPERIMENT = Experiment(members=("alice", "bob"), initial="0" * 64, schema="1" * 64)
_SHORT_SECONDS = 0.05
_LONG_SECONDS = 5.0


def check_board(make: Callable[[Experiment], Board]) -> None:
    """Check that a board keeps the promises of `colearn.protocols.Board`.

    Args:
        make: Makes a board without records for an experiment, independent of the
            ones before.

    Raises:
        AssertionError: A promise is broken; the message names it.
    """
    _check_order(make(_EXPERIMENT))
    _check_repetition(make(_EXPERIMENT))
    _check_wait(make(_EXPERIMENT))
    _check_threads(make(_EXPERIMENT))


def _check_order(board: Board) -> None:
    require(len(board.read(0)) == 0, "a round has no records before any is posted")
    notes = [
        Scores(0, "bob", 0.5, None),
        Scores(1, "alice", 1.5, 0.25),
        Scores(0, "alice", None, None),
        Scores(2**40, "bob", -1e300, 1e-300),
    ]
    for note in notes:
        earlier = board.read(note.round)
        count = len(earlier)
        board.post(note)
        require(len(earlier) == count, "what read() gave does not change when more is posted")
    for round_index in {note.round for note in notes}:
        require(
            list(board.read(round_index)) == [each for each in notes if each.round == round_index],
            "read() gives all records of the round and no others, unchanged, as they came",
        )
    require(len(board.read(3)) == 0, "a round in which nobody posted has no records")


def _check_repetition(board: Board) -> None:
    note = Scores(4, "alice", 0.5, 0.75)
    board.post(note)
    board.post(Scores(4, "alice", 0.5, 0.75))
    require(list(board.read(4)) == [note], "posting the same record again changes nothing")
    require_error(
        Equivocation,
        lambda: board.post(Scores(4, "alice", 0.5, None)),
        "another record by the same sender for the same round raises Equivocation",
    )
    require(list(board.read(4)) == [note], "a refused record leaves no trace")
    board.post(Scores(5, "alice", 0.25, None))
    board.post(Scores(4, "bob", 0.25, None))
    require(
        [each.sender for each in board.read(4)] == ["alice", "bob"],
        "another sender, or another round, is no equivocation",
    )


def _check_wait(board: Board) -> None:
    began = time.monotonic()
    require(not board.wait(0, 0, _SHORT_SECONDS), "wait() returns False when nothing comes")
    require(time.monotonic() - began >= _SHORT_SECONDS / 2, "wait() waits for its time-out to pass")
    board.post(Scores(0, "alice", None, None))
    board.post(Scores(1, "alice", None, None))
    began = time.monotonic()
    require(board.wait(0, 0, _LONG_SECONDS), "wait() returns True for what is there already")
    require(
        time.monotonic() - began < _LONG_SECONDS / 2, "wait() returns at once for what is there"
    )
    require(
        not board.wait(0, 1, _SHORT_SECONDS),
        "wait() counts the records of its own round, and wants more than were seen",
    )
    late = Timer(_SHORT_SECONDS, board.post, (Scores(0, "bob", None, None),))
    late.start()
    came = board.wait(0, 1, _LONG_SECONDS)
    late.join()
    require(
        came and time.monotonic() - began < _LONG_SECONDS / 2,
        "wait() returns True as soon as another thread posts",
    )


def _check_threads(board: Board) -> None:
    senders = [f"member {index}" for index in range(16)]
    threads = [Thread(target=board.post, args=(Scores(9, name, 0.5, None),)) for name in senders]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    require(
        sorted(note.sender for note in board.read(9)) == sorted(senders),
        "what several threads post at once is all there, once each",
    )
