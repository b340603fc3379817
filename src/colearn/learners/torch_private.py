"""DP-SGD for PyTorch modules: each sample's gradient clipped, in one pass over a batch.

A chain of layers that are known to treat samples one by one is gone through by hand:
what each layer has seen and its errors give the samples' gradients at the cost of
little more than training (arXiv 1510.01799). Any other module is asked for the
gradient of every sample alone, by ``torch.func``: slower, but whatever the module
does, no sample can then touch another's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from colearn.errors import MissingExtra
from colearn.privacy.noise import gaussian

try:
    import torch
    from torch import nn
    from torch.func import functional_call, grad, vmap
except ModuleNotFoundError:
    raise MissingExtra("TorchLearner", "torch", "torch") from None

if TYPE_CHECKING:
    from colearn.privacy.guard import NoisySteps

_NUMBERS_AT_ONCE = 2**25  # of gradients of single samples: 128 MiB in float32
_ALONE = (
    *(nn.ReLU, nn.LeakyReLU, nn.ELU, nn.GELU, nn.SiLU, nn.Tanh, nn.Sigmoid, nn.Identity),
    *(nn.MaxPool2d, nn.AvgPool2d, nn.AdaptiveAvgPool2d, nn.Dropout, nn.Dropout2d),
)
"""Layers without parameters that treat each sample alone."""
_LOSSES = (
    *(nn.functional.cross_entropy, nn.functional.mse_loss, nn.functional.l1_loss),
    *(nn.functional.binary_cross_entropy_with_logits, nn.functional.smooth_l1_loss),
    nn.functional.huber_loss,
)
_LOSS_MODULES = (nn.CrossEntropyLoss, nn.MSELoss, nn.L1Loss, nn.BCEWithLogitsLoss, nn.HuberLoss)

Inputs = torch.Tensor | dict[str, torch.Tensor]
"""A batch's, shape (n, ...), or by name where the module takes them so."""

Losses = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
"""(outputs, targets) → each sample's loss."""


class Judged(NamedTuple):
    """A module, what of it is trained, and each sample's loss.

    Attributes:
        module: In training mode.
        trained: Its trained parameters, by name.
        losses: Each sample's loss.
        by_layer: The layers, where the module is a chain of known ones; else None.
    """

    module: nn.Module
    trained: Mapping[str, nn.Parameter]
    losses: Losses
    by_layer: Sequence[nn.Module] | None


def judged(
    module: nn.Module, trained: Mapping[str, nn.Parameter], loss: Any, losses: Losses
) -> Judged:
    """Find out which way a module's gradients can be had; ``losses`` is ``loss``, unreduced."""
    known = loss in _LOSSES or type(loss) in _LOSS_MODULES
    layers = list(_chain(module)) if known else [None]
    own = [parameter for layer in layers if layer is not None for parameter in layer.parameters()]
    apart = None not in layers and len(own) == len(set(map(id, own)))
    return Judged(module, trained, losses, layers if apart else None)  # type: ignore[arg-type]


def refusal(module: nn.Module, optimizer: torch.optim.Optimizer) -> str | None:
    """Why a module cannot be trained by `noisy_gradients`, or with this optimiser; None if it can.

    What only shows when it is tried, `judged` modules raise.
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
    for name, parameter in module.named_parameters():
        if parameter.requires_grad and parameter.dtype not in (torch.float32, torch.float64):
            return f"not yet with parameters such as {name!r}, {parameter.dtype}: use torch.float32"
    if isinstance(optimizer, torch.optim.LBFGS):
        return "not yet with LBFGS, which asks for several gradients a step: take SGD or Adam"
    return None


def noisy_gradients(
    what: Judged, x: Inputs, y: torch.Tensor, plan: NoisySteps, rng: np.random.Generator
) -> None:
    """Leave the mean of a batch's clipped gradients, with noise, in the parameters.

    The noise is numpy's: torch's generator of the processor heeds 32 bits of a seed.
    """
    sums = clipped_sums(what, x, y, plan.max_grad_norm)
    for name, parameter in what.trained.items():
        dtype = np.float64 if parameter.dtype is torch.float64 else np.float32
        drawn = torch.from_numpy(gaussian(rng, tuple(parameter.shape), dtype)).to(parameter.device)
        parameter.grad = sums[name].add_(drawn, alpha=plan.deviation).div_(plan.batch_size)


@torch.no_grad()
def clipped_sums(what: Judged, x: Inputs, y: torch.Tensor, bound: float) -> dict[str, torch.Tensor]:
    """Sum of the samples' gradients, each clipped to an L2 norm over all parameters.

    A sample whose gradient is not finite counts nothing. There may be no samples.
    """
    numbers = sum(each.numel() for each in what.trained.values())
    at_once = max(1, _NUMBERS_AT_ONCE // numbers)
    gradients = _alone if what.by_layer is None else _by_layer
    sums: dict[str, torch.Tensor] = {}
    for start in range(0, len(y), at_once):
        part = slice(start, start + at_once)
        rows: Inputs = (
            {name: each[part] for name, each in x.items()} if isinstance(x, dict) else x[part]
        )
        for name, total in _clipped(gradients(what, rows, y[part]), bound):
            sums[name] = total if name not in sums else sums[name].add_(total)
    if not sums:
        return {name: torch.zeros_like(each) for name, each in what.trained.items()}
    return sums


class _Gradients(NamedTuple):
    """The samples' gradients of one parameter; of a layer's weight perhaps only in factors."""

    name: str
    squares: torch.Tensor
    """Squared length of each sample's, shape (n,)."""
    total: Callable[[torch.Tensor, torch.Tensor | None], torch.Tensor]
    """Shares, shape (n,), and which samples count, None for all → the sum of so much of each."""


def _clipped(gradients: Sequence[_Gradients], bound: float) -> Iterator[tuple[str, torch.Tensor]]:
    norms = torch.stack([each.squares for each in gradients]).sum(0).sqrt_()
    shares = (bound / norms).clamp_(max=1.0)
    finite = norms.isfinite()
    counting = None
    if not finite.all():
        counting, shares = finite, shares.where(finite, 0.0)
    for each in gradients:
        yield each.name, each.total(shares, counting)


def _alone(what: Judged, x: Inputs, y: torch.Tensor) -> list[_Gradients]:
    """Each sample's gradient by itself; the module sees batches of one."""
    fixed = {
        name: each.detach()
        for name, each in (*what.module.named_parameters(), *what.module.named_buffers())
        if name not in what.trained
    }

    def loss(parameters: dict[str, torch.Tensor], row: Any, target: Any) -> torch.Tensor:
        named = isinstance(row, dict)
        alone = {name: each.unsqueeze(0) for name, each in row.items()} if named else None
        outputs = functional_call(
            what.module, {**fixed, **parameters}, () if named else (row.unsqueeze(0),), alone
        )
        return what.losses(outputs, target.unsqueeze(0)).mean()

    parameters = {name: each.detach() for name, each in what.trained.items()}
    # torch has no random kernel for one sample at a time: each gets dropout of its own
    single = vmap(grad(loss), in_dims=(None, 0, 0), randomness="different")(parameters, x, y)
    return [_whole(name, each) for name, each in single.items()]


def _whole(name: str, single: torch.Tensor) -> _Gradients:
    """Of any parameter: every sample's gradient, shape (n, ...)."""
    flat = single.flatten(1) if single.ndim > 1 else single.unsqueeze(1)

    def total(shares: torch.Tensor, counting: torch.Tensor | None) -> torch.Tensor:
        return (shares @ _only(counting, flat)).reshape(single.shape[1:])

    return _Gradients(name, flat.square().sum(1), total)


def _by_layer(what: Judged, x: Any, y: torch.Tensor) -> list[_Gradients]:
    """What each layer has seen, and its errors: no gradient but theirs is formed."""
    names = {id(parameter): name for name, parameter in what.trained.items()}
    seen = []
    with torch.enable_grad():
        values = x
        for layer in what.by_layer or ():
            given, values = values, layer(values)
            if any(id(each) in names for each in layer.parameters()):
                seen.append((layer, given.detach(), values))
        losses = what.losses(values, y)
        total = losses.sum() if losses.ndim == 1 else losses.flatten(1).mean(1).sum()
        errors = torch.autograd.grad(total, [outputs for *_, outputs in seen])
    return [
        gradients
        for (layer, given, _), error in zip(seen, errors, strict=True)
        for gradients in _of_layer(layer, given, error, names)
    ]


def _of_layer(
    layer: nn.Module, given: torch.Tensor, error: torch.Tensor, names: Mapping[int, str]
) -> Iterator[_Gradients]:
    """Inputs become (n, places, in) and errors (n, places, out), but where the place is one."""
    weight: Any = layer.weight
    bias: Any = layer.bias
    dense = isinstance(layer, nn.Linear)
    if not dense:
        error = error.flatten(2).transpose(1, 2)
    elif given.ndim > 2:
        given, error = given.flatten(1, -2), error.flatten(1, -2)
    if bias is not None and id(bias) in names:
        yield _whole(names[id(bias)], error if error.ndim == 2 else error.sum(1))
    if id(weight) not in names:
        return
    if error.ndim == 2:
        yield _outer(names[id(weight)], given, error)
        return
    if isinstance(layer, nn.Conv2d):
        padding: Any = layer.padding  # no text: `_chain` has seen to that
        given = nn.functional.unfold(
            given, layer.kernel_size, layer.dilation, padding, layer.stride
        ).transpose(1, 2)
    single = torch.bmm(error.transpose(1, 2), given)
    yield _whole(names[id(weight)], single.reshape(len(given), *weight.shape))


def _outer(name: str, given: torch.Tensor, error: torch.Tensor) -> _Gradients:
    """Of a dense layer: the outer products of inputs (n, in) and errors (n, out)."""

    def total(shares: torch.Tensor, counting: torch.Tensor | None) -> torch.Tensor:
        clipped = _only(counting, error) * shares.unsqueeze(1)
        return clipped.T @ _only(counting, given)

    return _Gradients(name, given.square().sum(1) * error.square().sum(1), total)


def _only(counting: torch.Tensor | None, values: torch.Tensor) -> torch.Tensor:
    """Nothing of the samples that do not count, for 0 times infinity is no 0."""
    return values if counting is None else values.where(counting.unsqueeze(1), 0.0)


def _chain(module: nn.Module) -> Iterator[nn.Module | None]:
    """The layers of a chain, one after the other; None for what is not known."""
    if type(module) is nn.Sequential:
        for layer in module:
            yield from _chain(layer)
        return
    known = (
        (type(module) in _ALONE and not getattr(module, "inplace", False))
        or (type(module) is nn.Flatten and module.start_dim == 1 and module.end_dim == -1)
        or (type(module) is nn.Unflatten and module.dim == 1)
        or (type(module) is nn.Linear)
        or (
            type(module) is nn.Conv2d
            and module.groups == 1
            and module.padding_mode == "zeros"
            and not isinstance(module.padding, str)
        )
    )
    hooked = module._forward_hooks or module._forward_pre_hooks or module._backward_hooks  # noqa: SLF001
    yield module if known and not hooked else None
