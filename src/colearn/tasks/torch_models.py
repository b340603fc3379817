"""Models in PyTorch: convolutional networks for pictures, as learners."""

from __future__ import annotations

from functools import partial
from typing import Unpack

from colearn.errors import MissingExtra
from colearn.tasks.registry import GROUPS, Given, Task

try:
    import torch
    from torch import nn

    from colearn.learners.torch import TorchLearner
except ModuleNotFoundError:
    raise MissingExtra("this task's model", "torch", "torch") from None


def learner(
    task: Task,
    *,
    learning_rate: float,
    batch_size: int,
    **given: Unpack[Given],
) -> TorchLearner:
    """Make a learner of a task; see `Task.learner`."""
    with torch.random.fork_rng([]):
        torch.manual_seed(given["seed"])
        module = convolutions(*task.picture, outputs=task.classes or 1, norm=task.norm)
    return TorchLearner(
        module,
        loss=nn.functional.cross_entropy,
        optimizer=partial(torch.optim.Adam, lr=learning_rate),
        steps=task.steps,
        batch_size=batch_size,
        **given,
    )


def convolutions(channels: int, side: int, *, outputs: int, norm: str) -> nn.Module:
    """A network that reads flat pictures, small enough to train on a processor.

    Args:
        channels: 1 for grey, 3 for colour.
        side: Pixels along an edge.
        outputs: How many classes.
        norm: See `Task`.
    """
    narrowest = 64 * (side // 8) ** 2
    module = nn.Sequential(
        nn.Unflatten(1, (channels, side, side)),
        *_halved(channels, 16, norm),
        *_halved(16, 32, norm),
        *_halved(32, 64, norm),
        nn.Flatten(),
        nn.Dropout(0.25),
        nn.Linear(narrowest, outputs),
    )
    if norm == "group":
        return module  # Opacus reads the other layout wrong
    return module.to(memory_format=torch.channels_last)  # type: ignore[call-overload,no-any-return]  # twice as fast


def _halved(inputs: int, outputs: int, norm: str) -> tuple[nn.Module, ...]:
    """A convolution that halves a picture's side."""
    return (
        nn.Conv2d(inputs, outputs, 3, padding=1, bias=False),
        nn.GroupNorm(GROUPS, outputs) if norm == "group" else nn.BatchNorm2d(outputs),
        nn.ReLU(),
        nn.MaxPool2d(2),
    )
