"""Adapters of transformers as learners."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
import torch
from threadpoolctl import threadpool_limits
from torch.nn import functional

pytest.importorskip("peft")

from peft import LoraConfig
from transformers import BertConfig, BertForSequenceClassification

from colearn.collective import Collective
from colearn.errors import ConfigError, UnusableWeights
from colearn.experiment import check_schema, draw_up
from colearn.learners.frozen import FROZEN
from colearn.learners.lora import LoraLearner
from colearn.ml_interface import DiffPrivConfig, ModelFormat
from colearn.privacy.config import Privacy, VotePrivacy
from colearn.testing import check_learner

RNG = np.random.default_rng(0)
Y = RNG.integers(0, 2, size=240)
TOKENS = RNG.integers(2, 20, size=(240, 12)) + 10 * Y[:, None]
VOTES = VotePrivacy(epsilon=2.0, delta=1e-4, votes=2)
TOKENS[np.arange(12) >= RNG.integers(6, 13, size=(240, 1))] = 0


@pytest.fixture(autouse=True)
def _one_thread():
    """Products this small only wait for each other on several threads."""
    with threadpool_limits(1):
        yield


def transformer(seed=0):
    """Return a tiny transformer, which knows nothing, from a configuration alone."""
    torch.manual_seed(seed)
    config = BertConfig(
        vocab_size=30,
        hidden_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=16,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
    )
    return BertForSequenceClassification(config)


def learner(model=None, *, rows=slice(None), **options):
    """Return a learner with some of the samples."""
    usual = {
        "adapter": LoraConfig(
            r=8,
            lora_alpha=32,
            target_modules=["query", "value", "dense"],
            modules_to_save=["classifier"],
        ),
        "loss": functional.cross_entropy,
        "optimizer": partial(torch.optim.Adam, lr=0.01),
        "train": (TOKENS[rows], Y[rows]),
        "steps": 10,
        "batch_size": 16,
    }
    return LoraLearner(model or transformer(), **usual | options)


def test_keeps_every_promise():
    """The learner passes the check that all learners must."""
    check_learner(partial(learner, steps=2))


def test_only_adapters_travel():
    """Of all tensors, adapters, the new head and the base's digest travel; nothing else."""
    one = learner()
    names = set(one.mli_get_current_weights().weights)
    assert FROZEN in names
    assert all("lora_" in name or "modules_to_save" in name for name in names - {FROZEN})
    travelling = sum(each.nbytes for each in one.mli_get_current_weights().weights.values())
    assert travelling < sum(each.nbytes for each in transformer().parameters()) / 2


def test_adapters_begin_the_same_everywhere():
    """Two members that hold one base begin at the same weights, whatever torch drew before."""
    one = learner()
    torch.manual_seed(99)
    other = learner(transformer())
    for name, tensor in one.mli_get_current_weights().weights.items():
        assert np.array_equal(tensor, other.mli_get_current_weights().weights[name])


def test_members_learn_together():
    """Members who share adapters alone come to tell the two kinds of text apart."""
    learners = [learner(rows=slice(start, 180, 3), policy="not-worse") for start in range(3)]
    evaluate = partial(learners[0].evaluate, samples=(TOKENS[180:], Y[180:]))
    result = Collective(learners, method="fast", seed=1, evaluate=evaluate).run(rounds=4)
    assert result.final_score > 0.85 > result.initial_score


def test_another_base_does_not_join():
    """A member whose base model has other values is told so when it is to take M₀."""
    agreement, _ = draw_up(learner(), task="mine:make", rounds=1, seed=0)
    other = learner(transformer(seed=5))
    check_schema(agreement, other)
    with pytest.raises(UnusableWeights, match="same pretrained module"):
        other.mli_accept_weights(learner().mli_get_current_weights())


def test_adapters_learn_privately():
    """With dropout, and texts of all lengths: how long others are shows in no one's gradient."""
    adapter = LoraConfig(r=8, lora_alpha=32, lora_dropout=0.3, target_modules=["query", "value"])
    privacy = Privacy(train=DiffPrivConfig(50.0, 1e-4, noise_multiplier=1.0), releases=2)
    one = learner(adapter=adapter, privacy=privacy)
    proposed = one.mli_propose_weights()
    assert proposed.training_summary.dp_budget.consumed_epsilon > 0
    assert one.schema() == learner(adapter=adapter).schema()
    assert not any(
        np.array_equal(tensor, one.mli_get_current_weights().weights[name])
        for name, tensor in proposed.weights.items()
        if name != FROZEN
    )


def test_adapters_vote_privately():
    """How long the others' texts are shows in no text's loss, not even by rounding."""
    one, widths = learner(privacy=Privacy(votes=VOTES)), []
    assert type(one.mli_test_weights(one.mli_get_current_weights()).vote) is bool
    one._module.adapted.register_forward_pre_hook(
        lambda _, args, named: widths.append(named["input_ids"].shape[1]), with_kwargs=True
    )
    short, long = TOKENS[np.argsort((TOKENS > 0).sum(1))[[0, -1]]]
    alone, beside = (one.losses(np.stack([short, other]), Y[:2])[0] for other in (short, long))
    assert alone == beside
    assert widths == [12, 12]


def test_padding_changes_nothing():
    """A text's loss does not depend on how far it is filled up."""
    one = learner()
    x = TOKENS[:8, :12]
    wider = np.pad(x, ((0, 0), (0, 4)))
    assert np.allclose(one.losses(x, Y[:8]), one.losses(wider, Y[:8]), atol=1e-6)


def test_model_is_the_adapted_one(tmp_path):
    """The native model is PEFT's own, and saves its adapters without the base."""
    model = learner().mli_get_current_model(ModelFormat.NATIVE).model
    model.save_pretrained(tmp_path)
    assert (tmp_path / "adapter_model.safetensors").stat().st_size < 60_000


def test_adapters_that_do_not_fit_are_refused():
    """Layers that the model does not have are named in one line."""
    with pytest.raises(ConfigError, match="takes no such adapters"):
        learner(adapter=LoraConfig(target_modules=["nowhere"]))
