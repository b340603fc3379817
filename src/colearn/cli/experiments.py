"""``colearn init``."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from colearn import experiment as files
from colearn.cli.governance import check_governance, usual_governance
from colearn.cli.options import Each, Whole
from colearn.errors import ConfigError
from colearn.privacy.config import check_name
from colearn.records import MAX_MEMBERS_ON_CHAIN, Rule, fraction


def init(
    task: str,
    /,
    *,
    member: Annotated[tuple[str, ...], Each] = (),
    trusted: Annotated[bool | None, Parameter(name="--trusted", negative="--untrusted")] = None,
    rounds: Whole | None = None,
    seed: Whole = 0,
    method: str | None = None,
    threshold: str = "1/2",
    inclusive: bool = False,
    quorum: str = "0",
    governance: str | None = None,
    propose_seconds: Whole = 3_600,
    vote_seconds: Whole = 3_600,
    reveal_seconds: Whole = 0,
    committee: Whole = 0,
    option: Annotated[tuple[str, ...], Each] = (),
    privacy: str | None = None,
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
        trusted: Whether the members trust each other: say which, for the method
            follows from it. If they do, fast; if somebody may lie, shield; plain for
            a model that cannot be merged, such as a forest.
        rounds: How many; by default what suits task and method.
        seed: Seed of M₀ and of everybody's training.
        method: How new weights are made from the old, whatever is said of trust.
        threshold: Share of the voters that more than must approve.
        inclusive: Exactly the threshold is enough, too; with --threshold 1 all must
            approve.
        quorum: Share of the voters that must vote.
        governance: Share of the members that more than must want a change of members
            or rule; by default 2/3, or the threshold where that is higher.
        propose_seconds: Time a proposer has before its turn is skipped.
        vote_seconds: Time voters have after a proposal.
        reveal_seconds: 0 for open votes. Else votes are secret at first: members commit
            to them within the time to vote, and have this time to reveal them.
        committee: How many members, drawn anew each round, vote and train beside the
            proposer, so that a round's cost does not grow with their number; 0 for all.
        option: NAME=VALUE, given to the task (learner, split, vote, learning_rate,
            batch_size) or to your factory; may be repeated. A task's vote is by
            default what suits the method.
        privacy: standard (epsilon 8 for training, 2 for votes) or strict (3 and 1): what
            every member's learner is to hide single records by.
        data_dir: Folder of your data, where the task takes one.
        out: The file to write.
    """
    from colearn import tasks  # noqa: PLC0415 - brings scikit-learn with it
    from colearn.methods import method_for  # noqa: PLC0415
    from colearn.shares import make_learner  # noqa: PLC0415
    from colearn.tasks.own import is_factory  # noqa: PLC0415

    if out.exists():
        raise ConfigError(f"{out} exists already: name another file with --out, or remove it")
    if trusted is None and method is None:
        raise ConfigError(
            "do the members trust each other? say --trusted or --untrusted, or name a --method"
        )
    if privacy is not None:
        check_name(privacy)
    share = fraction("threshold", threshold)
    rule = Rule(
        threshold=share,
        inclusive=inclusive,
        quorum=fraction("quorum", quorum),
        governance=usual_governance(share)
        if governance is None
        else fraction("governance", governance),
        propose_seconds=propose_seconds,
        vote_seconds=vote_seconds,
        reveal_seconds=reveal_seconds,
        committee=committee,
    )
    check_governance(rule)
    options = dict(map(_option, option))
    if not is_factory(task):
        framework = options.get("learner")
        chosen = tasks.suited(
            tasks.get(task, None if framework is None else str(framework)),
            trusted=bool(trusted),
            method=method,
            rounds=rounds,
        )
        method, rounds = chosen.method, chosen.rounds
        options.setdefault("vote", chosen.vote)
    elif rounds is None:
        raise ConfigError(f"how many rounds is {task} to learn? say --rounds")
    learner = make_learner(
        task, options=options, seed=seed, share=(0, max(2, len(member))), data_dir=data_dir
    )
    if method is None:
        merges = not files.schema_of(learner).bounds
        method = method_for(merges=merges, trusted=bool(trusted))
    agreement, initial = files.draw_up(
        learner,
        task=task,
        rounds=rounds,
        seed=seed,
        members=_addresses(member) if member else (),
        rule=rule,
        method=method,
        options=options,
        privacy=privacy,
    )
    files.write(out, agreement, initial)
    print(f"{out}\n{files.weights_beside(out)}")
    vote = f", vote {options['vote']}" if not is_factory(task) else ""
    print(f"\nMethod {method}{vote}, {rounds} rounds")
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
    from colearn.ledgers.keys import checked_address  # noqa: PLC0415 - needs an extra

    members = tuple(map(checked_address, members))
    if len(members) == 1 or len(members) > MAX_MEMBERS_ON_CHAIN:
        raise ConfigError(
            f"{len(members)} member(s): an experiment on a chain has 2 to "
            f"{MAX_MEMBERS_ON_CHAIN}; name all or none"
        )
    return members
