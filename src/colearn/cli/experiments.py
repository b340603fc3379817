"""``colearn init``."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated

from msgspec.structs import replace

from colearn import experiment as files
from colearn.cli.governance import check_governance, usual_governance
from colearn.cli.options import UNSAID, Each, Trust, Whole
from colearn.errors import ConfigError
from colearn.experiment import Agreement
from colearn.records import MAX_MEMBERS_ON_CHAIN, Rule, fraction


def init(
    task: str,
    /,
    *,
    member: Annotated[tuple[str, ...], Each] = (),
    trust: Trust = UNSAID,
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
    committee: Whole | None = None,
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
        trust: Whether the members trust each other.
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
            By default ten under fast, where more than twelve members are named and
            votes are open, and else all.
        option: NAME=VALUE, given to the task (learner, split, vote, learning_rate,
            batch_size, norm) or to your factory; may be repeated. A task's vote is by
            default loss under plain, which approves only what is better; else not-worse,
            which approves what is no better, too. The norm of networks for pictures is
            batch, or group, by which they can train privately: the default with
            --privacy.
        privacy: standard (epsilon 8 for training, 2 for votes) or strict (3 and 1): what
            every member's learner is to hide single records by.
        data_dir: Folder of your data, where the task takes one.
        out: The file to write.
    """
    if out.exists():
        raise ConfigError(f"{out} exists already: name another file with --out, or remove it")
    if trust.said is None and method is None:
        raise ConfigError(
            "do the members trust each other? say --trusted or --untrusted, or name a --method"
        )
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
        committee=committee or 0,
    )
    check_governance(rule)
    agreement, initial = drawn_up(
        task,
        trusted=bool(trust.said),
        method=method,
        rounds=rounds,
        seed=seed,
        members=_addresses(member) if member else (),
        rule=rule,
        committee=0 if committee is None and reveal_seconds else committee,
        options=dict(map(_option, option)),
        privacy=privacy,
        data_dir=data_dir,
    )
    files.write(out, agreement, initial)
    print(f"{out}\n{files.weights_beside(out)}")
    print(f"\n{chosen(agreement)}")
    if member:
        print(f"\nThe experiment is {agreement.experiment_digest}")
    else:
        print(f"\nNext: fill in the members' addresses in {out}; each makes one by")
        print("  colearn keys new FILE")
    print("\nThen put it on a chain, and give both files to every member:")
    print(f"  colearn deploy {out} --rpc URL --key FILE")


def drawn_up(
    task: str,
    *,
    trusted: bool,
    method: str | None,
    rounds: int | None,
    members: tuple[str, ...],
    rule: Rule,
    committee: int | None = None,
    seed: int = 0,
    options: Mapping[str, str | int | float | bool] | None = None,
    privacy: str | None = None,
    data_dir: Path | None = None,
) -> tuple[Agreement, bytes]:
    """Write down an experiment, with what suits task and members where None is given.

    Returns:
        The agreement, and M₀'s canonical bytes.

    Raises:
        ConfigError: Something here cannot be used.
        UnsupportedModel: No member could train the model privately.
    """
    from colearn import tasks  # noqa: PLC0415 - brings scikit-learn with it
    from colearn.learners.protectable import protectable  # noqa: PLC0415
    from colearn.methods import committee_for, method_for  # noqa: PLC0415
    from colearn.shares import make_learner  # noqa: PLC0415
    from colearn.tasks.own import is_factory  # noqa: PLC0415

    options = dict(options or {})
    if not is_factory(task):
        framework = options.get("learner")
        named = tasks.get(task, None if framework is None else str(framework))
        suited = tasks.suited(named, trusted=trusted, method=method, rounds=rounds)
        method, rounds = suited.method, suited.rounds
        options.setdefault("vote", suited.vote)
        if privacy is not None and named.norm:
            options.setdefault("norm", named.privately().norm)
    elif rounds is None:
        raise ConfigError(f"how many rounds is {task} to learn? say --rounds")
    learner = make_learner(
        task, options=options, seed=seed, share=(0, max(2, len(members))), data_dir=data_dir
    )
    if privacy is not None:
        protectable(learner, privacy)
    if method is None:
        method = method_for(merges=not files.schema_of(learner).bounds, trusted=trusted)
    if committee is None:
        committee = committee_for(method, len(members))
    return files.draw_up(
        learner,
        task=task,
        rounds=rounds,
        seed=seed,
        members=members,
        rule=replace(rule, committee=committee),
        method=method,
        options=options,
        privacy=privacy,
    )


def chosen(agreement: Agreement) -> str:
    """Method, rounds and vote, and what the vote lets pass."""
    from colearn.tasks.own import is_factory  # noqa: PLC0415 - brings scikit-learn with it

    said = f"Method {agreement.method}, {agreement.rounds} rounds"
    if agreement.rule.committee:
        said += f", {agreement.rule.committee} members drawn for each (--committee 0: all)"
    if is_factory(agreement.task):
        return said
    vote = agreement.options.get("vote", "loss")
    lenient = ", which approves what is no better, too (loss is strict)"
    return f"{said}, vote {vote}{lenient if vote == 'not-worse' else ''}"


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
