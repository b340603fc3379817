"""``colearn init``."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

from colearn import experiment as files
from colearn.cli.options import Each, Whole
from colearn.errors import ConfigError
from colearn.records import MAX_MEMBERS, Rule, fraction


def init(
    task: str,
    /,
    *,
    member: Annotated[tuple[str, ...], Each] = (),
    rounds: Whole | None = None,
    seed: Whole = 0,
    method: str = "plain",
    threshold: str = "1/2",
    quorum: str = "0",
    propose_seconds: Whole = 3_600,
    vote_seconds: Whole = 3_600,
    option: Annotated[tuple[str, ...], Each] = (),
    data_dir: Path | None = None,
    out: Path = Path("experiment.toml"),
) -> None:
    """Write down what the members of an experiment agree on.

    Makes experiment.toml, and M₀ beside it. Give both files to every member.

    Args:
        task: A task, see colearn tasks; or module:factory, your own function
            that makes a learner.
        member: A member's address, as colearn keys new prints it; once for each, in
            the order in which they propose. They can be filled in later.
        rounds: How many; by default what suits the task.
        seed: Seed of M₀ and of everybody's training.
        method: How new weights are made from the old.
        threshold: Share of the voters that more than must approve.
        quorum: Share of the voters that must vote.
        propose_seconds: Time a proposer has before its turn is skipped.
        vote_seconds: Time voters have after a proposal.
        option: NAME=VALUE, given to the task (split, vote, learning_rate,
            batch_size) or to your factory; may be repeated.
        data_dir: Folder of your data, where the task takes one.
        out: The file to write.
    """
    from colearn import tasks  # noqa: PLC0415 - brings scikit-learn with it
    from colearn.shares import is_factory, make_learner  # noqa: PLC0415

    if out.exists():
        raise ConfigError(f"{out} exists already: name another file with --out, or remove it")
    if rounds is None:
        if is_factory(task):
            raise ConfigError(f"how many rounds is {task} to learn? say --rounds")
        rounds = tasks.get(task).rounds
    options = dict(map(_option, option))
    learner = make_learner(
        task, options=options, seed=seed, share=(0, max(2, len(member))), data_dir=data_dir
    )
    agreement, initial = files.draw_up(
        learner,
        task=task,
        rounds=rounds,
        seed=seed,
        members=_addresses(member),
        rule=Rule(
            threshold=fraction("threshold", threshold),
            quorum=fraction("quorum", quorum),
            propose_seconds=propose_seconds,
            vote_seconds=vote_seconds,
        ),
        method=method,
        options=options,
    )
    files.write(out, agreement, initial)
    print(f"{out}\n{files.weights_beside(out)}")
    if member:
        print(f"\nThe experiment is {agreement.experiment_digest}")
    else:
        print(f"\nNext: fill in the members' addresses in {out}; each makes one by")
        print("  colearn keys new FILE")
    print("\nThen put it on a chain, and give both files to every member:")
    print(f"  colearn deploy {out} --rpc URL --key FILE")


def _option(text: str) -> tuple[str, str | int | float | bool]:
    name, equals, value = text.partition("=")
    if not name or not equals:
        raise ConfigError(f"option {text!r} is refused: write it NAME=VALUE")
    try:
        read = json.loads(value)
    except ValueError:
        return name, value
    return name, read if isinstance(read, str | int | float | bool) else value


def _addresses(members: Iterable[str]) -> tuple[str, ...]:
    """Check what only looks like addresses, before it is written down."""
    from eth_utils.address import is_checksum_address  # noqa: PLC0415 - only here

    members = tuple(members)
    for member in members:
        if not is_checksum_address(member):
            raise ConfigError(
                f"member {member!r} is no checksummed address: colearn keys new prints one"
            )
    if len(members) == 1 or len(members) > MAX_MEMBERS:
        raise ConfigError(
            f"{len(members)} member(s): an experiment has 2 to {MAX_MEMBERS}; name all or none"
        )
    return members
