"""scikit-learn estimators that learn by ``partial_fit``, as learners.

Supported are the linear models trained by stochastic gradient descent
(`SGDClassifier`, `SGDRegressor`, `Perceptron` and their like) and the
multi-layer perceptrons with the solvers ``adam`` and ``sgd``.
"""

from __future__ import annotations

import copy
import warnings
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, Unpack

import numpy as np

from colearn.errors import (
    ConfigError,
    LearnerError,
    MissingExtra,
    NotFinite,
    UnsupportedModel,
    UnusableWeights,
)
from colearn.learners.base import Options
from colearn.learners.measures import label_index
from colearn.learners.samples import Samples
from colearn.learners.supervised import SupervisedLearner, checked_table, one_line
from colearn.protocols import Tensors

try:
    from sklearn import config_context
    from sklearn.base import BaseEstimator, clone, is_classifier, is_regressor
    from sklearn.neural_network import MLPClassifier, MLPRegressor
    from sklearn.neural_network._stochastic_optimizers import AdamOptimizer, SGDOptimizer
except ModuleNotFoundError:
    raise MissingExtra("SklearnLearner", "scikit-learn", "demo") from None

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from colearn.privacy.guard import NoisySteps

_MAX_SAMPLES_SEEN = 2.0**53

# Its networks swallow Ctrl-C while they train, and only warn: the warning brings it back.
_INTERRUPTED = "Training interrupted by user"
warnings.filterwarnings("error", _INTERRUPTED, UserWarning)

_PRIVATE_LOSSES = ("log_loss", "hinge", "squared_error", "huber")

_REPLACED = {
    *("coef_", "intercept_", "coefs_", "intercepts_"),
    *("_optimizer", "_best_coefs", "_best_intercepts"),
}
"""Attributes of a fitted estimator that hold weights, or moments of an earlier training."""

_OTHERS = {
    "sklearn.pipeline": "not yet: a step fitted on one learner's data would not fit the others'; "
    "pass the last step alone, and scale by constants agreed beforehand",
    "sklearn.neighbors": "never: it keeps the private samples themselves; use an MLPClassifier",
    "sklearn.gaussian_process": "never: it keeps the private samples themselves; use an MLP",
    "sklearn.svm._classes.LinearSV": "not yet: it fits all data at once; "
    "use SGDClassifier(loss='hinge') or SGDRegressor(loss='epsilon_insensitive')",
    "sklearn.svm": "never: its support vectors are private samples; "
    "use SGDClassifier(loss='hinge')",
    "sklearn.tree": "not yet: one tree cannot grow by small changes; "
    "use a random forest with ForestLearner",
    "sklearn.ensemble._forest": "not here: use ForestLearner",
    "sklearn.ensemble": "not yet: use a random forest with ForestLearner",
    "sklearn.naive_bayes": "not yet: its weights are counts; use SGDClassifier(loss='log_loss')",
    "sklearn.linear_model": "not yet: it fits all data at once; "
    "use SGDClassifier(loss='log_loss') or SGDRegressor()",
}


class SklearnLearner(SupervisedLearner):
    """A scikit-learn classifier or regressor behind the Machine Learning Interface.

    All learners start from the same weights: zeros for linear models, and for
    perceptrons scikit-learn's own initial weights under the estimator's
    ``random_state`` (None counts as 0).

    The weights are ``coef`` and ``intercept``, or ``layers.0.weight``,
    ``layers.0.bias`` and so on, in the dtype of x (float32 or float64). Where
    the learning rate falls with every sample (``optimal`` and ``invscaling``),
    ``samples_seen`` travels with them, or each proposal would start again with
    the largest steps. No vote sees that number: among learners that do not trust
    each other use a constant learning rate.

    Args:
        estimator: The estimator; it is cloned and never changed. Its ``shuffle``,
            ``batch_size`` and ``max_iter`` have no effect: the learner shuffles.
        train: As in `FrameworkLearner`; x of shape (n, features).
        classes: All labels of the experiment; by default those in ``train``.
        options: As in `FrameworkLearner`.

    Raises:
        UnsupportedModel: The estimator cannot learn collectively.
        LearnerError: The samples cannot be learned from.
        ConfigError: An option, or a parameter of the estimator, cannot be used.
    """

    def __init__(
        self,
        estimator: BaseEstimator,
        *,
        train: Samples,
        classes: NDArray[Any] | Sequence[Any] | None = None,
        **options: Unpack[Options],
    ) -> None:
        _check_supported(estimator)
        x, y, self.classes = checked_table(train, classes, numbers=is_regressor(estimator))
        self.has_probabilities = hasattr(estimator, "predict_proba")
        self._given = clone(estimator)
        self._model = _initial(estimator, x[:1], y[:1], self.classes)
        self._fresh = {
            name: value for name, value in vars(self._model).items() if name not in _REPLACED
        }
        super().__init__(train=(x, y), **options)

    def tensors(self) -> dict[str, NDArray[np.generic]]:
        """Return copies of the working model's tensors, C-contiguous."""
        model = self._model
        named: dict[str, Any]
        if _is_mlp(model):
            named = _layers(model)
        else:
            # scikit-learn trains the intercept in float64 even where coef is float32.
            intercept = np.asarray(model.intercept_, model.coef_.dtype)
            named = {"coef": model.coef_, "intercept": intercept}
            if _rate_falls(model):
                named["samples_seen"] = np.float64(model.t_)
        return {name: np.array(tensor, order="C") for name, tensor in named.items()}

    def load(self, tensors: Tensors) -> None:
        """Set the working model's tensors, by reference; `begin` copies them."""
        _write(self._model, tensors)

    def check(self, tensors: Tensors) -> None:
        """Raise `SchemaMismatch`, or `LearnerError` for an impossible ``samples_seen``."""
        super().check(tensors)
        seen = float(tensors.get("samples_seen", 1.0))
        if not 1 <= seen <= _MAX_SAMPLES_SEEN:
            raise UnusableWeights(f"samples_seen is {seen}: it must lie between 1 and 2**53")

    def begin(self, rng: np.random.Generator) -> None:  # noqa: ARG002 - only batches are random
        """Forget all of earlier trainings; the model's arrays become its own."""
        tensors = self.tensors()
        vars(self._model).clear()
        vars(self._model).update(copy.deepcopy(self._fresh))
        _write(self._model, tensors)
        if self.offset is not None and _is_mlp(self._model):
            self._model._optimizer = _Steered(self._model, self.offset)  # noqa: SLF001

    def batches(self, rng: np.random.Generator) -> Iterator[NDArray[np.intp]]:
        """Yield whole passes: scikit-learn cuts them into mini-batches, several times faster.

        For a linear model with an offset to add after each, they are cut here.
        """
        if self.offset is None or _is_mlp(self._model):
            return self.passes(rng)
        return super().batches(rng)

    def shift(self, offset: Tensors) -> None:
        """Add an offset to a linear model; a network's optimiser has done so at each step."""
        if not _is_mlp(self._model):
            _add(offset, {"coef": self._model.coef_, "intercept": self._model.intercept_})

    def step(self, x: NDArray[Any], y: NDArray[Any]) -> None:
        """Train on a mini-batch, or on a pass over the data."""
        if _is_mlp(self._model):
            self._model.batch_size = min(self.batch_size, len(x))
        try:
            with _lean():
                self._model.partial_fit(x, y)
        except UserWarning as reason:
            if _INTERRUPTED in str(reason):
                raise KeyboardInterrupt from None
            raise
        except ValueError as reason:
            diverged = "finite" in str(reason) or "overflow" in str(reason)
            raise (NotFinite if diverged else LearnerError)(
                f"training failed: {one_line(reason)}; "
                "lower the learning rate or scale the features"
            ) from None

    def no_private_training(self) -> str | None:
        """Why this estimator cannot be trained privately; None if it can."""
        return _no_private_training(self._model)

    def noisy_step(
        self, x: NDArray[Any], y: NDArray[Any], plan: NoisySteps, rng: np.random.Generator
    ) -> None:
        """Train on a batch by clipped and noisy gradients."""
        from colearn.learners import sklearn_private  # noqa: PLC0415 - for who asks for privacy

        targets = y if self.classes is None else label_index(y, self.classes)
        step = sklearn_private.linear_step
        if _is_mlp(self._model):
            step = sklearn_private.perceptron_step
        step(self._model, x, targets, plan, rng)

    def native(self) -> BaseEstimator:
        """Return a fitted clone of the estimator, with the parameters it was given."""
        model = clone(self._given)
        vars(model).update(copy.deepcopy(self._fresh) | vars(model))
        _write(model, self.tensors())
        return model

    def onnx(self) -> bytes:
        """Return the estimator as ONNX."""
        from colearn.learners.onnx import from_sklearn  # noqa: PLC0415 - needs another extra

        x = self.train_samples[0]
        return from_sklearn(self.native(), x.shape[1], x.dtype)

    def outputs(self, x: NDArray[Any]) -> NDArray[Any]:
        """Return probabilities, decisions or predicted numbers."""
        model = self._model
        with _lean():
            if self.classes is None:
                outputs = model.predict(x)
            elif self.has_probabilities:
                outputs = model.predict_proba(x)
            else:
                outputs = model.decision_function(x)
        return np.asarray(outputs)


def _lean() -> AbstractContextManager[None]:
    """Skip scikit-learn's checks of what has been checked once."""
    context: AbstractContextManager[None] = config_context(
        assume_finite=True, skip_parameter_validation=True
    )
    return context


class _Steered:
    """An optimiser for scikit-learn's networks: theirs, and after each step an offset."""

    def __init__(self, model: BaseEstimator, offset: Tensors) -> None:
        self._model = model
        self._offset = offset
        parameters = [*model.coefs_, *model.intercepts_]
        rate = model.learning_rate_init
        self._optimizer = (
            AdamOptimizer(parameters, rate, model.beta_1, model.beta_2, model.epsilon)
            if model.solver == "adam"
            else SGDOptimizer(
                parameters,
                rate,
                model.learning_rate,
                model.momentum,
                model.nesterovs_momentum,
                model.power_t,
            )
        )

    def update_params(self, parameters: list[Any], gradients: list[Any]) -> None:
        """Take a step and add the offset."""
        self._optimizer.update_params(parameters, gradients)
        _add(self._offset, _layers(self._model))

    def iteration_ends(self, samples_seen: int) -> None:
        """Let the learning rate follow the samples seen."""
        self._optimizer.iteration_ends(samples_seen)

    def trigger_stopping(self, message: str, verbose: bool) -> bool:
        """Lower the learning rate where it adapts; True to stop."""
        return bool(self._optimizer.trigger_stopping(message, verbose))


def _add(offset: Tensors, arrays: Tensors) -> None:
    """Add an offset to the arrays of the same names, in place."""
    for name, change in offset.items():
        np.add(arrays[name], change, out=arrays[name], casting="same_kind")


def _layers(model: BaseEstimator) -> dict[str, NDArray[Any]]:
    """A network's own arrays, by the names of their tensors."""
    named = {}
    for layer, (weight, bias) in enumerate(zip(model.coefs_, model.intercepts_, strict=True)):
        named[f"layers.{layer}.weight"] = weight
        named[f"layers.{layer}.bias"] = bias
    return named


def _write(model: BaseEstimator, tensors: Tensors) -> None:
    if "coef" in tensors:
        model.coef_, model.intercept_ = tensors["coef"], tensors["intercept"]
        if "samples_seen" in tensors:
            model.t_ = float(tensors["samples_seen"])
    else:
        layers = range(len(tensors) // 2)
        model.coefs_ = [tensors[f"layers.{layer}.weight"] for layer in layers]
        model.intercepts_ = [tensors[f"layers.{layer}.bias"] for layer in layers]


def _rate_falls(model: BaseEstimator) -> bool:
    return getattr(model, "learning_rate", None) in ("optimal", "invscaling")


def _initial(
    estimator: BaseEstimator, x: NDArray[Any], y: NDArray[Any], classes: NDArray[Any] | None
) -> BaseEstimator:
    """Return a fitted estimator whose weights depend on its parameters and shapes alone."""
    model = clone(estimator).set_params(shuffle=False)
    if model.random_state is None:
        model.set_params(random_state=0)
    labels = {} if classes is None else {"classes": classes}
    if _is_mlp(model):
        model.set_params(batch_size=1)
    try:
        clone(model).partial_fit(x, y, **labels)
    except ValueError as reason:
        raise ConfigError(
            f"{type(estimator).__name__} refuses to train: {one_line(reason)}"
        ) from None
    if _is_mlp(model):
        rate = model.learning_rate_init
        with _lean():
            model.set_params(learning_rate_init=0.0).partial_fit(x, y, **labels)
        model.set_params(learning_rate_init=rate)
        model.loss_curve_, model.best_loss_ = [], np.inf
    else:
        model.partial_fit(x, y, **labels)
        model.coef_, model.intercept_ = np.zeros_like(model.coef_), np.zeros_like(model.intercept_)
        model.t_ = 1.0
    return model


def _check_supported(estimator: BaseEstimator) -> None:
    """Raise `UnsupportedModel` with the reason, and what to use instead."""
    if isinstance(estimator, type) or not isinstance(estimator, BaseEstimator):
        raise UnsupportedModel(
            f"got {estimator!r}: expected a scikit-learn estimator such as SGDClassifier()"
        )
    reason = _unsupported_kind(estimator) or _unsupported_parameter(estimator)
    if reason is not None:
        raise UnsupportedModel(f"{type(estimator).__name__} cannot learn collectively, {reason}")


def _unsupported_kind(estimator: BaseEstimator) -> str | None:
    if _is_mlp(estimator):
        return None
    bases = [f"{base.__module__}.{base.__name__}" for base in type(estimator).__mro__]
    learns = is_classifier(estimator) or is_regressor(estimator)
    linear = any(base.startswith("sklearn.linear_model") for base in bases)
    if learns and linear and hasattr(estimator, "partial_fit"):
        return None
    reasons = (why for base in bases for start, why in _OTHERS.items() if base.startswith(start))
    return next(
        reasons,
        "not yet: its weights are not known here; use SGDClassifier, SGDRegressor or an MLP",
    )


def _unsupported_parameter(estimator: BaseEstimator) -> str | None:
    parameters = estimator.get_params(deep=False)
    if parameters.get("average"):
        return "not yet with average=True: the running average would have to travel; leave it out"
    if parameters.get("early_stopping"):
        return "never with early_stopping=True: the vote decides what is kept; leave it out"
    if parameters.get("class_weight") == "balanced":
        return (
            "never with class_weight='balanced': each learner would weigh by its own labels; "
            "give a dictionary that all share"
        )
    if not _is_mlp(estimator):
        return None
    if parameters["solver"] == "lbfgs":
        return "never with solver='lbfgs': it fits all data at once; use solver='adam' or 'sgd'"
    if parameters["solver"] == "sgd" and parameters["learning_rate"] == "invscaling":
        return (
            "not yet with learning_rate='invscaling': a fresh optimiser starts at the full rate; "
            "use learning_rate='constant'"
        )
    return None


def _no_private_training(model: BaseEstimator) -> str | None:
    """Why a model cannot be trained by `sklearn_private`; None if it can."""
    if model.loss not in _PRIVATE_LOSSES:
        return f"not yet with the loss {model.loss!r}: use one of {', '.join(_PRIVATE_LOSSES)}"
    if _is_mlp(model):
        return None
    if model.learning_rate not in ("constant", "invscaling"):
        return (
            f"not yet with learning_rate={model.learning_rate!r}: its first steps are so large "
            "that the noise in them would be all; use learning_rate='constant' and a small eta0"
        )
    if model.penalty not in (None, "l2"):
        return f"not yet with penalty={model.penalty!r}: use 'l2' or None"
    if getattr(model, "class_weight", None):
        return "not yet with class_weight: leave it out"
    return None


def _is_mlp(estimator: BaseEstimator) -> bool:
    return isinstance(estimator, MLPClassifier | MLPRegressor)
