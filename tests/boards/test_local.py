"""The local board: in memory and in a file."""

from __future__ import annotations

import math
from itertools import count
from pathlib import Path

import pytest

from colearn.boards.local import LocalBoard
from colearn.errors import BoardError, Equivocation
from colearn.records import Experiment, Scores
from colearn.testing import check_board

EXPERIMENT = Experiment(members=("ada", "bob"), initial="0" * 64, schema="1" * 64)
NOTES = [
    Scores(0, "ada", 0.1, None),
    Scores(1, "ada", 0.2, 0.3),
    Scores(0, "bob", None, None),
]


def test_keeps_the_promises_in_memory() -> None:
    """The conformance kit passes without a file."""
    check_board(LocalBoard)


def test_keeps_the_promises_in_a_file(tmp_path: Path) -> None:
    """The conformance kit passes with a file."""
    numbers = count()
    boards: list[LocalBoard] = []

    def make(experiment: Experiment) -> LocalBoard:
        boards.append(LocalBoard(experiment, tmp_path / str(next(numbers))))
        return boards[-1]

    check_board(make)
    for board in boards:
        board.close()


def test_a_file_holds_each_record_once_and_reads_back(tmp_path: Path) -> None:
    """A board opened again has all records in order; posting one again does not grow it."""
    path = tmp_path / "board"
    with LocalBoard(EXPERIMENT, path) as board:
        for note in NOTES:
            board.post(note)
    size = path.stat().st_size
    with LocalBoard(EXPERIMENT, path) as again:
        assert again.read(0) == [NOTES[0], NOTES[2]]
        assert again.read(1) == [NOTES[1]]
        for note in NOTES:
            again.post(note)
        with pytest.raises(Equivocation, match="'bob' has posted other scores for round 0"):
            again.post(Scores(0, "bob", 1.0, None))
        assert path.stat().st_size == size


def test_a_score_that_was_not_measured_is_the_same_after_a_restart(tmp_path: Path) -> None:
    """NaN is written as "not measured", so posting it again is no equivocation."""
    path = tmp_path / "board"
    with LocalBoard(EXPERIMENT, path) as board:
        board.post(Scores(0, "ada", math.nan, 0.5))
        board.post(Scores(0, "ada", math.nan, 0.5))
    with LocalBoard(EXPERIMENT, path) as again:
        again.post(Scores(0, "ada", math.nan, 0.5))
        assert again.read(0) == [Scores(0, "ada", None, 0.5)]


def test_a_torn_end_is_cut_off_and_any_other_damage_is_found(tmp_path: Path) -> None:
    """The last record may be lost to a crash; a changed one is an error that names it."""
    path = tmp_path / "board"
    with LocalBoard(EXPERIMENT, path) as board:
        for note in NOTES:
            board.post(note)
    good = path.read_bytes()
    path.write_bytes(good[:-5])
    with LocalBoard(EXPERIMENT, path) as torn:
        assert torn.read(0) == [NOTES[0]]
    path.write_bytes(good.replace(b"0.2", b"0.9"))
    with pytest.raises(BoardError, match="record 3 does not hold: its hash does not match"):
        LocalBoard(EXPERIMENT, path)


def test_a_file_has_one_owner(tmp_path: Path) -> None:
    """Two boards cannot append to one file, and a closed board appends no more."""
    path = tmp_path / "board"
    board = LocalBoard(EXPERIMENT, path)
    with pytest.raises(BoardError, match="open for writing elsewhere"):
        LocalBoard(EXPERIMENT, path)
    board.close()
    with pytest.raises(BoardError, match="closed"):
        board.post(NOTES[0])
    assert board.read(0) == []


def test_a_file_of_another_experiment_is_refused(tmp_path: Path) -> None:
    """Scores of a foreign run are not taken for this one's."""
    path = tmp_path / "board"
    LocalBoard(EXPERIMENT, path).close()
    other = Experiment(members=("ada", "cid"), initial="0" * 64, schema="1" * 64)
    with pytest.raises(BoardError, match="another experiment"):
        LocalBoard(other, path)


def test_records_posted_together_are_all_there_or_none(tmp_path: Path) -> None:
    """If one of them contradicts an earlier record, none is posted."""
    with LocalBoard(EXPERIMENT, tmp_path / "board") as board:
        board.post(NOTES[0])
        with pytest.raises(Equivocation):
            board.post(NOTES[2], Scores(0, "ada", 0.9, None))
        assert board.read(0) == [NOTES[0]]
