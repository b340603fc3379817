"""One member's learner: which model it holds, what its training gives, how it judges.

Whatever a participant asks of its learner it asks here. Nothing is published, and nothing
said before is known: whoever asks twice trains twice.
"""

from __future__ import annotations

import logging
from numbers import Integral
from typing import Any

from msgspec.structs import replace

from colearn.ahead import Ahead, Place
from colearn.course import Course
from colearn.duty import Action
from colearn.errors import LearnerError, NotFinite, StoreError, WeightsError
from colearn.ml_interface import MachineLearningInterface, ProposedWeights, Weights
from colearn.protocols import Seeded, Steered, Tensors
from colearn.records import Digest, Update, digest_of
from colearn.state import State
from colearn.weights import equal
from colearn.weights_store import WeightsStore

_METHODS = {
    Action.ACCEPT: "mli_accept_weights",
    Action.TRAIN: "mli_propose_weights",
    Action.PROPOSE: "mli_propose_weights",
    Action.COLLECT: "mli_propose_weights",
    Action.VOTE: "mli_test_weights",
    Action.COMMIT: "mli_test_weights",
    Action.REVEAL: "mli_test_weights",
}
_log = logging.getLogger(__name__)


class Trainee:
    """Holds one learner to its interface.

    Args:
        member: Whose it is.
        learner: Anything with the methods of the Machine Learning Interface.
        weights: Where weights are put and found.
        course: The method's course; None for the plain method.
        seed: The run's seed; with the member and the round it gives the training's.
    """

    def __init__(
        self,
        member: str,
        learner: MachineLearningInterface,
        *,
        weights: WeightsStore,
        course: Course | None,
        seed: int,
    ) -> None:
        self._member = member
        self._learner = learner
        self._weights = weights
        self._course = course
        self._seed = seed
        self._seeded = learner if isinstance(learner, Seeded) else None
        self._steered = learner if isinstance(learner, Steered) else None
        self._holds: Digest | None = None
        self._ahead = Ahead()
        self._checked: set[Action] = set()

    def lacks(self, state: State) -> bool:
        """Whether it holds another model than everyone's, and has not gone ahead."""
        place = self._ahead.place
        ahead = place is not None and place == (state.round + 1, self._holds)
        return self._holds != state.current and not ahead

    def hold(self, proposal: Digest) -> None:
        """Let the learner accept a proposal's weights, unless it holds them, and be idle.

        Raises:
            StoreError: They cannot be had.
            WeightsError: They are no weights of the experiment.
        """
        self._ahead.drop()
        if self._holds != proposal:
            self._learner.mli_accept_weights(self._weights.get(proposal))
            self._holds = proposal

    def train(self, state: State) -> Weights | None:
        """Train from everyone's model; None where the learner has nothing to give.

        Raises:
            LearnerError: What it returned is not weights.
        """
        told = None if self._course is None else self._course.state
        place = Place(state.round, state.current)
        return self._ahead.take(place, lambda: self._trained(state.round, told))

    def update(self, state: State, method_state: str) -> Update:
        """Train, and store what comes of it; an update without weights where nothing does.

        Nothing comes where the method's state is not known: there is no use in training then.

        Args:
            state: The ledger's.
            method_state: Digest of the method's state that is trained with.

        Raises:
            LearnerError: What the learner returned is not weights.
        """
        update = Update(
            round=state.round,
            sender=self._member,
            base=state.current,
            state=method_state,
            weights="",
            size_bytes=0,
            steps=0,
            samples=0,
        )
        try:
            known = self._course is None or self._course.known
            weights = self.train(state) if known else None
            if weights is not None:
                steps, samples = training_size(self._learner, weights)
                update = replace(update, steps=steps, samples=samples)
                update = self._weights.put_update(weights, update)
        except NotFinite as reason:
            _log.warning("%s gives no update in round %d: %s", self._member, state.round, reason)
        except LearnerError as reason:
            raise type(reason)(f"{self._member!r} cannot train: {reason}") from None
        return update

    def go_ahead(self, expected: Digest, state: State) -> None:
        """Begin to train on a proposal of the live round, as if it were accepted already."""
        place = Place(state.round + 1, expected)
        try:
            told = None if self._course is None else self._course.foresee(expected, state)
        except (StoreError, WeightsError) as reason:
            _log.warning("%s does not go ahead of round %d: %s", self._member, state.round, reason)
            return

        def train() -> Weights | None:
            self._learner.mli_accept_weights(self._weights.get(expected))
            return self._trained(place.round, told)

        self._holds = expected
        self._ahead.begin(place, train)

    def _trained(self, round_index: int, told: Tensors | None) -> Weights | None:
        """Train from what the learner holds, as the method's state tells it to."""
        if self._seeded is not None:
            self._seeded.set_seed(training_seed(self._seed, self._member, round_index))
        if self._steered is not None and self._course is not None and told is not None:
            self._steered.set_offset(self._course.method.offset(told, self._member))
        weights = self._learner.mli_propose_weights()
        if not isinstance(weights, Weights):
            raise LearnerError(
                f"{self._member!r}: mli_propose_weights returned a {type(weights).__name__}; "
                "return colearn.Weights({name: array, ...})"
            )
        summary = weights.training_summary
        return None if summary is not None and summary.error_code is not None else weights

    def test(self, proposal: Digest, state: State) -> ProposedWeights:
        """What the learner says of a proposal's weights, holding everyone's model.

        Raises:
            StoreError: They cannot be had.
            WeightsError: They are no weights of the experiment.
            LearnerError: What it returned is no verdict.
        """
        self.hold(state.current)
        verdict = self._learner.mli_test_weights(self._weights.get(proposal))
        if not isinstance(verdict, ProposedWeights):
            raise LearnerError(
                f"{self._member!r}: mli_test_weights returned a {type(verdict).__name__}; "
                "return colearn.ProposedWeights(weights.weights, vote=...)"
            )
        return verdict

    def check(self, action: Action, state: State) -> None:
        """Check, the first time it does each, that it holds everyone's model after it.

        Raises:
            LearnerError: It holds another, though it was given everyone's.
        """
        if action in self._checked or self._holds != state.current:
            return
        held = self._learner.mli_get_current_weights().weights
        for name, tensor in self._weights.get(state.current).weights.items():
            if not equal(held.get(name), tensor):
                raise LearnerError(
                    f"{self._member!r}: after {_METHODS[action]} its current weights are not "
                    f"everyone's, by tensor {name!r}: only mli_accept_weights changes them, "
                    "to what it is given"
                )
        self._checked.add(action)


def training_size(learner: MachineLearningInterface, trained: Weights) -> tuple[int, int]:
    """Steps and samples of a training, as an update declares them; 0 for what is not known.

    Raises:
        LearnerError: The learner's summary counts samples otherwise than from 0 up.
    """
    if isinstance(learner, Steered):
        return learner.training_size()
    summary = trained.training_summary
    samples: Any = None if summary is None else summary.samples
    if samples is None:
        return 0, 0
    if not isinstance(samples, Integral) or samples < 0:
        raise LearnerError(f"its training took {samples!r} samples: expected a whole number")
    return 0, int(samples)


def training_seed(seed: int, member: str, round_index: int) -> int:
    """The seed of one member's training in one round: 63 bits of a hash of the three."""
    return int(digest_of((f"{seed}/{round_index}/{member}".encode(),))[:16], 16) >> 1
