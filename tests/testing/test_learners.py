"""check_learner finds what is broken in a learner; attackers do their harm and no other."""

from __future__ import annotations

import copy
import inspect
from typing import Any

import numpy as np
import pytest

from colearn.ml_interface import MachineLearningInterface, ProposedWeights, Weights
from colearn.protocols import Probed, Schematic, Seeded, Steered
from colearn.schema import Schema
from colearn.testing import check_learner
from colearn.testing.attackers import (
    _OPTIONAL,
    Colluder,
    ContraryVoter,
    LazyVoter,
    Noise,
    Pact,
    SignFlip,
)

SLOPE = np.array([1.0, -2.0, 3.0])
OPTIONAL_KINDS = (Schematic, Probed, Seeded, Steered)


class Line(MachineLearningInterface):
    """Linear regression by a few seeded gradient steps."""

    def __init__(self) -> None:
        rng = np.random.default_rng(0)
        self.x = rng.normal(size=(60, 3))
        self.y = self.x @ SLOPE + 0.5
        self.tensors = {"slope": np.zeros(3), "bias": np.array(0.0), "steps": np.array(7)}
        self.rng = rng

    def set_seed(self, seed: int) -> None:
        """Draw the next training from this seed."""
        self.rng = np.random.default_rng(seed)

    def loss(self, tensors: dict[str, np.ndarray]) -> float:
        """Mean squared error on the private points."""
        return float(np.mean((self.x @ tensors["slope"] + tensors["bias"] - self.y) ** 2))

    def mli_propose_weights(self) -> Weights:
        """Take ten steps, each on eight points."""
        slope, bias = self.tensors["slope"].copy(), self.tensors["bias"].copy()
        for _ in range(10):
            batch = self.rng.choice(len(self.x), 8, replace=False)
            gap = self.x[batch] @ slope + bias - self.y[batch]
            slope -= 0.1 * self.x[batch].T @ gap / 8
            bias = bias - 0.1 * gap.mean()
        return Weights({"slope": slope, "bias": np.array(bias), "steps": self.tensors["steps"]})

    def mli_test_weights(self, weights: Weights) -> ProposedWeights:
        """Approve what lowers the loss."""
        loss = self.loss(dict(weights.weights))
        return ProposedWeights(
            weights.weights, vote_score=-loss, vote=loss < self.loss(self.tensors)
        )

    def mli_accept_weights(self, weights: Weights) -> None:
        """Keep them, by reference."""
        self.tensors = dict(weights.weights)

    def mli_get_current_weights(self) -> Weights:
        """The current ones."""
        return Weights(self.tensors)


class Steerable(Line):
    """Has every method that a learner may have."""

    def __init__(self) -> None:
        super().__init__()
        self.offsets: list[Any] = []

    def schema(self) -> Schema:
        """That of its weights."""
        return Schema.of(self.tensors)

    def probe(self, seed: int) -> np.ndarray:
        """No output at all."""
        return np.zeros((1, 0))

    def set_offset(self, offset: Any) -> None:
        """Remember it."""
        self.offsets.append(offset)

    def training_size(self) -> tuple[int, int]:
        """Ten steps."""
        return 10, 60


class TrainsInPlace(Line):
    """Trains the current weights themselves."""

    def mli_propose_weights(self) -> Weights:
        self.tensors = dict(super().mli_propose_weights().weights)
        return Weights(self.tensors)


class TestsByAccepting(Line):
    """Loads what it tests, and forgets to put the old weights back."""

    __test__ = False

    def mli_test_weights(self, weights: Weights) -> ProposedWeights:
        verdict = super().mli_test_weights(weights)
        self.mli_accept_weights(weights)
        return verdict


class ReusesItsBuffer(Line):
    """Hands out the same array each time, and writes the next training into it."""

    def mli_propose_weights(self) -> Weights:
        proposed = super().mli_propose_weights().weights
        if not hasattr(self, "buffer"):
            self.buffer = {name: array.copy() for name, array in proposed.items()}
        for name, array in proposed.items():
            self.buffer[name][...] = array
        return Weights(self.buffer)


class WritesIntoReceived(Line):
    """Scales received weights where they lie."""

    def mli_test_weights(self, weights: Weights) -> ProposedWeights:
        weights.weights["slope"][...] *= 2
        return super().mli_test_weights(weights)


class TrainsWhatItAccepted(Line):
    """Trains in the arrays it was given to accept."""

    def mli_propose_weights(self) -> Weights:
        self.tensors["slope"][...] += 0
        return super().mli_propose_weights()


class RoundsOnAccept(Line):
    """Keeps accepted weights with fewer digits."""

    def mli_accept_weights(self, weights: Weights) -> None:
        self.tensors = {name: np.round(array, 2) for name, array in weights.weights.items()}


class VotesWithNumpy(Line):
    """Votes with numpy's bool, which no record holds."""

    def mli_test_weights(self, weights: Weights) -> ProposedWeights:
        return ProposedWeights(weights.weights, vote=np.bool_(True))  # type: ignore[arg-type]


class DropsTheMapping(Line):
    """Returns its own weights with the verdict on others'."""

    def mli_test_weights(self, weights: Weights) -> ProposedWeights:
        return ProposedWeights(self.tensors, vote=True)


class ReturnsBareArrays(Line):
    """Returns a dictionary where Weights are due."""

    def mli_propose_weights(self) -> Any:
        return dict(super().mli_propose_weights().weights)


class Diverges(Line):
    """Proposes infinity."""

    def mli_propose_weights(self) -> Weights:
        return Weights({**super().mli_propose_weights().weights, "bias": np.array(np.inf)})


class ChangesDtype(Line):
    """Proposes in another precision than it holds."""

    def mli_propose_weights(self) -> Weights:
        proposed = super().mli_propose_weights().weights
        return Weights({name: array.astype(np.float32) for name, array in proposed.items()})


class KeepsMomentum(Line):
    """Carries an optimiser's state from one training to the next."""

    momentum = 0.0

    def mli_propose_weights(self) -> Weights:
        proposed = dict(super().mli_propose_weights().weights)
        self.momentum = 0.9 * self.momentum + 0.1
        proposed["slope"] = proposed["slope"] + self.momentum
        return Weights(proposed)


class KeepsStateAcrossAccept(Line):
    """Carries state from the weights it held before."""

    accepted = 0

    def mli_accept_weights(self, weights: Weights) -> None:
        self.accepted += 1
        super().mli_accept_weights(weights)

    def mli_propose_weights(self) -> Weights:
        proposed = dict(super().mli_propose_weights().weights)
        proposed["slope"] = proposed["slope"] + 0.01 * self.accepted
        return Weights(proposed)


class SeedsByInstance(Line):
    """Mixes something of the instance into the seed."""

    instances = 0

    def __init__(self) -> None:
        super().__init__()
        type(self).instances += 1
        self.mine = self.instances

    def set_seed(self, seed: int) -> None:
        super().set_seed(seed + self.mine)


@pytest.mark.parametrize(
    ("broken", "promise"),
    [
        (TrainsInPlace, "mli_propose_weights.. leaves the current weights"),
        (TestsByAccepting, "mli_test_weights.. leaves the current weights"),
        (ReusesItsBuffer, "given away: the learner writes into them no more"),
        (WritesIntoReceived, "takes read-only arrays.* it raised ValueError"),
        (TrainsWhatItAccepted, "accepts read-only arrays.* it raised ValueError"),
        (RoundsOnAccept, "current ones, byte for byte"),
        (VotesWithNumpy, "a vote is True, False or None"),
        (DropsTheMapping, "returns the weights it was given"),
        (ReturnsBareArrays, "mli_propose_weights.. returns a Weights"),
        (Diverges, "finite numbers only: 'bias'"),
        (ChangesDtype, "names, dtypes and dimensions of the current ones"),
        (KeepsMomentum, "the same training, whatever was done in between"),
        (KeepsStateAcrossAccept, "no state but the weights"),
        (SeedsByInstance, "in another instance"),
    ],
)
def test_a_broken_learner_is_found(broken: type[Line], promise: str) -> None:
    """Each way to break a learner fails on the promise it breaks."""
    with pytest.raises(AssertionError, match=promise):
        check_learner(broken)


def test_a_whole_learner_passes() -> None:
    """The base that the broken ones are made of keeps every promise."""
    check_learner(Line)


def test_a_learner_without_a_seed_passes() -> None:
    """Seeds are an offer: a learner that takes none is not asked for the same bytes twice."""

    class Unseeded(MachineLearningInterface):
        def __init__(self) -> None:
            self.line = Line()
            for name in ("test", "accept", "get_current"):
                setattr(self, f"mli_{name}_weights", getattr(self.line, f"mli_{name}_weights"))

        def mli_propose_weights(self) -> Weights:
            self.line.set_seed(int(np.random.default_rng().integers(2**40)))
            return self.line.mli_propose_weights()

    Unseeded.__abstractmethods__ = frozenset()
    check_learner(Unseeded)


@pytest.mark.parametrize(
    "attacker",
    [
        lambda: SignFlip(Line()),
        lambda: Noise(Line(), sigma=0.1),
        lambda: LazyVoter(Line()),
        lambda: Colluder(SignFlip(Line()), Pact()),
    ],
)
def test_attackers_keep_to_the_interface(attacker: Any) -> None:
    """An attacker breaks the spirit of the protocol, not its form: it is told by votes alone."""
    check_learner(attacker)


def test_sign_flip_goes_the_wrong_way_by_its_strength() -> None:
    """The proposal lies on the line from M to M′, on M's other side; counters are left alone."""
    honest, attacker = Line(), SignFlip(Line(), strength=3.0)
    for learner in (honest, attacker):
        learner.set_seed(5)
    good = honest.mli_propose_weights().weights
    bad = attacker.mli_propose_weights().weights
    for name in ("slope", "bias"):
        np.testing.assert_array_equal(bad[name], -3.0 * good[name])
        assert bad[name].dtype == good[name].dtype
    assert bad["steps"] == good["steps"]
    assert Line().mli_test_weights(Weights(bad)).vote is False


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_sign_flip_keeps_dtypes_and_tensors_that_grew(dtype: str) -> None:
    """Low precision stays low, and a tensor that M has not in this shape stays honest."""
    line = Line()
    line.tensors = {"kept": np.ones(2, dtype), "grown": np.ones(2, dtype)}
    line.mli_propose_weights = lambda: Weights(  # type: ignore[method-assign]
        {"kept": np.full(2, 1.5, dtype), "grown": np.ones(3, dtype), "new": np.ones(1, dtype)}
    )
    bad = SignFlip(line, strength=2.0).mli_propose_weights().weights
    assert {array.dtype for array in bad.values()} == {np.dtype(dtype)}
    np.testing.assert_array_equal(bad["kept"], np.zeros(2))
    np.testing.assert_array_equal(bad["grown"], np.ones(3))
    np.testing.assert_array_equal(bad["new"], np.ones(1))


def test_noise_is_seeded_and_of_its_size() -> None:
    """Noise has the standard deviation asked for, repeats with its seeds, and else differs."""
    line = Line()
    line.tensors["slope"] = np.zeros(20_000)
    attacker = Noise(line, sigma=0.5, seed=1)

    def draw(seed: int) -> np.ndarray:
        attacker.set_seed(seed)
        return attacker.mli_propose_weights().weights["slope"]

    assert draw(3).std() == pytest.approx(0.5, rel=0.03)
    assert abs(draw(3).mean()) < 0.02
    assert np.array_equal(draw(3), draw(3))
    assert not np.array_equal(draw(3), draw(4))
    assert not np.array_equal(draw(3), attacker.mli_propose_weights().weights["slope"])
    other = Noise(line, sigma=0.5, seed=2)
    other.set_seed(3)
    assert not np.array_equal(draw(3), other.mli_propose_weights().weights["slope"])


def test_noise_passes_the_seed_on() -> None:
    """The wrapped learner is seeded too, if it takes a seed."""
    attacker, plain = Noise(Line(), sigma=1.0), Line()
    for learner in (attacker, plain):
        learner.set_seed(11)
    assert attacker.learner.rng.integers(2**60) == plain.rng.integers(2**60)


def test_a_lazy_voter_does_no_work() -> None:
    """It approves the worst weights unseen and proposes what it has."""
    line = Line()
    lazy = LazyVoter(line)
    awful = Weights({"nonsense": np.array(1e9)})
    assert lazy.mli_test_weights(awful).vote is True
    assert lazy.mli_test_weights(awful).weights is awful.weights
    assert lazy.mli_propose_weights().weights is line.tensors


def test_a_contrary_voter_says_the_opposite() -> None:
    """What it would approve it rejects and the other way round; what it proposes is honest."""
    line = Line()
    contrary = ContraryVoter(line)
    good = Line().mli_propose_weights()
    awful = Weights({**good.weights, "slope": np.full(3, 1e9)})
    assert line.mli_test_weights(good).vote is True
    assert contrary.mli_test_weights(good).vote is False
    assert contrary.mli_test_weights(awful).vote is True
    assert np.array_equal(contrary.mli_propose_weights().weights["slope"], good.weights["slope"])


def test_colluders_approve_each_other_and_nobody_else() -> None:
    """What one of a pact proposed passes with all of them, by content; all else is rejected."""
    pact = Pact()
    first, second = Colluder(SignFlip(Line()), pact), Colluder(Line(), pact)
    outsider = Colluder(Line(), Pact())
    poison = first.mli_propose_weights()
    received = Weights({name: array.copy() for name, array in reversed(poison.weights.items())})
    assert second.mli_test_weights(received).vote is True
    assert first.mli_test_weights(received).vote is True
    assert outsider.mli_test_weights(received).vote is False
    honest = Line().mli_propose_weights()
    assert Line().mli_test_weights(honest).vote is True
    assert second.mli_test_weights(honest).vote is False
    for other in (
        {**received.weights, "slope": received.weights["slope"] + 1e-12},
        {**received.weights, "slope": received.weights["slope"].reshape(3, 1)},
        {f"x{name}": array for name, array in received.weights.items()},
    ):
        assert second.mli_test_weights(Weights(other)).vote is False


def test_a_wrapper_is_its_learner_in_all_else() -> None:
    """Other methods and attributes are the wrapped learner's, also of a copy."""
    attacker = copy.deepcopy(SignFlip(Line()))
    attacker.mli_accept_weights(Line().mli_propose_weights())
    assert attacker.mli_get_current_weights().weights is attacker.learner.tensors
    assert attacker.mli_get_current_model().model is attacker.learner
    assert attacker.x is attacker.learner.x
    with pytest.raises(AttributeError):
        _ = attacker.nothing_of_the_kind


@pytest.mark.parametrize(
    "wrap",
    [
        SignFlip,
        LazyVoter,
        ContraryVoter,
        lambda learner: Noise(learner, sigma=0.1),
        lambda learner: Colluder(SignFlip(learner), Pact()),
    ],
)
def test_a_wrapper_can_what_its_learner_can(wrap: Any) -> None:
    """Protocols are found as every Python looks for them: without ``__getattr__``, copies too."""
    made = copy.deepcopy(wrap(Steerable()))
    assert set(_OPTIONAL) == {
        name for kind in OPTIONAL_KINDS for name in vars(kind) if name[0] != "_"
    }
    for name in _OPTIONAL:
        assert callable(inspect.getattr_static(made, name))
    made.set_offset(None)
    assert made.offsets == [None]
    for name in set(_OPTIONAL) - {"set_seed"}:
        assert not hasattr(wrap(Line()), name)
