"""The Machine Learning Interface: what a learner must do to take part.

Any object with the four ``mli_*`` methods below can join, whatever framework it
is written in. Subclassing `MachineLearningInterface` is a convenience, not a
requirement.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class DiffPrivBudget:
    """How much privacy a learner's training may spend, and has spent (epsilon, delta).

    What proposals and updates have cost together, rejected ones included, since the
    budget of the learner's data was begun.
    """

    target_epsilon: float
    target_delta: float
    consumed_epsilon: float
    consumed_delta: float


@dataclass(frozen=True, slots=True)
class DiffPrivConfig:
    """Differentially private training (DP-SGD, arXiv 1607.00133).

    ``target_epsilon`` and ``target_delta`` bound what all trainings together cost;
    ``max_grad_norm`` is the L2 norm a sample's gradient is clipped to;
    ``noise_multiplier`` is the noise's standard deviation in units of that norm, and
    None has it worked out from the budget and the trainings planned.
    """

    target_epsilon: float
    target_delta: float
    max_grad_norm: float = 1.0
    noise_multiplier: float | None = None


class ErrorCodes(Enum):
    """Why a learner returned a summary instead of new weights worth proposing.

    With ``DP_BUDGET_EXCEEDED`` nothing was trained; the participant passes.
    """

    DP_BUDGET_EXCEEDED = 1


@dataclass(frozen=True, slots=True)
class TrainingSummary:
    """What a learner says about the training behind a proposal.

    ``samples`` is how many it was trained on: by this an update counts among the others
    in methods that heed it. Learners that have ``training_size`` need not say it here.
    """

    dp_budget: DiffPrivBudget | None = None
    error_code: ErrorCodes | None = None
    samples: int | None = None


@dataclass(frozen=True, slots=True, weakref_slot=True)
class Weights:
    """Named tensors: the whole state of a model that learning changes.

    ``weights`` maps names to numpy arrays (or scalars of any shape; dtypes as in
    `colearn.weights`). Arrays handed to a learner may be read-only and shared:
    copy before writing into one.
    """

    weights: Mapping[str, NDArray[np.generic]]
    training_summary: TrainingSummary | None = None


@dataclass(frozen=True, slots=True)
class ProposedWeights(Weights):
    """Weights with one learner's verdict on them.

    ``vote_score`` is what the vote compared, measured on the learner's private
    vote samples; ``test_score`` is measured on data that decides nothing. In both
    higher is better, and NaN means "not measured"; neither is shown when this is printed,
    for scores tell of single records. ``vote`` is True to approve,
    False to reject, None to abstain.
    """

    vote_score: float = field(default=math.nan, repr=False)
    test_score: float = field(default=math.nan, repr=False)
    vote: bool | None = None


class ModelFormat(Enum):
    """How `ColearnModel.model` is held. Pickles are not a format: they run code."""

    SAFETENSORS = 1
    ONNX = 2
    NATIVE = 3


@dataclass(frozen=True, slots=True)
class ColearnModel:
    """A model to use outside colearn.

    ``model`` is the framework's own object for `ModelFormat.NATIVE`, and bytes
    otherwise; ``model_file`` is where it was written, if it was.
    """

    model_format: ModelFormat
    model_file: str | None = None
    model: Any = None


class MachineLearningInterface(Protocol):
    """A model and its private data, as the protocol sees them.

    ``mli_propose_weights`` and ``mli_test_weights`` leave the current weights as
    they are; only ``mli_accept_weights`` changes them.

    Example:
        ```python
        import numpy as np
        from colearn import MachineLearningInterface, ProposedWeights, Weights

        class Mean(MachineLearningInterface):
            '''Learns the mean of private numbers.'''

            def __init__(self, numbers):
                self.numbers, self.guess = np.asarray(numbers), np.zeros(1)

            def loss(self, guess):
                return float(((self.numbers - guess) ** 2).mean())

            def mli_propose_weights(self):
                step = 0.5 * (self.numbers.mean() - self.guess)
                return Weights({"guess": self.guess + step})

            def mli_test_weights(self, weights):
                new = self.loss(weights.weights["guess"])
                return ProposedWeights(
                    weights.weights, vote_score=-new, vote=new < self.loss(self.guess)
                )

            def mli_accept_weights(self, weights):
                self.guess = weights.weights["guess"]

            def mli_get_current_weights(self):
                return Weights({"guess": self.guess})
        ```
    """

    @abstractmethod
    def mli_propose_weights(self) -> Weights:
        """Train from the current weights and return new ones to propose.

        The arrays returned are given away: the learner does not write into them
        afterwards. The current weights stay as they are.
        """

    @abstractmethod
    def mli_test_weights(self, weights: Weights) -> ProposedWeights:
        """Test weights on private data and vote on them; current weights stay as they are."""

    @abstractmethod
    def mli_accept_weights(self, weights: Weights) -> None:
        """Make weights the current ones; the old ones are discarded."""

    @abstractmethod
    def mli_get_current_weights(self) -> Weights:
        """Return the current weights."""

    def mli_get_current_model(self) -> ColearnModel:
        """Return the current model for use outside colearn: by default, itself."""
        return ColearnModel(ModelFormat.NATIVE, model=self)
