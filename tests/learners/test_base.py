"""The base class, through a learner that a person can follow: the mean of numbers."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from colearn.errors import ConfigError, LearnerError, SchemaMismatch
from colearn.learners.base import FrameworkLearner
from colearn.ml_interface import TrainingSummary, Weights
from colearn.voting import LowerMean


class Mean(FrameworkLearner):
    """Guesses y by one number; its optimiser is momentum, to have state to forget."""

    def __init__(self, **options):
        self.guess = np.zeros(1)
        self.seen, self.loads = [], 0
        super().__init__(**options)

    def tensors(self):
        """One tensor."""
        return {"guess": self.guess.copy()}

    def load(self, tensors):
        """Count how often this happens."""
        self.loads += 1
        self.guess = tensors["guess"].copy()

    def begin(self, rng):
        """Stand still."""
        self.velocity = np.zeros(1)

    def step(self, x, y):
        """Move towards the mean and note the samples seen."""
        self.seen.append(x[:, 0])
        self.velocity = 0.5 * self.velocity + 0.1 * (y.mean() - self.guess)
        self.guess = self.guess + self.velocity

    def losses(self, x, y):
        """Squared distances."""
        return np.square(y - self.guess)

    def errors(self, x, y):
        """Distances."""
        return np.abs(y - self.guess)

    def score(self, x, y):
        """Minus the mean loss."""
        return -float(self.losses(x, y).mean())


def samples(count, start=0):
    """Return samples whose x is their number and whose y lies around 5."""
    numbers = np.arange(start, start + count, dtype=float)
    return numbers[:, None], 5 + np.sin(numbers)


def learner(**options):
    """Return a learner of twenty samples."""
    return Mean(**{"train": samples(20), "batch_size": 4, "steps": 7} | options)


def guess(number):
    """Return weights that guess a number."""
    return Weights({"guess": np.array([float(number)])})


def test_proposing_leaves_the_current_weights():
    """Proposing returns other weights, and the current ones stay the same object and value."""
    one = learner()
    current = one.mli_get_current_weights()
    proposed = one.mli_propose_weights()
    assert proposed.weights["guess"] != 0
    assert one.mli_get_current_weights() is current
    assert current.weights["guess"] == 0


def test_same_seed_same_proposal():
    """A seed repeats a proposal bit for bit, whatever the learner did in between."""
    one = learner()
    one.set_seed(11)
    first = one.mli_propose_weights().weights["guess"].tobytes()
    one.mli_propose_weights()
    one.mli_test_weights(guess(3))
    one.evaluate(guess(2), samples(5))
    one.set_seed(11)
    assert one.mli_propose_weights().weights["guess"].tobytes() == first
    other = learner(seed=0)
    other.set_seed(11)
    assert other.mli_propose_weights().weights["guess"].tobytes() == first


def test_proposals_without_a_new_seed_differ():
    """A learner that is asked again draws again, and in the same order after a restart."""
    one, again = learner(seed=4), learner(seed=4)
    first, second = one.mli_propose_weights(), one.mli_propose_weights()
    assert first.weights["guess"] != second.weights["guess"]
    assert again.mli_propose_weights().weights["guess"] == first.weights["guess"]
    assert again.mli_propose_weights().weights["guess"] == second.weights["guess"]


@given(count=st.integers(1, 30), batch_size=st.integers(1, 40), steps=st.integers(1, 20))
def test_batches_pass_over_the_data(count, batch_size, steps):
    """Training takes exactly the steps asked, and no sample twice before all were taken once."""
    one = Mean(train=samples(count), vote=samples(1), batch_size=batch_size, steps=steps)
    one.mli_propose_weights()
    assert len(one.seen) == steps
    in_a_pass = math.ceil(count / batch_size)
    for start in range(0, steps, in_a_pass):
        taken = np.concatenate(one.seen[start : start + in_a_pass])
        assert len(np.unique(taken)) == len(taken)
        if start + in_a_pass <= steps:
            assert len(taken) == count


@pytest.mark.parametrize(("count", "held"), [(2, 1), (4, 1), (20, 4), (24, 4)])
def test_vote_samples_are_set_apart(count, held):
    """Without vote samples a fifth is held back, and training never sees it."""
    one = Mean(train=samples(count), steps=50)
    one.mli_propose_weights()
    voting = set(one.vote_samples[0][:, 0])
    trained = set(np.concatenate(one.seen))
    assert len(voting) == held
    assert voting | trained == set(range(count))
    assert not voting & trained


def test_vote_compares_the_vote_samples():
    """The vote is for weights that do better on the vote samples, and the score says how well."""
    one = learner(vote=(np.zeros((2, 1)), np.array([1.0, 3.0])), test=samples(3))
    better, worse = one.mli_test_weights(guess(2)), one.mli_test_weights(guess(-1))
    assert (better.vote, worse.vote) == (True, False)
    assert better.vote_score == -1
    assert better.test_score == -np.square(samples(3)[1] - 2).mean()
    assert one.mli_test_weights(guess(0)).vote is False
    assert one.mli_get_current_weights().weights["guess"] == 0


def test_verdict_carries_the_weights_themselves():
    """A verdict holds the mapping and summary it was given, and NaN for what was not measured."""
    proposed = Weights(guess(2).weights, TrainingSummary())
    verdict = learner().mli_test_weights(proposed)
    assert verdict.weights is proposed.weights
    assert verdict.training_summary is proposed.training_summary
    assert math.isnan(verdict.test_score)


def test_policy_says_what_is_compared():
    """The accuracy policy compares errors where the loss policy compares losses."""
    vote = (np.zeros((4, 1)), np.array([1.0, 1.0, 1.0, 9.0]))
    by_loss, by_error = learner(vote=vote), learner(vote=vote, policy="accuracy")
    assert by_loss.mli_test_weights(guess(3)).vote is True
    assert by_error.mli_test_weights(guess(3)).vote_score == -3
    assert by_error.mli_test_weights(guess(7)).vote is False
    assert learner(vote=vote, policy=LowerMean("loss")).mli_test_weights(guess(3)).vote is True


def test_accepting_keeps_a_reference_and_changes_what_is_compared():
    """After accepting, the same arrays are current and votes compare with them."""
    one = learner(vote=(np.zeros((1, 1)), np.array([5.0])))
    assert one.mli_test_weights(guess(4)).vote is True
    accepted = one.mli_test_weights(guess(4.5))
    one.mli_accept_weights(accepted)
    assert one.mli_get_current_weights().weights is accepted.weights
    assert one.mli_test_weights(guess(4)).vote is False


def test_losses_under_the_current_weights_are_measured_once():
    """Testing several proposals against one model loads and measures that model once."""
    one = learner()
    one.mli_test_weights(guess(1))
    one.mli_test_weights(guess(2))
    assert one.loads == 3


def test_received_arrays_are_never_written():
    """Read-only arrays can be tested, accepted and trained from."""
    one = learner()
    frozen = guess(1)
    frozen.weights["guess"].flags.writeable = False
    one.mli_test_weights(frozen)
    one.mli_accept_weights(frozen)
    assert one.mli_propose_weights().weights["guess"] != 1
    assert frozen.weights["guess"] == 1


def test_evaluate_and_vote_loss_change_nothing():
    """Any weights can be scored on any samples while the current ones stay."""
    one = learner(vote=(np.zeros((2, 1)), np.array([1.0, 3.0])), policy="accuracy")
    assert one.evaluate(guess(4), (np.zeros((1, 1)), np.array([7.0]))) == -9
    assert one.vote_loss(guess(2)) == 1
    assert one.mli_get_current_weights().weights["guess"] == 0


@pytest.mark.parametrize(
    "tensors",
    [
        {},
        {"guess": np.zeros(1), "more": np.zeros(1)},
        {"other": np.zeros(1)},
        {"guess": np.zeros(2)},
        {"guess": np.zeros(1, np.float32)},
        {"guess": [0.0]},
    ],
)
def test_weights_that_do_not_fit_are_refused(tensors):
    """Other names, shapes, dtypes and types are refused in one line, and nothing changes."""
    one = learner()
    for act in (one.mli_test_weights, one.mli_accept_weights, one.vote_loss):
        with pytest.raises(SchemaMismatch) as refusal:
            act(Weights(tensors))
        assert "\n" not in str(refusal.value)
    assert one.mli_get_current_weights().weights["guess"] == 0


def test_schema_is_that_of_the_tensors():
    """A learner says what its weights look like."""
    (spec,) = learner().schema().tensors.values()
    assert str(spec) == "float64 of shape (1)"


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"train": (np.zeros((3, 1)), np.zeros(2))}, "shape"),
        ({"train": (np.zeros((3, 1)), np.zeros((3, 1)))}, "shape"),
        ({"train": (np.zeros((0, 1)), np.zeros(0))}, "no train samples"),
        ({"train": (np.zeros((1, 1)), np.zeros(1))}, "one train sample"),
        ({"train": (np.full((2, 1), np.nan), np.zeros(2))}, "x of the train samples holds NaN"),
        ({"train": (np.zeros((2, 1)), np.array([0, np.inf]))}, "y of the train samples holds NaN"),
        ({"train": (np.array([["a"], ["b"]]), np.zeros(2))}, "expected numbers"),
        ({"vote": (np.zeros((0, 1)), np.zeros(0))}, "no vote samples"),
        ({"vote": (np.zeros((2, 5)), np.zeros(2))}, "they must agree"),
        ({"test": (np.zeros((2, 5)), np.zeros(2))}, "a test sample has shape"),
    ],
)
def test_samples_that_cannot_be_learned_from_are_refused(options, said):
    """Each kind of unusable samples gets one line that names it."""
    with pytest.raises(LearnerError, match=said) as refusal:
        learner(**options)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize(
    "options",
    [
        {"steps": 0},
        {"steps": 2.5},
        {"steps": True},
        {"batch_size": -1},
        {"seed": -1},
        {"policy": "coin"},
        {"policy": LowerMean("mood")},
    ],
)
def test_options_that_cannot_be_used_are_refused(options):
    """Wrong numbers, and policies that nobody can follow, are refused at once."""
    with pytest.raises(ConfigError):
        learner(**options)


def test_measuring_the_wrong_shape_is_refused():
    """A subclass whose losses are not one a sample is told so, before it votes by them."""

    class Careless(Mean):
        def losses(self, x, y):
            return np.zeros((len(y), 1))

    with pytest.raises(LearnerError, match=r"\(4, 1\) for 4 samples"):
        Careless(train=samples(20)).mli_test_weights(guess(1))


def test_weights_that_overflow_are_rejected_quietly():
    """Absurd but finite weights lose the vote, without a warning."""
    assert learner().mli_test_weights(guess(1e200)).vote is False


def test_policy_sees_the_targets_of_the_vote_samples():
    """A policy that looks at classes gets those of the very samples that it compares."""

    class Looking:
        metric = "loss"

        def vote(self, before, after, targets, /):
            self.seen = targets
            return len(before) == len(after) == len(targets)

    policy = Looking()
    one = learner(vote=samples(6, 50), policy=policy)
    assert one.mli_test_weights(guess(3)).vote is True
    assert policy.seen is one.vote_samples[1]


def test_offset_is_added_after_every_step_of_any_learner():
    """A learner that only says how to read and set tensors is shifted all the same."""
    one = learner(steps=3)
    free = one.train({"guess": np.zeros(1)}, np.random.default_rng(0))["guess"]
    one.set_offset({"guess": np.array([10.0])})
    shifted = one.train({"guess": np.zeros(1)}, np.random.default_rng(0))["guess"]
    assert shifted - free > 20
    one.set_offset(None)
    assert one.train({"guess": np.zeros(1)}, np.random.default_rng(0))["guess"] == free
