"""``colearn deploy``: an experiment's contract goes onto a chain."""

from __future__ import annotations

from pathlib import Path

import msgspec

from colearn import experiment as files
from colearn.cli.keyfile import unlock
from colearn.cli.options import FROM_ENVIRONMENT, LOCAL, Account, Node
from colearn.drivers import deploy as put_on_chain
from colearn.errors import ConfigError


def deploy(
    experiment: Path = Path("experiment.toml"),
    /,
    *,
    account: Account = FROM_ENVIRONMENT,
    node: Node = LOCAL,
) -> None:
    """Put an experiment's contract on a chain, and its place into the file.

    Args:
        experiment: The experiment's file.
        account: Who pays; it need not be a member.
        node: A node of the chain.
    """
    agreement = files.read(experiment)
    if agreement.contract is not None:
        raise ConfigError(
            f"{experiment} is on a chain already, at {agreement.contract.address}: "
            "to put it on another as well, copy the file without its [contract]"
        )
    if not files.weights_beside(experiment).is_file():
        raise ConfigError(
            f"M₀ is missing: {files.weights_beside(experiment)} has to lie beside {experiment}"
        )
    payer = unlock(account)
    place = put_on_chain(agreement.experiment, payer, node.chain)
    files.write(experiment, msgspec.structs.replace(agreement, contract=place))
    print(f"experiment  {agreement.experiment_digest}")
    print(f"contract    {place.address}, on chain {place.chain_id}, written into {experiment}")
    print("\nGive every member both files; each takes part by")
    print(f"  colearn join {experiment} --rpc URL --key FILE")
