"""``colearn fork``: the members that remain go on from where an experiment stopped."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import msgspec

from colearn import experiment as files
from colearn.cli.learners import learner_for
from colearn.cli.options import LOCAL, Each, Node, Whole
from colearn.drivers import open_blobs, open_ledger
from colearn.errors import ConfigError
from colearn.rounds import progress
from colearn.weights_store import WeightsStore


def fork(
    experiment: Path = Path("experiment.toml"),
    /,
    *,
    without: Annotated[tuple[str, ...], Each] = (),
    rounds: Whole | None = None,
    store: str,
    learner: str | None = None,
    data_dir: Path | None = None,
    out: Path = Path("fork.toml"),
    node: Node = LOCAL,
) -> None:
    """Write down a new experiment that begins with the model an old one accepted last.

    For when so many members left that neither learning nor governance can go on.

    Args:
        experiment: The old experiment's file.
        without: Address of a member that left; once for each.
        rounds: How many; by default those that the old experiment has left.
        store: Where the model is: the folder that colearn join kept your blobs in, or
            the URL of the bucket that the members met in.
        learner: Your own function that makes a learner, where the experiment names one.
        data_dir: Folder of your data.
        out: The file to write.
        node: A node of the old experiment's chain.
    """
    if out.exists():
        raise ConfigError(f"{out} exists already: name another file with --out, or remove it")
    agreement = files.read(experiment)
    ledger = open_ledger(agreement, node.chain)
    state = ledger.view()
    for member in without:
        if member not in state.members:
            raise ConfigError(f"{member} is no member: colearn members list {experiment}")
    remaining = tuple(member for member in state.members if member not in without)
    decisions, entries = ledger.decisions(), ledger.events()
    found = progress(ledger.experiment, decisions, entries, agreement.rounds)
    made = learner_for(agreement, learner, (0, len(agreement.members)), data_dir)
    made.mli_accept_weights(WeightsStore(open_blobs(store), agreement.schema).get(found.model))
    forked, initial = files.draw_up(
        made,
        task=agreement.task,
        rounds=rounds or max(1, found.left),
        seed=agreement.seed,
        members=remaining,
        rule=state.rule,
        method=agreement.method,
        options=agreement.options,
        privacy=agreement.privacy,
    )
    forked = msgspec.structs.replace(forked, origin=found.model)
    forked.experiment  # noqa: B018 - refuses too few members before anything is written
    files.write(out, forked, initial)
    print(f"{out}\n{files.weights_beside(out)}")
    print(f"\nThe experiment is {forked.experiment_digest}, of {len(remaining)} members,")
    print(f"and begins with the model {found.model}.")
    print("\nPut it on a chain, and give both files to every member:")
    print(f"  colearn deploy {out} --rpc URL --key FILE")
