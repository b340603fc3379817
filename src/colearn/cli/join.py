"""``colearn join``."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from colearn import experiment as files
from colearn.cli.ending import Ending, terminated_cleanly
from colearn.cli.feed import Feed
from colearn.cli.folders import state_folder
from colearn.cli.keyfile import unlock
from colearn.cli.learners import BUDGET_FILE, hides_training, learner_for, protected, share_of
from colearn.cli.options import (
    FROM_ENVIRONMENT,
    LOCAL,
    THIS_MACHINE,
    Account,
    Node,
    Reach,
    Tracks,
    Whole,
    host_and_port,
)
from colearn.drivers import Connection, Member, open_member, without
from colearn.errors import ConfigError
from colearn.experiment import Agreement
from colearn.member import Watcher, take_part
from colearn.network import Network
from colearn.peers.tls import Identity, check_host, check_url
from colearn.records import Digest
from colearn.report.files import write_weights
from colearn.tidying import Tidier
from colearn.tracking import Follower, tracker

_LINGER_SECONDS = 30.0
_FAREWELL_SECONDS = 1.0
_ASK_SECONDS = 0.2


def join(
    experiment: Path = Path("experiment.toml"),
    /,
    *,
    account: Account = FROM_ENVIRONMENT,
    node: Node = LOCAL,
    data_dir: Path | None = None,
    learner: str | None = None,
    share: str | None = None,
    privacy: str | None = None,
    budget: Path | None = None,
    state_dir: Path | None = None,
    reach: Reach = THIS_MACHINE,
    spare_mib: Whole = 1_024,
    ahead: bool = False,
    stay: bool = False,
    health: str | None = None,
    track: Tracks = (),
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
        privacy: standard, strict or none, instead of what the experiment says: how your
            learner hides single records.
        budget: File that accounts for the privacy of your data, in all experiments; by
            default budget.sqlite in the state folder.
        state_dir: Folder for your journal, blobs and the final model; by default one
            beside the experiment, named by your address.
        reach: How the other members reach this one.
        spare_mib: Room on your disk, or in the bucket, for blobs of yours that were not
            accepted; the oldest go first.
        ahead: Train on a proposal while the vote on it runs, and drop that work if it is
            rejected: rounds are shorter where blocks or votes take long.
        stay: Serve your blobs to the others after the last round, until stopped; else for
            half a minute at most, if somebody lacks the last model.
        health: HOST:PORT at which to serve /health and /metrics.
        track: Where to keep how rounds ended, and your own scores: mlflow:FILE, mlflow:URL
            or tensorboard:FOLDER.
        json: Print one JSON object a line, for machines.
    """
    agreement = files.read(experiment)
    at = None if health is None else host_and_port("--health", health)
    secret = unlock(account)
    me = secret.address
    connection = _connection(agreement, me, reach)
    folder = state_dir or state_folder(experiment, me)
    feed = Feed(me, agreement.rounds, as_json=json)
    with feed.warned():
        made = learner_for(agreement, learner, share_of(agreement, me, share), data_dir)
        warning = protected(agreement, made, privacy, budget or folder / BUDGET_FILE)
    if warning:
        feed.say("unprotected", warning, reason=warning)
    if ahead and hides_training(made):
        raise ConfigError(
            "--ahead is refused with private training: what is trained on a proposal that is "
            "then rejected is charged to your budget all the same"
        )
    with feed.warned(), terminated_cleanly() as ending, ExitStack() as opened:
        try:
            member = opened.enter_context(
                open_member(
                    agreement,
                    experiment,
                    made,
                    key=secret,
                    chain=node.chain,
                    folder=folder,
                    connection=connection,
                )
            )
            tidier = Tidier(agreement, member.own, member.weights, spare_mib * 2**20)
            watchers: list[Watcher] = [feed, ending, tidier]
            if at is not None:
                now = member.participant.ledger.now
                watchers.append(opened.enter_context(_watched(me, folder, now, *at)))
            for where in track:
                kept = tracker(where, f"{experiment.stem}-{me[:10]}", _settings(agreement))
                opened.callback(kept.close)
                watchers.append(Follower(kept, me, made))
            feed.begin(member.participant.ledger.experiment, folder, member.url)
            with feed.shown():
                model = take_part(
                    member.participant,
                    member.weights,
                    rounds=agreement.rounds,
                    watchers=watchers,
                    ahead=ahead,
                )
            write_weights(folder, member.weights.get(model))
            feed.finished(model, folder)
            if member.network is not None:
                _serve(member, member.network, model, feed, ending, stay=stay)
        except (KeyboardInterrupt, SystemExit):
            feed.stopped()
            raise


def _settings(agreement: Agreement) -> dict[str, object]:
    return {
        "task": agreement.task,
        "method": agreement.method,
        "rounds": agreement.rounds,
        "seed": agreement.seed,
        **agreement.options,
    }


@contextmanager
def _watched(
    me: str, folder: Path, now: Callable[[], int], host: str, port: int
) -> Iterator[Watcher]:
    """Serve health and metrics meanwhile."""
    from colearn.health import Health, serving  # noqa: PLC0415 - an extra of its own

    watcher = Health(me, folder, now)
    with serving(watcher, host, port):
        yield watcher


def _connection(agreement: Agreement, me: str, reach: Reach) -> Connection:
    """What the options say of how the members reach each other.

    Raises:
        ConfigError: They contradict each other, or would let anybody listen.
    """
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
    if reach.bucket is None:
        check_host(host, encrypted=identity is not None)
        for url in (*((reach.url,) if reach.url else ()), *reach.peer):
            check_url(url, encrypted=identity is not None)
    return Connection(
        host=host,
        port=port,
        url=reach.url,
        peers=(*reach.peer, *others),
        identity=identity,
        bucket=reach.bucket,
    )


def _serve(
    member: Member, network: Network, model: Digest, feed: Feed, ending: Ending, *, stay: bool
) -> None:
    """Let the others fetch the last model before this member leaves."""
    blob = member.weights.proposal(model).weights
    members = member.participant.ledger.view().members
    end = time.monotonic() + _LINGER_SECONDS
    lacking = set(members)
    while stay or time.monotonic() < end:
        ending.check()
        found = without(network, sorted(lacking), blob)
        if len(found) < len(lacking):
            feed.waits(found)
        lacking = set(found)
        if not lacking and not stay:
            # The others are still asking this member what it holds.
            time.sleep(_FAREWELL_SECONDS)
            return
        time.sleep(_ASK_SECONDS)
