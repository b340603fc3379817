"""How good is the test of the contract? Bugs are put in, one at a time; each must be found.

A bug is one text of the source replaced by another. Each mutant runs against the state
machine of ``tests/ledgers/test_contract.py``, with as many examples as in CI.
Prints a table, and fails if a bug is missed.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test

TESTS = Path(__file__).parents[1] / "tests"
sys.path[:0] = [str(TESTS), str(TESTS / "ledgers")]

from test_contract import LockStep  # noqa: E402

EXAMPLES = 50
ABOUT_ANOTHER = 'assert proposal == self._proposals[slot], "colearn: wrong proposal"'
ONLY_DRAWN = """\
    if seat >> COMMITTEE_TOO & 1 == 1:
        self._check_drawn(head | DRAWN, seat)
"""
AGAIN = "        self._voted_beyond[slot] = round << 192 | beyond ^ bit\n"

BUGS = {
    "a deadline still counts": (
        "if block.timestamp >= head >> DEADLINE & DEADLINE_MASK:\n        since: uint256 = 0\n",
        "if block.timestamp > head >> DEADLINE & DEADLINE_MASK:\n        since: uint256 = 0\n",
    ),
    "one round too few is skipped at a later deadline": (
        "missed: uint256 = (block.timestamp - deadline) // seconds + 1",
        "missed: uint256 = (block.timestamp - deadline + seconds - 1) // seconds",
    ),
    "what expires is accepted": (
        "        head = self._closed(head, False)\n        deadline +=",
        "        head = self._closed(head, True)\n        deadline +=",
    ),
    "one approval too few accepts": (
        "if approvals > too_few and approvals",
        "if approvals >= too_few and approvals",
    ),
    "one vote too few is a quorum": (
        "approvals + others > seat >> NO_QUORUM",
        "approvals + others >= seat >> NO_QUORUM",
    ),
    "certain rejection waits for one more vote": (
        "if others > seat >> MOST_OTHERS & 255:",
        "if others > (seat >> MOST_OTHERS & 255) + 1:",
    ),
    "an inclusive threshold excludes": ("        too_few -= 1\n", "        pass\n"),
    "a quorum is rounded up twice": ("(no_quorum - 1) //", "no_quorum //"),
    "the proposer may always vote": (
        "        if index == round % (seat >> SEATS & SEATS_MASK):\n            assert seat",
        "        if False:\n            assert seat",
    ),
    "a vote is about any proposal": (
        f"        {ABOUT_ANOTHER}\n        index",
        "        index",
    ),
    "a late vote, or a commitment, is about any proposal": (
        f"    {ABOUT_ANOTHER}\n    index",
        "    index",
    ),
    "who voted is forgotten with the decision": (
        "        | (head >> VOTED & VOTED_MASK) << LAST_VOTED\n",
        "",
    ),
    "a new proposal overwrites the model accepted last": (
        "(last + 1) % 3 if accepted else 3 - current - last",
        "(last + 1) % 3",
    ),
    "who voted in an old round counts": (
        "return word & BEYOND_MASK if word >> 192 == round else 0",
        "return word & BEYOND_MASK",
    ),
    "together, votes beyond the head are forgotten": (
        "    if voted > VOTED_MASK:\n",
        "    if False:\n",
    ),
    "together, whoever signed has signed": (
        "                assert member == convert(\n",
        "                assert empty(uint256) != convert(\n",
    ),
    "together, a rejection is not counted": (
        "others = unsafe_add(others, 1)",
        "others = unsafe_add(others, 0)",
    ),
    "together, the proposer may always vote": (
        "seat >> PROPOSER_TOO == 1 or voted >> (seat >> INDEX & 255) & 1 == 0",
        "True",
    ),
    "the log says approve": (
        "log Voted(round=round, voter=msg.sender, choice=choice)",
        "log Voted(round=round, voter=msg.sender, choice=APPROVE)",
    ),
    "a change takes effect one deadline late": (
        "            group = self._next_group\n",
        "",
    ),
    "after a decision, the old rule's time holds": (
        "        seconds = self._word(self._group, PROPOSE_SECONDS)\n",
        "",
    ),
    "late votes are up to the new group": ("    if head & PAST == 0:\n", "    if True:\n"),
    "two changes later, the group between votes late": (
        "    if head & (DECIDED | PAST) == DECIDED:\n",
        "    if head & DECIDED != 0:\n",
    ),
    "late, the old rule lets no proposer vote": (
        "                | self._word(group, PROPOSER_VOTES) << PROPOSER_TOO\n",
        "",
    ),
    "a member removed keeps its seat": (
        "        self._seats[convert(self._word(group, MEMBERS + index), address)] = 0\n",
        "        pass\n",
    ),
    "endorsements outlive a change": (
        "abi_encode(self._since, change.kind,",
        "abi_encode(change.kind,",
    ),
    "an endorsement withdrawn still counts": (
        "        self._backers[before] -= 1\n",
        "        pass\n",
    ),
    "exactly the share is enough for a change": (
        "if backers * self._word(self._group, GOVERNANCE_DEN) > share:",
        "if backers * self._word(self._group, GOVERNANCE_DEN) >= share:",
    ),
    "a second change undoes the first": (
        "return self._next_group if head & CHANGING != 0 else self._group",
        "return self._group",
    ),
    "a change is scheduled twice": ("        self._scheduled[key] = True\n", ""),
    "a member twice in the group": (
        '        assert change.successor not in before, "colearn: invalid change"\n',
        "        pass\n",
    ),
    # Rotations.
    "a rotation voids endorsements": (
        "    if self._agreed:\n        self._since = since\n",
        "    if True:\n        self._since = since\n",
    ),
    "a change that was agreed on voids no endorsements": (
        "        self._since = since\n",
        "        pass\n",
    ),
    "a member rotates against what was agreed on": (
        '    assert not self._agreed, "colearn: invalid change"\n',
        "",
    ),
    "a member flees from a removal by a rotation": (
        "    self._names[self._since][successor] = name\n",
        "",
    ),
    "a key given up keeps its name": (
        "    self._names[self._since][msg.sender] = keccak256(abi_encode(name, successor))\n",
        "",
    ),
    "a newcomer is called by the name of a member": (
        "    if change.kind != ADD:\n        member = self._name",
        "    if True:\n        member = self._name",
    ),
    "a rotation undoes the one before": (
        "    latest: address = self._latest(head)\n    change: Change",
        "    latest: address = self._group\n    change: Change",
    ),
    "after one rotation no member ever rotates again": (
        "        self._agreed = False\n",
        "        pass\n",
    ),
    "the log of a rotation names the sender twice": (
        "log Rotated(member=msg.sender, successor=successor)",
        "log Rotated(member=msg.sender, successor=msg.sender)",
    ),
    # A committee.
    "the draw ignores the round": (
        "concat(seed, convert(round, bytes32), convert(counter, bytes32))",
        "concat(seed, convert(counter, bytes32))",
    ),
    "the draw follows the proposal decided last": (
        "CURRENT & 3], round, seat)\n        assert drawn >>",
        "LAST & 3], round, seat)\n        assert drawn >>",
    ),
    "the proposer may be drawn": (
        "    picked: uint256 = proposer\n",
        "    picked: uint256 = 0\n",
    ),
    "who is drawn twice counts twice": (
        "                if picked & bit == 0:\n",
        "                if True:\n",
    ),
    "of more than half, those left out vote": (
        "return others & ~picked if most else picked ^ proposer",
        "return picked ^ proposer",
    ),
    "whoever is not drawn votes": (
        '        assert drawn >> index & 1 == 1, "colearn: not drawn"\n',
        "        pass\n",
    ),
    "together, whoever is not drawn votes": (
        '        assert voted & ~drawn == 0, "colearn: not drawn"\n',
        "        pass\n",
    ),
    "all are counted as voters where few are drawn": (
        "        voters = min(voters, committee)\n",
        "        pass\n",
    ),
    "a committee larger than the group waits for ever": (
        "        voters = min(voters, committee)\n",
        "        voters = committee\n",
    ),
    "where a committee is drawn all vote": (
        "        | min(committee, 1) << COMMITTEE_TOO\n",
        "",
    ),
    "late, only those drawn are recorded": (
        "    slot: uint256 = head >> LAST & 3\n    return self._marked(",
        f"    slot: uint256 = head >> LAST & 3\n{ONLY_DRAWN}    return self._marked(",
    ),
    # Secret votes.
    "secret votes are cast in the open": (
        "phase: uint256 = VOTING >> (seat >> SECRET & 3)",
        "phase: uint256 = VOTING",
    ),
    "signed votes are taken where votes are secret": (
        'assert voted == 0 or head & (VOTING | DRAWN) != 0, "colearn: wrong phase"',
        "pass",
    ),
    "late votes are taken in the open where they were secret": (
        '    assert seat >> SECRET & 1 == 0, "colearn: wrong phase"\n',
        "",
    ),
    "late, nobody remembers that votes were secret": (
        "                | min(self._word(group, REVEAL_SECONDS), 1) << SECRET\n",
        "",
    ),
    "votes are revealed while others still commit": (
        "        if head & REVEALING == 0:\n",
        "        if head & (COMMITTING | REVEALING) == 0:\n",
    ),
    "members commit when others have revealed": (
        "    if head & COMMITTING == 0:\n        self._refuse",
        "    if head & (COMMITTING | REVEALING) == 0:\n        self._refuse",
    ),
    "any vote may be revealed": (
        '    assert self._commitments[slot][index] == vote, "colearn: wrong reveal"\n',
        "",
    ),
    "a commitment may be copied": (
        "abi_encode(chain.id, self, round, msg.sender, self",
        "abi_encode(chain.id, self, round, empty(address), self",
    ),
    "a commitment holds on every contract": (
        "abi_encode(chain.id, self, round, msg.sender, self",
        "abi_encode(chain.id, empty(address), round, msg.sender, self",
    ),
    "a vote is revealed twice": ("        after = head ^ bit\n", "        after = head\n"),
    "beyond the head, a vote is revealed twice": (AGAIN, ""),
    "votes are revealed when all but one have committed": (
        "round, seat) == voters:",
        "round, seat) >= voters - 1:",
    ),
    "a last commitment waits for the deadline": (
        "round, seat) == voters:",
        "round, seat) > voters:",
    ),
    "commitments beyond the head do not count": (
        "    if seat >> SEATS & SEATS_MASK > IN_HEAD:\n",
        "    if False:\n",
    ),
    "commitments have as long as votes have": (
        "        deadline += self._word(group, REVEAL_SECONDS)\n",
        "        deadline += self._word(group, VOTE_SECONDS)\n",
    ),
    "the last to commit leaves as long as for votes": (
        "_word(convert(seat & GROUP_MASK, address), REVEAL_SECONDS)",
        "_word(convert(seat & GROUP_MASK, address), VOTE_SECONDS)",
    ),
    "at its deadline a commitment still counts": (
        "        if block.timestamp < deadline:\n            return self._revealing",
        "        if block.timestamp <= deadline:\n            return self._revealing",
    ),
    "those that did not commit are waited for": (
        "    if approvals + hidden <= too_few or cast + hidden <= no_quorum:\n",
        "    if others > seat >> MOST_OTHERS & 255:\n",
    ),
    "revealed, one approval too few accepts": (
        "if approvals > too_few and cast",
        "if approvals >= too_few and cast",
    ),
    "revealed, one vote too few is a quorum": ("and cast > no_quorum:", "and cast >= no_quorum:"),
    "a quorum that is out of reach is waited for": (
        "approvals + hidden <= too_few or cast + hidden <= no_quorum",
        "approvals + hidden <= too_few",
    ),
    "revealed, a rejection is an approval": (
        "        else:\n            others += 1\n        hidden",
        "        else:\n            approvals += 1\n        hidden",
    ),
}


def finds(source: str) -> str | None:
    """What the state machine says of a source, in one line; None if nothing is wrong."""
    machine = type("Mutant", (LockStep,), {"source": source})
    try:
        run_state_machine_as_test(
            machine,
            settings=settings(
                max_examples=EXAMPLES,
                stateful_step_count=40,
                database=None,
                deadline=None,
                derandomize=True,
                phases=[Phase.generate],
                print_blob=False,
                suppress_health_check=list(HealthCheck),
            ),
        )
    except Exception as found:  # noqa: BLE001 - whatever it raises, the bug is found
        return f"{type(found).__name__}: {found}".splitlines()[0]
    return None


def main(*names: str) -> int:
    """Try the bugs of these names, or all; the number that was missed."""
    source = LockStep.source
    chosen = {name: BUGS[name] for name in names or BUGS}
    missed = 0
    print(f"{'bug':<52} {'':<7} seconds  found by")
    for name, (right, wrong) in chosen.items():
        assert source.count(right) == 1, f"{name}: the source has {source.count(right)} such places"
        began = time.perf_counter()
        found = finds(source.replace(right, wrong))
        missed += found is None
        seconds = time.perf_counter() - began
        said = "caught" if found else "MISSED"
        print(f"{name:<52} {said:<7} {seconds:7.1f}  {found or '':.60}", flush=True)
    print(f"\n{len(chosen) - missed} of {len(chosen)} bugs caught")
    return missed


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
