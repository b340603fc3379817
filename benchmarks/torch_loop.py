"""What a torch learner costs above a training loop written by hand.

Run as ``python benchmarks/torch_loop.py``: both train the same steps on the same
mini-batches, in turn; the weights must agree bit for bit. The learner's time is a
whole proposal, from the current weights to the tensors handed out.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from colearn.learners.torch import TorchLearner
from colearn.protocols import Tensors

LIMIT = 1.05
REPEATS = 16
BATCH_SIZE = 64


def perceptron() -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(784, 100), nn.ReLU(), nn.Linear(100, 10))


def convolutions() -> nn.Module:
    return nn.Sequential(
        *(nn.Conv2d(1, 16, 3), nn.BatchNorm2d(16), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Conv2d(16, 32, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Dropout(0.2)),
        *(nn.Flatten(), nn.Linear(800, 10)),
    )


def by_hand(
    module: nn.Module,
    optimizer: Callable[..., torch.optim.Optimizer],
    samples: tuple[torch.Tensor, torch.Tensor],
    learner: TorchLearner,
    seed: tuple[int, int],
) -> dict[str, torch.Tensor]:
    """Train as the learner does in the proposal of this seed."""
    x, y = samples
    rng = np.random.default_rng(seed)
    torch.manual_seed(int(rng.integers(2**63)))
    module.train()
    optimiser = optimizer(module.parameters())
    for rows in learner.batches(rng):
        optimiser.zero_grad()
        functional.cross_entropy(module(x[rows]), y[rows]).backward()
        optimiser.step()
    return module.state_dict()


def compare(make: Callable[[], nn.Module], name: str, steps: int) -> None:
    rng = np.random.default_rng(0)
    x = rng.random((2048, 1, 28, 28), np.float32)
    y = rng.integers(10, size=2048)
    torch.manual_seed(0)
    start = make()
    optimizer = partial(torch.optim.Adam, lr=0.001)
    learner = TorchLearner(
        start,
        loss=functional.cross_entropy,
        optimizer=optimizer,
        train=(x, y),
        vote=(x[:10], y[:10]),
        steps=steps,
        batch_size=BATCH_SIZE,
    )
    samples = torch.from_numpy(x), torch.from_numpy(y)
    module = make()
    hand_seconds, learner_seconds = [], []

    def train_by_hand(repeat: int) -> dict[str, torch.Tensor]:
        module.load_state_dict(start.state_dict())
        began = time.perf_counter()
        trained = by_hand(module, optimizer, samples, learner, (0, repeat))
        hand_seconds.append(time.perf_counter() - began)
        return trained

    def propose(_: int) -> Tensors:
        began = time.perf_counter()
        proposed = learner.mli_propose_weights().weights
        learner_seconds.append(time.perf_counter() - began)
        return proposed

    for repeat in range(REPEATS):
        turns = (train_by_hand, propose) if repeat % 2 else (propose, train_by_hand)
        one, other = (turn(repeat) for turn in turns)
        same = all(np.array_equal(one[name], other[name]) for name in other)
        assert same, "the learner trained other weights than the loop"
    ratio = np.median(np.array(learner_seconds) / np.array(hand_seconds))
    hand, ours = (1000 * np.median(each) for each in (hand_seconds, learner_seconds))
    verdict = "ok" if ratio <= LIMIT else "MISSED"
    print(f"{name:<14}{steps:>5}  {hand:8.1f} ms {ours:8.1f} ms  {ratio:5.3f}  {verdict}")


def main() -> None:
    print(f"{'model':<14}steps      by hand     learner  ratio  (limit {LIMIT}; same bits in all)")
    compare(perceptron, "perceptron", 200)
    compare(convolutions, "convolutions", 50)


if __name__ == "__main__":
    main()
