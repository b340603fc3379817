"""What every learner promises."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np

from colearn.ml_interface import MachineLearningInterface, ProposedWeights, Weights
from colearn.testing.promises import require, require_quiet

_Content = dict[str, tuple[str, tuple[int, ...], bytes]]
_SEEDS = (7, 2**62 + 11)


def check_learner(make: Callable[[], MachineLearningInterface]) -> None:
    """Check that a learner keeps the promises of the Machine Learning Interface.

    The learner trains a few times, so make it small. Where it has ``set_seed``,
    training must be a pure function of weights, data and seed.

    Args:
        make: Makes a learner with the same private data and the same current
            weights each time.

    Raises:
        AssertionError: A promise is broken; the message names it.
    """
    _check_protocol(make())
    _check_accept(make())
    _check_given_away(make())
    if hasattr(make(), "set_seed"):
        _check_seed(make)


def _content(weights: Weights, method: str) -> _Content:
    """Names, dtypes, shapes and bytes, copied, in an order of their own."""
    require(isinstance(weights, Weights), f"{method}() returns a Weights")
    tensors: Any = weights.weights
    require(
        isinstance(tensors, Mapping) and len(tensors) > 0,
        f"{method}() returns a mapping of names to arrays, with at least one",
    )
    content: _Content = {}
    for name, value in tensors.items():
        array = np.asarray(value)
        require(
            isinstance(name, str) and not array.dtype.hasobject,
            f"{method}() returns named arrays of numbers: {name!r} is not one",
        )
        require(
            array.dtype.kind not in "fc" or bool(np.isfinite(array).all()),
            f"{method}() returns finite numbers only: {name!r} holds NaN or infinity",
        )
        content[name] = (array.dtype.str, array.shape, array.tobytes())
    return dict(sorted(content.items()))


def _schema(content: _Content) -> list[tuple[str, str, int]]:
    return [(name, dtype, len(shape)) for name, (dtype, shape, _) in content.items()]


def _current(learner: MachineLearningInterface) -> _Content:
    return _content(learner.mli_get_current_weights(), "mli_get_current_weights")


def _read_only(weights: Weights) -> Weights:
    """A copy that nobody can write into, as a store gives it."""
    frozen = {name: np.array(value) for name, value in weights.weights.items()}
    for array in frozen.values():
        array.flags.writeable = False
    return Weights(frozen)


def _check_protocol(learner: MachineLearningInterface) -> None:
    current = _current(learner)
    require(
        _current(learner) == current, "mli_get_current_weights() gives the same until one accepts"
    )
    proposed = learner.mli_propose_weights()
    content = _content(proposed, "mli_propose_weights")
    require(
        _current(learner) == current, "mli_propose_weights() leaves the current weights as they are"
    )
    require(
        _schema(content) == _schema(current),
        "proposed weights have the names, dtypes and dimensions of the current ones",
    )
    received = _read_only(proposed)
    for attempt in (received, _read_only(learner.mli_get_current_weights()), received):
        _check_verdict(learner, attempt)
        require(
            _current(learner) == current,
            "mli_test_weights() leaves the current weights as they are",
        )


def _check_verdict(learner: MachineLearningInterface, weights: Weights) -> None:
    before = _content(weights, "mli_propose_weights")
    verdict = require_quiet(
        partial(learner.mli_test_weights, weights),
        "mli_test_weights() takes read-only arrays, and weights that it has proposed itself",
    )
    require(isinstance(verdict, ProposedWeights), "mli_test_weights() returns a ProposedWeights")
    require(
        verdict.vote is None or isinstance(verdict.vote, bool),
        f"a vote is True, False or None: not {verdict.vote!r}",
    )
    require(
        all(isinstance(score, float) for score in (verdict.vote_score, verdict.test_score)),
        "scores are floats, NaN where nothing was measured",
    )
    require(
        _content(verdict, "mli_test_weights") == before,
        "mli_test_weights() returns the weights it was given, with its verdict on them",
    )


def _check_given_away(learner: MachineLearningInterface) -> None:
    handed_out = [learner.mli_propose_weights()]
    contents = [_content(handed_out[0], "mli_propose_weights")]
    for _ in range(2):
        learner.mli_test_weights(_read_only(handed_out[-1]))
        learner.mli_accept_weights(_read_only(handed_out[-1]))
        handed_out += [learner.mli_get_current_weights(), learner.mli_propose_weights()]
        contents += [_content(each, "mli_propose_weights") for each in handed_out[-2:]]
    learner.mli_propose_weights()
    require(
        [_content(each, "mli_propose_weights") for each in handed_out] == contents,
        "weights once handed out are given away: the learner writes into them no more",
    )


def _check_accept(learner: MachineLearningInterface) -> None:
    received = _read_only(learner.mli_propose_weights())
    for weights in (received, learner.mli_test_weights(received)):
        promise = "a learner accepts read-only arrays, as Weights or ProposedWeights, and trains on"
        require_quiet(partial(learner.mli_accept_weights, weights), promise)
        require_quiet(learner.mli_propose_weights, promise)
        require(
            _current(learner) == _content(received, "mli_propose_weights"),
            "once accepted, weights are the current ones, byte for byte",
        )


def _check_seed(make: Callable[[], MachineLearningInterface]) -> None:
    learner = make()
    first = [_trained(learner, seed) for seed in _SEEDS]
    require(
        [_trained(learner, seed) for seed in _SEEDS] == first,
        "the same weights and seed give the same training, whatever was done in between",
    )
    require(
        [_trained(make(), seed) for seed in reversed(_SEEDS)] == first[::-1],
        "the same weights, data and seed give the same training in another instance",
    )
    start = _read_only(learner.mli_get_current_weights())
    learner.mli_accept_weights(_read_only(learner.mli_propose_weights()))
    learner.mli_propose_weights()
    learner.mli_accept_weights(start)
    require(
        [_trained(learner, seed) for seed in _SEEDS] == first,
        "training depends on no state but the weights: none is kept from other weights",
    )


def _trained(learner: MachineLearningInterface, seed: int) -> _Content:
    learner.set_seed(seed)  # type: ignore[attr-defined]
    return _content(learner.mli_propose_weights(), "mli_propose_weights")
