"""Members in processes of their own, on a real node, as a user starts them in terminals."""

from __future__ import annotations

import json
import shutil
import signal
import sqlite3
from contextlib import closing
from urllib.request import urlopen

import pytest
from msgspec.structs import replace
from safetensors.numpy import load_file
from terminals import free_port

from colearn import experiment as files
from colearn.cli.learners import learner_for
from colearn.ledgers.keys import new_key
from colearn.ml_interface import ModelFormat, Weights

PLAIN = ("--method", "plain")
ROUNDS = ("--rounds", 4, *PLAIN)


def state_of(net, number):
    """The folder that a member keeps."""
    member = files.read(net.file).members[number]
    return net.file.parent / f"state-{member[:10]}"


def journal_of(net, number):
    """What a member that is not running wrote down before it published it."""
    with closing(sqlite3.connect(state_of(net, number) / "journal.sqlite")) as file:
        return file.execute("SELECT round, kind, record FROM published ORDER BY 1, 2").fetchall()


def test_three_terminals(net):
    """By the commands that devnet prints, three members learn and end with one model."""
    group = net("--rounds", 4)
    assert "Method fast, 4 rounds, vote not-worse, which" in group.devnet.text()
    members = [group.join(number) for number in range(3)]
    assert [each.wait() for each in members] == [0, 0, 0], [each.text() for each in members]
    (model,) = {each.said("finished")[0]["model"] for each in members}
    assert not any("score" in each.text() for each in members), "scores stay home, logs travel"
    written = [load_file(state_of(group, number) / "weights.safetensors") for number in range(3)]
    for name, tensor in written[0].items():
        assert all((each[name] == tensor).all() for each in written)
    status = group.run("status", group.file, "--rpc", group.url, "--json", name="status")
    assert status.wait() == 0
    said = json.loads(status.text())
    assert (said["decided"], said["rounds"]) == (4, 4)
    decided = [each for each in members[0].said("decided") if each["proposal"]]
    assert said["accepted"] == sum(each["outcome"] == "accepted" for each in decided)
    assert model == said["model"]


def test_the_final_model_is_exported(net, optional):
    """What a member ended on leaves as ONNX, predicts as its learner does, and needs no key."""
    onnxruntime = optional("onnxruntime")
    group = net(*ROUNDS)
    members = [group.join(number) for number in range(3)]
    early = group.run("export", group.file, name="early")
    assert early.wait() == 1
    assert [each.wait() for each in members] == [0, 0, 0], [each.text() for each in members]
    unsaid = group.run("export", group.file, name="unsaid")
    assert unsaid.wait() == 1
    assert "3 members' folders lie beside" in unsaid.text()
    kept = state_of(group, 1)
    exported = group.run("export", group.file, "--state-dir", kept, name="exported")
    assert exported.wait() == 0, exported.text()
    assert exported.text() == f"{kept / 'model.onnx'}\n"
    agreement = files.read(group.file)
    learner = learner_for(agreement, None, (1, 3), None)
    learner.mli_accept_weights(Weights(load_file(kept / "weights.safetensors")))
    x, _ = learner.vote_samples
    labels = learner.mli_get_current_model(ModelFormat.NATIVE).model.predict(x)
    session = onnxruntime.InferenceSession(kept / "model.onnx")
    assert (session.run(["label"], {"x": x})[0] == labels).mean() > 0.99
    assert len(set(labels)) > 1
    raw = (kept / "weights.safetensors").read_bytes()
    tensors = ["--state-dir", kept, "--format", "safetensors", "--out", "tensors"]
    assert group.run("export", group.file, *tensors, name="tensors-said").wait() == 0
    assert (group.folder / "tensors").read_bytes() == raw
    (kept / "weights.safetensors").write_bytes(raw[:-1] + bytes([raw[-1] ^ 1]))
    changed = group.run("export", group.file, *tensors, name="changed")
    assert changed.wait() == 1
    assert "was changed: its digest" in changed.text()


def test_an_audit_of_the_chain(net):
    """Without a key, by the file or the contract's address; changed and lost blobs are told."""
    group = net(*ROUNDS)
    members = [group.join(number) for number in range(3)]
    assert [each.wait() for each in members] == [0, 0, 0]
    folder = state_of(group, 1)
    options = ["--rpc", group.url, "--store", folder]
    audit = group.run("audit", group.file, *options, name="audit")
    assert audit.wait() == 0, audit.text()
    assert "4 proposals hashed and checked" in audit.text()
    assert "gone" not in audit.text()
    assert members[0].said("finished")[0]["model"] in audit.text()
    there = ["--contract", files.read(group.file).contract.address.lower(), *options]
    alone = group.run("audit", *there, name="alone")
    assert alone.wait() == 0, alone.text()
    said, by_file = alone.text().splitlines(), audit.text().splitlines()
    assert "as the transaction that put the contract there says" in said[1]
    assert said[2:] == by_file[2:], "the chain and the store alone tell all that the file does"
    schema = files.read(group.file).experiment.schema
    held = folder / "store" / schema[:2] / schema
    held.rename(folder / "schema")
    bare = group.run("audit", *there, name="bare")
    assert bare.wait() == 0, bare.text()
    assert f"not checked: what they look like is in blob {schema}" in bare.text()
    (folder / "schema").rename(held)
    late = group.run("audit", *there, "--first-block", 10**9, name="late")
    assert late.wait() == 1
    assert "does not begin at block 1000000000 or later" in late.text()
    first = next(each for each in members[0].said("decided") if each["proposal"])
    held = folder / "store" / first["proposal"][:2] / first["proposal"]
    held.rename(folder / "elsewhere")
    less = group.run("audit", group.file, *options, name="less")
    assert less.wait() == 0, less.text()
    assert "3 proposals hashed and checked" in less.text()
    assert f"{first['outcome']}, not verified: rounds {first['round']}" in less.text()
    (folder / "elsewhere").rename(held)
    blob = max(
        (folder / "store").rglob("*"), key=lambda path: path.is_file() and path.stat().st_mtime
    )
    blob.chmod(0o600)
    blob.write_bytes(b"changed" + blob.read_bytes()[7:])
    again = group.run("audit", group.file, *options, name="again")
    assert again.wait() == 1
    assert "does not hold" in again.text()


def test_stopped_and_started_again(net):
    """SIGTERM and Ctrl-C end a member cleanly, and the same command goes on where it was."""
    group = net(*ROUNDS)
    members = [group.join(number) for number in range(3)]
    members[1].until(lambda: members[1].said("decided"))
    assert [members[1].end(signal.SIGTERM), members[2].end(signal.SIGINT)] == [143, 130]
    before = journal_of(group, 1)
    members[1].start()
    members[2].start()
    assert [each.wait() for each in members] == [0, 0, 0], [each.text() for each in members]
    assert len({each.said("finished")[-1]["model"] for each in members}) == 1
    assert len(members[1].said("stopped")) == len(members[2].said("stopped")) == 1
    assert journal_of(group, 1)[: len(before)] == before


def test_status_tells_what_no_chain_shows_yet(net):
    """The proposer collects votes: it is not missing, and who has voted is told, and who not."""
    group = net(*ROUNDS)
    members = [group.join(number) for number in range(2)]
    notes = state_of(group, 0) / "notes.log"
    members[1].until(lambda: notes.exists() and '"kind":"ballot"' in notes.read_text())
    status = group.run("status", group.file, "--rpc", group.url, name="status")
    assert status.wait() == 0, status.text()
    first, second, third = status.text().splitlines()[-3:]
    assert "votes are collected off the chain; has proposed off the chain; never heard" in first
    assert second.endswith("  has voted off the chain; never heard of")
    assert third.endswith("  never heard of")
    assert "missing" not in status.text()


def test_a_member_that_lost_everything_votes_no_second_time(net):
    """Killed after its vote in the first round, its folder gone: it is silent until the next."""
    group = net(*ROUNDS)
    members = [group.join(number) for number in range(2)]
    notes = state_of(group, 0) / "notes.log"
    members[1].until(lambda: notes.exists() and '"kind":"ballot"' in notes.read_text())
    members[1].end(signal.SIGKILL)
    shutil.rmtree(state_of(group, 1))
    members[1].start()
    members[1].until(lambda: "it is silent there" in members[1].text())
    members.append(group.join(2))
    assert [each.wait() for each in members] == [0, 0, 0], [each.text() for each in members]
    assert len({each.said("finished")[0]["model"] for each in members}) == 1
    kept = {number for number, *_ in journal_of(group, 1)}
    assert 0 not in kept
    assert 1 in kept
    sender = files.read(group.file).members[1]
    votes = [each["entry"] for each in members[0].said("ordered")]
    assert [
        each["round"] for each in votes if each["kind"] == "vote" and each["sender"] == sender
    ].count(0) == 1


def test_who_comes_late_catches_up(net):
    """Two go on without the third, whose turns pass; it comes, and ends with their model."""
    group = net(*ROUNDS, "--deadline-seconds", 6)
    early = [group.join(number, "--stay") for number in range(2)]
    early[0].until(lambda: any(each["proposal"] for each in early[0].said("decided")))
    late = group.join(2)
    assert late.wait() == 0, late.text()
    assert late.said("joined")[0]["decided"] > 0
    early[0].until(lambda: early[0].said("finished"))
    assert late.said("finished")[0]["model"] == early[0].said("finished")[0]["model"]


def test_a_member_is_watched(net):
    """Health and metrics tell rounds, votes, lag and disk of a member, and never a score."""
    group = net(*ROUNDS)
    members = [group.join(0, "--stay", "--health", f"127.0.0.1:{free_port()}")]
    members += [group.join(number) for number in (1, 2)]
    members[0].until(lambda: members[0].said("finished"))
    address = members[0].arguments[-1]
    with urlopen(f"http://{address}/health") as answer:
        said = json.loads(answer.read())
    assert (said["status"], said["problem"]) == ("ok", "")
    assert said["round"] >= 4
    with urlopen(f"http://{address}/metrics") as answer:
        metrics = answer.read().decode()
    values = dict(line.rsplit(" ", 1) for line in metrics.splitlines() if line[0] != "#")
    mine = members[0].said("begin")[0]["member"]
    votes = [each for each in members[0].said("ordered") if each["entry"]["sender"] == mine]
    assert sum(
        float(values[f'colearn_votes_total{{choice="{choice}"}}'])
        for choice in ("approve", "reject", "abstain")
    ) == sum(each["entry"]["kind"] == "vote" for each in votes)
    assert float(values["colearn_store_bytes"]) > 0
    assert float(values["colearn_disk_free_bytes"]) > 0
    assert float(values["colearn_lag_seconds"]) < 60
    assert "score" not in metrics


def test_members_change_the_group(net):
    """Two vote a third out and one takes a new key; from the next round on that is the group."""
    group = net("--rounds", 200, *PLAIN, "--deadline-seconds", 5)
    old = files.read(group.file).members

    def change(number, *arguments):
        """Run one command of a member; return its exit status and what it said."""
        verb, what = arguments
        signing = group.signing(number)
        done = group.run(
            "members", verb, group.file, what, *signing, name=f"change-{len(group.started)}"
        )
        return done.wait(), done.text()

    status, said = change(0, "remove", old[2])
    assert status == 0, said
    assert "1 of 3 members want it" in said
    assert change(1, "vote", 1)[0] == 0
    status, said = change(2, "vote", 1)
    assert status == 0, said
    assert "enough members want it" in said
    new = new_key().address
    while (said := change(0, "rotate", new))[0]:
        assert "try again in the next round" in said[1]
    listed = []
    while len(listed) != 2 or new not in listed:
        done = group.run(
            "members", "list", group.file, "--rpc", group.url, name=f"list-{len(group.started)}"
        )
        assert done.wait() == 0, done.text()
        listed = done.text().split()
    assert listed == [new, old[1]]
    status, said = change(0, "add", old[2])
    assert status == 1
    assert "is not a member" in said


def test_a_fork_goes_on_from_the_last_model(net):
    """Those that remain begin a new experiment with the model accepted last."""
    group = net(*ROUNDS)
    members = [group.join(number) for number in range(3)]
    assert [each.wait() for each in members] == [0, 0, 0]
    old = files.read(group.file)
    options = ["--without", old.members[2], "--store", state_of(group, 0), "--rpc", group.url]
    forked = group.run("fork", group.file, *options, name="fork")
    assert forked.wait() == 0, forked.text()
    new = files.read(group.folder / "fork.toml")
    assert new.members == old.members[:2]
    weights = (state_of(group, 0) / "weights.safetensors").read_bytes()
    assert files.weights_beside(group.folder / "fork.toml").read_bytes() == weights
    deployed = group.run("deploy", "fork.toml", *group.signing(0), name="deploy")
    assert deployed.wait() == 0, deployed.text()
    again = [
        group.run("join", "fork.toml", *group.signing(number), "--json", name=f"again-{number}")
        for number in range(2)
    ]
    again[0].until(lambda: again[0].said("joined"))
    assert again[0].said("joined")[0]["model"] == new.experiment.initial


def test_members_with_certificates_meet_over_tls(net):
    """By certificates of their own making, as the guide for members says; nobody else is heard."""
    group = net("--rounds", 3, *PLAIN)
    agreement = files.read(group.file)
    ports = [free_port() for _ in agreement.members]
    files.write(group.file, replace(agreement, reach={}))
    trusted = b""
    for number in range(3):
        made = group.run("keys", "certificate", f"{number}.pem", name=f"certificate-{number}")
        assert made.wait() == 0, made.text()
        trusted += (group.folder / f"{number}.pem").read_bytes()
    (group.folder / "members.pem").write_bytes(trusted)
    members = []
    for number, port in enumerate(ports):
        own = ["--certificate", f"{number}.pem", "--certificate-key", f"{number}.key"]
        reach = ["--listen", f"127.0.0.1:{port}", "--peer", f"https://127.0.0.1:{ports[0]}"]
        members.append(group.join(number, *own, "--trust", "members.pem", *reach))
    members[0].until(lambda: members[0].said("joined"))
    with pytest.raises(OSError, match=r"closed|reset"):
        urlopen(f"http://127.0.0.1:{ports[0]}/health", timeout=5)
    assert [each.wait() for each in members] == [0, 0, 0], [each.text() for each in members]
    assert len({each.said("finished")[0]["model"] for each in members}) == 1


def test_members_meet_in_a_bucket(net):
    """Where nobody reaches anybody, notes and weights go through an object store.

    What was accepted stays in it, though there is room for nothing else.
    """
    group = net("--rounds", 3, *PLAIN)
    bucket = (group.folder / "bucket").as_uri()
    options = ["--bucket", bucket, "--spare-mib", 0]
    members = [group.join(number, *options) for number in range(3)]
    assert [each.wait() for each in members] == [0, 0, 0], [each.text() for each in members]
    assert len({each.said("finished")[0]["model"] for each in members}) == 1
    audit = group.run("audit", group.file, "--rpc", group.url, "--store", bucket, name="audit")
    assert audit.wait() == 0, audit.text()
    assert "3 proposals hashed and checked" in audit.text()
    left = files.read(group.file).members[2]
    options = ["--without", left, "--store", bucket, "--rpc", group.url]
    forked = group.run("fork", group.file, *options, name="fork")
    assert forked.wait() == 0, forked.text()
