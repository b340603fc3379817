"""Hostile model bytes against the members that read them.

Run as ``python benchmarks/hostile_models.py [MUTANTS]``: so many mutants of each format that
a member takes from others, decoded and, if the container takes them, put to the vote: the
tensors of trees, of networks and of adapters, updates in few bits, and the state of a
method. Every mutant must be refused by an error of colearn or end in a vote, and none may
take long. ONNX is not among them: it is written and never read.
"""

from __future__ import annotations

import gc
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from typing import NamedTuple

import jax
import numpy as np
import optax
import torch
from flax import linen
from peft import LoraConfig
from sklearn.datasets import load_digits
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import SGDClassifier
from torch import nn
from transformers import BertConfig, BertForSequenceClassification

from colearn.compact import compact, compact_schema, restored
from colearn.errors import ColearnError
from colearn.learners.base import FrameworkLearner
from colearn.learners.flax import from_linen
from colearn.learners.forest import ForestLearner
from colearn.learners.jax import JaxLearner
from colearn.learners.keras import KerasLearner
from colearn.learners.lightgbm import LightGBMLearner
from colearn.learners.lora import LoraLearner
from colearn.learners.sklearn import SklearnLearner
from colearn.learners.torch import TorchLearner
from colearn.learners.xgboost import XGBoostLearner
from colearn.methods import method
from colearn.ml_interface import Weights
from colearn.protocols import Tensors, Trained
from colearn.schema import Schema, schema_of_bytes
from colearn.weights import decode, encode

LIMIT_SECONDS = 1.0
DIGITS = load_digits(return_X_y=True)
SMALL = (DIGITS[0][:100], DIGITS[1][:100])
SPECIAL = (0, 1, 2, 127, 128, 254, 255)

Parts = tuple[bytes, bytes]


class Format(NamedTuple):
    """True bytes, how many of them are the header, and what reads them from another member."""

    content: bytes
    header: int
    read: Callable[[Parts], object]


class Network(linen.Module):
    """With a BatchNorm, whose statistics travel as well."""

    @linen.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        x = linen.BatchNorm(use_running_average=not train)(linen.Dense(16)(x))
        return linen.Dense(10)(linen.relu(x))


def of_jax() -> JaxLearner:
    module = Network()
    variables = module.init(jax.random.key(0), np.zeros((1, 64), np.float32), train=False)
    return JaxLearner(
        from_linen(module, variables),
        loss=optax.softmax_cross_entropy_with_integer_labels,
        optimizer=optax.sgd(0.01),
        train=(SMALL[0].astype(np.float32), SMALL[1]),
        steps=2,
    )


def of_keras() -> KerasLearner:
    import keras  # noqa: PLC0415 - once the learner's module has chosen a backend

    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [
            keras.Input((64,)),
            keras.layers.Dense(16),
            keras.layers.BatchNormalization(),
            keras.layers.ReLU(),
            keras.layers.Dense(10),
        ]
    )
    model.compile(
        optimizer=keras.optimizers.SGD(0.01),
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    )
    return KerasLearner(model, train=(SMALL[0].astype(np.float32), SMALL[1]), steps=2)


def learners() -> dict[str, FrameworkLearner]:
    torch.manual_seed(0)
    samples = {"train": DIGITS, "vote": SMALL}
    training = {"loss": nn.functional.cross_entropy, "steps": 2}
    training["optimizer"] = partial(torch.optim.SGD, lr=0.01)
    network = nn.Sequential(nn.Linear(64, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Linear(16, 10))
    bert = BertForSequenceClassification(
        BertConfig(
            vocab_size=40,
            hidden_size=16,
            num_hidden_layers=1,
            num_attention_heads=2,
            intermediate_size=16,
            max_position_embeddings=8,
        )
    )
    tokens = np.random.default_rng(0).integers(1, 40, (60, 8)), np.arange(60) % 2
    return {
        "forest": ForestLearner(RandomForestClassifier(max_depth=6), trees_per_round=4, **samples),
        "xgboost": XGBoostLearner(rounds_per_proposal=2, **samples),
        "lightgbm": LightGBMLearner(rounds_per_proposal=2, **samples),
        "sklearn": SklearnLearner(SGDClassifier(loss="log_loss"), **samples),
        "torch": TorchLearner(network, train=(SMALL[0].astype(np.float32), SMALL[1]), **training),
        "jax": of_jax(),
        "keras": of_keras(),
        "lora": LoraLearner(
            bert, adapter=LoraConfig(target_modules=["query"]), train=tokens, **training
        ),
    }


def formats() -> Iterator[tuple[str, Format]]:
    """Each with its name; that of weights is their learner's."""
    made = learners()
    for name, each in made.items():
        proposed = each.mli_propose_weights()
        each.mli_test_weights(proposed)  # what is compiled takes its time once
        yield name, weights_of(proposed.weights, each.schema(), each.mli_test_weights)
    learner = made["torch"]
    base, schema = learner.mli_get_current_weights().weights, learner.schema()
    trained = learner.mli_propose_weights().weights

    def vote(sent: Weights) -> object:
        return learner.mli_test_weights(Weights(restored(base, sent.weights)))

    yield "update", weights_of(compact(base, trained), compact_schema(schema), vote)

    fast = method("fast")
    updates = [Trained(member, trained, 2, 50) for member in ("ann", "bob")]
    state = fast.advance(base, {}, updates, trained)

    def take_up(parts: Parts) -> None:
        read = decode(parts, schema_of_bytes(parts), {}, digest=None)
        learner.set_offset(fast.offset(read, "ann"))
        fast.advance(base, read, updates, fast.merge(base, read, updates))

    content = b"".join(encode(state, Schema.of(state)).parts)
    yield "state", Format(content, len(content) - size_of(state), take_up)


def weights_of(tensors: Tensors, schema: Schema, vote: Callable[[Weights], object]) -> Format:
    encoded = encode(tensors, schema)
    content = b"".join(encoded.parts)

    def read(parts: Parts) -> object:
        return vote(Weights(decode(parts, schema, encoded.dims, digest=None)))

    return Format(content, len(content) - size_of(encoded.tensors), read)


def size_of(tensors: Tensors) -> int:
    return sum(tensor.nbytes for tensor in tensors.values())


def flipped(content: bytearray, rng: np.random.Generator) -> None:
    for place in rng.integers(len(content), size=rng.integers(1, 9)):
        content[place] ^= 1 << rng.integers(8)


def special(content: bytearray, rng: np.random.Generator) -> None:
    for place in rng.integers(len(content), size=rng.integers(1, 9)):
        content[place] = rng.choice(SPECIAL)


def word(content: bytearray, rng: np.random.Generator) -> None:
    place = 4 * int(rng.integers(len(content) // 4))
    content[place : place + 4] = int(rng.integers(-3, 300)).to_bytes(4, "little", signed=True)


def copied(content: bytearray, rng: np.random.Generator) -> None:
    size = int(rng.integers(4, 64))
    source, target = rng.integers(len(content) - size, size=2)
    content[target : target + size] = content[source : source + size]


def cut(content: bytearray, rng: np.random.Generator) -> None:
    del content[int(rng.integers(len(content))) :]


MUTATIONS: tuple[Callable[[bytearray, np.random.Generator], None], ...] = (
    flipped,
    special,
    word,
    copied,
    cut,
)


def main(mutants: int) -> int:
    failures = 0
    print(
        f"{'format':<10} mutants  refused    read  slowest  (limits: no crash, {LIMIT_SECONDS} s)"
    )
    for name, (original, header, read) in formats():
        gc.freeze()  # to look through all that is imported takes Python a second, for any format
        rng = np.random.default_rng(0)
        ends: Counter[str] = Counter()
        slowest = 0.0
        for number in range(mutants):
            # Most mutants spare the header, which the container compares and refuses.
            spared = header if number % 10 else 0
            content = bytearray(original[spared:])
            MUTATIONS[number % len(MUTATIONS)](content, rng)
            began = time.perf_counter()
            try:
                read((original[:spared], bytes(content)))
                ends["read"] += 1
            except ColearnError:
                ends["refused"] += 1
            except Exception as crash:  # noqa: BLE001 - what is looked for
                ends["crashed"] += 1
                print(f"{name}, mutant {number}: {type(crash).__name__}: {crash}")
            slowest = max(slowest, time.perf_counter() - began)
        missed = bool(ends["crashed"]) or slowest > LIMIT_SECONDS
        failures += missed
        print(
            f"{name:<10} {mutants:>7}  {ends['refused']:>7} {ends['read']:>7}  {slowest:6.3f} s"
            f"  {'MISSED' if missed else 'ok'}",
            flush=True,
        )
    return failures


if __name__ == "__main__":
    torch.set_num_threads(1)
    sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else 10_000) > 0)
