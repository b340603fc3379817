"""PyTorch modules whose data stays private: clipping, noise, refusals, mixed groups."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from colearn.collective import Collective
from colearn.errors import LearnerError, UnsupportedModel
from colearn.learners.torch import TorchLearner
from colearn.learners.torch_private import clipped_sums, judged
from colearn.learners.torch_tensors import trained
from colearn.ml_interface import DiffPrivConfig
from colearn.privacy.config import Privacy, VotePrivacy
from colearn.testing import check_learner

RNG = np.random.default_rng(0)
X = RNG.normal(size=(300, 1, 8, 8)).astype(np.float32)
Y = (X[:, 0, 0, 0] > 0).astype(np.int64)
PRIVACY = Privacy(train=DiffPrivConfig(50.0, 1e-4, noise_multiplier=1.0), releases=3)


class Twice(nn.Module):
    """Uses one layer twice, and an embedding: no chain of known layers."""

    def __init__(self):
        super().__init__()
        self.places = nn.Parameter(torch.randn(64))
        self.layer, self.norm = nn.Linear(64, 64), nn.LayerNorm(64)
        self.out = nn.Linear(64, 2)

    def forward(self, x):
        x = x.flatten(1) * self.places
        return self.out(self.norm(self.layer(torch.tanh(self.layer(x)))))


def dense():
    """A perceptron, which is a chain of known layers."""
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 16), nn.ReLU(), nn.Linear(16, 2))


def frozen():
    """The same with a layer that is not trained."""
    module = dense()
    module[1].weight.requires_grad = False
    return module


def convolutions():
    """A chain within a chain, with steps, padding and missing biases."""
    return nn.Sequential(
        *(nn.Conv2d(1, 4, 3, stride=2, padding=1), nn.Tanh(), nn.MaxPool2d(2)),
        nn.Sequential(nn.Conv2d(4, 3, 2, bias=False), nn.Flatten(), nn.Linear(3, 2, bias=False)),
    )


def rows():
    """A dense layer that sees several places of a sample."""
    return nn.Sequential(
        *(nn.Linear(8, 6), nn.Tanh(), nn.Flatten(), nn.Linear(48, 2)),
    )


def normed():
    """A layer that the chain does not know."""
    return nn.Sequential(nn.Flatten(), nn.GroupNorm(4, 64), nn.Linear(64, 2))


MODULES = {
    "dense": (dense, True),
    "frozen": (frozen, True),
    "convolutions": (convolutions, True),
    "rows": (rows, True),
    "normed": (normed, False),
    "twice": (Twice, False),
}


def made(make, **options):
    """A learner on pictures of 8 by 8 pixels."""
    torch.manual_seed(3)
    usual = {
        "loss": functional.cross_entropy,
        "optimizer": partial(torch.optim.SGD, lr=0.1),
        "train": (X, Y),
        "steps": 4,
        "privacy": PRIVACY,
    }
    return TorchLearner(make(), **usual | options)


def by_hand(module, x, y, bound):
    """Each sample's gradient by plain backward passes, clipped, summed."""
    sums = {name: torch.zeros_like(each) for name, each in trained(module).items()}
    for row in range(len(x)):
        module.zero_grad()
        functional.cross_entropy(module(x[row : row + 1]), y[row : row + 1]).backward()
        norm = torch.cat([each.grad.flatten() for each in trained(module).values()]).norm()
        for name, each in trained(module).items():
            sums[name] += each.grad * min(1.0, bound / float(norm))
    return sums


@pytest.mark.parametrize("name", MODULES)
@pytest.mark.parametrize("bound", [0.3, 1e9])
def test_gradients_are_those_of_single_samples(name, bound):
    """By layers or by torch.func, clipped or not: the sum that a loop over samples gives."""
    make, by_layer = MODULES[name]
    torch.manual_seed(1)
    module = make()
    x = torch.from_numpy(X[:20])
    x, y = x[:, 0] if name == "rows" else x, torch.from_numpy(Y[:20])
    what = judged(
        module,
        trained(module),
        functional.cross_entropy,
        partial(functional.cross_entropy, reduction="none"),
    )
    assert (what.by_layer is not None) == by_layer
    expected = by_hand(module, x, y, bound)
    for found in (
        clipped_sums(what, x, y, bound),
        clipped_sums(what._replace(by_layer=None), x, y, bound),
    ):
        assert found.keys() == expected.keys()
        for key, value in expected.items():
            torch.testing.assert_close(found[key], value, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("by_layer", [True, False])
@pytest.mark.parametrize("size", [1.0, 1e30, np.inf, np.nan])
def test_one_record_moves_the_sum_by_no_more_than_the_bound(size, by_layer):
    """Whatever it holds, infinities and NaN included, and the others' part stays the same."""
    module = convolutions()
    cross_entropy = partial(functional.cross_entropy, reduction="none")
    what = judged(module, trained(module), functional.cross_entropy, cross_entropy)
    if not by_layer:
        what = what._replace(by_layer=None)
    x, y = torch.from_numpy(X[:9].copy()), torch.from_numpy(Y[:9])
    x[8, 0, 0, 0] *= size
    sums = [clipped_sums(what, x[:count], y[:count], 0.5) for count in (8, 9)]
    moved = torch.cat([(sums[1][name] - sums[0][name]).flatten() for name in sums[0]])
    assert moved.norm() <= 0.5 + 1e-5


def test_what_mixes_samples_is_asked_for_one_at_a_time():
    """Through a module that adds the batch's mean, a record still moves the sum by the bound."""

    class Mixing(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(64, 2)

        def forward(self, x):
            outputs = self.layer(x.flatten(1))
            return outputs + 3 * outputs.mean(0)

    torch.manual_seed(0)
    module = Mixing()
    losses = partial(functional.cross_entropy, reduction="none")
    what = judged(module, trained(module), functional.cross_entropy, losses)
    x, y = torch.from_numpy(X[:9]), torch.from_numpy(Y[:9])
    with_last, without = (clipped_sums(what, x[:n], y[:n], 1.0) for n in (9, 8))
    moved = torch.cat([(with_last[name] - without[name]).flatten() for name in without])
    assert 0 < moved.norm() <= 1 + 1e-5


def test_trains_and_says_what_it_cost():
    """Names and shapes are those of the plain module; the noise is no seed's."""
    one, two, plain = made(convolutions), made(convolutions), made(convolutions, privacy=None)
    assert one.schema() == plain.schema()
    proposals = [each.mli_propose_weights() for each in (one, two)]
    spent = proposals[0].training_summary.dp_budget
    assert 0 < spent.consumed_epsilon < spent.target_epsilon == 50.0
    assert not np.array_equal(*(each.weights["0.weight"] for each in proposals))


def test_learns_privately():
    """Noise as of one record in a batch of 100 does not keep it from learning."""
    privacy = Privacy(train=DiffPrivConfig(50.0, 1e-4, noise_multiplier=1.0), releases=4)
    optimizer = partial(torch.optim.SGD, lr=0.5)
    one = made(dense, privacy=privacy, optimizer=optimizer, steps=20, batch_size=100)
    before = one.evaluate(one.mli_get_current_weights(), (X, Y))
    for _ in range(4):
        one.mli_accept_weights(one.mli_propose_weights())
    assert one.evaluate(one.mli_get_current_weights(), (X, Y)) > before + 0.2


def test_private_and_plain_learners_mix():
    """A group in which only some are private learns by one protocol, under one schema."""
    learners = {
        "private": made(dense, train=(X[:150], Y[:150])),
        "plain": made(dense, train=(X[150:], Y[150:]), privacy=None),
    }
    with Collective(learners, method="fast") as collective:
        result = collective.run(3)
    assert len(result.rounds) == 3


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"module": lambda: nn.Sequential(nn.Flatten(), nn.BatchNorm1d(64), nn.Linear(64, 2))},
         r"never with BatchNorm1d \(layer '1'\): .* take GroupNorm"),
        ({"module": lambda: nn.Sequential(
            nn.InstanceNorm2d(1, track_running_stats=True), nn.Flatten(), nn.Linear(64, 2))},
         "never with running statistics"),
        ({"max_grad_norm": 1.0}, "not yet with max_grad_norm: leave it out"),
        ({"autocast": torch.bfloat16}, "not yet with autocast"),
        ({"optimizer": torch.optim.LBFGS}, "not yet with LBFGS"),
    ],
)  # fmt: skip
def test_what_refuses_says_why(options, reason):
    """Before any budget is charged, and with what to do instead."""
    make = options.pop("module", dense)
    with pytest.raises(UnsupportedModel, match=f"TorchLearner cannot train privately, {reason}"):
        made(make, **options)


class Named(nn.Module):
    """Takes its inputs by name."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(64, 2)

    def forward(self, pixels, shift):
        return self.layer(pixels.flatten(1) + shift)


class Pictures(torch.utils.data.Dataset):
    """Samples that are read when they are asked for."""

    def __init__(self, rows, change=lambda x: x):
        self.rows, self.change, self.read = rows, change, []

    def __len__(self):
        return len(self.rows)

    def __getitem__(self, place):
        self.read.append(place)
        row = self.rows[place]
        return self.change(torch.from_numpy(X[row])), int(Y[row])


def centred(items):
    """Collates by the mean of the whole batch, which shows every sample in every other."""
    x, y = torch.utils.data.default_collate(items)
    return x - x.mean(0), y


def by_name(items):
    """Collates to inputs with names."""
    x, y = torch.utils.data.default_collate(items)
    return {"pixels": x, "shift": x[:, 0, 0, :1]}, y


def loader(dataset, collate=None, **options):
    """Return a loader of small batches."""
    return torch.utils.data.DataLoader(dataset, collate_fn=collate, batch_size=8, **options)


@pytest.mark.parametrize("workers", [0, 2])
def test_records_are_the_same_from_a_loader(workers, tmp_path):
    """The same data is the same to the budget, train and vote alike, whatever form it has."""
    budget = {"budget": tmp_path / "budget.sqlite", "witness": tmp_path / "witness"}
    privacy = Privacy(train=PRIVACY.train, releases=3, **budget)
    arrays = made(dense, privacy=privacy)
    read = made(dense, privacy=privacy, train=loader(Pictures(range(300)), num_workers=workers))
    for part in ("train_samples", "vote_samples"):
        x, y = getattr(arrays, part)
        found = [*getattr(read, part)[0].batches(np.array_split(np.arange(len(x)), 3))]
        assert torch.equal(torch.cat([each for each, _ in found]), torch.from_numpy(x))
        assert torch.equal(torch.cat([each for _, each in found]), torch.from_numpy(y))


def test_loaders_are_read_by_poisson_sampling():
    """Every step takes the rows that its coins say, of the train part alone; none may be too."""
    data = Pictures(range(300))
    one = made(dense, train=loader(data), batch_size=3, steps=8)
    trained_on, sizes = set(), []
    step = one.noisy_step
    one.noisy_step = lambda x, y, *rest: (sizes.append(len(y)), step(x, y, *rest))
    data.read.clear()
    one.mli_propose_weights()
    trained_on.update(data.read)
    assert sum(sizes) == len(data.read)
    assert len(set(sizes)) > 2
    data.read.clear()
    one.mli_test_weights(one.mli_get_current_weights())
    assert not trained_on & set(data.read)
    none = iter([np.arange(0), np.arange(2), np.arange(0)])
    assert [len(y) for _, y in one.drawn(none)] == [0, 2, 0]


@pytest.mark.parametrize("size", [1.0, 1e30, np.nan])
def test_no_sample_shows_in_anothers_inputs(size):
    """Where a collate function mixes a batch, one record still moves the sum by the bound."""
    sums = []
    for count in (8, 9):
        scale = torch.tensor([1.0] * 8 + [size])
        data = [(torch.from_numpy(X[row]) * scale[row], int(Y[row])) for row in range(9)]
        one = made(Twice, privacy=None, train=loader(data, centred), vote=(X, Y))
        one.begin(RNG)
        rows = one.joined([one.train_samples])[0]
        ((x, y),) = rows.batches([np.arange(count)])
        what = judged(
            one._module,
            one._trained,
            functional.cross_entropy,
            partial(functional.cross_entropy, reduction="none"),
        )
        sums.append(clipped_sums(what, x, y, 0.5))
    moved = torch.cat([(sums[1][name] - sums[0][name]).flatten() for name in sums[0]])
    assert moved.norm() <= 0.5 + 1e-5


def test_inputs_with_names_train_privately():
    """A module that is called by name is, one sample at a time, too."""
    one = made(Named, train=loader(Pictures(range(60)), by_name))
    start = one.mli_get_current_weights().weights
    proposed = one.mli_propose_weights()
    assert not np.array_equal(proposed.weights["layer.weight"], start["layer.weight"])
    assert proposed.training_summary.dp_budget.consumed_epsilon > 0


class Pooled(nn.Module):
    """Takes pictures of any width."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(8, 2)

    def forward(self, x):
        return self.layer(x.mean(3).flatten(1))


def ragged(items):
    """Collates to as many columns as the first sample's label says."""
    x, y = torch.utils.data.default_collate(items)
    return x[..., : 4 + int(y[0])], y


@pytest.mark.parametrize(
    ("train", "error", "reason"),
    [
        (loader(Pictures(range(60), lambda x: x + torch.randn(1))), UnsupportedModel,
         "the dataset gives other values each time it is read"),
        (loader(Pictures(range(60)), ragged), LearnerError, "expected tensors of one shape"),
    ],
)  # fmt: skip
def test_loaders_that_cannot_be_private_say_why(train, error, reason):
    """Where records cannot be told apart, or show by their shape, in one line."""
    with pytest.raises(error, match=reason) as refusal:
        made(Pooled, train=train)
    assert "\n" not in str(refusal.value)


def test_control_flow_by_values_is_refused():
    """What torch.func cannot follow is refused when the learner is made, not in a round."""

    class Wilful(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(64, 2)

        def forward(self, x):
            return self.layer(x.flatten(1)) * (2 if x.sum() > 0 else 1)

    with pytest.raises(UnsupportedModel, match="not yet: torch.func gives no gradients"):
        made(Wilful)


def test_keeps_the_promises(tmp_path):
    """A private learner passes the checks of the interface, with its budget on disk."""
    privacy = Privacy(
        train=DiffPrivConfig(50.0, 1e-4, noise_multiplier=1.0),
        releases=40,
        votes=VotePrivacy(epsilon=50.0, delta=1e-4, votes=40),
        budget=tmp_path / "budget.sqlite",
        witness=tmp_path / "witness",
    )
    check_learner(lambda: made(dense, privacy=privacy, steps=2))
