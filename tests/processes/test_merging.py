"""Members in processes of their own that merge what all of them trained, over HTTP."""

from __future__ import annotations

import re
import signal

from colearn import experiment as files


def test_members_merge_and_one_is_killed(net):
    """One is killed midway; all end on one model, and every merge can be made again.

    Two of them train during the votes, which is nobody else's business.
    """
    group = net("--rounds", 3, "--method", "fast", "--deadline-seconds", 12)
    members = [group.join(0), group.join(1, "--ahead"), group.join(2, "--ahead")]
    members[2].until(lambda: members[2].said("decided"))
    members[2].end(signal.SIGKILL)
    members[2].start()
    assert [each.wait() for each in members] == [0, 0, 0], [each.text() for each in members]
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
