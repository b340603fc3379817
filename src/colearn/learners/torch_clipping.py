"""Gradients of single samples of a PyTorch module, and the sum of them, each clipped."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import NamedTuple

import torch
from torch import nn

Inputs = torch.Tensor | dict[str, torch.Tensor]
"""A batch's, shape (n, ...), or by name where the module takes them so."""

Losses = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
"""(outputs, targets) → each sample's loss."""


class SampleGradients(NamedTuple):
    """The samples' gradients of one parameter; of a layer's weight perhaps only in factors."""

    name: str
    squares: torch.Tensor
    """Squared length of each sample's, shape (n,)."""
    total: Callable[[torch.Tensor, torch.Tensor | None], torch.Tensor]
    """Shares, shape (n,), and which samples count, None for all → the sum of so much of each."""


Gradients = Callable[[Inputs, torch.Tensor], Sequence[SampleGradients]]
"""(inputs, targets) → their gradients, of each parameter that is trained."""


class Judged(NamedTuple):
    """How a module's gradients are had.

    Attributes:
        trained: Its trained parameters, by name.
        gradients: Of single samples.
        rows: How many samples are taken at once, at most.
        filled: Whether there are always so many, the last one repeated without
            counting, so that not even their number shows in a gradient.
    """

    trained: Mapping[str, nn.Parameter]
    gradients: Gradients
    rows: int
    filled: bool


@torch.no_grad()
def clipped_sums(what: Judged, x: Inputs, y: torch.Tensor, bound: float) -> dict[str, torch.Tensor]:
    """Sum of the samples' gradients, each clipped to an L2 norm over all parameters.

    A sample whose gradient is not finite counts nothing. There may be no samples.
    """
    sums: dict[str, torch.Tensor] = {}
    samples = len(y)
    for start in range(0, samples, what.rows):
        part = slice(start, start + what.rows)
        rows, targets = changed(x, lambda values: values[part]), y[part]  # noqa: B023 - at once
        missing = start + what.rows - samples if what.filled else 0
        if missing > 0:
            rows, targets = changed(rows, partial(_filled, missing)), _filled(missing, targets)
        for name, total in _clipped(what.gradients(rows, targets), missing, bound):
            sums[name] = total if name not in sums else sums[name].add_(total)
    return sums or {name: torch.zeros_like(each) for name, each in what.trained.items()}


def _filled(missing: int, rows: torch.Tensor) -> torch.Tensor:
    """The rows, the last one repeated."""
    return torch.cat([rows, *[rows[-1:]] * missing])


def changed(x: Inputs, change: Callable[[torch.Tensor], torch.Tensor]) -> Inputs:
    """Return inputs of which each tensor has been changed."""
    if isinstance(x, dict):
        return {name: change(each) for name, each in x.items()}
    return change(x)


def _clipped(
    gradients: Sequence[SampleGradients], missing: int, bound: float
) -> Iterator[tuple[str, torch.Tensor]]:
    norms = torch.stack([each.squares for each in gradients]).sum(0).sqrt_()
    shares = (bound / norms).clamp_(max=1.0)
    counting = None
    if missing > 0 or not norms.sum().isfinite():
        counting = norms.isfinite()
        counting[len(norms) - missing :] = False
        shares = shares.where(counting, 0.0)
    for each in gradients:
        yield each.name, each.total(shares, counting)


def whole(name: str, single: torch.Tensor, squares: torch.Tensor | None = None) -> SampleGradients:
    """Of any parameter: each sample's gradient, shape (n, ...), and its squared length if known."""
    flat = single.flatten(1) if single.ndim > 1 else single.unsqueeze(1)

    def total(shares: torch.Tensor, counting: torch.Tensor | None) -> torch.Tensor:
        return (shares @ only(counting, flat)).reshape(single.shape[1:])

    return SampleGradients(name, squared(flat) if squares is None else squares, total)


def squared(rows: torch.Tensor) -> torch.Tensor:
    """Squared length of each row."""
    lengths: torch.Tensor = torch.linalg.vector_norm(rows, dim=1)
    return lengths.square_()


def only(counting: torch.Tensor | None, values: torch.Tensor) -> torch.Tensor:
    """Nothing of the samples that do not count, for 0 times infinity is no 0."""
    return values if counting is None else values.where(counting.unsqueeze(1), 0.0)


def summed(losses: torch.Tensor) -> torch.Tensor:
    """The samples' losses added up; of one with many targets, their mean."""
    return losses.sum() if losses.ndim == 1 else losses.flatten(1).mean(1).sum()
