"""PyTorch modules whose data stays private: clipping, noise, refusals, mixed groups."""

from __future__ import annotations

import subprocess
import sys
from functools import partial

import numpy as np
import pytest
import torch
from opacus.layers import DPMultiheadAttention
from torch import nn
from torch.nn import functional

from colearn.collective import Collective
from colearn.errors import LearnerError, MissingExtra, UnsupportedModel
from colearn.learners import torch_private
from colearn.learners.torch import TorchLearner
from colearn.learners.torch_chain import Chain
from colearn.learners.torch_clipping import Judged, clipped_sums
from colearn.learners.torch_opacus import Hooked
from colearn.learners.torch_private import judged
from colearn.learners.torch_tensors import trained
from colearn.ml_interface import DiffPrivConfig
from colearn.privacy.config import Privacy, VotePrivacy
from colearn.testing import check_learner

RNG = np.random.default_rng(0)
X = RNG.normal(size=(300, 1, 8, 8)).astype(np.float32)
Y = (X[:, 0, 0, 0] > 0).astype(np.int64)
PRIVACY = Privacy(train=DiffPrivConfig(50.0, 1e-4, noise_multiplier=1.0), releases=3)


CROSS_ENTROPY = partial(functional.cross_entropy, reduction="none")


class Twice(nn.Module):
    """Uses one layer twice, and a parameter of its own: no chain of known layers."""

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


class Branches(nn.Module):
    """Convolutions beside each other, one around the edges, and what Opacus has no formula for."""

    def __init__(self):
        super().__init__()
        self.left = nn.Conv2d(1, 4, 3, padding=1, padding_mode="circular")
        self.right, self.norm = nn.Conv2d(1, 4, 3, padding="same"), nn.GroupNorm(2, 4)
        self.act, self.out = nn.PReLU(), nn.Linear(4, 2)

    def forward(self, x):
        x = self.norm(self.left(x)) + self.act(self.right(x))
        return self.out(x.mean((2, 3)))


class Partly(nn.Module):
    """Has a layer that is not trained, one that is not used and one whose output is not."""

    def __init__(self):
        super().__init__()
        self.fixed, self.layer = nn.Linear(64, 16).requires_grad_(False), nn.Linear(16, 16)
        self.unused, self.vain, self.out = nn.Linear(1, 1), nn.Linear(16, 3), nn.Linear(16, 2)

    def forward(self, x):
        x = torch.tanh(self.layer(torch.tanh(self.fixed(x.flatten(1)))))
        self.vain(x)
        return self.out(x)


class Tokens(nn.Module):
    """Reads pictures as words, one of which is padding, and gives scores by their vectors."""

    def __init__(self):
        super().__init__()
        self.words = nn.Embedding(7, 8, padding_idx=0)
        self.attention = DPMultiheadAttention(8, 2, batch_first=True)
        self.scores = nn.Linear(8, 7, bias=False)
        self.scores.weight = self.words.weight

    def forward(self, x):
        x = self.words((x.flatten(1) * 2).long().clamp(-3, 3) + 3)
        return self.scores(self.attention(x, x, x)[0].mean(1))[:, :2]


def normed():
    """A layer that the chain does not know."""
    return nn.Sequential(nn.Flatten(), nn.GroupNorm(4, 64), nn.Linear(64, 2))


MODULES = {
    "dense": (dense, Chain),
    "frozen": (frozen, Chain),
    "convolutions": (convolutions, Chain),
    "rows": (rows, Chain),
    "normed": (normed, Hooked),
    "twice": (Twice, Hooked),
    "branches": (Branches, Hooked),
    "partly": (Partly, Hooked),
    "tokens": (Tokens, Hooked),
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
        used = {name: each for name, each in trained(module).items() if each.grad is not None}
        norm = torch.cat([each.grad.flatten() for each in used.values()]).norm()
        for name, each in used.items():
            sums[name] += each.grad * min(1.0, bound / float(norm))
    return sums


def judge(module, x, y, **options):
    """How a learner would have the gradients of a module."""
    usual = {"batch_size": 16, "some": (x[:8], y[:8])}
    own = trained(module)
    return judged(module, own, functional.cross_entropy, CROSS_ENTROPY, **usual | options)


def hooked(module, count):
    """How Opacus has the gradients of a module, whether a chain or not."""
    return Judged(trained(module), Hooked(module, trained(module), CROSS_ENTROPY), count, False)


def moved(sums):
    """How far two sums of gradients lie apart."""
    return torch.cat([(sums[1][name] - sums[0][name]).flatten() for name in sums[0]]).norm()


@pytest.mark.parametrize("name", MODULES)
@pytest.mark.parametrize("bound", [0.3, 1e9])
def test_gradients_are_those_of_single_samples(name, bound):
    """By layers or by Opacus, clipped or not: the sum that a loop over samples gives."""
    make, way = MODULES[name]
    torch.manual_seed(1)
    module = make()
    x = torch.from_numpy(X[:40])
    x, y = x[:, 0] if name == "rows" else x, torch.from_numpy(Y[:40])
    what = judge(module, x, y)
    assert type(what.gradients) is way
    for count in (0, 1, 20, 40):
        expected = by_hand(module, x[:count], y[:count], bound)
        ways = [what, hooked(module, 20)] if way is Chain else [what]
        for found in (clipped_sums(each, x[:count], y[:count], bound) for each in ways):
            assert found.keys() == expected.keys()
            for key, value in expected.items():
                torch.testing.assert_close(found[key], value, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", ["convolutions", "branches", "twice"])
@pytest.mark.parametrize("size", [1.0, 1e30, np.inf, np.nan])
def test_one_record_moves_the_sum_by_no_more_than_the_bound(size, name):
    """Whatever it holds, infinities and NaN included, and the others' part stays the same."""
    torch.manual_seed(0)
    module = MODULES[name][0]()
    x, y = torch.from_numpy(X[:9].copy()), torch.from_numpy(Y[:9])
    what = judge(module, x, y)
    x[8, 0, 0, 0] *= size
    sums = [clipped_sums(what, x[:count], y[:count], 0.5) for count in (8, 9)]
    assert moved(sums) <= 0.5 + 1e-5


def test_all_batches_look_the_same_to_a_module():
    """Opacus's path hands over as many rows whatever the batch, so that no count shows."""
    torch.manual_seed(0)
    module, sizes = Branches(), set()
    module.register_forward_pre_hook(lambda _, inputs: sizes.add(len(inputs[0])))
    x, y = torch.from_numpy(X[:60]), torch.from_numpy(Y[:60])
    what = judge(module, x, y)
    sizes.clear()
    for count in (0, 1, 16, 60):
        clipped_sums(what, x[:count], y[:count], 0.5)
    assert sizes == {what.rows}
    assert what.rows > 16


def test_what_is_too_large_for_two_rows_goes_one_by_one(monkeypatch):
    """One row alone cannot mix, so nothing is refused; the sum is the one over samples."""
    monkeypatch.setattr(torch_private, "_NUMBERS_AT_ONCE", 1)
    torch.manual_seed(0)
    module = Own(lambda module, x: x - x.mean(0) + x.tanh())
    x, y = torch.from_numpy(X[:9]), torch.from_numpy(Y[:9])
    what = judge(module, x, y)
    assert what.rows == 1
    expected = by_hand(module, x, y, 0.5)
    for name, found in clipped_sums(what, x, y, 0.5).items():
        torch.testing.assert_close(found, expected[name], rtol=1e-4, atol=1e-5)


class Own(nn.Module):
    """A perceptron with a step of its own between its layers."""

    def __init__(self, between, gate=None):
        super().__init__()
        self.layer, self.out = nn.Linear(64, 16), nn.Linear(16, 2)
        self.gate = gate or nn.Identity()
        self.between, self.last = between, 0.0

    def forward(self, x):
        return self.out(self.between(self, torch.tanh(self.layer(x.flatten(1)))))


def remember(module, x):
    """Add what the last batch left."""
    last, module.last = module.last, x.detach().mean(0)
    return x + last


def shut():
    """A layer that lets nothing pass as long as it is not trained."""
    layer = nn.Linear(16, 16)
    nn.init.zeros_(layer.weight)
    nn.init.zeros_(layer.bias)
    return layer


MIXING = {
    "centred": lambda module, x: x - x.mean(0),
    "by the largest": lambda module, x: x / x.abs().max(),
    "barely": lambda module, x: x + 1e-8 * x.mean(0),
    "not at first": lambda module, x: x + module.gate(x.mean(0, keepdim=True).expand_as(x)),
    "in the gradient alone": lambda module, x: x + x.mean(0) - x.mean(0).detach(),
    "the neighbour": lambda module, x: x + x.roll(1, 0),
    "another at random": lambda module, x: x + x[torch.randperm(len(x))],
    "among each other": lambda module, x: torch.softmax(x @ x.T, 1) @ x,
    "by a condition": lambda module, x: x * (2 if x.sum() > 0 else 1),
    "over time": remember,
    "in torch's way": lambda module, x: functional.batch_norm(x, None, None, training=True),
}


@pytest.mark.parametrize("name", MIXING)
def test_what_mixes_samples_is_refused_before_the_budget_is_touched(name, tmp_path):
    """However it hides that a sample shows in another's gradient."""
    budget = tmp_path / "budget.sqlite"
    privacy = Privacy(train=PRIVACY.train, releases=3, budget=budget, witness=tmp_path / "witness")
    gate = shut() if name == "not at first" else None
    with pytest.raises(UnsupportedModel, match="never with a module or a loss that mixes"):
        made(lambda: Own(MIXING[name], gate), privacy=privacy)
    assert not budget.exists()


def test_opacus_alone_would_let_a_record_show():
    """What the refusals are for: by its gradients one record moves the sum beyond the bound."""
    torch.manual_seed(0)
    module = Own(lambda module, x: x - 5 * x.mean(0))
    x, y = torch.from_numpy(X[:9].copy()), torch.from_numpy(Y[:9])
    x[8] *= 100
    sums = [clipped_sums(hooked(module, 9), x[:count], y[:count], 0.5) for count in (8, 9)]
    assert moved(sums) > 1


def test_tokens_that_mix_are_refused():
    """Where inputs are names of things, which no number can stand out from."""

    class Mixing(nn.Module):
        def __init__(self):
            super().__init__()
            self.words, self.gate, self.out = nn.Embedding(9, 16), shut(), nn.Linear(16, 2)

        def forward(self, x):
            x = self.words(x).mean(1)
            return self.out(x + self.gate(x.mean(0, keepdim=True).expand_as(x)))

    ids = RNG.integers(9, size=(300, 5))
    with pytest.raises(UnsupportedModel, match="mixes the samples of a batch"):
        made(Mixing, train=(ids, Y))


@pytest.mark.filterwarnings("ignore:Using a target size:UserWarning")
@pytest.mark.parametrize("make", [dense, lambda: Own(lambda module, x: x)])
def test_losses_that_mix_are_refused(make):
    """Such as the squared error of outputs (n, 1) and targets (n,), which compares all pairs."""

    def one():
        module = make()
        module.add_module("out" if isinstance(module, Own) else "3", nn.Linear(16, 1))
        return module

    targets = X[:, 0, 0, 0]
    with pytest.raises(UnsupportedModel, match="mixes the samples .* in the outputs' shape"):
        made(one, train=(X, targets), loss=functional.mse_loss)
    made(one, train=(X, targets[:, None]), loss=functional.mse_loss)


class Noting(nn.Module):
    """Notes down means of the samples."""

    def __init__(self):
        super().__init__()
        self.register_buffer("mean", torch.zeros(16))

    def forward(self, x):
        self.mean = self.mean * 0.9 + x.detach().mean(0) * 0.1
        return x


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda: Own(lambda module, x: module.gate(x), Noting()),
         "never with a module that changes 'gate.mean' as it is used"),
        (lambda: Own(lambda module, x: x + module.gate((x > 0).long()).mean(1),
                     nn.Embedding(2, 16, max_norm=0.1)),
         r"never with max_norm \(Embedding, layer 'gate'\)"),
        (lambda: Own(lambda module, x: x + module.gate.weight.data.add_(x.detach().mean(0)),
                     nn.Linear(16, 1)),
         "never with a module that changes 'gate.weight' as it is used"),
        (lambda: Own(lambda module, x: module.gate(x[:, None], x[:, None], x[:, None])[0][:, 0],
                     nn.MultiheadAttention(16, 2)),
         r"not yet with MultiheadAttention \(layer 'gate'\): .* DPMultiheadAttention"),
        (lambda: Own(lambda module, x: module.gate(x.reshape(-1, 8)).reshape(-1, 16),
                     nn.Linear(8, 8)),
         "not yet: .* 'gate.weight' has gradients for 4 rows of a batch of 2 samples"),
        (lambda: Own(lambda module, x: functional.linear(x, module.gate.weight), nn.Linear(16, 16)),
         "not yet: Opacus's gradients of 'gate.weight' are not the module's"),
        (lambda: Own(lambda module, x: functional.relu_(module.gate(x)), nn.Linear(16, 16)),
         "not yet: there are no gradients of its single samples, Output 0 of Backward"),
        (lambda: Own(lambda module, x: module.gate(x),
                     nn.utils.parametrizations.spectral_norm(nn.Linear(16, 16))),
         "not yet: Model contains a trainable layer with buffers"),
    ],
)  # fmt: skip
def test_what_opacus_cannot_follow_is_refused(make, reason):
    """When the learner is made, in one line that says what stands in the way."""
    with pytest.raises(UnsupportedModel, match=f"cannot train privately, {reason}") as refusal:
        made(make)
    assert "\n" not in str(refusal.value)


def test_opacus_leaves_no_trace():
    """No hook, no wrapper and no attribute of its is on the module, nor on what it gives away."""
    one, plain = made(Tokens), made(Tokens, privacy=None)
    assert one.mli_propose_weights().weights.keys() == plain.tensors().keys()
    for module in (one._module, one.native()):
        assert not any(each._forward_hooks or each._backward_hooks for each in module.modules())
        assert not any(hasattr(each, "grad_sample") for each in module.parameters())


def test_without_opacus_chains_train_and_the_rest_says_how_to_get_it(monkeypatch):
    """When the learner is made, in one line."""
    for name in [name for name in sys.modules if name.partition(".")[0] == "opacus"]:
        monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.delitem(sys.modules, "colearn.learners.torch_opacus")
    made(convolutions).mli_propose_weights()
    with pytest.raises(
        MissingExtra,
        match=r"^private training of modules other than chains .* "
        r"pip install 'colearn-protocol\[privacy-torch\]'$",
    ):
        made(Twice)


def test_opacus_does_not_touch_the_log():
    """Its import would send what every library notes down to the screen."""
    code = "import logging, colearn.learners.torch_opacus; assert not logging.root.handlers"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)


def test_draws_of_samples_differ():
    """Dropout goes through Opacus too, and each sample has its own."""
    torch.manual_seed(0)
    module = Own(lambda module, x: module.gate(x), nn.Dropout(0.5))
    module.layer.weight.requires_grad = False
    x, y = torch.from_numpy(X[:1].repeat(40, 0)), torch.from_numpy(Y[:1].repeat(40, 0))
    gradients = judge(module, x, y).gradients(x, y)
    (weight,) = (each for each in gradients if each.name == "out.weight")
    assert len(weight.squares.unique()) > 10


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
        sums.append(clipped_sums(judge(one._module, x, y), x, y, 0.5))
    assert moved(sums) <= 0.5 + 1e-5


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
