"""Gradients of single samples where a module is a chain of dense and convolutional layers.

What each layer has seen and its errors give them at the cost of little more than
training (arXiv 1510.01799).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import nn

from colearn.learners.torch_clipping import Losses, SampleGradients, only, squared, summed, whole

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


class Chain:
    """The samples' gradients of a chain's parameters, layer by layer.

    Args:
        layers: As `layers` gave them.
        trained: The parameters that are trained, by name.
        losses: Each sample's loss.
    """

    def __init__(
        self, layers: Sequence[nn.Module], trained: Mapping[str, nn.Parameter], losses: Losses
    ) -> None:
        names = {id(parameter): name for name, parameter in trained.items()}
        self._names, self._losses = names, losses
        self._layers = [
            (layer, any(id(each) in names for each in layer.parameters())) for layer in layers
        ]

    def __call__(self, x: Any, y: torch.Tensor) -> list[SampleGradients]:
        """What each layer has seen, and its errors: no gradient but theirs is formed."""
        seen = []
        with torch.enable_grad():
            values = x
            for layer, learns in self._layers:
                given, values = values, layer(values)
                if learns:
                    seen.append((layer, given.detach(), values))
            total = summed(self._losses(values, y))
            errors = torch.autograd.grad(total, [outputs for *_, outputs in seen])
        return [
            gradients
            for (layer, given, _), error in zip(seen, errors, strict=True)
            for gradients in _of_layer(layer, given, error, self._names)
        ]


def layers(module: nn.Module, loss: Any) -> Sequence[nn.Module] | None:
    """The layers of a chain that is known to treat samples one by one, to its loss; else None."""
    if loss not in _LOSSES and type(loss) not in _LOSS_MODULES:
        return None
    found = list(_chain(module))
    known = [layer for layer in found if layer is not None]
    own = [parameter for layer in known for parameter in layer.parameters()]
    apart = len(known) == len(found) and len(own) == len(set(map(id, own)))
    return known if apart else None


def _of_layer(
    layer: nn.Module, given: torch.Tensor, error: torch.Tensor, names: Mapping[int, str]
) -> Iterator[SampleGradients]:
    """Inputs become (n, places, in) and errors (n, places, out), but where the place is one."""
    weight: Any = layer.weight
    bias: Any = layer.bias
    dense = isinstance(layer, nn.Linear)
    if not dense:
        error = error.flatten(2).transpose(1, 2)
    elif given.ndim > 2:
        given, error = given.flatten(1, -2), error.flatten(1, -2)
    single = error if error.ndim == 2 else error.sum(1)
    squares = squared(single)
    if bias is not None and id(bias) in names:
        yield whole(names[id(bias)], single, squares)
    if id(weight) not in names:
        return
    if error.ndim == 2:
        yield _outer(names[id(weight)], given, error, squares)
        return
    if isinstance(layer, nn.Conv2d):
        padding: Any = layer.padding  # no text: `_chain` has seen to that
        given = nn.functional.unfold(
            given, layer.kernel_size, layer.dilation, padding, layer.stride
        ).transpose(1, 2)
    products = torch.bmm(error.transpose(1, 2), given)
    yield whole(names[id(weight)], products.reshape(len(given), *weight.shape))


def _outer(
    name: str, given: torch.Tensor, error: torch.Tensor, squares: torch.Tensor
) -> SampleGradients:
    """Of a dense layer: outer products of inputs (n, in) and errors (n, out) of known squares."""

    def total(shares: torch.Tensor, counting: torch.Tensor | None) -> torch.Tensor:
        clipped = only(counting, error) * shares.unsqueeze(1)
        return clipped.T @ only(counting, given)

    return SampleGradients(name, squared(given).mul_(squares), total)


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
