"""What all framework learners share: proposing, testing, voting, accepting.

A subclass says how to read and set its model's tensors, how to take one training
step, and what the losses of single samples are; everything else stands here,
once. Training is a pure function of weights, data and seed: each proposal starts
with a fresh optimiser, and nothing is remembered from one to the next.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, TypedDict

import numpy as np

from colearn.errors import ConfigError, LearnerError, SchemaMismatch, UnsupportedModel
from colearn.learners.samples import Samples, checked_samples, whole_number
from colearn.ml_interface import (
    ColearnModel,
    MachineLearningInterface,
    ModelFormat,
    ProposedWeights,
    Weights,
)
from colearn.protocols import Tensors
from colearn.voting import policy as named_policy
from colearn.weights import Schema, encode

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from colearn.privacy.config import Privacy
    from colearn.privacy.guard import Guard, NoisySteps
    from colearn.protocols import Policy

OTHER_FORMS = "take ModelFormat.NATIVE or ModelFormat.SAFETENSORS"
"""What to do where a model has no ONNX form."""


class TrainingOptions(TypedDict, total=False):
    """Options of every framework learner, but its samples; `FrameworkLearner` explains them."""

    steps: int
    batch_size: int
    policy: str | Policy
    seed: int
    privacy: Privacy | None


class Options(TrainingOptions, total=False):
    """The options of every framework learner that takes arrays."""

    vote: Samples | None
    test: Samples | None


class FrameworkLearner(MachineLearningInterface):
    """Base of the learners in this package.

    A subclass builds its model first and calls ``super().__init__`` last, because
    that reads the initial tensors. It fills these hooks, which all act on one
    working model:

    - `tensors`, `load`: read and set its tensors,
    - `begin`, `step`: start an optimiser, train on one mini-batch,
    - `losses`, `errors`, `score`: judge it,
    - `native`, `onnx`: copy it, for use outside colearn.

    One that learns from other things than arrays also fills `checked`, `take`,
    `mini_batches`, and for privacy `joined`, `digests`, `drawn`, `few` and `marked`.

    Args:
        train: Private samples to train on.
        vote: Private samples to vote by, never trained on. None sets a fifth of
            ``train`` apart, chosen by ``seed``.
        test: Samples for `ProposedWeights.test_score`, which decides nothing.
        steps: Mini-batches in one proposal.
        batch_size: Samples in a mini-batch.
        policy: How losses become a vote: a name from `colearn.voting` or a policy.
        seed: Where randomness comes from until `set_seed` is called.
        privacy: Hides single records behind noise, in training, votes or both; which
            records vote is then drawn anew from all that are given. Needs the extra
            ``privacy``.

    Raises:
        LearnerError: The samples cannot be learned from.
        ConfigError: An option cannot be used.
    """

    def __init__(
        self,
        *,
        train: Samples,
        vote: Samples | None = None,
        test: Samples | None = None,
        steps: int = 50,
        batch_size: int = 32,
        policy: str | Policy = "loss",
        seed: int = 0,
        privacy: Privacy | None = None,
    ) -> None:
        self.steps = whole_number("steps", steps, least=1)
        self.batch_size = whole_number("batch_size", batch_size, least=1)
        self.policy: Policy = named_policy(policy) if isinstance(policy, str) else policy
        if self.policy.metric not in ("loss", "error"):
            raise ConfigError(
                f"the voting policy compares {self.policy.metric!r}; "
                "a learner can measure 'loss' or 'error'"
            )
        self.set_seed(seed)
        self.set_offset(None)
        self.train_samples = self.checked("train", train)
        self.privacy = privacy
        self._guard: Guard | None = None
        if vote is not None:
            self.vote_samples = self.checked("vote", vote, like=self.train_samples)
        if privacy is not None:
            from colearn.learners import private  # noqa: PLC0415 - needs an extra

            given = (
                [self.train_samples] if vote is None else [self.train_samples, self.vote_samples]
            )
            self._guard = private.guard(self, privacy, given)
        elif vote is None:
            self.train_samples, self.vote_samples = self._set_apart(self.train_samples, seed)
        self.test_samples = (
            None if test is None else self.checked("test", test, like=self.train_samples)
        )
        self._current = Weights(self.tensors())
        self._schema = Schema.of(self._current.weights)
        self._before: NDArray[np.float64] | None = None

    def protect(self, privacy: Privacy) -> None:
        """Hide single records behind noise from here on; see the argument ``privacy``.

        Raises:
            UnsupportedModel: This model cannot be trained privately.
            ConfigError: The budget is too small for what is planned.
            LearnerError: There are too few records.
            BudgetError: The budget's file cannot be used.
            MissingExtra: The extra ``privacy`` is not installed.
        """
        from colearn.learners import private  # noqa: PLC0415 - needs an extra

        self._guard = private.guard(self, privacy, [self.train_samples, self.vote_samples])
        self.privacy = privacy
        self._before = None

    def hold(self, train: Samples, vote: Samples) -> None:
        """Train and vote on these samples from here on; the model stays as it is.

        Raises:
            ConfigError: The learner is protected: its budget accounts for the samples it has.
            LearnerError: They cannot be learned from, or are of another shape.
        """
        if self.privacy is not None:
            raise ConfigError(
                f"this {type(self).__name__} hides its records, and its budget accounts for them "
                "alone: make a learner of other samples, with a budget of its own"
            )
        like = self.train_samples
        self.train_samples = self.checked("train", train, like=like)
        self.vote_samples = self.checked("vote", vote, like=like)
        self._before = None

    @abstractmethod
    def tensors(self) -> dict[str, NDArray[np.generic]]:
        """Return copies of the working model's tensors, C-contiguous."""

    @abstractmethod
    def load(self, tensors: Tensors) -> None:
        """Set the working model's tensors; never write into the arrays given."""

    @abstractmethod
    def begin(self, rng: np.random.Generator) -> None:
        """Start training the loaded model afresh: a new optimiser, no history."""

    @abstractmethod
    def step(self, x: NDArray[Any], y: NDArray[Any]) -> None:
        """Train the working model on what `batches` yielded."""

    @abstractmethod
    def losses(self, x: NDArray[Any], y: NDArray[Any]) -> NDArray[np.float64]:
        """Return each sample's loss, shape (n,): what training minimises, or close to it."""

    @abstractmethod
    def errors(self, x: NDArray[Any], y: NDArray[Any]) -> NDArray[np.float64]:
        """Return each sample's error, shape (n,): 0 or 1 for classes, absolute for numbers."""

    @abstractmethod
    def score(self, x: NDArray[Any], y: NDArray[Any]) -> float:
        """Return the accuracy, or R² for numbers."""

    def no_private_training(self) -> str | None:
        """Why this model cannot be trained by `noisy_step`; None if it can."""
        return "not yet: nothing clips the gradients of its single samples; protect its votes alone"

    def no_private_votes(self) -> str | None:
        """Why this model's votes cannot be private; None if they can."""
        from colearn.learners.mixing import mixing  # noqa: PLC0415 - for who asks for privacy

        return mixing(self)

    def noisy_step(
        self,
        x: NDArray[Any],
        y: NDArray[Any],
        plan: NoisySteps,
        rng: np.random.Generator,
    ) -> None:
        """Train the working model on a batch of any size, 0 too, by clipped and noisy gradients."""
        raise NotImplementedError

    def check(self, tensors: Tensors) -> None:
        """Raise `SchemaMismatch` unless the tensors fit the schema."""
        self._schema.dims(tensors)

    def schema(self) -> Schema:
        """Names, dtypes and shapes of the weights, as an experiment fixes them."""
        return self._schema

    def train(
        self, tensors: Tensors, rng: np.random.Generator, plan: NoisySteps | None = None
    ) -> dict[str, NDArray[np.generic]]:
        """Return new tensors, trained from those given: a pure function with the data.

        Args:
            tensors: The weights to begin from.
            rng: Draws all that is random; with a plan nobody else may know its seed.
            plan: To train privately, clipping, noise and steps.
        """
        self.load(tensors)
        self.begin(rng)
        batches = self.mini_batches(rng) if plan is None else self.drawn(plan.batches(rng))
        for x, y in batches:
            if plan is None:
                self.step(x, y)
            else:
                self.noisy_step(x, y, plan, rng)
            if self.offset is not None:
                self.shift(self.offset)
        return self.tensors()

    def shift(self, offset: Tensors) -> None:
        """Add an offset to the working model's tensors of the same names."""
        tensors = self.tensors()
        for name, change in offset.items():
            np.add(tensors[name], change, out=tensors[name], casting="same_kind")
        self.load(tensors)

    def checked(self, name: str, samples: Samples, *, like: Samples | None = None) -> Samples:
        """Return samples in the form that `step` and `losses` take; see `checked_samples`."""
        return checked_samples(name, samples, like=like)

    def take(self, samples: Samples, rows: NDArray[np.intp]) -> Samples:
        """Return some of the samples."""
        x, y = samples
        return x[rows], y[rows]

    def few(self, count: int) -> Samples:
        """Return some train samples to try the model with; where there are fewer, some twice."""
        samples = self.train_samples
        rows = np.arange(count) * len(samples[0]) // count
        return self.joined([self.take(samples, rows)])

    def marked(self, samples: Samples, rows: NDArray[np.intp], value: float) -> Samples:
        """Return samples whose inputs in some rows are all this value.

        They stay as they are where they are whole numbers, which may be names of things.
        """
        x, y = samples
        if x.dtype.kind != "f" or np.array_equal(x, x.round()):
            return samples
        x = x.copy()
        x[rows] = value
        return x, y

    def joined(self, parts: Sequence[Samples]) -> Samples:
        """Return samples of several parts as one, in which records can be told apart.

        Raises:
            UnsupportedModel: They cannot.
        """
        if not all(isinstance(array, np.ndarray) for part in parts for array in part):
            raise UnsupportedModel(
                f"{type(self).__name__} can tell its records apart only in arrays: "
                "give the samples as arrays to keep them private"
            )
        x, y = (np.concatenate([part[axis] for part in parts]) for axis in (0, 1))
        return x, y

    def digests(self, samples: Samples) -> list[bytes]:
        """Return the hash of each record; the same record has the same one, whoever asks."""
        from colearn.privacy.assignment import record_digests  # noqa: PLC0415 - for who asks

        return record_digests(*samples)

    def drawn(self, batches: Iterator[NDArray[np.intp]]) -> Iterator[Samples]:
        """Yield the train samples of these rows, of which there may be none."""
        for rows in batches:
            yield self.take(self.train_samples, rows)

    def mini_batches(self, rng: np.random.Generator) -> Iterator[Samples]:
        """Yield what each `step` trains on."""
        for rows in self.batches(rng):
            yield self.take(self.train_samples, rows)

    def batches(self, rng: np.random.Generator) -> Iterator[NDArray[np.intp]]:
        """Yield the rows of ``steps`` mini-batches."""
        for rows in self.passes(rng):
            for start in range(0, len(rows), self.batch_size):
                yield rows[start : start + self.batch_size]

    def passes(self, rng: np.random.Generator) -> Iterator[NDArray[np.intp]]:
        """Yield the rows of ``steps`` mini-batches, pass by pass over the shuffled data."""
        samples = len(self.train_samples[0])
        steps_in_a_pass = math.ceil(samples / self.batch_size)
        left = self.steps
        while left > 0:
            yield rng.permutation(samples)[: left * self.batch_size]
            left -= steps_in_a_pass

    def set_seed(self, seed: int) -> None:
        """Draw all randomness of the next proposals from this seed."""
        self._seed = whole_number("seed", seed, least=0)
        self._drawn = 0

    def set_offset(self, offset: Tensors | None) -> None:
        """Add these to the tensors of their names after each training step from here on.

        Raises:
            SchemaMismatch: There is no tensor of such a name and shape.
        """
        for name, change in (offset or {}).items():
            spec = self._schema.tensors.get(name)
            if spec is None or spec.shape != change.shape:
                raise SchemaMismatch(
                    f"an offset for {name!r} has shape {change.shape}, "
                    f"but the model's tensor is {spec or 'not there'}: they must agree"
                )
        self.offset = offset

    def training_size(self) -> tuple[int, int]:
        """How many steps a proposal takes, and how many samples it is trained on."""
        return self.steps, len(self.train_samples[0])

    def mli_propose_weights(self) -> Weights:
        """Train from the current weights; see `MachineLearningInterface`.

        Proposing again without a new seed draws anew, and gives other weights.
        """
        turn = self._seed, self._drawn
        self._drawn += 1
        if self._guard is not None and self._guard.training is not None:
            from colearn.learners import private  # noqa: PLC0415 - needs an extra

            with _quiet():
                return private.propose(self, self._guard.training, turn)
        rng = np.random.default_rng(turn)
        with _quiet():
            return Weights(self.train(self._current.weights, rng))

    def mli_test_weights(self, weights: Weights) -> ProposedWeights:
        """Vote by the same private samples' losses under the current weights and these.

        ``vote_score`` is minus the mean of what the policy compares. Where votes are
        private no score is measured.

        Raises:
            SchemaMismatch: The weights do not fit the model.
        """
        if self._guard is not None and self._guard.votes is not None:
            from colearn.learners import private  # noqa: PLC0415 - needs an extra

            return private.judge(self, self._guard.votes, weights)
        before, after = self.vote_losses(weights)
        with _quiet():
            test_score = self.score(*self.test_samples) if self.test_samples else math.nan
            return ProposedWeights(
                weights.weights,
                weights.training_summary,
                vote_score=-float(after.mean()),
                test_score=test_score,
                vote=self.policy.vote(before, after, self.vote_samples[1]),
            )

    def vote_losses(self, weights: Weights) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """What the policy compares of each vote sample, under the current weights and these."""
        if self._before is None:
            self.load(self._current.weights)
            self._before = self._measure(self.policy.metric)
        self._load(weights)
        return self._before, self._measure(self.policy.metric)

    def mli_accept_weights(self, weights: Weights) -> None:
        """Make these the current weights, by reference.

        Raises:
            SchemaMismatch: The weights do not fit the model.
        """
        self.check(weights.weights)
        self._current = Weights(weights.weights, weights.training_summary)
        self._before = None

    def mli_get_current_weights(self) -> Weights:
        """Return the current weights, by reference."""
        return self._current

    def mli_get_current_model(self, model_format: ModelFormat = ModelFormat.ONNX) -> ColearnModel:
        """Return the current model, for use outside colearn.

        Args:
            model_format: ``ONNX`` and ``SAFETENSORS`` are bytes; ``NATIVE`` is the
                framework's own object, apart from the learner.

        Raises:
            UnsupportedModel: The model has no such form.
            MissingExtra: A converter is not installed.
        """
        if model_format is ModelFormat.SAFETENSORS:
            parts = encode(self._current.weights, self._schema).parts
            return ColearnModel(model_format, model=b"".join(parts))
        self.load(self._current.weights)
        model = self.native() if model_format is ModelFormat.NATIVE else self.onnx()
        return ColearnModel(model_format, model=model)

    def native(self) -> Any:
        """Return a copy of the working model as the framework's own object."""
        raise UnsupportedModel(
            f"{type(self).__name__} has no model of a framework: take ModelFormat.SAFETENSORS"
        )

    def onnx(self) -> bytes:
        """Return the working model as ONNX."""
        raise UnsupportedModel(f"{type(self).__name__} has no ONNX form, not yet: {OTHER_FORMS}")

    def evaluate(self, weights: Weights, samples: Samples) -> float:
        """Score any weights on any samples; the current weights stay as they are.

        Raises:
            SchemaMismatch: The weights do not fit the model.
            LearnerError: The samples cannot be used.
        """
        x, y = self.checked("given", samples, like=self.train_samples)
        self._load(weights)
        with _quiet():
            return self.score(x, y)

    def vote_loss(self, weights: Weights) -> float:
        """Mean loss of any weights on the vote samples, whatever the policy compares."""
        self._load(weights)
        return float(self._measure("loss").mean())

    def _load(self, weights: Weights) -> None:
        self.check(weights.weights)
        self.load(weights.weights)

    def _measure(self, metric: str) -> NDArray[np.float64]:
        """Per-sample losses or errors of the working model on the vote samples."""
        x, y = self.vote_samples
        with _quiet():
            values = self.losses(x, y) if metric == "loss" else self.errors(x, y)
        if values.shape != (len(x),):
            raise LearnerError(
                f"{type(self).__name__} measured values of shape {values.shape} "
                f"for {len(x)} samples: it must give one for each, shape ({len(x)},)"
            )
        return values

    def _set_apart(self, samples: Samples, seed: int) -> tuple[Samples, Samples]:
        """Split into four fifths to train on and one fifth, at least one sample, to vote by."""
        count = len(samples[0])
        if count < 2:
            raise LearnerError(
                "there is one train sample, and one to vote by is taken from them: "
                "at least two are needed, or vote samples of their own"
            )
        order = np.random.default_rng(seed).permutation(count)
        held = max(1, count // 5)
        return self.take(samples, order[held:]), self.take(samples, order[:held])


def _quiet() -> np.errstate:
    """Weights from others may overflow; the vote sees that in the losses, not in a warning."""
    return np.errstate(over="ignore", invalid="ignore", divide="ignore")
