"""Whether single samples' gradients are theirs alone: tried out before anything is paid.

Some samples of a batch are put in others' place, or are given values that show wherever
they go, NaN above all; the gradients of the rest must stay what they were. It is done
at weights of its own, for a part of a module may be without effect at the given ones.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch

from colearn.learners.torch_clipping import Gradients, Inputs, SampleGradients, changed

if TYPE_CHECKING:
    from torch import nn

SAMPLES = 8
"""As many are needed."""

_ROWS = SAMPLES // 2
_KEPT = ((0, 1), (2, 3), (0, 2), (1, 3))
"""Rows that stay while the others change: each of them is once kept while each other is not."""
_CONSPICUOUS = (float("nan"), 1e4, -1e4, 0.0)
_CLOSE = 1e-5


def mixes(gradients: Gradients, x: Inputs, y: torch.Tensor) -> bool:
    """Whether a sample of a batch shows in another's gradients.

    Args:
        gradients: Of single samples; what is random in them draws from torch.
        x: Inputs of `SAMPLES` samples.
        y: Their targets.
    """
    torch.manual_seed(0)
    before = gradients(changed(x, lambda part: part[:_ROWS]), y[:_ROWS])
    for rows in _KEPT:
        kept = torch.zeros(_ROWS, dtype=torch.bool, device=y.device)
        kept[list(rows)] = True
        for number, batch in enumerate(_batches(x, kept)):
            torch.manual_seed(0)
            try:
                after = gradients(batch, _merged(kept, y))
            except Exception:
                if number == 0:
                    raise
                continue  # a module may refuse what is no sample
            if not all(map(_close, _seen(before, kept), _seen(after, kept))):
                return True
    return False


def _seen(
    found: Sequence[SampleGradients], kept: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """What is to be the same whatever the rows that are not kept hold: lengths, and sums."""
    shares = torch.linspace(1, 2, _ROWS, device=kept.device).where(kept, 0.0)
    sums = [each.total(shares.to(each.squares), kept).flatten() for each in found]
    return torch.cat([each.squares[kept] for each in found]).sqrt(), torch.cat(sums)


def _batches(x: Inputs, kept: torch.Tensor) -> Iterator[Inputs]:
    """Batches in which other samples stand in the rows that are not kept, or what shows."""
    yield changed(x, lambda part: _merged(kept, part))
    fractions = [
        part.is_floating_point() and not part.equal(part.round())
        for part in (x.values() if isinstance(x, dict) else [x])
    ]
    for value in _CONSPICUOUS if any(fractions) else ():
        yield changed(x, lambda part: _merged(kept, _marked(part, value)))  # noqa: B023 - at once


def _marked(part: torch.Tensor, value: float) -> torch.Tensor:
    """The same with a value in all others' place, but where numbers may be names of things."""
    if not part.is_floating_point() or part.equal(part.round()):
        return part
    return torch.cat([part[:_ROWS], torch.full_like(part[_ROWS:], value)])


def _merged(kept: torch.Tensor, part: torch.Tensor) -> torch.Tensor:
    first, others = part[:_ROWS], part[_ROWS:]
    return first.where(kept.reshape(-1, *[1] * (part.ndim - 1)), others)


def _close(before: torch.Tensor, after: torch.Tensor) -> bool:
    return bool((before - after).abs().max() <= _CLOSE * before.abs().max())


@contextmanager
def other_weights(parameters: Mapping[str, nn.Parameter]) -> Iterator[None]:
    """Move the parameters, as far as keeps outputs in bounds, and put them back afterwards."""
    before = {name: each.detach().clone() for name, each in parameters.items()}
    with torch.no_grad():
        for each in parameters.values():
            inputs = each[0].numel() if each.ndim > 1 else 100
            each.add_(torch.randn_like(each), alpha=inputs**-0.5)
    try:
        yield
    finally:
        with torch.no_grad():
            for name, each in parameters.items():
                each.copy_(before[name])
