"""The laboratory runs the product's own code, repeatably, and keeps what it found."""

from __future__ import annotations

import sys
from dataclasses import replace
from importlib import import_module
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MODULES = ("report", "cache", "cells", "play")


@pytest.fixture(scope="module")
def laboratory():
    """Import the laboratory, which is no part of the package."""
    pytest.importorskip("sklearn")
    sys.path.insert(0, str(ROOT))
    try:
        return [import_module(f"benchmarks.learning.{name}") for name in MODULES]
    finally:
        sys.path.remove(str(ROOT))


@pytest.fixture
def cell(laboratory):
    """A cell that takes a moment and needs no data folder."""
    _, _, cells, _ = laboratory
    return replace(cells.FAST, data="digits", learners=5, rounds=4, steps=10)


def test_cells_are_repeated_and_learn(laboratory, cell):
    """The same cell and seed give the same curve, and it rises."""
    *_, play = laboratory
    one, again = play.play(cell, 0), play.play(cell, 0)
    assert one["curve"] == again["curve"]
    assert one["curve"][-1] > one["curve"][0] + 0.3
    assert play.play(cell, 1)["curve"] != one["curve"]


def test_methods_errors_stop_the_laboratory(laboratory, cell, monkeypatch):
    """What is measured is the product's method: where that fails, so does the run."""
    *_, play = laboratory

    def broken(*_):
        raise ZeroDivisionError

    monkeypatch.setattr("colearn.methods.merged.total", broken)
    with pytest.raises(ZeroDivisionError):
        play.play(cell, 0)


@pytest.mark.parametrize(
    "attack", ["label-flip", "sign-flip", "noise", "free-ride", "little", "backward", "gone"]
)
def test_every_attack_runs(laboratory, cell, attack):
    """Each attack changes what comes out."""
    *_, play = laboratory
    attacked = replace(cell, method="shield", data="digits", attack=attack, strength=1.0, liars=0.4)
    honest = play.play(replace(cell, method="shield"), 0)
    assert play.play(attacked, 0)["curve"] != honest["curve"]


def test_attackers_may_choose_whom_they_merge(laboratory, cell):
    """When it is their turn they leave out fewer than a third of all, honest ones alone."""
    *_, play = laboratory
    attacked = replace(cell, method="shield", attack="sign-flip", strength=1.0, liars=0.4)
    run = play.Run(replace(attacked, omits=True), 0)
    updates = run.train(list(range(len(run.members))))
    kept = {each.member for each in run._chosen(updates)}
    assert len(kept) == len(updates) - (len(updates) - 1) // 3
    assert {run.members[index] for index in run.liars} <= kept
    chosen, all_merged = (play.play(replace(attacked, omits=each), 0) for each in (True, False))
    assert chosen["curve"] != all_merged["curve"]


def test_attackers_vote_as_their_cell_says(laboratory, cell):
    """Against most honest votes, for each other alone, or as the first honest member does."""
    *_, play = laboratory
    attacked = replace(cell, attack="label-flip", liars=0.4)
    run = play.Run(attacked, 0)
    liar = min(run.liars)
    honest = min(set(range(5)) - run.liars)
    votes = {}
    for ballots in ("contrary", "colluding", "copied"):
        run.cell = replace(attacked, ballots=ballots)
        votes[ballots] = [
            run._ballot(seen, proposer)
            for seen in ([False, True, True], [False, False, True])
            for proposer in (liar, honest)
        ]
    assert votes == {
        "contrary": [False, False, True, True],
        "colluding": [True, False, True, False],
        "copied": [False] * 4,
    }


def test_those_who_are_told_hear_the_truth(laboratory, cell):
    """Multi-Krum leaves out as many as do lie, not one share for all cells."""
    *_, play = laboratory
    few, many = (
        play.play(replace(cell, method="multi-krum-told", attack="noise", liars=liars), 0)
        for liars in (0.2, 0.4)
    )
    assert few["curve"] != many["curve"]


@pytest.mark.parametrize(
    "change",
    [
        {"absent": 0.5},
        {"slow": 0.4},
        {"slow": 0.4, "late": False},
        {"committee": 3},
        {"optimiser": "adam"},
        {"method": "solo"},
        {"method": "pooled"},
        {"method": "fedprox"},
    ],
)
def test_settings_matter(laboratory, cell, change):
    """Each setting of a cell changes what comes out."""
    *_, play = laboratory
    assert play.play(replace(cell, **change), 0)["curve"] != play.play(cell, 0)["curve"]


def test_results_are_found_again(laboratory, cell, tmp_path):
    """A result lies where its cell and seed say, and nowhere else."""
    _, cache, *_ = laboratory
    file = cache.path(tmp_path, cell, 0)
    assert cache.read(file) is None
    cache.write(file, {"curve": [0.5]})
    assert cache.read(cache.path(tmp_path, replace(cell), 0)) == {"curve": [0.5]}
    assert cache.path(tmp_path, cell, 1) != file
    assert cache.path(tmp_path, replace(cell, rounds=5), 0) != file


def test_the_best_solo_is_beaten_seed_by_seed(laboratory):
    """A mean lead hides a seed that is behind its own best learner; the table shows that seed."""
    report, *_ = laboratory
    results = {
        "skew/solo/iid": {
            seed: {"curve": [0.5], "best": [best], "seconds": 1}
            for seed, best in enumerate((0.6, 0.8))
        },
        "skew/fast/iid": {seed: {"curve": [0.78], "accepted": 1, "seconds": 1} for seed in (0, 1)},
        "fifty/fast/iid": {0: {"curve": [0.9], "accepted": 1, "seconds": 1}},
    }
    leads = [row.get("least lead") for row in report.rows(results)]
    assert leads == [None, pytest.approx(-2), None]
    assert "| -2.00 |" in report.markdown(results)


def test_every_cell_can_be_compared_at_equal_cost(laboratory):
    """Rounds, trainings and bytes of each method are known, so that no table breaks off."""
    report, _, cells, _ = laboratory
    results = {
        name: {0: {"curve": [0.5] * (cell.rounds + 1), "accepted": 1, "seconds": 1}}
        for name, cell in cells.CELLS.items()
    }
    table = report.equal(results, cells.CELLS)
    groups = {line[2 : line.find(",")] for line in table.splitlines()}
    assert {"skew", "attack", "half-absent", "ballots"} <= groups
