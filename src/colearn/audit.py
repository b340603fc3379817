"""Recompute a run from what it left: trust nobody, replay everything.

An auditor reads the ledger file, applies the rules afresh, and hashes every blob
that the ledger speaks of. What it does not know is whether members voted honestly
on data nobody else can see.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from colearn.collective import CHAIN_FILE, LEDGER_FILE, STORE_FOLDER
from colearn.course import Course
from colearn.errors import (
    BlobCorrupt,
    BlobMissing,
    ConfigError,
    CorruptLedger,
    StoreError,
    WeightsError,
)
from colearn.ledgers.local import Recorded, read_ledger
from colearn.methods import method
from colearn.protocols import Signer, Store
from colearn.records import (
    PLAIN,
    Digest,
    Experiment,
    Propose,
    Vote,
    decode,
    digest_of,
    is_digest,
)
from colearn.report.files import WEIGHTS_FILE, no_run
from colearn.rules import Decision, Outcome
from colearn.stores.directory import DirectoryStore
from colearn.stores.overlay import Overlay
from colearn.weights import Schema
from colearn.weights_store import WeightsStore


@dataclass(frozen=True, slots=True)
class Audit:
    """What was verified.

    Attributes:
        records: Ledger records whose hash, form and legality hold.
        decisions: Rounds recomputed, by outcome.
        votes: Votes counted.
        signatures: Those of them that came with their members' signatures, each checked.
        proposals: Proposals whose record and weights were hashed and checked.
        merges: Accepted proposals made again, bit for bit, of the updates they name.
        size_bytes: Bytes of weights hashed.
        model: Digest of the proposal that is everyone's model at the end.
        head: The ledger file's last hash.
    """

    records: int
    decisions: dict[str, int]
    votes: int
    signatures: int
    proposals: int
    merges: int
    size_bytes: int
    model: Digest
    head: Digest


def audit(folder: Path, head: Digest | None = None) -> Audit:
    """Verify a run's folder.

    Args:
        folder: What `Collective` was given as ``folder``.
        head: The ledger's head as the run reported it. Without it a ledger that was
            rewritten from some record on, consistently, cannot be told from a true one.

    Raises:
        LedgerError: The ledger cannot be read, or a record in it does not hold.
        StoreError: A blob is missing or corrupt.
        ConfigError: The folder holds no run.
    """
    chained = (folder / CHAIN_FILE).exists()
    path = folder / (CHAIN_FILE if chained else LEDGER_FILE)
    for each in (path, folder / STORE_FOLDER):
        if not each.exists():
            raise no_run(folder, each.name)
    if head is not None and not is_digest(head):
        raise ConfigError(f"head {head!r:.80} is refused: it is 64 digits, 0 to 9 and a to f")
    recorded = _read_chain(path) if chained else read_ledger(path)
    if head is not None and head != recorded.head:
        raise CorruptLedger(
            f"{path}: its head is {recorded.head}, not {head}: "
            "records were changed, added or cut off since that head was reported"
        )
    weights = _weights(recorded, folder)
    proposals, size_bytes = _check_blobs(recorded, folder, weights)
    decisions = Counter({outcome.value: 0 for outcome in Outcome if outcome is not Outcome.PENDING})
    for decision in recorded.decisions:
        decisions[decision.outcome.value] += decision.through - decision.round + 1
    return Audit(
        records=len(recorded.entries) + 1,
        decisions=dict(decisions),
        votes=sum(isinstance(entry.event, Vote) for entry in recorded.entries),
        signatures=recorded.signatures,
        proposals=proposals,
        merges=_all_merges(recorded, weights),
        size_bytes=size_bytes,
        model=recorded.state.current,
        head=recorded.head,
    )


@dataclass(frozen=True, slots=True)
class Blobs:
    """What was verified of the blobs that an experiment's decisions speak of.

    Attributes:
        proposals: Proposals whose record and weights were hashed and checked.
        merges: Accepted proposals made again, bit for bit, of the updates they name.
        unmade: Rounds whose accepted proposal was not made again, for an update or a
            state of the method that it follows from is gone.
        size_bytes: Bytes of weights hashed.
        unfit: Rounds whose proposal does not hold, and was not accepted.
        gone: Rounds whose proposal, or a part of it, is no longer held, and the outcome.
    """

    proposals: int
    merges: int
    unmade: tuple[int, ...]
    size_bytes: int
    unfit: tuple[int, ...]
    gone: tuple[tuple[int, Outcome], ...]


def audit_blobs(
    experiment: Experiment,
    schema: Schema,
    decisions: Sequence[Decision],
    store: Store,
    signer: Signer,
) -> Blobs:
    """Verify blobs against decisions that were themselves verified, as those of a contract.

    Blobs of proposals may be gone, and are then told. What was accepted must hold.

    Args:
        experiment: What the members agreed on.
        schema: Of its weights.
        decisions: Every round that has ended.
        store: Where blobs are; nothing is written to it.
        signer: Checks the signatures of the updates that proposals name.

    Raises:
        BlobMissing: The last model is gone.
        StoreError: A blob of a proposal that was accepted is corrupt.
        WeightsError: A proposal that was accepted is not what its round's decision says.
    """
    weights = WeightsStore(Overlay(store), schema)
    current, gone, unfit, count, size_bytes = experiment.initial, [], [], 0, 0
    for decision in decisions:
        if decision.proposal is None:
            continue
        origin = (decision.round, decision.proposer, current)
        if decision.outcome is Outcome.ACCEPTED:
            current = decision.proposal
        try:
            size_bytes += _check_proposal(
                weights, f"round {decision.round}", decision.proposal, origin
            )
            count += 1
        except BlobMissing:
            gone.append((decision.round, decision.outcome))
        except (StoreError, WeightsError):
            if decision.outcome is Outcome.ACCEPTED:
                raise
            unfit.append(decision.round)
    weights.get(current)
    merges, unmade = _check_merges(experiment, decisions, weights, signer)
    return Blobs(count, merges, tuple(unmade), size_bytes, tuple(unfit), tuple(gone))


@dataclass(frozen=True, slots=True)
class _Replay:
    """Decisions up to the one that is looked at."""

    experiment: Experiment
    decided: list[Decision]

    def decisions(self, since: int = 0) -> list[Decision]:
        return self.decided[since:]


def _read_chain(path: Path) -> Recorded:
    from colearn.ledgers.simulated import read_chain  # noqa: PLC0415 - brings web3

    return read_chain(path)


def _weights(recorded: Recorded, folder: Path) -> WeightsStore:
    store = Overlay(DirectoryStore(folder / STORE_FOLDER))
    schema = decode(b"".join(store.open(recorded.experiment.schema)), Schema)
    return WeightsStore(store, schema)


def _all_merges(recorded: Recorded, weights: WeightsStore) -> int:
    """How many proposals of a run were accepted and made again: all of them, or it raises."""
    merges, unmade = _check_merges(
        recorded.experiment, recorded.decisions, weights, recorded.signer
    )
    for reason in unmade.values():
        raise reason
    return merges


def _check_merges(
    experiment: Experiment,
    decisions: Sequence[Decision],
    weights: WeightsStore,
    signer: Signer | None,
) -> tuple[int, dict[int, BlobMissing]]:
    """Make every accepted proposal again from what it names.

    Behind a gap the method's state is that which the next proposal accepted names, if held.

    Returns:
        How many there were, and why others, by round, cannot be made again any more.

    Raises:
        WrongMerge: One is not what its method makes of its updates.
        BlobCorrupt: An update is corrupt.
    """
    if experiment.method == PLAIN:
        return 0, {}
    replay, merges, unmade = _Replay(experiment, []), 0, dict[int, BlobMissing]()
    course = Course(method(experiment.method), replay, weights, signer)
    for decision in decisions:
        if decision.outcome is Outcome.ACCEPTED and decision.proposal is not None:
            try:
                if not course.known:
                    course.adopt(decision.proposal, len(decision.members))
                course.check(decision.proposal, decision)
                merges += 1
            except BlobMissing as reason:
                unmade[decision.round] = reason
        replay.decided.append(decision)
        course.follow()
    return merges, unmade


def _check_blobs(recorded: Recorded, folder: Path, weights: WeightsStore) -> tuple[int, int]:
    """Hash and check what the ledger speaks of; return the number of proposals and bytes."""
    experiment = recorded.experiment
    size_bytes = _check_proposal(weights, "record 1", experiment.initial, (0, "", ""))
    count = 1
    accepted = {
        decision.round: decision.proposal
        for decision in recorded.decisions
        if decision.outcome is Outcome.ACCEPTED and decision.proposal is not None
    }
    base, bases = experiment.initial, {}
    for round_index in range(recorded.state.round + 1):
        bases[round_index] = base
        base = accepted.get(round_index, base)
    for number, entry in enumerate(recorded.entries, start=2):
        event = entry.event
        if isinstance(event, Propose):
            origin = (event.round, event.sender, bases[event.round])
            size_bytes += _check_proposal(weights, f"record {number}", event.proposal, origin)
            count += 1
    exported = folder / WEIGHTS_FILE
    final = weights.proposal(recorded.state.current).weights
    if exported.is_file() and digest_of((exported.read_bytes(),)) != final:
        raise BlobCorrupt(
            f"{exported} does not hash to {final[:12]}, "
            "the weights of the model accepted last: export them again"
        )
    return count, size_bytes


def _check_proposal(
    weights: WeightsStore, where: str, digest: Digest, origin: tuple[int, str, str]
) -> int:
    """Check one proposal's record against its ledger entry, and its weights; return their size."""
    round_index, sender, base = origin
    try:
        weights.check_origin(digest, round_index=round_index, sender=sender, base=base)
        weights.get(digest)
    except (StoreError, WeightsError) as reason:
        raise type(reason)(f"{where} does not hold: {reason}") from None
    weights.forget(digest)
    return weights.proposal(digest).size_bytes
