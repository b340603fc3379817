"""Kill members' processes at random moments, over and over: what is lost, what is doubled?

    python benchmarks/killing.py [--members 5] [--kills 100] [--seed 0]

Members are processes that talk to anvil and to each other over HTTP. They share
experiment.toml, M₀ and the passphrase file; keys and state folders are apart. One of them
is killed (SIGKILL) at a random moment and started again, until that was done so many
times and all rounds are over. Then their files are compared with the chain:

- all end with the same model, and hold its bytes;
- nobody voted twice, nor otherwise than it had written down before;
- nobody holds two contradicting notes of one sender;
- what the chain accepted is held by enough members to go on.
"""

from __future__ import annotations

import argparse
import json
import random
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
import time
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from holding import Holding
from msgspec.structs import replace

from colearn import ProposedWeights, Weights, drivers, experiment
from colearn.drivers import Chain
from colearn.experiment import Agreement
from colearn.ledgers.anvil import Anvil
from colearn.ledgers.keys import new_key, write_key
from colearn.records import Proposal, Rule, Vote, decode
from colearn.rules import Outcome

SIZE = 20_000
DEADLINE_SECONDS = 4


class Walker(Holding):
    """Walks towards a private point; approves what comes nearer to it."""

    def __init__(self, goal: float) -> None:
        super().__init__(Weights({"at": np.zeros(SIZE)}))
        self._goal = goal
        self._rng = np.random.default_rng(0)

    def set_seed(self, seed: int) -> None:
        self._rng = np.random.default_rng(seed)

    def mli_propose_weights(self) -> Weights:
        time.sleep(0.05)
        at = self.current.weights["at"]
        return Weights({"at": at + 0.1 * (self._goal - at) + self._rng.normal(0, 0.01, SIZE)})

    def mli_test_weights(self, weights: Weights) -> ProposedWeights:
        time.sleep(0.05)
        far, near = (
            float(np.abs(each.weights["at"] - self._goal).mean())
            for each in (self.current, weights)
        )
        return ProposedWeights(weights.weights, vote=near <= far + 0.05)


def make(data_dir: Path | None, seed: int) -> Walker:  # noqa: ARG001 - what `join` gives
    """What `colearn join --learner killing:make` calls."""
    return Walker(goal=float((data_dir / "goal").read_text()) if data_dir else 0.0)


@dataclass
class Member:
    """One member's process, and what it has said so far."""

    address: str
    command: list[str]
    folder: Path
    process: subprocess.Popen[bytes] | None = None
    starts: int = 0

    def start(self) -> None:
        self.starts += 1
        with (self.folder / "said.jsonl").open("ab") as said:
            self.process = subprocess.Popen(
                self.command, stdout=said, stderr=subprocess.STDOUT, cwd=Path(__file__).parent
            )

    def kill(self) -> None:
        assert self.process is not None
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def alive(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def said(self, event: str) -> list[dict[str, Any]]:
        lines = (self.folder / "said.jsonl").read_text().splitlines()
        found = [json.loads(line) for line in lines if line.startswith("{") and line.endswith("}")]
        return [each for each in found if each["event"] == event]


def colearn(*arguments: object) -> list[str]:
    """The command line of this very python."""
    code = "import sys; from colearn.cli import main; main(sys.argv[1:])"
    return [sys.executable, "-c", code, *map(str, arguments)]


def finished(each: Member) -> bool:
    return bool(each.said("finished"))


def kill_over_and_over(group: list[Member], kills: int, rng: random.Random, limit: float) -> int:
    """Kill and start again, so many times at most, until all rounds are over."""
    done, end = 0, time.monotonic() + limit
    while time.monotonic() < end:
        time.sleep(rng.uniform(0.05, 1.0))
        for each in group:
            if not each.alive():
                raise SystemExit(f"{each.address} ended by itself: {each.folder / 'said.jsonl'}")
        if all(map(finished, group)):
            break
        if done < kills:
            victim = rng.choice(group)
            victim.kill()
            time.sleep(rng.uniform(0, 0.3))
            victim.start()
            done += 1
    return done


def prepare(
    folder: Path, node: Anvil, members: int, rounds: int, **terms: Any
) -> tuple[Agreement, list[Member]]:
    """Keys, experiment, contract, and a folder for each member.

    ``terms`` are other arguments of `colearn.experiment.draw_up` than those of the killing.
    """
    (folder / "passphrase").write_text("killing")
    addresses = []
    for number in range(members):
        (folder / str(number)).mkdir()
        (folder / str(number) / "goal").write_text(str(number / 10))
        payer = new_key()
        write_key(payer, folder / str(number) / "key.json", "killing")
        addresses.append(payer.address)
    usual = {
        "task": "killing:make",
        "rule": Rule(propose_seconds=DEADLINE_SECONDS, vote_seconds=DEADLINE_SECONDS),
    }
    agreement, initial = experiment.draw_up(
        Walker(0.0), rounds=rounds, seed=0, members=tuple(addresses), **usual | terms
    )
    node.fund(addresses)
    agreement = replace(
        agreement,
        contract=drivers.deploy(agreement.experiment, payer, Chain(rpc=(node.url,))),
        reach={
            each: f"http://127.0.0.1:{port}"
            for each, port in zip(addresses, free_ports(members), strict=True)
        },
    )
    file = folder / "experiment.toml"
    experiment.write(file, agreement, initial)
    group = []
    for number, address in enumerate(addresses):
        own = folder / str(number)
        command = colearn(
            "join", file, "--json", "--stay", "--learner", agreement.task, "--rpc", node.url,
            "--key", own / "key.json", "--passphrase-file", folder / "passphrase",
            "--data-dir", own, "--state-dir", own,
        )  # fmt: skip
        group.append(Member(address, command, own))
    return agreement, group


def free_ports(count: int) -> list[int]:
    """Ports that are free now."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


@dataclass
class Findings:
    """What the members' files and the chain say in the end."""

    rounds: int
    accepted: int
    models: set[str]
    doubled: int
    otherwise: int
    contradictions: int
    least_holders: int


def examine(agreement: Agreement, group: list[Member], url: str) -> Findings:
    """Compare what members hold with what the chain says."""
    ledger = drivers.open_ledger(agreement, Chain(rpc=(url,)))
    votes: dict[tuple[str, int], list[Vote]] = {}
    for entry in ledger.events():
        if isinstance(entry.event, Vote):
            votes.setdefault((entry.event.sender, entry.event.round), []).append(entry.event)
    otherwise = contradictions = 0
    for each in group:
        written = journal_of(each.folder)
        otherwise += sum(
            written.get(number) != cast
            for (sender, number), all_cast in votes.items()
            if sender == each.address
            for cast in all_cast
        )
        proof = each.folder / "contradictions.log"
        contradictions += len(proof.read_text().splitlines()) if proof.exists() else 0
    settled = [each for each in ledger.decisions() if each.proposal][: agreement.rounds]
    accepted = [each.proposal for each in settled if each.outcome is Outcome.ACCEPTED]
    holders = [sum(holds(each.folder, digest) for each in group) for digest in accepted if digest]
    return Findings(
        rounds=len(settled),
        accepted=len(accepted),
        models={said["model"] for each in group for said in each.said("finished")},
        doubled=sum(len(cast) > 1 for cast in votes.values()),
        otherwise=otherwise,
        contradictions=contradictions,
        least_holders=min(holders, default=0),
    )


def journal_of(folder: Path) -> dict[int, Vote]:
    """The votes that a member wrote down, by round."""
    with closing(sqlite3.connect(folder / "journal.sqlite")) as file:
        rows = file.execute("SELECT record FROM published WHERE kind = 'vote'").fetchall()
    votes = [decode(row[0], Vote) for row in rows]
    return {vote.round: vote for vote in votes}


def holds(folder: Path, digest: str) -> bool:
    """Whether a member holds a proposal's record and the weights it names, unharmed."""
    store = drivers.open_store(folder)
    if digest not in store:
        return False
    record = decode(b"".join(store.open(digest)), Proposal)
    return record.weights in store and bool(store.open(record.weights))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--members", type=int, default=5)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=60)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--limit-seconds", type=float, default=1_800)
    options = parser.parse_args()
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as name, Anvil(block_seconds=1) as node:
        agreement, group = prepare(Path(name), node, options.members, options.rounds)
        try:
            for each in group:
                each.start()
            kills = kill_over_and_over(
                group,
                options.kills,
                random.Random(options.seed),  # noqa: S311 - no secret
                options.limit_seconds,
            )
            seconds = time.monotonic() - began
        finally:
            for each in group:
                if each.alive():
                    each.kill()
        found = examine(agreement, group, node.url)
        unfinished = sum(not finished(each) for each in group)
    if not report(options, kills, seconds, unfinished, found):
        raise SystemExit("this must not happen")


def report(
    options: argparse.Namespace, kills: int, seconds: float, unfinished: int, found: Findings
) -> bool:
    """Print what was found; return whether all of it is as it must be."""
    print(f"{options.members} processes, seed {options.seed}, {seconds:.0f} s")
    limits = (
        ("kills (SIGKILL) before the last round was over", kills, options.kills),
        ("rounds decided", found.rounds, options.rounds),
        ("members that did not finish", unfinished, 0),
        ("different models at the end", len(found.models), 1),
        ("votes cast twice in a round", found.doubled, 0),
        ("votes that differ from the journal's", found.otherwise, 0),
        ("contradicting notes seen by anyone", found.contradictions, 0),
    )
    for what, value, must in limits:
        print(f"  {what:45} {value:6}   must be {must}")
    print(f"  {'proposals accepted':45} {found.accepted:6}")
    print(
        f"  {'members that hold an accepted model, least':45} {found.least_holders:6}   2 or more"
    )
    return all(value == must for _, value, must in limits) and found.least_holders > 1


if __name__ == "__main__":
    main()
