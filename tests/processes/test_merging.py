"""Members in processes of their own that merge what all of them trained, over HTTP."""

from __future__ import annotations

import re
import signal

from anvils import ask

from colearn import experiment as files
from colearn.course import Course
from colearn.drivers import Chain, open_ledger, open_store
from colearn.ledgers.keys import new_key, read_key, write_key
from colearn.ledgers.nodes import connect
from colearn.methods import method
from colearn.records import AddMember, Endorse
from colearn.weights_store import WeightsStore


def test_members_merge_and_one_is_killed(net):
    """One is killed midway; all end on one model, and every merge can be made again.

    Two of them train during the votes, which is nobody else's business. The others need not
    wait for the one that was killed, however long it takes to begin again.
    """
    group = net("--members", 4, "--rounds", 4, "--method", "fast", "--deadline-seconds", 20)
    members = [group.join(0), group.join(1), group.join(2, "--ahead"), group.join(3, "--ahead")]
    members[3].until(lambda: members[3].said("decided"))
    members[3].end(signal.SIGKILL)
    members[3].start()
    assert [each.wait() for each in members] == [0] * 4, [each.text() for each in members]
    (model,) = {each.said("finished")[0]["model"] for each in members}
    accepted = {
        each["proposal"] for each in members[0].said("decided") if each["outcome"] == "accepted"
    }
    assert model in accepted
    folder = group.file.parent / f"state-{files.read(group.file).members[1][:10]}"
    audit = group.run(
        "audit", group.file, "--rpc", group.url, "--store", folder, name="audit-of-merges"
    )
    assert audit.wait() == 0, audit.text()
    assert int(re.search(r"merges +(\d+) accepted", audit.text())[1]) == len(accepted)


def test_a_newcomer_takes_up_the_state_of_the_method(net):
    """Voted in with an empty folder, it trains, is merged, approves, and ends as the others do.

    Updates of the first round are nowhere to be had while it comes, so that it cannot make
    the method's state again from the past.
    """
    group = net("--members", 2, "--rounds", 7, "--method", "fast")
    agreement, devnet = files.read(group.file), group.file.parent
    key, passphrase = new_key(), devnet / "passphrase"
    write_key(key, devnet / "newcomer.json", passphrase.read_text())
    ask(connect([group.url]), "anvil_setBalance", key.address, hex(10**24))
    words = ["members", "add", group.file, key.address, *group.signing(0)]
    added = group.run(*words, name="add")
    endorser = read_key(devnet / "keys" / "member-2.json", passphrase.read_text())
    ledger = open_ledger(agreement, Chain(rpc=(group.url,)), {endorser.address: endorser})
    assert added.wait() == 0, added.text()
    members = [group.join(number) for number in range(2)]
    members[0].until(lambda: accepted_by(members[0]))
    ledger.submit(Endorse(endorser.address, AddMember(key.address)))
    members[0].until(lambda: key.address in ledger.view().members)

    folders = [devnet / f"state-{each[:10]}" for each in (*agreement.members, key.address)]
    stores = [WeightsStore(open_store(folder), agreement.schema) for folder in folders[:2]]
    first = stores[0].proposal(accepted_by(members[0])[0])
    blobs = [
        folder / "store" / update.weights[:2] / update.weights
        for folder in folders[:2]
        for update in first.merged
    ]
    gone = {blob: devnet / f"gone-{number}" for number, blob in enumerate(blobs) if blob.exists()}
    for blob, elsewhere in gone.items():
        blob.rename(elsewhere)
    signing = ["--key", devnet / "newcomer.json", "--passphrase-file", passphrase]
    command = ["join", group.file, *signing, "--rpc", group.url, "--share", "2/3", "--json"]
    members.append(group.run(*command, name="newcomer"))
    assert [each.wait() for each in members] == [0, 0, 0], [each.text() for each in members]

    decided = accepted_by(members[0])
    assert {each.said("finished")[0]["model"] for each in members} == {decided[-1]}
    merged = [each for digest in decided for each in stores[0].proposal(digest).merged]
    assert any(each.sender == key.address and each.state for each in merged)
    entries = [each["entry"] for each in members[0].said("ordered")]
    votes = [each for each in entries if (each["kind"], each["sender"]) == ("vote", key.address)]
    assert any(each["choice"] == "approve" and each["proposal"] in decided for each in votes)
    for blob, elsewhere in gone.items():
        elsewhere.rename(blob)
    stores.append(WeightsStore(open_store(folders[2]), agreement.schema))
    (state,) = {Course(method("fast"), ledger, each).digest for each in stores}
    assert state
    audit = group.run("audit", group.file, "--rpc", group.url, "--store", folders[0], name="audit")
    assert audit.wait() == 0, audit.text()
    assert int(re.search(r"merges +(\d+) accepted", audit.text())[1]) == len(decided)


def accepted_by(member):
    """The proposals that were accepted while a member was there."""
    return [each["proposal"] for each in member.said("decided") if each["outcome"] == "accepted"]
