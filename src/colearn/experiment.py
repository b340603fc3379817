"""``experiment.toml``: what members agree on, written by one of them and read by all.

The file holds all that makes an experiment this one, so that whoever reads it derives
the same `colearn.records.Experiment` and the same digest. M₀'s canonical bytes lie
beside it under the same name, ending in ``.safetensors``. Only the tables ``[contract]``
and ``[reach]``, which say where the experiment's contract and its members are found, are
not part of the digest.
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Mapping
from fractions import Fraction
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from colearn.course import check_merges
from colearn.errors import ConfigError, SchemaMismatch
from colearn.methods import method as named_method
from colearn.ml_interface import MachineLearningInterface
from colearn.privacy.config import check_name
from colearn.protocols import Probed, Schematic, Store
from colearn.records import (
    WIRE_VERSION,
    Digest,
    Experiment,
    Proposal,
    Rule,
    digest_of,
    encode,
    fraction,
    is_digest,
)
from colearn.schema import Schema, TensorSpec
from colearn.toml import to_toml
from colearn.weights import encode as encode_weights

PROBE_TOLERANCE = 1e-3
"""By how much another machine's outputs of M₀ may differ, relative or absolute."""

_PROBE_DIGITS = 6
_PROBE_COLUMNS = 16
_Option = str | int | float | bool


class _Strict(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A table of the file: nothing missing, nothing unknown."""


class Initial(_Strict, frozen=True, kw_only=True):
    """M₀.

    Attributes:
        weights: Digest of its canonical bytes.
        dims: Sizes of the schema's dimensions that may grow.
    """

    weights: Digest
    dims: dict[str, int] = {}


class Probe(_Strict, frozen=True, kw_only=True):
    """What M₀ makes of a few samples that anyone can draw from the experiment's seed.

    Attributes:
        outputs: One row a sample, at most 16 outputs of it.
        tolerance: By how much they may differ elsewhere, relative or absolute.
    """

    outputs: tuple[tuple[float, ...], ...]
    tolerance: float = PROBE_TOLERANCE


_is_address = re.compile("0x[0-9a-fA-F]{40}").fullmatch


class Place(_Strict, frozen=True, kw_only=True):
    """Where the experiment's contract is; known once it is deployed.

    Attributes:
        address: Its address.
        chain_id: Number of the chain; None if it is not known.
        first_block: A block at or before the one it was deployed in.
    """

    address: str
    chain_id: int | None = None
    first_block: int = 0

    def __post_init__(self) -> None:
        if not _is_address(self.address):
            raise ConfigError(
                f"{self.address!r:.80} is no contract's address: it is 0x and 40 hex digits"
            )


class Agreement(_Strict, frozen=True, kw_only=True):
    """What ``experiment.toml`` says.

    Attributes:
        version: Wire version of the experiment's records.
        task: Name of a task, or ``module:factory`` of a learner of the members' own.
        rounds: Rounds the experiment takes, whatever becomes of them.
        seed: Seed of M₀, of everybody's training and of the probe.
        method: Name of the method by which M′ is made from M.
        members: Their addresses, in the order in which they propose.
        rule: The voting rule.
        options: What the task or the factory is given, by name.
        privacy: The preset that members' learners are to be under: ``standard`` or
            ``strict``; None leaves it to each of them.
        origin: Digest of the proposal that M₀ was accepted by in an older experiment;
            empty where there is none.
        initial: M₀.
        tensors: One spec a tensor of the weights, by name.
        bounds: The largest size of each dimension that may grow.
        probe: Outputs of M₀; None where learners cannot give any.
        contract: Where the contract is; None before it is deployed.
        reach: URLs at which members are reached, by their addresses, as far as known.
    """

    version: int
    task: str
    rounds: int
    seed: int
    method: str = "plain"
    members: tuple[str, ...] = ()
    rule: Rule = Rule()
    options: dict[str, _Option] = {}
    privacy: str | None = None
    origin: str = ""
    initial: Initial
    tensors: dict[str, TensorSpec]
    bounds: dict[str, int] = {}
    probe: Probe | None = None
    contract: Place | None = None
    reach: dict[str, str] = {}

    def __post_init__(self) -> None:
        if self.version != WIRE_VERSION:
            raise ConfigError(
                f"it has wire version {self.version}, but this colearn reads version "
                f"{WIRE_VERSION}: use the release that wrote it"
            )
        if self.rounds < 1:
            raise ConfigError(f"{self.rounds} rounds are refused: an experiment has at least 1")
        if self.privacy is not None:
            check_name(self.privacy)
        if self.seed < 0:
            raise ConfigError(f"seed {self.seed} is refused: it must be 0 or more")
        if not is_digest(self.initial.weights):
            raise ConfigError(f"M₀'s digest {self.initial.weights!r:.80} is not 64 digits in hex")

    @property
    def schema(self) -> Schema:
        """What all members' weights look like.

        Raises:
            WeightsError: No weights can look like this.
        """
        return Schema(self.tensors, self.bounds)

    @property
    def proposal(self) -> Proposal:
        """The record that carries M₀."""
        dims = self.initial.dims
        return Proposal(
            round=0,
            sender="",
            base="",
            weights=self.initial.weights,
            size_bytes=self.schema.layout(dims).size_bytes,
            dims=dims,
        )

    @property
    def experiment(self) -> Experiment:
        """The experiment, whose digest stands in the contract.

        Raises:
            ConfigError: There are too few members, too many, or one twice.
            WeightsError: No weights can have this schema.
        """
        terms = {f"options.{name}": json.dumps(value) for name, value in self.options.items()}
        if self.privacy is not None:
            terms["privacy"] = self.privacy
        if self.origin:
            terms["origin"] = self.origin
        if self.probe is not None:
            terms["probe"] = digest_of((msgspec.json.encode(self.probe),))
        return Experiment(
            members=self.members,
            initial=digest_of((encode(self.proposal),)),
            schema=self.schema.digest,
            rule=self.rule,
            method=self.method,
            terms={
                "task": self.task,
                "rounds": str(self.rounds),
                "seed": str(self.seed),
                **terms,
            },
        )

    @property
    def experiment_digest(self) -> Digest:
        """The experiment's digest; raises as `experiment` does."""
        return digest_of((encode(self.experiment),))

    def put_initial(self, store: Store, path: Path) -> None:
        """Put into a store what a member needs to begin: M₀, its record, schema, experiment.

        Args:
            store: Where to put them.
            path: The ``experiment.toml``. Where M₀'s bytes do not lie beside it, they are
                expected to be found in the store, or by it.

        Raises:
            ConfigError: The file beside it holds other bytes.
        """
        for record in (self.schema, self.proposal, self.experiment):
            store.put((encode(record),))
        beside = weights_beside(path)
        try:
            raw = beside.read_bytes()
        except FileNotFoundError:
            return
        except OSError as reason:
            raise ConfigError(f"{beside} cannot be read: {reason.strerror}") from None
        found = digest_of((raw,))
        if found != self.initial.weights:
            raise ConfigError(
                f"{beside} is not M₀: its digest is {found[:12]}, but {path.name} says "
                f"{self.initial.weights[:12]}: get both files from whoever wrote them"
            )
        store.put((raw,))


def draw_up(
    learner: MachineLearningInterface,
    *,
    task: str,
    rounds: int,
    seed: int,
    members: tuple[str, ...] = (),
    rule: Rule | None = None,
    method: str = "plain",
    options: Mapping[str, _Option] | None = None,
    privacy: str | None = None,
) -> tuple[Agreement, bytes]:
    """Write down what to agree on; M₀ is the learner's current model.

    Returns:
        The agreement, and M₀'s canonical bytes.

    Raises:
        ConfigError: There is no such method, or it cannot merge this model.
    """
    schema = schema_of(learner)
    check_merges(named_method(method), schema)
    encoded = encode_weights(learner.mli_get_current_weights().weights, schema)
    agreement = Agreement(
        version=WIRE_VERSION,
        task=task,
        rounds=rounds,
        seed=seed,
        method=method,
        members=members,
        rule=rule or Rule(),
        options=dict(options or {}),
        privacy=privacy,
        initial=Initial(weights=digest_of(encoded.parts), dims=encoded.dims),
        tensors=schema.tensors,
        bounds=schema.bounds,
        probe=_probe_of(learner, seed),
    )
    return agreement, b"".join(encoded.parts)


def schema_of(learner: MachineLearningInterface) -> Schema:
    """What a learner says its schema is; else that of its current weights."""
    if isinstance(learner, Schematic):
        return learner.schema()
    return Schema.of(learner.mli_get_current_weights().weights)


def check_schema(agreement: Agreement, learner: MachineLearningInterface) -> None:
    """Check that a learner's tensors are those that the members agreed on.

    Raises:
        SchemaMismatch: They are others.
    """
    difference = agreement.schema.difference(schema_of(learner))
    if difference:
        raise SchemaMismatch(
            f"your learner is not the experiment's: {difference}: all members need one model"
        )


def check_outputs(agreement: Agreement, learner: MachineLearningInterface) -> None:
    """Check that a learner that holds M₀ makes of the probe what the members agreed on.

    Raises:
        SchemaMismatch: M₀ gives other outputs in it: another activation, another order
            of the labels, other preprocessing.
    """
    if agreement.probe is None:
        return
    mine = _probe_of(learner, agreement.seed)
    if mine is None:
        raise SchemaMismatch(
            f"your learner, a {type(learner).__name__}, cannot show its outputs for the "
            "experiment's probe: give it the method probe(seed)"
        )
    got, expected = np.array(mine.outputs), np.array(agreement.probe.outputs)
    if got.shape != expected.shape:
        raise SchemaMismatch(
            f"M₀ gives outputs of shape {got.shape} in your learner, but {expected.shape} in the "
            "experiment: model and labels must agree"
        )
    tolerance = agreement.probe.tolerance
    if not np.allclose(got, expected, rtol=tolerance, atol=tolerance):
        raise SchemaMismatch(
            f"M₀ gives other outputs in your learner than in the experiment, by up to "
            f"{np.abs(got - expected).max():.2g}: activations, order of labels and preprocessing "
            "must agree"
        )


def _probe_of(learner: MachineLearningInterface, seed: int) -> Probe | None:
    if not isinstance(learner, Probed):
        return None
    outputs = np.asarray(learner.probe(seed), dtype=np.float64)
    rows = outputs.reshape(len(outputs), -1)[:, :_PROBE_COLUMNS].tolist()
    return Probe(
        outputs=tuple(tuple(float(f"{value:.{_PROBE_DIGITS}g}") for value in row) for row in rows)
    )


def weights_beside(path: Path) -> Path:
    """Where M₀'s bytes lie."""
    return path.with_suffix(".safetensors")


def read(path: Path) -> Agreement:
    """Read an ``experiment.toml``.

    Raises:
        ConfigError: It cannot be read, or is no such file; the message says where.
    """
    try:
        return msgspec.convert(
            tomllib.loads(path.read_text("utf-8")), Agreement, dec_hook=_from_toml
        )
    except OSError as reason:
        raise ConfigError(f"{path} cannot be read: {reason.strerror}") from None
    except (UnicodeDecodeError, tomllib.TOMLDecodeError, msgspec.ValidationError) as reason:
        line = str(reason).replace("`$.", "`").replace("Object", "it")
        raise ConfigError(f"{path} is no experiment: {line}") from None
    except ConfigError as reason:
        raise type(reason)(f"{path} is no experiment: {reason}") from None


def write(path: Path, agreement: Agreement, initial: bytes | None = None) -> None:
    """Write an ``experiment.toml``, and M₀'s bytes beside it if they are given."""
    try:
        if initial is not None:
            weights_beside(path).write_bytes(initial)
        draft = path.with_name(f"{path.name}.part")
        values = msgspec.to_builtins(agreement, enc_hook=str)
        values["rule"].pop("kind")
        draft.write_text(to_toml(values, _PREFACE, _COMMENTS), "utf-8")
        draft.replace(path)
    except OSError as reason:
        raise ConfigError(f"{path} cannot be written: {reason.strerror}") from None


def _from_toml(kind: type, value: Any) -> Any:
    if kind is Fraction and isinstance(value, str | int | float):
        return fraction("a share", value)
    raise NotImplementedError(f"an experiment holds no {kind.__name__}")


_PREFACE = (
    "# What the members of this experiment agree on: all but [contract] and [reach]",
    "# makes its digest.",
    "# M₀, the model to begin with, lies beside this file, ending in .safetensors.",
)
_COMMENTS = {
    "rule": ("# How votes become a decision.",),
    "options": ("# What the task, or your own module:factory, is given.",),
    "initial": ("# M₀, by the digest of its bytes.",),
    "tensors": ("# What everybody's weights look like.",),
    "probe": ("# What M₀ makes of a few samples drawn from the seed.",),
    "contract": ("# Where the experiment is; not part of the digest.",),
    "reach": ("# Where members are found to begin with; not part of the digest.",),
}
