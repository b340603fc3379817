"""``colearn join``."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import FrameType
from typing import NoReturn

from colearn import experiment as files
from colearn.cli.feed import Feed
from colearn.cli.keyfile import unlock
from colearn.cli.learners import learner_for, share_of
from colearn.cli.options import LOCAL, THIS_MACHINE, Account, Node, Reach, host_and_port
from colearn.drivers import Connection, open_participant
from colearn.errors import ConfigError
from colearn.experiment import Agreement
from colearn.member import Watcher, take_part
from colearn.peers.tls import Identity
from colearn.report.files import write_weights

_TERMINATED = 143


def join(
    experiment: Path = Path("experiment.toml"),
    /,
    *,
    account: Account,
    node: Node = LOCAL,
    data_dir: Path | None = None,
    learner: str | None = None,
    share: str | None = None,
    state_dir: Path | None = None,
    reach: Reach = THIS_MACHINE,
    health: str | None = None,
    json: bool = False,
) -> None:
    """Take part in an experiment, until its last round.

    May be stopped at any moment, by Ctrl-C too; the same command goes on.

    Args:
        experiment: The experiment's file, with M₀ beside it.
        account: Who takes part.
        node: A node of the chain.
        data_dir: Folder of your data.
        learner: Your own function that makes a learner, module:function. Needed where
            the experiment names one: whose code runs here is for you to say.
        share: Which part of a task's own data is yours, such as 2/3; by default your
            place among the members.
        state_dir: Folder for your journal, blobs and the final model; by default one
            beside the experiment, named by your address.
        reach: How the other members reach this one.
        health: HOST:PORT at which to serve /health and /metrics.
        json: Print one JSON object a line, for machines.
    """
    agreement = files.read(experiment)
    me, secret = unlock(account)
    made = learner_for(agreement, learner, share_of(agreement, me, share), data_dir)
    folder = state_dir or experiment.parent / f"state-{me[:10]}"
    feed = Feed(me, agreement.rounds, as_json=json)
    watchers: list[Watcher] = [feed]
    with _terminated_cleanly(), ExitStack() as opened:
        try:
            participant, weights, network = opened.enter_context(
                open_participant(
                    agreement,
                    experiment,
                    made,
                    me=me,
                    key=secret,
                    rpc=node.rpc,
                    folder=folder,
                    connection=_connection(agreement, me, reach),
                )
            )
            if health is not None:
                watchers.append(opened.enter_context(_watched(me, folder, health)))
            feed.begin(participant.ledger.experiment, folder, network.url)
            with feed.shown():
                model = take_part(participant, weights, rounds=agreement.rounds, watchers=watchers)
            write_weights(folder, weights.get(model))
            feed.finished(model, folder)
        except (KeyboardInterrupt, SystemExit):
            feed.stopped()
            raise


@contextmanager
def _terminated_cleanly() -> Iterator[None]:
    """Let SIGTERM end the process as Ctrl-C does: all that is open is closed."""

    def end(signal_number: int, frame: FrameType | None) -> NoReturn:  # noqa: ARG001
        sys.exit(_TERMINATED)

    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@contextmanager
def _watched(me: str, folder: Path, address: str) -> Iterator[Watcher]:
    """Serve health and metrics meanwhile."""
    from colearn.health import Health, serving  # noqa: PLC0415 - an extra of its own

    watcher = Health(me, folder)
    with serving(watcher, *host_and_port("--health", address)):
        yield watcher


def _connection(agreement: Agreement, me: str, reach: Reach) -> Connection:
    """What the options say of how the members reach each other."""
    files = reach.certificate, reach.certificate_key, reach.trust
    identity = None
    if reach.certificate and reach.certificate_key and reach.trust:
        identity = Identity(reach.certificate, reach.certificate_key, reach.trust)
    elif any(files):
        raise ConfigError("--certificate, --certificate-key and --trust go together: give all")
    own = agreement.reach.get(me)
    others = tuple(url for member, url in agreement.reach.items() if member != me)
    listen = reach.listen or (own.rpartition("/")[2] if own else "127.0.0.1:0")
    host, port = host_and_port("--listen", listen)
    return Connection(
        host=host, port=port, url=reach.url, peers=(*reach.peer, *others), identity=identity
    )
