"""``colearn devnet``: a chain of one's own, with an experiment on it, to try things out."""

from __future__ import annotations

import secrets
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import msgspec

from colearn import experiment as files
from colearn import tasks
from colearn.cli.ending import terminated_cleanly
from colearn.cli.keyfile import unlock
from colearn.cli.options import Account, Whole
from colearn.drivers import connect, deploy
from colearn.errors import ConfigError
from colearn.experiment import Agreement
from colearn.ledgers.keys import new_key, write_key
from colearn.records import Rule
from colearn.shares import make_learner

EXPERIMENT_FILE = "experiment.toml"
_FUNDS_WEI = 10**21
_PASSPHRASE_FILE = "passphrase"  # noqa: S105 - the name of a file


def devnet(
    task: str = "digits",
    /,
    *,
    members: Whole = 3,
    rounds: Whole | None = None,
    deadline_seconds: Whole = 120,
    out: Path = Path("devnet"),
    port: Whole = 8545,
) -> None:
    """Start a chain on this machine, with an experiment on it for you to join.

    Needs anvil; makes a key for each member, gives it funds, and says what to type in
    the other terminals. Runs until Ctrl-C; started again, it goes on where it was.

    Args:
        task: A task, see colearn tasks.
        members: How many.
        rounds: By default what suits the task.
        deadline_seconds: Time that proposer and voters have.
        out: Folder for keys, experiment and chain.
        port: Of the chain's node, on loopback.
    """
    made = not (out / EXPERIMENT_FILE).exists()
    if made:
        _make(task, members, rounds, deadline_seconds, out)
    agreement = files.read(out / EXPERIMENT_FILE)
    with terminated_cleanly(), running(port, out / "chain.json") as url:
        if agreement.contract is None:
            agreement = _deploy(agreement, out, url)
        _say(agreement, out, url)
        _wait()


def _make(task: str, members: int, rounds: int | None, deadline_seconds: int, out: Path) -> None:
    """Make keys, experiment and M₀, or leave nothing."""
    try:
        (out / "keys").mkdir(parents=True)
    except OSError as reason:
        raise ConfigError(
            f"folder {out} cannot be made: {reason.strerror}; name another with --out"
        ) from None
    try:
        passphrase = secrets.token_urlsafe()
        (out / _PASSPHRASE_FILE).write_text(passphrase)
        keys = [new_key() for _ in range(members)]
        for number, key in enumerate(keys, start=1):
            write_key(key, _keystore(out, number), passphrase)
        agreement, initial = files.draw_up(
            make_learner(task, options={}, seed=0, share=(0, members)),
            task=task,
            rounds=rounds or tasks.get(task).rounds,
            seed=0,
            members=tuple(key.address for key in keys),
            rule=Rule(propose_seconds=deadline_seconds, vote_seconds=deadline_seconds),
        )
        files.write(out / EXPERIMENT_FILE, agreement, initial)
    except BaseException:
        shutil.rmtree(out)
        raise


@contextmanager
def running(port: int, state: Path) -> Iterator[str]:
    process = subprocess.Popen(
        [
            "anvil",
            "--port",
            str(port),
            "--silent",
            "--accounts",
            "1",
            "--block-time",
            "1",
            "--mixed-mining",
            "--state",
            str(state),
            "--state-interval",
            "1",
        ],
        start_new_session=True,
    )
    try:
        url = f"http://127.0.0.1:{port}"
        while not connect((url,)).is_connected():
            time.sleep(0.05)
        yield url
    finally:
        process.terminate()
        process.wait()


def _keystore(out: Path, number: int) -> Path:
    return out / "keys" / f"member-{number}.json"


def _deploy(agreement: Agreement, out: Path, url: str) -> Agreement:
    """Give the members funds, and put the contract on the chain."""
    web3 = connect((url,))
    for member in agreement.members:
        web3.provider.make_request("anvil_setBalance", [member, hex(_FUNDS_WEI)])
    payer = unlock(Account(_keystore(out, 1), out / _PASSPHRASE_FILE))
    agreement = msgspec.structs.replace(
        agreement,
        contract=deploy(agreement.experiment, payer, (url,)),
        reach=dict(zip(agreement.members, _free_urls(len(agreement.members)), strict=True)),
    )
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
    print("Type each of these in a terminal of its own:\n")
    for number in range(1, len(agreement.members) + 1):
        print(
            f"  colearn join {out / EXPERIMENT_FILE} --rpc {url} "
            f"--key {_keystore(out, number)} "
            f"--passphrase-file {out / _PASSPHRASE_FILE}"
        )
    print(f"\nTo see how it stands:\n  colearn status {out / EXPERIMENT_FILE} --rpc {url}")
    print("\nCtrl-C ends the chain; the same command goes on with it.", flush=True)


def _wait() -> None:
    while True:
        time.sleep(3600)
