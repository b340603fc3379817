"""PyTorch modules as learners."""

from __future__ import annotations

import math
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import numpy as np
import pytest
import torch
from threadpoolctl import threadpool_limits
from torch import nn
from torch.nn import functional
from torch.utils.data import DataLoader, Dataset, IterableDataset, TensorDataset

from colearn.collective import Collective
from colearn.errors import (
    ConfigError,
    LearnerError,
    SchemaMismatch,
    UnsupportedModel,
    UnusableWeights,
)
from colearn.learners.frozen import FROZEN
from colearn.learners.torch import TorchLearner
from colearn.ml_interface import Weights
from colearn.testing import check_learner

SGD = partial(torch.optim.SGD, lr=0.2, momentum=0.9)
RNG = np.random.default_rng(0)
X = RNG.normal(size=(200, 6)).astype(np.float32)
Y = (X[:, 0] * X[:, 1] > 0).astype(np.int64) + (X[:, 2] > 1)
PARTS = {"train": (X[:100], Y[:100]), "vote": (X[100:150], Y[100:150]), "test": (X[150:], Y[150:])}


def network(*, dropout=0.1):
    """Return the same small network each time, with every kind of state."""
    torch.manual_seed(3)
    return nn.Sequential(
        nn.Linear(6, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Dropout(dropout), nn.Linear(16, 3)
    )


def learner(module=None, **options):
    """Return a learner that trains eight mini-batches a proposal."""
    usual = {"loss": functional.cross_entropy, "optimizer": SGD, "steps": 8, **PARTS}
    return TorchLearner(network() if module is None else module, **usual | options)


def content(weights):
    """Return all bytes, by name."""
    return {name: tensor.tobytes() for name, tensor in weights.weights.items()}


class Pairs(Dataset):
    """The train samples one by one, with noise drawn from torch."""

    def __len__(self):
        """All."""
        return 100

    def __getitem__(self, row):
        """A pair."""
        return torch.from_numpy(X[row]) + 0.01 * torch.randn(6), int(Y[row])


def test_keeps_every_promise():
    """The learner passes the check that all learners must."""
    check_learner(learner)


def test_learns():
    """Accepted proposals lower the loss and raise the accuracy."""
    one = learner(steps=40)
    before = one.evaluate(one.mli_get_current_weights(), one.test_samples)
    for _ in range(5):
        verdict = one.mli_test_weights(one.mli_propose_weights())
        if verdict.vote:
            one.mli_accept_weights(verdict)
    after = one.mli_test_weights(one.mli_get_current_weights())
    assert after.test_score == one.evaluate(after, one.test_samples) > before + 0.2


def test_same_weights_as_a_loop_by_hand():
    """A proposal is, bit for bit, what the usual training loop makes of the same batches."""
    one = learner(seed=5)
    module = network()
    rng = np.random.default_rng((5, 0))
    torch.manual_seed(int(rng.integers(2**63)))
    optimizer = SGD(module.parameters())
    module.train()
    for rows in one.batches(rng):
        optimizer.zero_grad()
        loss = functional.cross_entropy(module(torch.tensor(X[:100][rows])), torch.tensor(Y[rows]))
        loss.backward()
        optimizer.step()
    proposed = one.mli_propose_weights().weights
    by_hand = module.state_dict()
    assert proposed.keys() == by_hand.keys()
    assert all(np.array_equal(proposed[name], by_hand[name]) for name in proposed)


def test_buffers_travel():
    """Running statistics change with training, and are those that votes are cast with."""
    one = learner()
    proposed = one.mli_propose_weights()
    assert proposed.weights["1.num_batches_tracked"] == 8
    assert proposed.weights["1.running_mean"].any()
    spoilt = Weights({**proposed.weights, "1.running_var": np.full(16, 1e9, np.float32)})
    assert one.vote_loss(spoilt) != one.vote_loss(proposed)


def test_frozen_parameters_stay():
    """Frozen parameters neither travel nor change, and weights made around others are refused."""

    def half_frozen(scale):
        module = network()
        with torch.no_grad():
            module[0].weight.mul_(scale)
        module[0].requires_grad_(requires_grad=False)
        return module

    one, same, other = (learner(half_frozen(scale)) for scale in (1, 1, 2))
    proposed = one.mli_propose_weights()
    assert FROZEN in proposed.weights
    assert "0.weight" not in proposed.weights
    assert torch.equal(one.native()[0].weight, network()[0].weight)
    assert same.mli_test_weights(proposed).vote is not None
    with pytest.raises(UnusableWeights, match="frozen"):
        other.mli_test_weights(proposed)
    check_learner(lambda: learner(half_frozen(1)))


def test_tied_layers_travel_once():
    """A parameter with two names has one tensor, and stays tied."""
    module = nn.Sequential(nn.Linear(6, 6), nn.Linear(6, 6), nn.Linear(6, 3))
    module[1].weight = module[0].weight
    one = learner(module)
    proposed = one.mli_propose_weights()
    assert "1.weight" not in proposed.weights
    one.mli_accept_weights(proposed)
    native = one.native()
    assert native[0].weight is native[1].weight


def test_offset_shifts_trained_parameters_after_each_step():
    """With a learning rate of zero an offset is added once a step, to parameters alone."""
    one = learner(optimizer=partial(torch.optim.Adam, lr=0.0))
    start = one.mli_get_current_weights().weights
    frozen = np.full((16, 6), 0.25, np.float32)
    frozen.flags.writeable = False
    one.set_offset({"0.weight": frozen, "1.running_mean": np.full(16, 9, np.float32)})
    shifted = one.mli_propose_weights().weights
    assert np.allclose(shifted["0.weight"], start["0.weight"] + 8 * 0.25)
    assert abs(shifted["1.running_mean"]).max() < 9
    assert np.array_equal(shifted["4.weight"], start["4.weight"])
    one.set_offset(None)
    assert np.array_equal(one.mli_propose_weights().weights["0.weight"], start["0.weight"])
    with pytest.raises(SchemaMismatch):
        one.set_offset({"0.weight": np.zeros(3, np.float32)})


@pytest.mark.parametrize("workers", [0, 2])
def test_datasets_repeat_from_the_seed(workers):
    """A dataset that draws at random trains the same weights from the same seed."""
    loader = DataLoader(Pairs(), batch_size=16, num_workers=workers)
    one, other = learner(train=loader, seed=1), learner(train=loader, seed=1)
    assert one.batch_size == 16
    first = content(one.mli_propose_weights())
    torch.manual_seed(99)
    assert content(other.mli_propose_weights()) == first
    assert content(one.mli_propose_weights()) != first


def test_datasets_and_arrays_are_one():
    """The same samples as arrays, tensors or a dataset give the same training and votes."""
    tensors = {name: tuple(map(torch.tensor, part)) for name, part in PARTS.items()}
    datasets = {name: TensorDataset(*part) for name, part in tensors.items()}
    module = network(dropout=0)
    made = [learner(module, **parts) for parts in (PARTS, tensors, datasets)]
    verdicts = [one.mli_test_weights(one.mli_propose_weights()) for one in made]
    assert len({(each.vote_score, each.test_score) for each in verdicts}) == 1
    assert content(verdicts[0]) == content(verdicts[1]) == content(verdicts[2])


def test_a_dataset_is_set_apart_too():
    """Without vote samples a fifth of the dataset votes, and is not trained on."""
    numbers = torch.arange(100.0)[:, None].repeat(1, 6)
    one = learner(
        train=TensorDataset(numbers, torch.zeros(100).long()),
        vote=None,
        test=None,
    )
    trained, voting = (
        {float(value) for x, _ in part.batches([np.arange(len(part))]) for value in x[:, 0]}
        for part in (one.train_samples[0], one.vote_samples[0])
    )
    assert (len(trained), len(voting)) == (80, 20)
    assert not trained & voting


def test_threads_do_not_disturb_each_other(request):
    """Learners that train at once, with dropout, get what they get one after the other.

    Also where this thread was told to do with one processor and the others were not.
    """
    request.addfinalizer(threadpool_limits(1, user_api="openmp").restore_original_limits)
    digests = []
    for executor in (None, ThreadPoolExecutor(4)):
        learners = [learner(vote=None, test=None) for _ in range(4)]
        with Collective(learners, executor=executor) as collective:
            collective.run(3)
            digests.append(collective.ledger.view().current)
    made = [learner(seed=seed) for seed in range(4)]
    with ThreadPoolExecutor(4) as pool:
        together = [
            content(weights) for weights in pool.map(TorchLearner.mli_propose_weights, made)
        ]
    assert together == [content(learner(seed=seed).mli_propose_weights()) for seed in range(4)]
    assert digests[0] == digests[1]


def test_training_leaves_the_callers_randomness():
    """What the caller draws from torch does not depend on a learner's training."""
    one = learner()
    torch.manual_seed(1)
    expected = torch.rand(1)
    torch.manual_seed(1)
    one.mli_propose_weights()
    assert torch.rand(1) == expected


@pytest.mark.parametrize("autocast", [torch.bfloat16, torch.float16])
def test_mixed_precision_learns(autocast):
    """Training in half precision keeps float32 weights and lowers the loss."""
    one = learner(autocast=autocast, steps=30)
    check_learner(partial(learner, autocast=autocast, steps=2))
    verdict = one.mli_test_weights(one.mli_propose_weights())
    assert verdict.weights["0.weight"].dtype == np.float32
    assert verdict.vote is True


def test_half_precision_modules_travel_as_they_are():
    """A bfloat16 module's weights are bfloat16, and it passes the check."""
    module = network().to(torch.bfloat16)
    assert learner(module).mli_propose_weights().weights["0.weight"].dtype.name == "bfloat16"
    check_learner(lambda: learner(module, steps=2))


def test_gradients_are_clipped():
    """No step of plain SGD is longer than learning rate times the greatest norm."""
    one = learner(optimizer=partial(torch.optim.SGD, lr=1.0), max_grad_norm=0.01, steps=1)
    start, moved = one.mli_get_current_weights().weights, one.mli_propose_weights().weights
    names = [name for name in start if name.endswith(("weight", "bias"))]
    length = math.sqrt(sum(float(np.square(moved[n] - start[n]).sum()) for n in names))
    assert length == pytest.approx(0.01, rel=1e-3)


def test_scheduler_steps_with_each_batch():
    """A scheduler that stops after two batches leaves what two batches gave."""
    stop = partial(torch.optim.lr_scheduler.LambdaLR, lr_lambda=lambda step: float(step < 2))
    stopped = learner(scheduler=stop, seed=4).mli_propose_weights().weights
    short = learner(scheduler=stop, seed=4, steps=2).mli_propose_weights().weights
    assert np.array_equal(stopped["0.weight"], short["0.weight"])
    assert stopped["1.num_batches_tracked"] == 8


def test_numbers_are_predicted():
    """With float targets votes compare squared errors, and the score is R²."""
    parts = {name: (x, x[:, :1] * 2 - x[:, 1:2]) for name, (x, _) in PARTS.items()}
    one = learner(
        nn.Linear(6, 1), loss=nn.MSELoss(), optimizer=partial(torch.optim.Adam, lr=0.1), **parts
    )
    for _ in range(10):
        one.mli_accept_weights(one.mli_propose_weights())
    verdict = one.mli_test_weights(one.mli_get_current_weights())
    assert verdict.test_score > 0.95
    assert verdict.vote_score == pytest.approx(-one.losses(*one.vote_samples).mean())


def test_own_losses_and_errors():
    """A plain function of outputs and targets trains by its mean and judges each sample."""
    parts = {name: (x, (y > 0)[:, None].astype(np.float32)) for name, (x, y) in PARTS.items()}
    one = learner(
        nn.Linear(6, 1),
        loss=lambda outputs, y: functional.binary_cross_entropy_with_logits(
            outputs, y, reduction="none"
        ),
        error=lambda outputs, y: ((outputs > 0) != (y > 0)).double(),
        policy="accuracy",
        **parts,
    )
    verdict = one.mli_test_weights(one.mli_propose_weights())
    assert verdict.vote_score == -one.errors(*one.vote_samples).mean()
    assert 0 <= verdict.test_score <= 1


def test_optimisers_that_look_again():
    """L-BFGS, which evaluates a batch several times in a step, trains too."""
    one = learner(nn.Linear(6, 3), optimizer=partial(torch.optim.LBFGS, lr=0.1), batch_size=100)
    assert one.mli_test_weights(one.mli_propose_weights()).vote is True


def test_absurd_weights_are_rejected_quietly():
    """Finite weights that overflow in the module lose the vote, without a warning."""
    one = learner()
    absurd = {
        name: np.full_like(tensor, 3e38) if tensor.dtype == np.float32 else tensor
        for name, tensor in one.mli_get_current_weights().weights.items()
    }
    assert one.mli_test_weights(Weights(absurd)).vote is False


class Stream(IterableDataset):
    def __iter__(self):
        return iter([])


@pytest.mark.parametrize(
    ("options", "error", "said"),
    [
        ({"module": nn.ReLU()}, UnsupportedModel, "no parameter"),
        ({"module": nn.Linear}, UnsupportedModel, "expected an instance"),
        ({"module": nn.LazyLinear(3)}, UnsupportedModel, "call it once"),
        ({"module": nn.Linear(6, 3, dtype=torch.complex64)}, UnsupportedModel, "complex64"),
        ({"module": nn.Linear(5, 3)}, LearnerError, "cannot be judged"),
        ({"loss": 3}, ConfigError, "torch loss"),
        ({"loss": lambda outputs, y: outputs.sum()}, LearnerError, "one for each"),
        ({"optimizer": torch.optim.SGD([torch.zeros(1)])}, ConfigError, "no optimiser"),
        ({"scheduler": 3}, ConfigError, "no optimiser or scheduler"),
        ({"scheduler": torch.optim.lr_scheduler.ReduceLROnPlateau}, ConfigError, "take .* StepLR"),
        ({"optimizer": torch.optim.LBFGS, "autocast": torch.float16}, ConfigError, "LBFGS with"),
        ({"device": "abacus"}, ConfigError, "device"),
        ({"train": Stream()}, LearnerError, "stream"),
        ({"train": TensorDataset(torch.zeros(0, 6))}, LearnerError, "no train samples"),
        ({"vote": TensorDataset(torch.zeros(4, 6))}, LearnerError, "expected a pair"),
        ({"train": (X, X.astype(str))}, LearnerError, "expected numbers"),
        ({"train": (X, Y[:3])}, LearnerError, "shape"),
    ],
)
def test_what_cannot_learn_is_refused_at_once(options, error, said):
    """Each mistake gets one line when the learner is made, not in its first round."""
    with pytest.raises(error, match=said) as refusal:
        learner(**options)
    assert "\n" not in str(refusal.value)


def test_training_that_fails_says_so():
    """What the module raises in training becomes one line, with its cause."""
    one = learner(train=(X[:33], Y[:33]))
    with pytest.raises(
        LearnerError, match="training failed: Expected more than 1 value"
    ) as failure:
        one.mli_propose_weights()
    assert isinstance(failure.value.__cause__, ValueError)
