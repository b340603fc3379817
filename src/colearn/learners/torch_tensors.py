"""Which tensors of a module travel, and how they become arrays and tensors again."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

import numpy as np

from colearn.errors import MissingExtra, UnsupportedModel
from colearn.learners.supervised import one_line
from colearn.schema import KINDS
from colearn.weights import numpy_dtype

try:
    import torch
    from torch import nn
    from torch.nn.parameter import UninitializedParameter
except ModuleNotFoundError:
    raise MissingExtra("TorchLearner", "torch", "torch") from None

if TYPE_CHECKING:
    from numpy.typing import NDArray


def copied(module: nn.Module, device: torch.device) -> nn.Module:
    """Return the learner's own copy of a module, on a device.

    Raises:
        UnsupportedModel: The module cannot learn collectively.
    """
    if not isinstance(module, nn.Module):
        raise UnsupportedModel(f"got {module!r:.60}: expected an instance of torch.nn.Module")
    name = type(module).__name__
    if any(isinstance(each, UninitializedParameter) for each in module.parameters()):
        raise UnsupportedModel(
            f"{name} has parameters without a shape, not yet: call it once on a batch, "
            "so that all members start from the same values"
        )
    if not any(parameter.requires_grad for parameter in module.parameters()):
        raise UnsupportedModel(f"{name} has no parameter that requires a gradient: none can learn")
    for place, value in module.state_dict().items():
        if not isinstance(value, torch.Tensor) or _dtype_name(value) not in KINDS:
            kind = _dtype_name(value) if isinstance(value, torch.Tensor) else type(value).__name__
            raise UnsupportedModel(
                f"{name} holds {place!r}, a {kind}, which cannot travel: "
                f"expected tensors of {', '.join(KINDS)}"
            )
    try:
        return copy.deepcopy(module).to(device)
    except (AssertionError, RuntimeError, TypeError) as reason:
        raise UnsupportedModel(f"{name} cannot be copied to {device}: {one_line(reason)}") from None


def travelling(module: nn.Module) -> dict[str, torch.Tensor]:
    """Return trained parameters and buffers; what has two names, as tied layers do, once."""
    named: dict[str, torch.Tensor] = {}
    known: set[int] = set()
    for name, tensor in module.state_dict(keep_vars=True).items():
        frozen = isinstance(tensor, nn.Parameter) and not tensor.requires_grad
        if not frozen and id(tensor) not in known:
            known.add(id(tensor))
            named[name] = tensor
    return named


def trained(module: nn.Module) -> dict[str, nn.Parameter]:
    """Return the parameters that require a gradient, by name."""
    return {name: each for name, each in module.named_parameters() if each.requires_grad}


def frozen(module: nn.Module) -> dict[str, NDArray[Any]]:
    """Return copies of the parameters that require no gradient, by name."""
    return {
        name: np.array(view(parameter.detach().cpu()))
        for name, parameter in module.named_parameters()
        if not parameter.requires_grad
    }


def _dtype_name(tensor: torch.Tensor) -> str:
    return str(tensor.dtype).removeprefix("torch.")


def view(tensor: torch.Tensor) -> NDArray[Any]:
    """Return an array over the memory of a tensor on the CPU."""
    if tensor.dtype is torch.bfloat16:
        return tensor.view(torch.uint16).numpy().view(numpy_dtype("bfloat16"))
    array: NDArray[Any] = tensor.numpy()
    return array


def write(tensor: torch.Tensor, array: NDArray[Any]) -> torch.Tensor:
    """Copy an array, which may be read-only, into a tensor; return the tensor."""
    on_cpu = tensor.device.type == "cpu"
    host = tensor if on_cpu else torch.empty_like(tensor, device="cpu")
    np.copyto(view(host), array)
    return tensor if on_cpu else tensor.copy_(host)
