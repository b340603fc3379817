"""``colearn audit``."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path

import msgspec

from colearn import experiment as files
from colearn.audit import Blobs, audit_blobs
from colearn.audit import audit as audit_run
from colearn.cli.options import LOCAL, Node
from colearn.errors import ConfigError
from colearn.experiment import Place
from colearn.records import Vote
from colearn.rounds import progress
from colearn.rules import Decision, Outcome


def audit(
    run: Path,
    /,
    *,
    head: str | None = None,
    contract: str | None = None,
    store: str | None = None,
    node: Node = LOCAL,
) -> None:
    """Recompute every decision of a run, and hash every blob; or of an experiment on a chain.

    Ends with status 1 at the first thing that does not hold.

    Args:
        run: The run's folder; or an experiment's file, to audit its contract.
        head: The ledger's head as the run printed it; finds a ledger that was
            rewritten as a whole, too.
        contract: Address of the contract, if the file does not say it.
        store: Where an experiment's blobs are: the folder that a member keeps, or the
            URL of a bucket. Without it only the chain is audited.
        node: A node of the chain.
    """
    if run.is_file() or (run.suffix == ".toml" and not run.exists()):
        if head is not None:
            raise ConfigError("--head is of a run's folder: a contract's history has no head")
        _audit_chain(run, contract, store, node)
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


def _audit_chain(experiment: Path, contract: str | None, store: str | None, node: Node) -> None:
    from colearn.drivers import connected, open_blobs, place_of  # noqa: PLC0415 - brings web3
    from colearn.ledgers.chain_audit import audit_contract  # noqa: PLC0415

    agreement = files.read(experiment)
    if contract is not None:
        agreement = msgspec.structs.replace(agreement, contract=Place(address=contract))
    place, chain = place_of(agreement), node.chain
    blobs = None if store is None else open_blobs(store)
    found = audit_contract(
        agreement.experiment,
        chain=connected(place, chain),
        address=place.address,
        first_block=place.first_block,
        depth=chain.depth,
    )
    reached = progress(agreement.experiment, found.decisions, agreement.rounds)
    votes = sum(isinstance(entry.event, Vote) for entry in found.entries)
    print(f"the contract at {place.address} holds")
    print(f"  experiment {agreement.experiment_digest}, as {experiment} says")
    print(f"  events     {len(found.entries)}, each allowed by the rules at its time")
    print(f"  decisions  {_outcomes(reached.counted)}, recomputed from {votes} votes")
    if beyond := [each for each in found.decisions[len(reached.counted) :] if each.proposal]:
        print(f"  beyond     {_outcomes(beyond)} after the last round agreed on: they do not count")
    print(f"  signatures {found.signatures} of collected votes checked; the rest are transactions")
    if blobs is None:
        print("  weights    not looked at: say where they are with --store")
    else:
        _print_blobs(
            audit_blobs(
                agreement.experiment, agreement.schema, reached.counted, blobs, found.signer
            )
        )
    print(f"  model      {reached.model}")


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
