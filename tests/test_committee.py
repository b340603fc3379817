"""Drawing the few who vote in a round."""

from __future__ import annotations

import hashlib
from collections import Counter
from itertools import count as counting

import pytest
from elections import NO, YES, play
from hypothesis import given
from hypothesis import strategies as st

from colearn import rules
from colearn.committee import drawn, eligible
from colearn.errors import InvalidRule, NotDrawn, ProposerMayNotVote
from colearn.ledgers.local import LocalLedger
from colearn.records import Experiment, Propose, Rule, Vote, digest_of
from colearn.rules import Outcome

SEED = "ab" * 32
MODEL = digest_of([b"M0"])
PROPOSAL = digest_of([b"p"])


def by_hand(seed: str, number: int, members: int, count: int) -> set[int]:
    """The draw as the page on the rules words it, with lists and sets."""
    proposer = number % members
    candidates = set(range(members)) - {proposer}
    if len(candidates) <= count:
        return candidates
    wanted = min(count, len(candidates) - count)
    limit = 65536 // members * members
    found: list[int] = []
    for counter in counting():
        text = bytes.fromhex(seed) + number.to_bytes(32, "big") + counter.to_bytes(32, "big")
        for high, low in zip(*[iter(hashlib.sha256(text).digest())] * 2, strict=True):
            value = 256 * high + low
            place = value % members
            if value < limit and place in candidates and place not in found:
                found.append(place)
            if len(found) == wanted:
                return set(found) if wanted == count else candidates - set(found)
    raise AssertionError


def places(bitmap: int) -> set[int]:
    """The places that a bitmap stands for."""
    return {place for place in range(bitmap.bit_length()) if bitmap >> place & 1}


@given(
    seed=st.binary(min_size=32, max_size=32),
    number=st.integers(0, 2**32 - 1),
    members=st.integers(2, 300) | st.sampled_from([1_000, 4_096]),
    count=st.integers(2, 300),
)
def test_the_draw_is_the_one_that_is_written_down(
    seed: bytes, number: int, members: int, count: int
) -> None:
    """It draws whom the words draw: so many, never the proposer, all where there are no more."""
    bitmap = drawn(seed.hex(), number, members, count)
    assert places(bitmap) == by_hand(seed.hex(), number, members, count)
    assert bitmap.bit_count() == min(count, members - 1)
    assert not bitmap >> number % members & 1


def test_numbers_that_would_favour_somebody_are_left_out() -> None:
    """Of 65,536 numbers 36 are left over among 250 members: they come up and are dropped."""
    members = 250
    dropped = 0
    for number in range(2_000):
        text = bytes.fromhex(SEED) + number.to_bytes(32, "big") + bytes(32)
        first = int.from_bytes(hashlib.sha256(text).digest()[:2], "big")
        if first >= 65_500:
            dropped += 1
            assert places(drawn(SEED, number, members, 2)) == by_hand(SEED, number, members, 2)
    assert dropped


@pytest.mark.parametrize(("members", "count"), [(20, 5), (20, 14), (7, 3)])
def test_everybody_is_drawn_about_equally_often(members: int, count: int) -> None:
    """Over 4,000 rounds each member sits in its share of the committees it may sit in."""
    rounds = 4_000
    times = Counter(
        place for number in range(rounds) for place in places(drawn(SEED, number, members, count))
    )
    expected = rounds * count / members  # each is the proposer in one of `members` rounds
    assert set(times) == set(range(members))
    assert all(abs(each - expected) < 5 * expected**0.5 for each in times.values())


def test_round_and_model_change_the_draw() -> None:
    """Another round, or another model accepted last, draws anew."""
    assert drawn(SEED, 3, 20, 5) != drawn(SEED, 23, 20, 5)
    assert drawn(SEED, 3, 20, 5) != drawn("cd" * 32, 3, 20, 5)


def test_rule_refuses_what_no_committee_can_be() -> None:
    """One line each: a committee of one, of none or of a half, or one that votes in secret."""
    for size in (1, -2, 65_536, 2.5, True, "3"):
        with pytest.raises(InvalidRule, match="committee .* is refused: it must be 0"):
            Rule(committee=size)  # type: ignore[arg-type]
    with pytest.raises(InvalidRule, match="together with proposer_votes"):
        Rule(committee=3, proposer_votes=True)
    with pytest.raises(InvalidRule, match="or reveal_seconds"):
        Rule(committee=3, reveal_seconds=5)


def test_needed_is_a_share_of_those_drawn() -> None:
    """Of nine drawn among a hundred, five are more than half; of two that there are, both."""
    rule = Rule(committee=9)
    assert eligible(rule, 100) == 9
    assert rules.needed(rule, eligible(rule, 100)) == 5
    assert rules.needed(rule, eligible(rule, 3)) == 2


def found(members: int, size: int) -> rules.State:
    """A group of which some are drawn."""
    names = tuple(f"m{index}" for index in range(members))
    rule = Rule(committee=size)
    return rules.start(Experiment(members=names, initial=MODEL, schema=MODEL, rule=rule), 0)


def test_only_those_drawn_vote_and_theirs_decides() -> None:
    """Others are refused; two approvals of three accept; too late, all but the proposer count."""
    state, _ = play(found(8, 3), Propose(0, "m0", PROPOSAL))
    sitting = [state.members[place] for place in sorted(places(state.voters))]
    resting = [name for name in state.members[1:] if name not in sitting]
    assert (len(sitting), len(resting)) == (3, 4)
    for name in resting:
        with pytest.raises(NotDrawn, match=f"'{name}' was not drawn to vote in round 0"):
            rules.apply(state, Vote(0, name, PROPOSAL, YES), 0)
    with pytest.raises(ProposerMayNotVote):
        rules.apply(state, Vote(0, "m0", PROPOSAL, YES), 0)
    state, decisions = play(state, *(Vote(0, name, PROPOSAL, YES) for name in sitting[:2]))
    assert [(each.outcome, each.needed, each.eligible) for each in decisions] == [
        (Outcome.ACCEPTED, 2, 3)
    ]
    assert {decisions[0].members[place] for place in places(decisions[0].voters)} == set(sitting)
    after, more = play(state, Vote(0, resting[0], PROPOSAL, NO))
    assert not more
    assert after.last is not None
    assert after.last.voted.bit_count() == 3


def test_a_thousand_members_vote_on_the_local_ledger() -> None:
    """Sixty-four of a thousand are drawn and decide round after round, each time others."""
    names = tuple(f"m{index}" for index in range(1_000))
    rule = Rule(committee=64)
    ledger = LocalLedger(Experiment(members=names, initial=MODEL, schema=MODEL, rule=rule))
    committees = []
    for number in range(5):
        state = ledger.view()
        committees.append(state.voters)
        proposal = digest_of([str(number).encode()])
        ledger.submit(Propose(number, state.proposer, proposal))
        for place in sorted(places(state.voters))[:33]:
            ledger.submit(Vote(number, names[place], proposal, YES))
    assert [each.outcome for each in ledger.decisions()] == [Outcome.ACCEPTED] * 5
    assert [each.voters for each in ledger.decisions()] == committees
    assert len(set(committees)) == 5
