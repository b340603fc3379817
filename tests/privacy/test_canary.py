"""Scores stay home: a canary in them is looked for wherever a member leaves traces."""

from __future__ import annotations

import logging
import struct
from contextlib import ExitStack

import numpy as np
import pytest

from colearn.boards.local import LocalBoard
from colearn.errors import LearnerError
from colearn.journal import Journal
from colearn.learners.sklearn import SklearnLearner
from colearn.ledgers.local import LocalLedger
from colearn.ml_interface import ProposedWeights, Weights
from colearn.participant import Participant
from colearn.records import Experiment
from colearn.stores.directory import DirectoryStore
from colearn.weights import Schema
from colearn.weights_store import WeightsStore

CANARY = 0.7351928461537
TRACES = (
    *(b"735192", struct.pack("<d", CANARY), struct.pack(">d", CANARY)),
    struct.pack("<f", CANARY),
)


class Telling:
    """A learner whose scores are the canary, and that logs nothing of its own."""

    def __init__(self, vote=True):
        self.current, self.vote = Weights({"w": np.zeros(2)}), vote

    def mli_propose_weights(self):
        return Weights({"w": self.current.weights["w"] + 1})

    def mli_test_weights(self, weights):
        return ProposedWeights(
            weights.weights, vote_score=CANARY, test_score=CANARY, vote=self.vote
        )

    def mli_accept_weights(self, weights):
        self.current = weights

    def mli_get_current_weights(self):
        return self.current


@pytest.fixture
def members(tmp_path):
    """Makes members who keep all they have in a folder, as those on their own machines do."""
    with ExitStack() as opened:

        def make(*learners):
            initial = learners[0].mli_get_current_weights()
            schema = Schema.of(initial.weights)
            weights = WeightsStore(DirectoryStore(tmp_path / "store"), schema)
            digest = weights.put(initial, round_index=0, sender="", base="")
            names = tuple("abc"[: len(learners)])
            experiment = Experiment(members=names, initial=digest, schema=schema.digest)
            ledger = LocalLedger(experiment, tmp_path / "ledger.log")
            board = LocalBoard(experiment, tmp_path / "board.log")
            journals = [
                Journal(tmp_path / f"{name}.sqlite", experiment, name, silent_through=-1)
                for name in names
            ]
            for each in (ledger, board, *journals):
                opened.callback(each.close)
            return [
                Participant(
                    name, learner, ledger=ledger, weights=weights, board=board, journal=journal
                )
                for name, learner, journal in zip(names, learners, journals, strict=True)
            ]

        yield make


def traces_in(folder):
    """Files that hold a trace of the canary."""
    return [
        path.name
        for path in folder.rglob("*")
        if path.is_file() and any(trace in path.read_bytes() for trace in TRACES)
    ]


@pytest.mark.parametrize("vote", [True, False, None])
def test_nothing_a_member_writes_holds_its_score(members, tmp_path, caplog, capfd, vote):
    """Not the ledger, the board, the store, the journal, a log or an output, whatever it votes."""
    caplog.set_level(logging.DEBUG)
    group = members(Telling(), Telling(vote), Telling(vote))
    for _ in range(8):
        for participant in group:
            participant.step()
    assert group[0].ledger.events()
    assert traces_in(tmp_path) == []
    assert "735192" not in caplog.text + "".join(capfd.readouterr())


def test_the_canary_is_found_where_it_is(members, tmp_path):
    """The search of these tests finds a score that a member was told to show."""
    group = members(Telling(), Telling(), Telling())
    for participant in group:
        participant._show_scores = True
        participant.step()
    for participant in group:
        participant.step()
    assert traces_in(tmp_path) == ["board.log"]


def test_no_error_repeats_a_score(members):
    """A learner that gives its score for a vote is told of the type alone."""
    group = members(Telling(), Telling(CANARY), Telling())
    for participant in group:
        participant.step()  # takes M₀
    group[0].step()
    with pytest.raises(LearnerError, match="voted with a float") as caught:
        group[1].step()
    notes = getattr(caught.value, "__notes__", [])
    assert not any("735192" in text for text in (str(caught.value), repr(caught.value), *notes))


def test_no_print_shows_a_score():
    """What a notebook shows of a verdict, or of a learner that has judged, holds no score."""
    verdict = ProposedWeights({}, vote_score=CANARY, test_score=CANARY, vote=True)
    assert "735192" not in f"{verdict!r} {verdict!s}"
    assert "vote=True" in repr(verdict)
    optional = pytest.importorskip("sklearn.linear_model")
    x = np.random.default_rng(0).normal(size=(40, 3))
    learner = SklearnLearner(optional.SGDClassifier(loss="log_loss"), train=(x, (x[:, 0] > 0) * 1))
    score = learner.mli_test_weights(learner.mli_get_current_weights()).vote_score
    assert f"{score:.4f}" not in repr(learner)


def test_no_metric_shows_a_score(tmp_path, optional):
    """What a member serves of its health are counts and times: no metric's name speaks of one."""
    optional("prometheus_client")
    health = optional("colearn.health").Health("a", tmp_path, lambda: 0)
    names = {family.name for family in health.registry.collect()}
    assert names
    assert not [name for name in names if "score" in name or "loss" in name or "accuracy" in name]
