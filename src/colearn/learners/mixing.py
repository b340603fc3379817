"""Whether a record shows in what others say in a vote: tried out before votes are to hide it.

Noise hides what a record says itself. Where a model or a loss mixes the samples that are
judged together, the record moves all others' losses, too, and that adds up to more than any
noise hides. So other records are put in others' place, or values that show wherever they go,
NaN above all, and the loss of the one that stays must stay what it was. It is done at weights
of its own, for a part of a model may be without effect at the given ones.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from colearn.errors import ConfigError, LearnerError
from colearn.kinds import statistics, trained
from colearn.learners.supervised import one_line

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from colearn.learners.base import FrameworkLearner
    from colearn.learners.samples import Samples
    from colearn.protocols import Tensors

_ROWS = 4
_CONSPICUOUS = (float("nan"), 1e4, -1e4, 0.0)
_CLOSE = 1e-5
_SHARES = (0.1, 1e-4, 0.0)
"""How far weights are moved, of what a layer usually begins with; less where losses overflow."""


def mixing(learner: FrameworkLearner) -> str | None:
    """Why the votes of a learner cannot be private; None if they can. Its weights stay."""
    tensors = learner.tensors()
    try:
        return _fault(learner, tensors)
    except (ConfigError, LearnerError):
        raise
    except Exception as reason:  # noqa: BLE001 - a model may raise anything
        return f"not yet: the losses of its samples cannot be tried, {one_line(reason):.200}"
    finally:
        learner.load(tensors)


def _fault(learner: FrameworkLearner, tensors: Tensors) -> str | None:
    few, places = learner.few(2 * _ROWS), np.arange(_ROWS)
    first = learner.take(few, places)
    for share in _SHARES:
        learner.load(_moved(tensors, share))
        before = _judged(learner, first)
        if np.isfinite(before).all():
            break
    else:
        return "not yet: the losses of some samples are not finite; scale the samples"
    if not _close(before, _judged(learner, first)):
        return (
            "never with a model that judges the same samples differently each time: take out what "
            "is random, or remembered, where it does not train"
        )
    for kept in (0, _ROWS - 1):
        others = np.delete(places, kept)
        batch = learner.take(few, np.where(places == kept, places, places + _ROWS))
        after = [_judged(learner, batch)]
        for value in _CONSPICUOUS:
            marked = learner.marked(first, others, value)
            if marked is not first:
                after += _judged_if_it_can_be(learner, marked)
        if not all(_close(before[:, kept], each[:, kept]) for each in after):
            return (
                "never with a model, a loss or an error that mixes the samples of a batch, so that "
                "one record moves what all others say: take means within samples, GroupNorm or "
                "LayerNorm, and targets in the outputs' shape"
            )
    return None


def _judged(learner: FrameworkLearner, samples: Samples) -> NDArray[np.float64]:
    """What votes are made of, of each sample, shape (measures, n)."""
    with np.errstate(all="ignore"):
        measured = [learner.losses(*samples)]
        if learner.policy.metric == "error":
            measured.append(learner.errors(*samples))
    return np.stack(measured)


def _judged_if_it_can_be(learner: FrameworkLearner, samples: Samples) -> list[NDArray[np.float64]]:
    try:
        return [_judged(learner, samples)]
    except Exception:  # noqa: BLE001 - a model may refuse what is no sample
        return []


def _moved(tensors: Tensors, share: float) -> Tensors:
    """Other tensors; none that is above 0 throughout, as a variance is, becomes less."""
    rng, moved = np.random.default_rng(0), dict(tensors)
    for name in (*trained(tensors), *statistics(tensors)):
        own: Any = tensors[name]
        change = rng.standard_normal(own.shape, np.float32) * share * max(1, *own.shape) ** -0.5
        if not (own < 0).any():
            change = abs(change)
        moved[name] = np.asarray(own + change, own.dtype)
    return moved


def _close(before: NDArray[np.float64], after: NDArray[np.float64]) -> bool:
    return bool((abs(before - after) <= _CLOSE * np.maximum(1.0, abs(before))).all())
