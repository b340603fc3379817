"""``colearn audit``."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from colearn import experiment as files
from colearn.audit import Blobs, audit_blobs
from colearn.audit import audit as audit_run
from colearn.cli.options import LOCAL, Node, Whole
from colearn.errors import BlobMissing, ConfigError
from colearn.experiment import Place
from colearn.protocols import Store
from colearn.records import Experiment, Vote, decode, digest_of, encode
from colearn.rounds import progress
from colearn.rules import Decision, Outcome
from colearn.schema import Schema


def audit(
    run: Path | None = None,
    /,
    *,
    head: str | None = None,
    contract: str | None = None,
    first_block: Whole = 0,
    store: str | None = None,
    node: Node = LOCAL,
) -> None:
    """Recompute every decision of a run, and hash every blob; or of an experiment on a chain.

    Ends with status 1 at the first thing that does not hold.

    Args:
        run: The run's folder; or an experiment's file, to audit its contract. Without
            either, what was agreed on is taken from the contract that --contract names.
        head: The ledger's head as the run printed it; finds a ledger that was
            rewritten as a whole, too.
        contract: Address of the contract, if there is no file that says it.
        first_block: With --contract, a block at or before its first, to look for it from.
        store: Where an experiment's blobs are: the folder that a member keeps, or the
            URL of a bucket. Without it only the chain is audited.
        node: A node of the chain.
    """
    if first_block and contract is None:
        raise ConfigError("--first-block goes with --contract, whose first block it is about")
    place = None if contract is None else Place(address=contract, first_block=first_block)
    if run is None or run.is_file() or (run.suffix == ".toml" and not run.exists()):
        if head is not None:
            raise ConfigError("--head is of a run's folder: a contract's history has no head")
        agreed = _by_chain(place, node) if run is None else _by_file(run, place)
        _audit_chain(agreed, store, node)
        return
    if contract is not None or store is not None:
        raise ConfigError(f"{run} is no file: --contract and --store go with experiment.toml")
    _audit_run(run, head)


def _audit_run(run: Path, head: str | None) -> None:
    found = audit_run(run, head)
    outcomes = ", ".join(f"{count} {outcome}" for outcome, count in found.decisions.items())
    print(f"{run} holds")
    print(f"  ledger     {found.records} records, each linked to the one before and legal")
    decided = sum(found.decisions.values())
    print(f"  decisions  {decided} recomputed from {found.votes} votes: {outcomes}")
    print(
        f"  weights    {found.proposals} proposals hashed and checked, {found.size_bytes:,} bytes"
    )
    if found.signatures:
        print(f"  contract   repeated every transaction; {found.signatures} votes bear signatures")
    if found.merges:
        print(f"  merges     {found.merges} accepted proposals made again, bit for bit")
    print(f"  model      {found.model}")
    if head is None:
        print(f"  head       {found.head}, not compared: give --head as the run printed it")
    else:
        print(f"  head       {found.head}, as given")


class _Agreed(NamedTuple):
    """What members agreed on, who says so, and where their contract is."""

    experiment: Experiment
    schema: Schema | None
    said_by: str
    place: Place


def _by_file(file: Path, named: Place | None) -> _Agreed:
    from colearn.drivers import place_of  # noqa: PLC0415 - brings web3

    agreement = files.read(file)
    place = named or place_of(agreement)
    return _Agreed(agreement.experiment, agreement.schema, str(file), place)


def _by_chain(named: Place | None, node: Node) -> _Agreed:
    from colearn.drivers import connected  # noqa: PLC0415 - brings web3
    from colearn.ledgers.chain_audit import founding  # noqa: PLC0415

    if named is None:
        raise ConfigError(
            "there is nothing to audit: name a run's folder, an experiment.toml, or a contract "
            "with --contract ADDRESS --rpc URL"
        )
    began = founding(
        chain=connected(named, node.chain),
        address=named.address,
        first_block=named.first_block,
        depth=node.chain.depth,
    )
    place = Place(address=named.address, first_block=began.block)
    return _Agreed(began.experiment, None, "the transaction that put the contract there", place)


def _audit_chain(agreed: _Agreed, store: str | None, node: Node) -> None:
    from colearn.drivers import connected, open_blobs  # noqa: PLC0415 - brings web3
    from colearn.ledgers.chain_audit import audit_contract  # noqa: PLC0415

    experiment, schema, said_by, place = agreed
    chain = node.chain
    blobs = None if store is None else open_blobs(store)
    found = audit_contract(
        experiment,
        chain=connected(place, chain),
        address=place.address,
        first_block=place.first_block,
        depth=chain.depth,
    )
    rounds = _rounds(experiment, found.decisions)
    reached = progress(experiment, found.decisions, found.entries, rounds)
    votes = sum(isinstance(entry.event, Vote) for entry in found.entries)
    print(f"the contract at {place.address} holds")
    print(f"  experiment {digest_of((encode(experiment),))}, as {said_by} says")
    print(f"  agreed on  {_terms(experiment)}")
    print(f"  events     {len(found.entries)}, each allowed by the rules at its time")
    print(f"  decisions  {_outcomes(reached.counted)}, recomputed from {votes} votes")
    if beyond := [each for each in found.decisions[len(reached.counted) :] if each.proposal]:
        print(f"  beyond     {_outcomes(beyond)} after the end: they do not count")
    print(f"  signatures {found.signatures} of collected votes checked; the rest are transactions")
    if blobs is not None and schema is None:
        schema = _schema_in(blobs, experiment)
    if blobs is None:
        print("  weights    not looked at: say where they are with --store")
    elif schema is None:
        print(
            f"  weights    not checked: what they look like is in blob {experiment.schema}, "
            "which the store lacks; experiment.toml says it, too"
        )
    else:
        _print_blobs(audit_blobs(experiment, schema, reached.counted, blobs, found.signer))
    print(f"  model      {reached.model}")


def _rounds(experiment: Experiment, decisions: Sequence[Decision]) -> int:
    """How many proposals an experiment takes; all, where a stranger's contract does not say it."""
    said = experiment.terms.get("rounds", "")
    return int(said) if said.isdecimal() else len(decisions)


def _schema_in(blobs: Store, experiment: Experiment) -> Schema | None:
    """The schema that an experiment names by its digest, where the store holds it."""
    try:
        return decode(b"".join(blobs.open(experiment.schema)), Schema)
    except BlobMissing:
        return None


def _terms(experiment: Experiment) -> str:
    """What was agreed on, in one line."""
    terms = ", ".join(f"{name} {value}" for name, value in sorted(experiment.terms.items()))
    line = f"{len(experiment.members)} members, method {experiment.method}, {terms}"
    return ascii(line)[1:-1]  # a stranger's contract may say anything


def _print_blobs(blobs: Blobs) -> None:
    print(
        f"  weights    {blobs.proposals} proposals hashed and checked, {blobs.size_bytes:,} bytes"
    )
    if blobs.merges:
        print(f"  merges     {blobs.merges} accepted proposals made again, bit for bit")
    if blobs.unmade:
        print(f"  unmade     what they follow from is gone: rounds {_numbers(blobs.unmade)}")
    if blobs.unfit:
        print(f"  unfit      not accepted, and do not hold: rounds {_numbers(blobs.unfit)}")
    for outcome in Outcome:
        gone = [number for number, became in blobs.gone if became is outcome]
        if gone:
            print(f"  gone       {outcome.value}, not verified: rounds {_numbers(gone)}")


def _outcomes(decisions: Iterable[Decision]) -> str:
    counts = Counter[str]()
    for decision in decisions:
        counts[decision.outcome.value] += decision.through - decision.round + 1
    return _counted(counts) or "none"


def _counted(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{count} {outcome}" for outcome, count in counts.items())


def _numbers(numbers: Iterable[int]) -> str:
    return ", ".join(map(str, numbers))
