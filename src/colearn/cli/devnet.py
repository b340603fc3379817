"""``colearn devnet``: a chain of one's own, with an experiment on it, to try things out."""

from __future__ import annotations

import secrets
import shutil
import socket
import time
from contextlib import ExitStack
from pathlib import Path

import msgspec

from colearn import experiment as files
from colearn.cli.ending import Ending, terminated_cleanly
from colearn.cli.experiments import chosen, drawn_up
from colearn.cli.keyfile import unlock
from colearn.cli.options import UNSAID, Account, Trust, Whole
from colearn.drivers import Chain, deploy, make_folder
from colearn.errors import ConfigError, LedgerError
from colearn.experiment import Agreement
from colearn.ledgers.anvil import Anvil
from colearn.ledgers.keys import new_key, write_key
from colearn.records import Rule

EXPERIMENT_FILE = "experiment.toml"
_BLOCK_SECONDS = 1
_LEAST_SECONDS = 5
_PASSPHRASE_FILE = "passphrase"  # noqa: S105 - the name of a file


def devnet(
    task: str = "digits",
    /,
    *,
    members: Whole = 3,
    rounds: Whole | None = None,
    trust: Trust = UNSAID,
    method: str | None = None,
    deadline_seconds: Whole = 120,
    out: Path = Path("devnet"),
    data_dir: Path | None = None,
    port: Whole = 8545,
) -> None:
    """Start a chain on this machine, with an experiment on it for you to join.

    Needs anvil; makes a key for each member, gives it funds, and says what to type in
    the other terminals. Runs until Ctrl-C; started again, it goes on where it was.

    Args:
        task: A task, see colearn tasks.
        members: How many.
        rounds: By default what suits task and method.
        trust: Whether the members trust each other; they do if nothing is said.
        method: How new weights are made from the old, whatever is said of trust; if nothing
            is said, as among members that trust each other.
        deadline_seconds: Time that proposer and voters have.
        out: Folder for keys, experiment and chain.
        data_dir: Folder for the chain, where it is to be another.
        port: Of the chain's node, on loopback.
    """
    if deadline_seconds < _LEAST_SECONDS:
        raise ConfigError(
            f"--deadline-seconds {deadline_seconds} is refused: a block takes "
            f"{_BLOCK_SECONDS} s here, so take {_LEAST_SECONDS} or more"
        )
    if not (out / EXPERIMENT_FILE).exists():
        trusted = trust.said is not False
        _make(task, members, rounds, deadline_seconds, out, trusted=trusted, method=method)
    agreement = files.read(out / EXPERIMENT_FILE)
    folder = out if data_dir is None else data_dir
    make_folder(folder)
    with (
        terminated_cleanly() as ending,
        Anvil(port=port, block_seconds=_BLOCK_SECONDS, state=folder / "chain.json") as node,
    ):
        if agreement.contract is None:
            agreement = _deploy(agreement, out, node)
        _say(agreement, out, node.url)
        _wait(ending, node)


def _make(
    task: str,
    members: int,
    rounds: int | None,
    deadline_seconds: int,
    out: Path,
    *,
    trusted: bool,
    method: str | None,
) -> None:
    """Make keys, experiment and M₀, or leave nothing."""
    try:
        (out / "keys").mkdir(parents=True)
    except OSError as reason:
        raise ConfigError(
            f"folder {out} cannot be made: {reason.strerror}; name another with --out"
        ) from None
    try:
        passphrase = secrets.token_urlsafe()
        (out / _PASSPHRASE_FILE).touch(0o600)
        (out / _PASSPHRASE_FILE).write_text(passphrase)
        keys = [new_key() for _ in range(members)]
        for number, key in enumerate(keys, start=1):
            write_key(key, _keystore(out, number), passphrase)
        agreement, initial = drawn_up(
            task,
            trusted=trusted,
            method=method,
            rounds=rounds,
            members=tuple(key.address for key in keys),
            rule=Rule(propose_seconds=deadline_seconds, vote_seconds=deadline_seconds),
        )
        files.write(out / EXPERIMENT_FILE, agreement, initial)
    except BaseException:
        shutil.rmtree(out)
        raise


def _keystore(out: Path, number: int) -> Path:
    return out / "keys" / f"member-{number}.json"


def _deploy(agreement: Agreement, out: Path, node: Anvil) -> Agreement:
    """Give the members funds, and put the contract on the chain."""
    node.fund(agreement.members)
    payer = unlock(Account(_keystore(out, 1), out / _PASSPHRASE_FILE))
    agreement = msgspec.structs.replace(
        agreement,
        contract=deploy(agreement.experiment, payer, Chain(rpc=(node.url,))),
        reach=dict(zip(agreement.members, _free_urls(len(agreement.members)), strict=True)),
    )
    if agreement.contract is not None:
        node.keep(agreement.contract.address)
    files.write(out / EXPERIMENT_FILE, agreement)
    return agreement


def _free_urls(count: int) -> list[str]:
    """URLs on this machine, at ports that are free now."""
    with ExitStack() as opened:
        servers = [
            opened.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)
        ]
        return [f"http://127.0.0.1:{each.getsockname()[1]}" for each in servers]


def _say(agreement: Agreement, out: Path, url: str) -> None:
    print(f"A chain at {url}, with the experiment {agreement.experiment_digest[:10]} on it.")
    print(f"{chosen(agreement)}.")
    print("Type each of these in a terminal of its own:\n")
    for number in range(1, len(agreement.members) + 1):
        print(
            f"  colearn join {out / EXPERIMENT_FILE} --rpc {url} "
            f"--key {_keystore(out, number)} "
            f"--passphrase-file {out / _PASSPHRASE_FILE}"
        )
    print(f"\nTo see how it stands:\n  colearn status {out / EXPERIMENT_FILE} --rpc {url}")
    print("\nCtrl-C ends the chain; the same command goes on with it.", flush=True)


def _wait(ending: Ending, node: Anvil) -> None:
    while not node.end:
        ending.check()
        time.sleep(_BLOCK_SECONDS)
    raise LedgerError(
        f"the chain has ended: anvil ended {node.end}, and nobody asked it to; "
        "the same command goes on with the chain"
    )
