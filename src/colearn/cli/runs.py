"""``colearn audit``, ``colearn plot`` and ``colearn tasks``."""

from __future__ import annotations

from pathlib import Path

from colearn import tasks as registry
from colearn.audit import audit as audit_run
from colearn.report.plot import redraw


def audit(run: Path, /, *, head: str | None = None) -> None:
    """Recompute every decision of a run from its ledger, and hash every blob.

    Ends with status 1 at the first record or blob that does not hold.

    Args:
        run: The run's folder.
        head: The ledger's head as the run printed it; finds a ledger that was
            rewritten as a whole, too.
    """
    found = audit_run(run, head)
    outcomes = ", ".join(f"{count} {outcome}" for outcome, count in found.decisions.items())
    print(f"{run} holds")
    print(f"  ledger     {found.records} records, each linked to the one before and legal")
    decided = sum(found.decisions.values())
    print(f"  decisions  {decided} recomputed from {found.votes} votes: {outcomes}")
    print(
        f"  weights    {found.proposals} proposals hashed and checked, {found.size_bytes:,} bytes"
    )
    if found.merges:
        print(f"  merges     {found.merges} accepted proposals made again, bit for bit")
    print(f"  model      {found.model}")
    if head is None:
        print(f"  head       {found.head}, not compared: give --head as the run printed it")
    else:
        print(f"  head       {found.head}, as given")


def plot(run: Path, /) -> None:
    """Draw a run again, from its files.

    Args:
        run: The run's folder.
    """
    print(redraw(run))


def tasks() -> None:
    """List the tasks of the demo."""
    for name in registry.names():
        task = registry.get(name)
        print(f"{name:15} {task.summary}\n{'':15} {task.model}")
