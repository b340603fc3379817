"""A collective in one process."""

from __future__ import annotations

import io
import json
import math
import os
import shutil
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import numpy as np
import pytest
from rich.console import Console
from toys import Scripted, Seeking, seekers

from colearn import Collective, ErrorCodes, ProposedWeights, Rule, TrainingSummary, Weights
from colearn.audit import audit
from colearn.collective import LEDGER_FILE
from colearn.committee import named
from colearn.errors import BoardError, ConfigError, LearnerError, LedgerError, SchemaMismatch
from colearn.records import Propose
from colearn.tasks import build, get


def test_accepted_becomes_everyones_model():
    """After an accepted round all learners hold the very same arrays, uncopied."""
    learners = [Scripted([True]), Scripted([True]), Scripted([True])]
    result = Collective(learners).run(1)
    assert result.rounds[0].accepted
    arrays = [learner.current.weights["w"] for learner in learners]
    assert all(np.shares_memory(array, arrays[0]) for array in arrays)
    assert result.weights.weights["w"].tolist() == [1, 1, 1]


def test_rejected_changes_nothing():
    """After a rejected round all learners hold M."""
    learners = [Scripted([]), Scripted([False]), Scripted([None])]
    result = Collective(learners).run(1)
    assert not result.rounds[0].accepted
    assert all(learner.current.weights["w"].tolist() == [0, 0, 0] for learner in learners)


def test_every_member_starts_from_the_first_ones_model():
    """M₀ is the first learner's model, whatever the others began with."""
    learners = seekers()
    learners[0].guess = np.array([7.0])
    Collective(learners)
    collective = Collective(learners)
    collective.run(0)
    assert [learner.guess[0] for learner in learners] == [7.0] * 3


def test_late_votes_are_recorded_without_effect():
    """A round decided by its first votes still shows the last one."""
    learners = [
        Scripted([]),
        Scripted([True]),
        Scripted([True]),
        Scripted([True]),
        Scripted([False]),
    ]
    round_0 = Collective(learners).run(1).rounds[0]
    assert round_0.accepted
    assert round_0.decision.approvals == 3
    assert round_0.votes["learner-4"].value == "reject"


def test_same_seed_same_digests_in_every_round():
    """Two runs with one seed agree on every digest; another seed does not."""
    runs = [Collective(seekers(), seed=seed).run(12) for seed in (5, 5, 6)]
    digests = [[each.model for each in result.rounds] for result in runs]
    assert digests[0] == digests[1]
    assert digests[0] != digests[2]


def test_threads_change_no_digest_and_do_run_at_once(tmp_path):
    """With threads two learners test at the same moment; the ledger is the same, bit for bit."""

    class Meeting(Seeking):
        barrier = threading.Barrier(2, timeout=10)

        def mli_test_weights(self, weights):
            self.barrier.wait()
            return super().mli_test_weights(weights)

    def meeting():
        return [Meeting(learner.numbers) for learner in seekers()]

    with (
        ThreadPoolExecutor(4) as executor,
        Collective(meeting(), seed=3, folder=tmp_path / "many", executor=executor) as many,
    ):
        many.run(9)
    with Collective(seekers(), seed=3, folder=tmp_path / "one") as one:
        one.run(9)
    assert many.ledger.head == one.ledger.head


def test_a_folder_goes_on_where_it_stopped(tmp_path):
    """Stopped after every round and opened again, a run ends on the head of one in one go."""
    with Collective(seekers(), seed=1, folder=tmp_path / "whole") as whole:
        expected = whole.run(6)
    for _ in range(6):
        with Collective(seekers(), seed=1, folder=tmp_path / "parts") as part:
            result = part.run(1)
    assert part.ledger.head == whole.ledger.head
    assert [each.row.did for each in result.rounds] == [each.row.did for each in expected.rounds]
    assert [each.scores for each in result.rounds] == [each.scores for each in expected.rounds]
    assert result.bytes_moved == expected.bytes_moved


def test_a_run_cut_anywhere_goes_on_to_the_same_model(tmp_path):
    """Whatever prefix of the ledger a crash left, the run ends on the same model."""
    with Collective(seekers(), seed=1, folder=tmp_path / "whole") as whole:
        expected = whole.run(4)
    lines = (tmp_path / "whole" / LEDGER_FILE).read_bytes().splitlines(keepends=True)
    for kept in range(1, len(lines)):
        cut = tmp_path / f"cut-{kept}"
        shutil.copytree(tmp_path / "whole", cut)
        (cut / LEDGER_FILE).write_bytes(b"".join(lines[:kept]) + lines[kept][:-7])
        with Collective(seekers(), seed=1, folder=cut) as collective:
            result = collective.run(4 - len(collective.result.rounds))
        assert [each.model for each in result.rounds] == [each.model for each in expected.rounds]


def test_a_folder_of_another_experiment_is_refused(tmp_path):
    """Other members, rule or model: one line says in what the folder differs."""
    with Collective(seekers(), folder=tmp_path) as collective:
        collective.run(1)
    with pytest.raises(ConfigError, match="rule.threshold is 1/2, not 2/3"):
        Collective(seekers(), folder=tmp_path, rule=Rule(threshold="2/3"))
    with pytest.raises(ConfigError, match="members is learner-0, learner-1, learner-2, not "):
        Collective(seekers()[:2], folder=tmp_path)
    with pytest.raises(ConfigError, match="seed is 0, not 1"):
        Collective(seekers(), folder=tmp_path, seed=1)
    with Collective(seekers(), folder=tmp_path) as collective:
        assert len(collective.result.rounds) == 1


def test_without_a_folder_only_the_current_weights_are_held():
    """Memory holds one model between rounds, however many were proposed."""
    collective = Collective(seekers())
    collective.run(10)
    blobs = len(collective._weights._store._blobs)
    collective.run(10)
    assert len(collective._weights._store._blobs) == blobs
    assert len(collective._weights._tensors) == 1


def test_a_proposal_equal_to_the_current_model_loses_nothing():
    """Rejecting a proposal with the current weights must not drop the current weights."""
    learners = [
        Scripted([True, True], stride=0.0),
        Scripted([False, True]),
        Scripted([False, True]),
    ]
    collective = Collective(learners)
    collective.run(1)
    late = collective._weights
    late.forget(collective.ledger.view().current)
    assert late.get(collective.ledger.view().current).weights["w"].tolist() == [0, 0, 0]


def test_proposing_the_current_model_itself_loses_nothing():
    """A proposer that puts M's own digest up is voted down, and M stays at hand."""
    collective = Collective(seekers())
    state = collective.ledger.view()
    collective._accept()
    collective.ledger.submit(Propose(0, "learner-0", state.current))
    result = collective.run(3)
    assert not result.rounds[0].accepted
    assert result.rounds[1].accepted


def test_a_stop_in_the_middle_of_a_turn_loses_no_round():
    """A learner that fails once stops the run; going on, every decision is in the result."""

    class Failing(Seeking):
        fails = True

        def mli_accept_weights(self, weights):
            if self.fails and weights.weights["guess"][0]:
                Failing.fails = False
                raise RuntimeError("out of memory")
            super().mli_accept_weights(weights)

    expected = Collective(seekers()).run(4)
    collective = Collective([Failing(learner.numbers) for learner in seekers()])
    with pytest.raises(RuntimeError, match="out of memory"):
        collective.run(4)
    result = collective.run(4 - len(collective.result.rounds))
    assert [each.model for each in result.rounds] == [each.model for each in expected.rounds]


@pytest.mark.parametrize("after", range(1, 14))
@pytest.mark.parametrize("written", [False, True], ids=["before-fsync", "after-fsync"])
def test_an_interrupt_while_writing_corrupts_nothing(tmp_path, monkeypatch, after, written):
    """Ctrl-C in any write leaves a folder that opens again and ends on the same model."""
    with Collective(seekers(), folder=tmp_path / "whole") as whole:
        expected = whole.run(3)
    fsync, calls = os.fsync, iter(range(1, 1000))

    def interrupted(descriptor):
        if written:
            fsync(descriptor)
        if next(calls) == after:
            raise KeyboardInterrupt
        return None if written else fsync(descriptor)

    with Collective(seekers(), folder=tmp_path / "cut") as cut:
        monkeypatch.setattr(os, "fsync", interrupted)
        with suppress(KeyboardInterrupt):
            cut.run(3)
        monkeypatch.setattr(os, "fsync", fsync)
        with suppress(LedgerError, BoardError):
            cut.run(3 - len(cut.result.rounds))
    with Collective(seekers(), folder=tmp_path / "cut") as again:
        result = again.run(3 - len(again.result.rounds))
    assert [each.model for each in result.rounds] == [each.model for each in expected.rounds]


def test_weights_look_the_same_before_and_after_a_restart(tmp_path):
    """Fortran order, big-endian numbers and numpy scalars: a restart changes no digest."""

    class Odd(Seeking):
        def mli_propose_weights(self):
            guess = self.current().weights["m"].sum() + self.rng.normal()
            m = np.asfortranarray(np.linspace(0, guess, 12).reshape(3, 4)).astype(">f8")
            return Weights({"m": m, "s": np.float64(guess)})

        def current(self):
            return self.__dict__.get("w", Weights({"m": np.ones((3, 4)), "s": np.float64(1)}))

        def mli_test_weights(self, weights):
            return ProposedWeights(weights.weights, vote=True)

        def mli_accept_weights(self, weights):
            self.w = weights

        mli_get_current_weights = current

    with Collective([Odd([0]), Odd([0])], folder=tmp_path / "whole") as whole:
        expected = whole.run(5)
    for _ in range(5):
        with Collective([Odd([0]), Odd([0])], folder=tmp_path / "parts") as part:
            result = part.run(1)
    assert [each.model for each in result.rounds] == [each.model for each in expected.rounds]


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_diverged_learner_passes_its_turn(bad):
    """NaN or infinity never reaches the others: the turn is passed, the run goes on."""
    learners = [Scripted([True], stride=bad), Scripted([True]), Scripted([True])]
    result = Collective(learners).run(2)
    assert [each.decision.outcome.value for each in result.rounds] == ["expired", "accepted"]
    assert result.rounds[0].decision.proposal is None


def test_a_spent_privacy_budget_passes_the_turn():
    """A summary with an error code is no proposal."""

    class Spent(Scripted):
        def mli_propose_weights(self):
            summary = TrainingSummary(error_code=ErrorCodes.DP_BUDGET_EXCEEDED)
            return Weights(self.current.weights, training_summary=summary)

    result = Collective([Spent([True]), Scripted([True]), Scripted([True])]).run(1)
    assert result.rounds[0].decision.proposal is None


@pytest.mark.parametrize(
    ("learners", "error", "words"),
    [
        ([Scripted([])], ConfigError, "1 member"),
        ([Scripted([]), object()], LearnerError, "'learner-1' .object. lacks mli_propose_weights"),
        (
            [Scripted([]), Scripted([], size=4)],
            SchemaMismatch,
            "'learner-0' and 'learner-1'.*'w'.*3.*4",
        ),
    ],
    ids=["alone", "no-learner", "another-model"],
)
def test_learners_that_cannot_learn_together_are_refused_up_front(learners, error, words):
    """The error names the learners and the first thing that differs."""
    with pytest.raises(error, match=words):
        Collective(learners)


def test_a_learner_takes_part_once():
    """The same object as two members is refused."""
    learner = Scripted([True])
    with pytest.raises(LearnerError, match="twice"):
        Collective([learner, learner])


def test_a_folder_that_was_only_begun_is_a_new_one(tmp_path):
    """A crash while the first record was written leaves nothing to repair by hand."""
    (tmp_path / LEDGER_FILE).write_bytes(b'0123 {"kind":"exp')
    with Collective(seekers(), folder=tmp_path) as collective:
        assert len(collective.run(2).rounds) == 2


def test_leaving_early_leaves_learners_on_the_accepted_model():
    """Breaking out of play still lets everybody take over what was accepted."""
    learners = [Scripted([True] * 3) for _ in range(3)]
    for _ in Collective(learners).play(3):
        break
    assert all(learner.current.weights["w"].tolist() == [1, 1, 1] for learner in learners)


def test_a_proposal_of_another_shape_names_the_proposer():
    """A learner whose weights change shape is told so, by name."""

    class Growing(Scripted):
        def mli_propose_weights(self):
            return Weights({"w": np.zeros(9)})

    with pytest.raises(SchemaMismatch, match=r"'learner-0' cannot propose.*'w'"):
        Collective([Growing([]), Scripted([True])]).run(1)


@pytest.mark.parametrize("method", ["mli_propose_weights", "mli_test_weights"])
def test_what_is_no_weights_is_refused_by_name(method):
    """Returning something else than the interface says is one clear error."""
    learners = [Scripted([True]), Scripted([True])]
    setattr(learners[method == "mli_test_weights"], method, lambda *_: 42)
    with pytest.raises(LearnerError, match=f"{method} returned a int"):
        Collective(learners).run(1)


@pytest.mark.parametrize("rounds", [-1, 1.5, True])
def test_rounds_must_be_a_number(rounds):
    """Wrong round counts are one clear line."""
    with pytest.raises(ConfigError, match="rounds must be a whole number"):
        Collective(seekers()).run(rounds)


def test_received_weights_cannot_be_changed():
    """A learner that writes into what it received is stopped before others see it."""

    class Vandal(Scripted):
        def mli_test_weights(self, weights):
            weights.weights["w"][0] = 99
            return ProposedWeights(weights.weights, vote=True)

    with pytest.raises(ValueError, match="read-only"):
        Collective([Scripted([True]), Vandal([])]).run(1)


def test_result_shows_itself(tmp_path):
    """Text, HTML, rich and the picture all show the rounds; HTML is escaped."""
    named = dict(zip(("a", "<b>", "c"), seekers(), strict=True))
    result = Collective(named, evaluate=lambda weights: -weights.weights["guess"][0]).run(3)
    assert result.scores == [each.score for each in result.rounds]
    assert str(result).count("\n") == 4
    assert "&lt;b&gt;" in result._repr_html_()
    console = Console(record=True, width=120, file=io.StringIO())
    console.print(result)
    assert result.rounds[-1].model[:10] in console.export_text()
    result.plot(tmp_path / "curve.png")
    assert (tmp_path / "curve.png").read_bytes().startswith(b"\x89PNG")


def test_scores_are_shown_in_a_simulation(tmp_path):
    """What every voter measured is in the result; and on the board's file."""
    with Collective(seekers(), folder=tmp_path) as collective:
        result = collective.run(1)
    scores = result.rounds[0].scores
    assert set(scores) == {"learner-1", "learner-2"}
    line = (tmp_path / "board.log").read_text().splitlines()[1]
    assert json.loads(line.split(" ", 1)[1])["vote_score"] == scores["learner-1"].vote_score


@pytest.mark.parametrize("ledger", ["local", "evm"])
@pytest.mark.parametrize("method", ["plain", "fast"])
def test_a_committee_learns_round_by_round(tmp_path, optional, ledger, method):
    """Of nine learners three are drawn each round; they, and nobody else, work and vote.

    All end with one model, each seat was taken, and the audit agrees.
    """
    if ledger == "evm":
        optional("web3")
    learners = {f"m{index}": Counted([index, index + 2]) for index in range(9)}
    with Collective(
        learners, rule=Rule(committee=3), folder=tmp_path, ledger=ledger, method=method
    ) as collective:
        rounds = collective.run(9).rounds
    for each in rounds:
        decision = each.decision
        assert set(each.votes) == set(named(decision.members, decision.voters))
        assert (decision.eligible, decision.needed) == (3, 2)
        marks = each.row.marks(decision.members)
        assert (marks.count(" "), marks.count("P")) == (5, 1)
    assert len({each.decision.voters for each in rounds}) > 5
    assert any(each.accepted for each in rounds)
    assert sum(each.tested for each in learners.values()) == 9 * 3
    assert sum(each.trained for each in learners.values()) == 9 * (1 if method == "plain" else 4)
    model = rounds[-1].model
    weights = collective.weights_of(model).weights["guess"]
    assert all(np.array_equal(each.guess, weights) for each in learners.values())
    found = audit(tmp_path)
    assert (found.votes, found.model) == (27, model)


def test_who_rests_is_given_no_model():
    """A member takes everyone's model over when a round asks for it, and in the end."""
    learners = {f"m{index}": Counted([index, index + 2]) for index in range(30)}
    Collective(learners, rule=Rule(committee=2), method="fast").run(3)
    assert sum(each.took for each in learners.values()) <= 3 * 3 + 30


class Counted(Seeking):
    """Counts its trainings, its tests, and the models it was given."""

    trained = tested = took = 0

    def set_offset(self, offset):
        """Take an offset, and leave it."""

    def training_size(self):
        return 1, len(self.numbers)

    def mli_propose_weights(self):
        self.trained += 1
        return super().mli_propose_weights()

    def mli_test_weights(self, weights):
        self.tested += 1
        return super().mli_test_weights(weights)

    def mli_accept_weights(self, weights):
        self.took += 1
        super().mli_accept_weights(weights)


@pytest.mark.parametrize("method", ["fast", "shield"])
def test_a_member_that_cannot_be_steered_does_not_end_correction_for_the_others(method):
    """Of five real learners one has the four methods alone: the rest stay corrected to the end."""
    setting = build(get("digits"), learners=5, split="dirichlet:0.3", seed=0, policy="not-worse")
    four = [*setting.learners[:4], FourMethods(setting.learners[4])]
    collective = Collective(four, method=method, seed=0)
    collective.run(5)
    state = collective._course.state
    assert state["strength"] > 0.3
    assert {name.split("/")[1] for name in state if name.startswith("control/")} == {
        f"learner-{index}" for index in range(4)
    }


class FourMethods:
    """A learner of which only the interface is seen."""

    def __init__(self, learner):
        self._learner = learner

    def __getattr__(self, name):
        if not name.startswith("mli_"):
            raise AttributeError(name)
        return getattr(self._learner, name)
