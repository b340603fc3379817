"""DP-SGD for PyTorch modules: each sample's gradient clipped, noise on their sum.

Chains of dense and convolutional layers are gone through layer by layer, which costs
little more than training; any other module is hooked by Opacus. Either way nothing is
trained before it has been tried whether a sample shows in another's gradient.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from math import isqrt
from typing import TYPE_CHECKING, Any

import numpy as np

from colearn.errors import MissingExtra, UnsupportedModel
from colearn.learners.supervised import one_line
from colearn.privacy.noise import gaussian

try:
    import torch
    from torch import nn
except ModuleNotFoundError:
    raise MissingExtra("TorchLearner", "torch", "torch") from None

from colearn.learners import torch_chain, torch_probe
from colearn.learners.torch_clipping import (
    Gradients,
    Inputs,
    Judged,
    Losses,
    changed,
    clipped_sums,
)

if TYPE_CHECKING:
    from colearn.learners.torch_opacus import Hooked
    from colearn.privacy.guard import NoisySteps

SAMPLES = torch_probe.SAMPLES
"""As many are needed to try a module with."""

_NUMBERS_AT_ONCE = 2**25  # of gradients of single samples: 128 MiB in float32


def refusal(module: nn.Module, optimizer: torch.optim.Optimizer) -> str | None:
    """Why a module cannot be trained by `noisy_gradients`, or with this optimiser; None if it can.

    What only shows when it is tried, `judged` raises.
    """
    for name, layer in module.named_modules():
        kind = type(layer).__name__
        if isinstance(layer, nn.modules.batchnorm._BatchNorm):  # noqa: SLF001 - all of them
            return (
                f"never with {kind} (layer {name!r}): it mixes the samples of a batch, so that no "
                "gradient belongs to one of them; take GroupNorm or LayerNorm in its place"
            )
        if isinstance(layer, nn.modules.instancenorm._InstanceNorm) and layer.track_running_stats:  # noqa: SLF001
            return (
                f"never with running statistics ({kind}, layer {name!r}): they are means of the "
                "samples without noise; leave track_running_stats off"
            )
        if isinstance(layer, nn.Embedding | nn.EmbeddingBag) and layer.max_norm is not None:
            return (
                f"never with max_norm ({kind}, layer {name!r}): which vectors it has shortened "
                "shows which were used, without noise; leave it out"
            )
    for name, parameter in module.named_parameters():
        if parameter.requires_grad and parameter.dtype not in (torch.float32, torch.float64):
            return f"not yet with parameters such as {name!r}, {parameter.dtype}: use torch.float32"
    if isinstance(optimizer, torch.optim.LBFGS):
        return "not yet with LBFGS, which asks for several gradients a step: take SGD or Adam"
    return None


@torch.no_grad()
def judged(
    module: nn.Module,
    trained: Mapping[str, nn.Parameter],
    loss: Any,
    losses: Losses,
    *,
    batch_size: int,
    some: tuple[Inputs, torch.Tensor],
) -> Judged:
    """Find out how a module's gradients can be had.

    Args:
        module: In training mode.
        trained: Its trained parameters, by name.
        loss: What it is trained by.
        losses: The same, unreduced.
        batch_size: As in `NoisySteps`.
        some: Inputs and targets of `torch_probe.SAMPLES` samples to try it with.

    Raises:
        UnsupportedModel: They cannot.
        MissingExtra: Opacus is needed, and not installed.
    """
    at_once = max(1, _NUMBERS_AT_ONCE // sum(each.numel() for each in trained.values()))
    layers = torch_chain.layers(module, loss)
    with torch_probe.other_weights(trained):
        if layers is None:
            # Poisson's batches are larger than that once in forty times.
            rows = min(at_once, batch_size + 2 * isqrt(batch_size) + 1)
            hooked = _hooked(module, trained, losses, rows, some)
            return Judged(trained, hooked, rows, filled=True)
        chain = torch_chain.Chain(layers, trained, losses)
        if fault := _fault(partial(_mixing, chain, *some)):
            raise UnsupportedModel(fault)
        return Judged(trained, chain, at_once, filled=False)


def _hooked(
    module: nn.Module,
    trained: Mapping[str, nn.Parameter],
    losses: Losses,
    rows: int,
    some: tuple[Inputs, torch.Tensor],
) -> Hooked:
    """Opacus's gradients, by its own formulas or, where these are wrong, by torch's."""
    from colearn.learners.torch_opacus import Hooked  # noqa: PLC0415 - needs another extra

    x, y = some
    few = min(rows, 2)
    first = changed(x, lambda part: part[:few]), y[:few]
    hooked = Hooked(module, trained, losses)
    fault = _fault(partial(hooked.fault, *first))
    if fault is not None:
        hooked = Hooked(module, trained, losses, functorch=True)
        if _fault(partial(hooked.fault, *first)):
            raise UnsupportedModel(fault)
    if rows > 1 and (fault := _fault(partial(_mixing, hooked, x, y))):
        raise UnsupportedModel(fault)
    return hooked


def _mixing(gradients: Gradients, x: Inputs, y: torch.Tensor) -> str | None:
    if not torch_probe.mixes(gradients, x, y):
        return None
    return (
        "never with a module or a loss that mixes the samples of a batch, so that no gradient "
        "belongs to one of them: take means within samples, and targets in the outputs' shape"
    )


def _fault(tried: Callable[[], str | None]) -> str | None:
    try:
        return tried()
    except Exception as reason:  # noqa: BLE001 - a module may raise anything
        return f"not yet: there are no gradients of its single samples, {one_line(reason):.200}"


def noisy_gradients(
    what: Judged, x: Inputs, y: torch.Tensor, plan: NoisySteps, rng: np.random.Generator
) -> None:
    """Leave the mean of a batch's clipped gradients, with noise, in the parameters.

    The noise is numpy's: torch's generator of the processor heeds 32 bits of a seed.
    """
    sums = clipped_sums(what, x, y, plan.max_grad_norm)
    parameters = what.trained.values()
    double = any(each.dtype is torch.float64 for each in parameters)
    numbers = [each.numel() for each in parameters]
    drawn = torch.from_numpy(gaussian(rng, (sum(numbers),), np.float64 if double else np.float32))
    parts = torch.split(drawn.to(y.device), numbers)
    for (name, parameter), part in zip(what.trained.items(), parts, strict=True):
        noise = part.view(parameter.shape)
        parameter.grad = sums[name].add_(noise, alpha=plan.deviation).div_(plan.batch_size)
