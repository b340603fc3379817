"""Gradients of single samples by Opacus, of any module that it can follow.

Opacus hooks the layers of a module and works out from what each has seen, and its
errors, what every row of a batch adds to its parameters. It hooks a copy that shares
the parameters: the module itself stays as it is, and so do the names of its tensors.

Opacus takes it for granted that rows are samples and that none shows in another's;
`torch_probe` finds out.
"""

from __future__ import annotations

import copy
import logging
import warnings
from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
from torch import nn
from torch.func import functional_call

from colearn.errors import MissingExtra, UnsupportedModel
from colearn.learners.supervised import one_line
from colearn.learners.torch_clipping import Inputs, Losses, SampleGradients, summed, whole

_handlers = list(logging.root.handlers)
try:
    from opacus.grad_sample import GradSampleHooks
    from opacus.validators import ModuleValidator
except ModuleNotFoundError:
    raise MissingExtra(
        "private training of modules other than chains of dense and convolutional layers",
        "opacus",
        "privacy-torch",
    ) from None
finally:
    logging.root.handlers[:] = _handlers  # Opacus sends what all programs log to the screen

_CLOSE = 1e-3
_IDLE = r"Full backward hook is firing|In \w+ autocast"
"""What torch warns of whenever Opacus has no gradients of inputs, or sees whole numbers."""


class _Sampled(NamedTuple):
    """The samples' gradients, shape (n, ...); their sum as torch has it; buffers afterwards."""

    single: dict[str, torch.Tensor]
    sums: dict[str, torch.Tensor]
    buffers: dict[str, torch.Tensor]


class Hooked:
    """The samples' gradients of a module's parameters, by Opacus's hooks.

    Args:
        module: In training mode; its values, not its layers, are shared.
        trained: Its trained parameters, by name.
        losses: Each sample's loss.
        functorch: Work out every layer's gradients by ``torch.func``, where Opacus's own
            formulas know nothing of some option of a layer.

    Raises:
        UnsupportedModel: Opacus does not take such a module.
    """

    def __init__(
        self,
        module: nn.Module,
        trained: Mapping[str, nn.Parameter],
        losses: Losses,
        *,
        functorch: bool = False,
    ) -> None:
        for name, layer in reversed(list(module.named_modules())):
            for reason in ModuleValidator.validate(layer):
                kind = type(layer).__name__
                raise UnsupportedModel(f"not yet with {kind} (layer {name!r}): {reason}")
        self._module, self._trained, self._losses = module, trained, losses
        shared = {id(each): each for each in module.parameters()}
        self._copy = copy.deepcopy(module, shared).train()
        try:
            GradSampleHooks(self._copy, loss_reduction="sum", force_functorch=functorch)
        except NotImplementedError as reason:
            errors = reason.args[0]
            first = errors[0] if isinstance(errors, list) else errors
            raise UnsupportedModel(f"not yet: {one_line(first):.200}") from None
        self._forget()

    def __call__(self, x: Inputs, y: torch.Tensor) -> list[SampleGradients]:
        """Each sample's gradients, as many as there are rows."""
        return [whole(name, each) for name, each in self._sampled(x, y).single.items()]

    def fault(self, x: Inputs, y: torch.Tensor) -> str | None:
        """What is wrong with the gradients of a batch, whichever sample they belong to."""
        before = {name: each.clone() for name, each in self._module.named_parameters()}
        found = self._sampled(x, y)
        largest = max(total.abs().max() for total in found.sums.values())
        for name, total in found.sums.items():
            if not (found.single[name].sum(0) - total).abs().max() <= _CLOSE * largest:
                return (
                    f"not yet: Opacus's gradients of {name!r} are not the module's; use a "
                    "parameter in its own layer's forward alone, and what each layer gives"
                )
        before.update(self._module.named_buffers())
        after = dict(self._module.named_parameters()) | found.buffers
        for name, value in before.items():
            if not value.equal(after[name]):
                return (
                    f"never with a module that changes {name!r} as it is used: what that keeps "
                    "of samples has no noise; take out what changes it, such as max_norm"
                )
        return None

    def _sampled(self, x: Inputs, y: torch.Tensor) -> _Sampled:
        # A copy, for what a module notes down as it trains would be told without noise.
        buffers = {name: each.clone() for name, each in self._module.named_buffers()}
        args, kwargs = ((), x) if isinstance(x, dict) else ((x,), {})
        parameters = list(self._trained.values())
        for each in parameters:
            each.__dict__.update(grad_sample=None, _forward_counter=0)
        try:
            with torch.enable_grad(), warnings.catch_warnings():
                warnings.filterwarnings("ignore", _IDLE, UserWarning)
                outputs = functional_call(self._copy, buffers, args, kwargs)
                total = summed(self._losses(outputs, y))
                sums = torch.autograd.grad(total, parameters, materialize_grads=True)
            single = {name: self._rows(name, len(y)) for name in self._trained}
        finally:
            self._forget()
        return _Sampled(single, dict(zip(self._trained, sums, strict=True)), buffers)

    def _rows(self, name: str, count: int) -> torch.Tensor:
        parameter: Any = self._trained[name]
        found: torch.Tensor | None = parameter.grad_sample
        if found is None:  # the losses do not depend on it
            return torch.zeros_like(parameter).expand(count, *parameter.shape)
        if len(found) != count:
            raise ValueError(
                f"{name!r} has gradients for {len(found)} rows of a batch of {count} samples: its "
                "layer must see the samples along the first axis; change that, or freeze it"
            )
        return found.detach()

    def _forget(self) -> None:
        """Let go of all that Opacus keeps, and would keep where a layer's output is not used."""
        for parameter in self._trained.values():
            for name in ("grad_sample", "_current_grad_sample", "_forward_counter"):
                parameter.__dict__.pop(name, None)
        for layer in self._copy.modules():
            for name in ("activations", "max_batch_len"):
                layer.__dict__.pop(name, None)
