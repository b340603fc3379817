"""The local board: in memory and in a file."""

from __future__ import annotations

import math
from itertools import count
from pathlib import Path

import pytest

from colearn.boards.local import LocalBoard
from colearn.errors import BoardError, Equivocation
from colearn.records import Experiment, Scores, encode
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


def test_what_is_forgotten_leaves_the_file_too(tmp_path: Path) -> None:
    """Over many rounds the file stays small, and what is kept reads back and goes on."""
    path = tmp_path / "board"
    with LocalBoard(EXPERIMENT, path) as board:
        for round_index in range(1_200):
            board.post(*(Scores(round_index, member, 0.5, None) for member in ("ada", "bob")))
            board.forget(round_index - 1)
            assert [len(board.read(round_index - back)) for back in (0, 1, 2)][2] == 0
        largest = 1_100 * len(b"0" * 65 + encode(Scores(1_000, "ada", 0.5, None)) + b"\n")
        assert path.stat().st_size < largest
        board.post(Scores(5_000, "ada", 0.25, None))
    with LocalBoard(EXPERIMENT, path) as again:
        assert [len(again.read(each)) for each in (5, 1_198, 1_199, 5_000)] == [0, 2, 2, 1]
        with pytest.raises(BoardError, match="open for writing elsewhere"):
            LocalBoard(EXPERIMENT, path)


def test_a_file_that_cannot_be_written_anew_stays(tmp_path: Path) -> None:
    """One clear error; nothing that was posted is lost, and the board goes on."""
    path = tmp_path / "board"
    path.with_name("board.new").mkdir()
    with LocalBoard(EXPERIMENT, path) as board:
        board.post(*(Scores(0, f"member {number}", 0.5, None) for number in range(1_000)))
        board.post(NOTES[1])
        with pytest.raises(BoardError, match="cannot be written"):
            board.forget(1)
        board.post(Scores(1, "bob", 0.5, None))
    with LocalBoard(EXPERIMENT, path) as again:
        assert len(again.read(1)) == 2
