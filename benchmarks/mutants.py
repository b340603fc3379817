"""How good is the test of the contract? Bugs are put in, one at a time; each must be found.

A bug is one text of the source replaced by another. Each mutant runs against the state
machine of ``tests/ledgers/test_contract.py``, with fewer examples than in the tests.
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

EXAMPLES = 40
ABOUT_ANOTHER = 'assert proposal == self._proposals[slot], "colearn: wrong proposal"'

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
    "one approval too few accepts": ("if approvals > too_few and", "if approvals >= too_few and"),
    "one vote too few is a quorum": (
        "approvals + others > seat >> NO_QUORUM",
        "approvals + others >= seat >> NO_QUORUM",
    ),
    "certain rejection waits for one more vote": (
        "if others + too_few + 1 >=",
        "if others + too_few >=",
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
    "a late vote is about any proposal": (
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
    "endorsements outlive a change": ("abi_encode(self._since, change)", "abi_encode(change)"),
    "an endorsement withdrawn still counts": (
        "        self._backers[before] -= 1\n",
        "        pass\n",
    ),
    "exactly the share is enough for a change": (
        "if backers * self._word(self._group, GOVERNANCE_DEN) > share:",
        "if backers * self._word(self._group, GOVERNANCE_DEN) >= share:",
    ),
    "a second change undoes the first": (
        "self._next_group if head & CHANGING != 0 else self._group",
        "self._group",
    ),
    "a change is scheduled twice": ("        self._scheduled[key] = True\n", ""),
    "a member twice in the group": (
        '        assert change.successor not in before, "colearn: invalid change"\n',
        "        pass\n",
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
