"""Scores stay home: a canary in them is looked for wherever a member leaves traces."""

from __future__ import annotations

import logging
import re
import struct
import sys
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

CANARY = 0.7313131313131313
"""No format rounds its digits up, so each of them begins with the same ones."""

WRITTEN = re.compile(
    rb"(?<!\d)(0?\.731|7\.31\d*e-0?1|73\.1|73\s?%|731\.3)|(?<!\w)7313\d*(?!\w)", re.IGNORECASE
)
"""As a fraction, with an exponent, in per cent, thousandths, ten-thousandths and so on."""

STORED = tuple(struct.pack(form, CANARY) for form in ("<d", ">d", "<f", ">f"))


def has_canary(content):
    """Whether bytes or text hold the canary, written for readers or stored as a number."""
    raw = content if isinstance(content, bytes) else content.encode()
    return WRITTEN.search(raw) is not None or any(number in raw for number in STORED)


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
        path.name for path in folder.rglob("*") if path.is_file() and has_canary(path.read_bytes())
    ]


def errors_text(reason):
    """All that an error can tell whoever prints it."""
    return " ".join((str(reason), repr(reason), *getattr(reason, "__notes__", [])))


FORMATS = ["{:.3f}", "{:.4f}", "{:.6f}", "{:g}", "{!r}", "{:+.4f}", "{:.0%}", "{:.1%}", "{:.2%}"]
FORMATS += ["{:.2e}", "{:.6E}", "-{:.4f}", "score={:.3f},", "{:.3}"]


@pytest.mark.parametrize("form", FORMATS)
def test_the_canary_is_found_in_any_format(form):
    """However a score is written: the search cannot miss it for being rounded."""
    assert has_canary(form.format(CANARY))
    assert has_canary(f"member b: {form.format(CANARY)} of round 3")


@pytest.mark.parametrize("scaled", [100 * CANARY, 1_000 * CANARY, round(10_000 * CANARY)])
def test_the_canary_is_found_in_other_units(scaled):
    """In per cent, in thousandths and in basis points, as a number of its own."""
    assert has_canary(f"score: {scaled}")
    assert has_canary(str(round(scaled, 2)))


@pytest.mark.parametrize("form", ["<d", ">d", "<f", ">f"])
def test_the_canary_is_found_in_bytes(form):
    """As msgpack, safetensors and sqlite store numbers."""
    assert has_canary(b"\x93" + struct.pack(form, CANARY) + b"\x01")


@pytest.mark.parametrize(
    "other", ["0.7213", "7.21e-01", "a7313f", "1764.731", "31%", "7.31", "1731.3"]
)
def test_other_numbers_are_no_canary(other):
    """Digests, times and other scores do not count as found."""
    assert not has_canary(other)


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
    assert not has_canary(caplog.text + "".join(capfd.readouterr()))


def test_the_canary_is_found_where_it_is(members, tmp_path, caplog, capfd):
    """The searches of the test above find a score that is posted, logged or printed."""
    caplog.set_level(logging.DEBUG)
    group = members(Telling(), Telling(), Telling())
    for participant in group:
        participant._show_scores = True
        participant.step()
    for participant in group:
        participant.step()
    assert traces_in(tmp_path) == ["board.log"]
    assert not has_canary(caplog.text + "".join(capfd.readouterr()))
    logging.getLogger("colearn").debug("%s votes at %.4f", "b", CANARY)
    assert has_canary(caplog.text)
    sys.stdout.write(f"{CANARY:.2%}")
    assert has_canary("".join(capfd.readouterr()))


def test_no_error_repeats_a_score(members):
    """A learner that gives its score for a vote is told of the type alone."""
    group = members(Telling(), Telling(CANARY), Telling())
    for participant in group:
        participant.step()  # takes M₀
    group[0].step()
    with pytest.raises(LearnerError, match="voted with a float") as caught:
        group[1].step()
    assert not has_canary(errors_text(caught.value))
    caught.value.add_note(f"it was {CANARY:.4f}")
    assert has_canary(errors_text(caught.value)), "the check can fail"


def test_no_print_shows_a_score():
    """What a notebook shows of a verdict, or of a learner that has judged, holds no score."""
    verdict = ProposedWeights({}, vote_score=CANARY, test_score=CANARY, vote=True)
    assert not has_canary(f"{verdict!r} {verdict!s}")
    assert "vote=True" in repr(verdict)
    assert has_canary(repr((verdict.vote_score, verdict.test_score))), "the check can fail"
    optional = pytest.importorskip("sklearn.linear_model")
    x = np.random.default_rng(0).normal(size=(40, 3))
    learner = SklearnLearner(optional.SGDClassifier(loss="log_loss"), train=(x, (x[:, 0] > 0) * 1))
    score = learner.mli_test_weights(learner.mli_get_current_weights()).vote_score
    digits = f"{abs(score):.3g}".lstrip("0.")
    assert digits not in repr(learner)
    learner.last_score = score
    assert digits in repr(vars(learner)), "the digits are those that a field would show"


def test_no_metric_shows_a_score(members, tmp_path, optional):
    """What a member serves while it votes are counts and times: no name of a score, no value."""
    prometheus = optional("prometheus_client")
    health = optional("colearn.health").Health("b", tmp_path, lambda: 0)
    group = members(Telling(), Telling(), Telling())
    for _ in range(8):
        for participant in group:
            participant.step()
    ledger = group[1].ledger
    for entry in ledger.events():
        health.ordered(entry)
    for decision in ledger.decisions():
        health.decided(decision)
    health.read(ledger.view())

    def told():
        """Metrics as they are served, values and names; the bytes free on a disk are not ours."""
        served = prometheus.generate_latest(health.registry).decode().splitlines()
        return "\n".join(line for line in served if "disk_free" not in line)

    speaking = re.compile("score|loss|accuracy|error")
    assert health.registry.get_sample_value("colearn_votes_total", {"choice": "approve"}) > 0
    assert not has_canary(told())
    assert not has_canary(health.status()[1])
    assert not speaking.search(told())
    prometheus.Gauge("colearn_last", "Of the last vote.", registry=health.registry).set(CANARY)
    assert has_canary(told()), "a value is found"
    prometheus.Gauge("colearn_score", "Of the last vote.", registry=health.registry)
    assert speaking.search(told()), "a name is found"
    health.failed(LearnerError(f"judged at {CANARY:.4f}"))
    assert has_canary(health.status()[1]), "what failed is looked at, too"
