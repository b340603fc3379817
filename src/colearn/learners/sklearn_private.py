"""DP-SGD for scikit-learn's linear models and perceptrons, in one pass over a batch.

A sample's gradient in a dense layer is an outer product of its input and its error,
so its norm is the product of theirs: no gradient of a single sample is ever formed
(arXiv 1510.01799), and clipping costs little more than training.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.neural_network._stochastic_optimizers import AdamOptimizer, SGDOptimizer

from colearn.privacy.noise import gaussian

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from colearn.privacy.guard import NoisySteps


class Layer(NamedTuple):
    """What a dense layer has seen of a batch: inputs (n, in) and errors (n, out)."""

    inputs: NDArray[Any]
    errors: NDArray[Any]


def noisy_sums(
    layers: Sequence[Layer], plan: NoisySteps, rng: np.random.Generator, *, bias: bool = True
) -> list[tuple[NDArray[Any], NDArray[Any]]]:
    """Each layer's sum of clipped gradients with noise: weight (in, out) and bias (out,).

    A sample is clipped over all layers together. One whose gradient is not finite
    counts nothing.
    """
    squares = sum((_squares(layer.inputs) + bias) * _squares(layer.errors) for layer in layers)
    norms = np.sqrt(squares)
    finite = np.isfinite(norms)
    shares = np.minimum(1.0, plan.max_grad_norm / np.maximum(norms, np.finfo(norms.dtype).tiny))
    sums = []
    for inputs, errors in layers:
        if not finite.all():
            inputs, errors = (_only(finite, each) for each in (inputs, errors))  # noqa: PLW2901
        clipped = errors * np.where(finite, shares, 0)[:, None].astype(errors.dtype)
        weight, own_bias = inputs.T @ clipped, clipped.sum(axis=0)
        sums.append((_noisy(weight, plan, rng), _noisy(own_bias, plan, rng)))
    return sums


def linear_step(
    model: BaseEstimator,
    x: NDArray[Any],
    targets: NDArray[Any],
    plan: NoisySteps,
    rng: np.random.Generator,
) -> None:
    """Move a linear model as ``partial_fit`` would, sample by sample, but all at once.

    Args:
        model: The estimator, with ``coef_`` and ``intercept_`` to write into.
        x: Features, shape (n, features).
        targets: For labels their place among the classes, else numbers; shape (n,).
        plan: Clipping and noise.
        rng: Where the noise comes from.
    """
    coef = model.coef_.reshape(-1, x.shape[1])
    outputs = x @ coef.T + model.intercept_
    errors = _linear_errors(model, outputs, targets).astype(coef.dtype)
    bias = bool(model.fit_intercept)
    ((weight, own_bias),) = noisy_sums([Layer(x, errors)], plan, rng, bias=bias)
    rate = model.eta0
    if model.learning_rate == "invscaling":
        rate /= model.t_**model.power_t
    if model.penalty == "l2":
        coef *= max(0.0, 1.0 - rate * model.alpha * plan.batch_size)
    coef -= rate * weight.T
    if bias:
        model.intercept_ -= rate * own_bias
    model.t_ += plan.batch_size


def perceptron_step(
    model: BaseEstimator,
    x: NDArray[Any],
    targets: NDArray[Any],
    plan: NoisySteps,
    rng: np.random.Generator,
) -> None:
    """Move a multi-layer perceptron by a step of its own optimiser; as `linear_step`."""
    weights = model.coefs_
    activations = [x]
    for weight, own_bias in zip(weights[:-1], model.intercepts_[:-1], strict=True):
        activations.append(_ACTIVATIONS[model.activation](activations[-1] @ weight + own_bias))
    outputs = activations[-1] @ weights[-1] + model.intercepts_[-1]
    errors = [_output_errors(model, outputs, targets).astype(outputs.dtype)]
    for weight, activation in zip(weights[:0:-1], activations[:0:-1], strict=True):
        errors.append((errors[-1] @ weight.T) * _SLOPES[model.activation](activation))
    layers = [Layer(*pair) for pair in zip(activations, errors[::-1], strict=True)]
    sums = noisy_sums(layers, plan, rng)
    gradients = [
        (total + model.alpha * weight) / plan.batch_size
        for (total, _), weight in zip(sums, weights, strict=True)
    ]
    biases = [total / plan.batch_size for _, total in sums]
    if not hasattr(model, "_optimizer"):
        model._optimizer = _optimizer(model)  # noqa: SLF001 - where partial_fit keeps it
    model._optimizer.update_params(weights + model.intercepts_, gradients + biases)  # noqa: SLF001


def _noisy(total: NDArray[Any], plan: NoisySteps, rng: np.random.Generator) -> NDArray[Any]:
    noise = gaussian(rng, total.shape, total.dtype)
    noise *= plan.deviation
    noise += total
    return noise


def _squares(rows: NDArray[Any]) -> NDArray[Any]:
    squares: NDArray[Any] = np.einsum("ij,ij->i", rows, rows)
    return squares


def _only(rows: NDArray[np.bool_], values: NDArray[Any]) -> NDArray[Any]:
    return np.where(rows[:, None], values, 0).astype(values.dtype)


def _linear_errors(
    model: BaseEstimator, outputs: NDArray[Any], targets: NDArray[Any]
) -> NDArray[Any]:
    errors: NDArray[Any]
    if model.loss in ("log_loss", "hinge"):
        truth = _one_hot(targets, outputs.shape[1])
        signs = 2 * truth - 1
        if model.loss == "log_loss":
            errors = _logistic(outputs) - truth
        else:
            errors = np.where(signs * outputs < 1, -signs, 0)
        return errors
    errors = outputs - targets[:, None]
    bound = model.epsilon if model.loss == "huber" else np.inf
    return errors.clip(-bound, bound)


def _output_errors(
    model: BaseEstimator, outputs: NDArray[Any], targets: NDArray[Any]
) -> NDArray[Any]:
    guess: NDArray[Any] = outputs.copy()
    truth = targets[:, None]
    if model.out_activation_ != "identity":
        truth = _one_hot(targets, outputs.shape[1])
        if model.out_activation_ == "logistic":
            guess = _logistic(outputs)
        else:
            guess = np.exp(outputs - outputs.max(axis=1, keepdims=True))
            guess /= guess.sum(axis=1, keepdims=True)
    guess -= truth
    return guess


def _one_hot(index: NDArray[Any], columns: int) -> NDArray[Any]:
    """1 in the column of the class; with one column, 1 for the second class of two."""
    first = 1 if columns == 1 else 0
    places = np.arange(first, first + columns)
    hot: NDArray[np.bool_] = np.equal(index[:, None], places)
    return hot.astype(np.float64)


def _logistic(values: NDArray[Any]) -> NDArray[Any]:
    halves: NDArray[Any] = np.tanh(0.5 * values)
    return 0.5 * (1.0 + halves)


def _optimizer(model: BaseEstimator) -> Any:
    parameters = model.coefs_ + model.intercepts_
    if model.solver == "adam":
        return AdamOptimizer(
            parameters, model.learning_rate_init, model.beta_1, model.beta_2, model.epsilon
        )
    return SGDOptimizer(
        parameters,
        model.learning_rate_init,
        model.learning_rate,
        model.momentum,
        model.nesterovs_momentum,
        model.power_t,
    )


_ACTIVATIONS: dict[str, Callable[[NDArray[Any]], NDArray[Any]]] = {
    "identity": lambda values: values,
    "logistic": _logistic,
    "tanh": np.tanh,
    "relu": lambda values: np.maximum(values, 0),
}
_SLOPES: dict[str, Callable[[NDArray[Any]], NDArray[Any]]] = {
    "identity": np.ones_like,
    "logistic": lambda values: values * (1 - values),
    "tanh": lambda values: 1 - values**2,
    "relu": lambda values: (values > 0).astype(values.dtype),
}
"""Slopes of the activations, from what they gave."""
