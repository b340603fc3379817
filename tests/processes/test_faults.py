"""Members in processes of their own, while processes, chain and network fail."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections import Counter
from contextlib import ExitStack
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from forwarder import Forwarder
from island import Island, may_found_islands

from colearn import drivers
from colearn import experiment as files
from colearn.records import Vote

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


def models(members):
    """The models that members ended with."""
    assert [each.wait() for each in members] == [0] * len(members), [
        each.text() for each in members
    ]
    return {each.said("finished")[0]["model"] for each in members}


def decided(member):
    """How many rounds with a proposal a member has seen decided."""
    return len({each["round"] for each in member.said("decided") if each["proposal"]})


def test_killed_over_and_over(anvil_program):
    """Kill -9 at random moments: one model, no second vote, nothing lost. See the benchmark."""
    done = subprocess.run(
        [sys.executable, "killing.py", "--members", "4", "--kills", "8", "--rounds", "8"],
        cwd=BENCHMARKS,
        env={**os.environ, "ANVIL": str(anvil_program)},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("killed", ["devnet", "anvil"])
def test_the_chain_is_killed_and_restored(net, killed):
    """The members wait while there is no chain, and go on from the state that it kept.

    It ends as it should, or by kill -9 of the node, which takes back what was not written
    yet: those votes are cast again, as they were.
    """
    group = net("--rounds", 4, "--method", "plain", "--data-dir", "chain")
    members = [group.join(number) for number in range(3)]
    members[0].until(lambda: decided(members[0]) >= 2)
    if killed == "devnet":
        assert group.devnet.end(signal.SIGTERM) in (130, 143)
    else:
        os.kill(node_of(group), signal.SIGKILL)
        assert group.devnet.wait() == 1
        (line,) = [each for each in group.devnet.text().splitlines() if "ended" in each]
        assert "anvil ended by signal 9" in line
        assert "the same command goes on" in line
    members[1].until(lambda: members[1].said("failed"))
    assert all(each.process.poll() is None for each in members)
    group.devnet.start()
    (model,) = models(members)
    audit = group.run("audit", group.file, "--rpc", group.url, name="audit")
    assert audit.wait() == 0, audit.text()
    assert model in audit.text()
    ledger = drivers.open_ledger(files.read(group.file), drivers.Chain(rpc=(group.url,)))
    events = [entry.event for entry in ledger.events() if isinstance(entry.event, Vote)]
    votes = Counter((vote.sender, vote.round) for vote in events)
    assert len(votes) >= 4
    assert set(votes.values()) == {1}
    assert (group.folder / "chain" / "chain.json").exists()


def node_of(group):
    """The process of a devnet's chain."""
    port = str(urlsplit(group.url).port)
    for line in subprocess.check_output(["/bin/ps", "-wweo", "pid=,args="], text=True).splitlines():
        pid, program, *options = line.split()
        if program.endswith("anvil") and port in options:
            return int(pid)
    raise AssertionError(f"no anvil at port {port}")


def test_one_member_is_cut_off(net):
    """The others decide without it; once it is reached again, it catches up with them.

    Where this machine lets us, it has a network of its own, so that every way is cut;
    elsewhere the ways to it are, and its way to the chain.
    """
    group = net("--members", 4, "--deadline-seconds", 6, "--rounds", 5, "--method", "plain")
    agreement = files.read(group.file)
    chain = urlsplit(group.url).port
    *others, own = (urlsplit(agreement.reach[each]).port for each in agreement.members)
    command, prefix = group.joins[3], ()
    with ExitStack() as stack:
        if may_found_islands():
            island = stack.enter_context(Island())
            bridges = [Forwarder(port, port, out_of=island.call) for port in (chain, *others)]
            bridges.append(Forwarder(own, own, into=island.call))
            prefix = island.prefix
        else:
            bridges = [Forwarder(chain), Forwarder(own)]
            command = [*swap(command, group.url, bridges[0].url), "--url", bridges[1].url]
        for bridge in bridges:
            stack.enter_context(bridge)
        cut_off = group.run(*command, "--json", name="cut", prefix=prefix)
        goes_on_without(group, cut_off, bridges)


def goes_on_without(group, cut_off, bridges):
    """The others join; one is cut off for a round, and all end on one model."""
    others = [group.join(number, "--stay") for number in range(3)]
    cut_off.until(lambda: decided(cut_off) >= 1)
    for each in bridges:
        each.cut()
    known = decided(cut_off)
    others[0].until(lambda: decided(others[0]) >= known + 1)
    assert decided(cut_off) == known
    for each in bridges:
        each.mend()
    assert cut_off.wait() == 0, cut_off.text()
    for each in others:
        each.until(lambda each=each: each.said("finished"))
    assert len({each.said("finished")[0]["model"] for each in (cut_off, *others)}) == 1


def swap(arguments, old, new):
    """The same command line with another value."""
    return [new if each == old else each for each in arguments]
