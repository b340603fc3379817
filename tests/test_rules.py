"""The rules of a round: what a vote decides, when, and what is refused."""

from __future__ import annotations

from fractions import Fraction

import pytest
from elections import (
    ADD,
    BLANK,
    NO,
    YES,
    Ballots,
    begin,
    by_definition,
    decide,
    elections,
    play,
    shares,
    votes,
)
from hypothesis import given
from hypothesis import strategies as st

from colearn import rules
from colearn.errors import (
    AlreadyEndorsed,
    AlreadyProposed,
    AlreadyVoted,
    ConfigError,
    InvalidChange,
    NoProposal,
    NotAMember,
    NotYourTurn,
    ProposerMayNotVote,
    RefusedEvent,
    TimeWentBack,
    WrongProposal,
    WrongRound,
)
from colearn.records import (
    AddMember,
    Choice,
    Endorse,
    Entry,
    Event,
    Experiment,
    Pass,
    Propose,
    RemoveMember,
    ReplaceMember,
    Rule,
    Vote,
)
from colearn.rules import Outcome


@given(elections())
def test_an_early_decision_is_the_one_with_all_votes_in(
    election: tuple[Rule, int, Ballots],
) -> None:
    """A round that closes early closes as it would have closed with everybody's vote."""
    rule, members, ballots = election
    assert decide(rule, members, ballots).outcome is by_definition(rule, ballots)


@given(elections(), st.randoms(use_true_random=False))
def test_the_order_of_votes_never_matters(
    election: tuple[Rule, int, Ballots], random: object
) -> None:
    """Whoever votes first, the outcome is the same."""
    rule, members, ballots = election
    order = list(range(members))
    random.shuffle(order)  # type: ignore[attr-defined]
    turned = decide(rule, members, ballots, order)
    assert turned.outcome is decide(rule, members, ballots).outcome


@given(elections(), st.data())
def test_one_more_approval_never_turns_accepted_into_rejected(
    election: tuple[Rule, int, Ballots], data: st.DataObject
) -> None:
    """To approve is never to harm: whatever a voter did instead, approving keeps a yes a yes."""
    rule, members, ballots = election
    changed = data.draw(st.integers(0, len(ballots) - 1))
    better = [YES if index == changed else ballot for index, ballot in enumerate(ballots)]
    if decide(rule, members, ballots).outcome is Outcome.ACCEPTED:
        assert decide(rule, members, better).outcome is Outcome.ACCEPTED


@given(elections(), st.data())
def test_abstention_and_silence_are_not_approval(
    election: tuple[Rule, int, Ballots], data: st.DataObject
) -> None:
    """Taking an approval away, whatever is put in its place, accepts nothing new."""
    rule, members, ballots = election
    changed = data.draw(st.integers(0, len(ballots) - 1))
    for instead in (NO, BLANK, None):
        worse = [instead if index == changed else each for index, each in enumerate(ballots)]
        if ballots[changed] is YES and decide(rule, members, worse).outcome is Outcome.ACCEPTED:
            assert decide(rule, members, ballots).outcome is Outcome.ACCEPTED
    nobody: Ballots = [data.draw(st.sampled_from([BLANK, NO, None])) for _ in ballots]
    assert decide(rule, members, nobody).outcome is not Outcome.ACCEPTED


@given(elections())
def test_nobody_votes_twice(election: tuple[Rule, int, Ballots]) -> None:
    """A second vote is refused, the same or another, before the decision or after it."""
    rule, members, ballots = election
    state = begin(members, rule)
    cast = votes(state, ballots)
    state, _ = play(state, Propose(0, "m0", "p"), *cast)
    for vote in cast:
        for choice in Choice:
            with pytest.raises(AlreadyVoted):
                rules.apply(state, Vote(0, vote.sender, "p", choice), 0)


@pytest.mark.parametrize("threshold", [Fraction(1, 3), Fraction(1, 2), Fraction(2, 3)])
@pytest.mark.parametrize("voters", [6, 12, 240])
def test_an_exact_tie_is_enough_only_if_inclusive(threshold: Fraction, voters: int) -> None:
    """At exactly the threshold `inclusive` decides; one vote off, it makes no difference."""
    tie = int(threshold * voters)
    for inclusive in (False, True):
        rule = Rule(threshold=threshold, inclusive=inclusive)
        for approvals in (tie - 1, tie, tie + 1):
            ballots: Ballots = [YES] * approvals + [NO] * (voters - approvals)
            accepted = approvals > tie or (inclusive and approvals == tie)
            outcome = decide(rule, voters + 1, ballots).outcome
            assert outcome is (Outcome.ACCEPTED if accepted else Outcome.REJECTED)


@given(shares, st.booleans())
def test_needed_is_the_least_number_that_suffices_for_2_to_256_members(
    threshold: Fraction, inclusive: bool
) -> None:
    """Integer arithmetic agrees with exact fractions for every group size there is."""
    rule = Rule(threshold=threshold, inclusive=inclusive)
    for voters in range(1, 257):
        least = rules.needed(rule, voters)
        assert 1 <= least <= voters
        for approvals in (least - 1, least):
            share = Fraction(approvals, voters)
            suffices = share >= threshold if inclusive else share > threshold
            assert suffices == (approvals == least)


@pytest.mark.parametrize("members", [2, 3, 255, 256])
def test_unanimity(members: int) -> None:
    """Threshold 1, inclusive: all must approve; a single abstention rejects."""
    rule = Rule(threshold=1, inclusive=True)  # type: ignore[arg-type]
    everybody: Ballots = [YES] * (members - 1)
    assert decide(rule, members, everybody).outcome is Outcome.ACCEPTED
    assert decide(rule, members, [*everybody[:-1], BLANK]).outcome is Outcome.REJECTED
    assert decide(rule, members, [*everybody[:-1], None]).outcome is Outcome.EXPIRED


def test_the_smallest_and_largest_groups() -> None:
    """Two members vote in turns; one alone, or 4,097, are no group."""
    state, decisions = play(begin(2), Propose(0, "m0", "p"), Vote(0, "m1", "p", YES))
    assert decisions[0].outcome is Outcome.ACCEPTED
    assert state.proposer == "m1"
    assert begin(4_096).proposer == "m0"
    for members in (0, 1, 4_097):
        with pytest.raises(ConfigError):
            begin(members)


def test_a_quorum_keeps_a_round_open() -> None:
    """Enough approvals do not decide before the quorum has voted; abstentions count for it."""
    rule = Rule(threshold=Fraction(1, 4), quorum=Fraction(1, 2))
    state, decisions = play(begin(5, rule), Propose(0, "m0", "p"), Vote(0, "m1", "p", YES))
    assert not decisions
    state, decisions = play(state, Vote(0, "m2", "p", YES))
    assert decisions[0].outcome is Outcome.ACCEPTED
    rule = Rule(threshold=Fraction(1, 5), quorum=Fraction(1, 2))
    assert decide(rule, 5, [YES, BLANK, None, None]).outcome is Outcome.ACCEPTED
    assert decide(rule, 5, [YES, None, None, None]).outcome is Outcome.EXPIRED


def test_the_proposer_votes_only_where_the_rule_says_so() -> None:
    """By default its vote is refused; with `proposer_votes` it counts, and so does its seat."""
    with pytest.raises(ProposerMayNotVote):
        play(begin(3), Propose(0, "m0", "p"), Vote(0, "m0", "p", YES))
    rule = Rule(proposer_votes=True)
    assert rules.eligible(rule, 3) == 3
    assert decide(rule, 3, [YES, YES, None]).outcome is Outcome.ACCEPTED
    assert decide(rule, 3, [YES, NO, NO]).outcome is Outcome.REJECTED


def test_a_decision_says_what_counted() -> None:
    """Bitmaps, needed and eligible are those of the moment of the decision."""
    ballots: Ballots = [NO, BLANK, YES, YES, YES]
    decision = decide(Rule(), 6, ballots)
    assert (decision.approve, decision.reject, decision.abstain) == (0b111000, 0b10, 0b100)
    assert (decision.approvals, decision.needed, decision.eligible) == (3, 3, 5)
    assert (decision.round, decision.through, decision.proposer) == (0, 0, "m0")


@pytest.mark.parametrize("members", [2, 5])
def test_deadlines_hold_to_the_second(members: int) -> None:
    """One second before a deadline is in time; the deadline itself is too late."""
    rule = Rule(propose_seconds=100, vote_seconds=10)
    state = begin(members, rule)
    propose = Propose(0, "m0", "p")
    voting, _ = rules.apply(state, propose, 99)
    assert voting.deadline == 109
    with pytest.raises(WrongRound):
        rules.apply(state, propose, 100)
    opened, (skipped,) = rules.advance(state, 100)
    assert (opened.round, opened.opened, skipped.outcome) == (1, 100, Outcome.EXPIRED)
    vote = Vote(0, "m1", "p", BLANK)
    assert rules.advance(voting, 108) == (voting, ())
    rules.apply(voting, vote, 108)
    late, decisions = rules.apply(voting, vote, 109)
    assert decisions[0].outcome is Outcome.EXPIRED
    assert decisions[0].abstain == 0
    assert (late.round, late.opened) == (1, 109)


@given(st.integers(2, 9), st.integers(1, 50), st.lists(st.integers(0, 400), max_size=8))
def test_absent_proposers_are_passed_over_alike_in_one_jump_or_many(
    members: int, seconds: int, times: list[int]
) -> None:
    """Looking often or seldom, the same rounds have passed."""
    state = begin(members, Rule(propose_seconds=seconds))
    jumped, decisions = rules.advance(state, max(times, default=0))
    assert len(decisions) <= 1
    passed: list[int] = []
    for now in sorted(times):
        state, more = rules.advance(state, now)
        passed += [each for one in more for each in range(one.round, one.through + 1)]
    assert state == jumped
    assert passed == list(range(state.round))
    assert state.round == max(times, default=0) // seconds


def test_millions_of_absent_rounds_cost_nothing() -> None:
    """A group that was away for an age goes on at once: arithmetic, not a loop."""
    state, decisions = rules.advance(begin(3, Rule(propose_seconds=1)), 10**15)
    assert len(decisions) == 1
    assert (decisions[0].round, decisions[0].through) == (0, 10**15 - 1)
    assert (state.round, state.opened, state.current) == (10**15, 10**15, "M0")


def test_a_pass_opens_the_next_round_at_once() -> None:
    """Passing ends the round at the ledger time of the pass, and M stays."""
    state, (decision,) = rules.apply(begin(3), Pass(0, "m0"), 42)
    assert (decision.outcome, decision.proposal) == (Outcome.EXPIRED, None)
    assert (state.round, state.opened, state.proposer, state.current) == (1, 42, "m1", "M0")


def test_late_votes_are_recorded_without_effect_once() -> None:
    """After the decision a vote changes nothing but the memory that it was cast."""
    state, _ = play(
        begin(5),
        Propose(0, "m0", "p"),
        Vote(0, "m1", "p", YES),
        Vote(0, "m2", "p", YES),
        Vote(0, "m3", "p", YES),
    )
    late, decisions = play(state, Vote(0, "m4", "p", NO))
    assert not decisions
    assert late.last is not None
    assert late.last.voted == 0b11110
    assert (late.current, late.round, late.approve) == ("p", 1, 0)
    for sender, proposal, kind in (
        ("m4", "p", AlreadyVoted),
        ("m0", "p", ProposerMayNotVote),
        ("m3", "q", WrongProposal),
        ("stranger", "p", NotAMember),
    ):
        with pytest.raises(kind):
            rules.apply(late, Vote(0, sender, proposal, YES), 0)
    later, _ = play(late, Propose(1, "m1", "q"))
    voters = [Vote(1, f"m{index}", "q", YES) for index in (0, 2, 3)]
    later, _ = play(later, *voters)
    with pytest.raises(WrongRound):
        rules.apply(later, Vote(0, "m4", "p", NO), 0)


PROPOSED = (Propose(0, "m0", "p"),)
DECIDED = (*PROPOSED, Vote(0, "m1", "p", NO), Vote(0, "m2", "p", NO))


@pytest.mark.parametrize(
    ("before", "event", "kind"),
    [
        ((), Propose(0, "x", "p"), NotAMember),
        ((), Pass(0, "x"), NotAMember),
        (PROPOSED, Vote(0, "x", "p", YES), NotAMember),
        ((), Endorse("x", ADD), NotAMember),
        ((), Propose(0, "m1", "p"), NotYourTurn),
        ((), Pass(0, "m2"), NotYourTurn),
        (DECIDED, Propose(1, "m0", "p"), NotYourTurn),
        ((), Propose(1, "m1", "p"), WrongRound),
        ((), Propose(-1, "m0", "p"), WrongRound),
        (DECIDED, Propose(0, "m0", "p"), WrongRound),
        (PROPOSED, Vote(1, "m1", "p", YES), WrongRound),
        (DECIDED, Pass(0, "m0"), WrongRound),
        (PROPOSED, Propose(0, "m0", "p"), AlreadyProposed),
        (PROPOSED, Propose(0, "m0", "q"), AlreadyProposed),
        (PROPOSED, Pass(0, "m0"), AlreadyProposed),
        ((), Vote(0, "m1", "p", YES), NoProposal),
        (DECIDED, Vote(1, "m2", "p", YES), NoProposal),
        (PROPOSED, Vote(0, "m1", "q", YES), WrongProposal),
        (PROPOSED, Vote(0, "m0", "p", YES), ProposerMayNotVote),
        ((*PROPOSED, Vote(0, "m1", "p", BLANK)), Vote(0, "m1", "p", YES), AlreadyVoted),
        ((Endorse("m0", ADD),), Endorse("m0", ADD), AlreadyEndorsed),
        (tuple(Endorse(f"m{i}", ADD) for i in range(3)), Endorse("m3", ADD), AlreadyEndorsed),
        ((), Endorse("m0", AddMember("m1")), InvalidChange),
        ((), Endorse("m0", AddMember("")), InvalidChange),
        ((), Endorse("m0", RemoveMember("x")), InvalidChange),
        ((), Endorse("m0", ReplaceMember("x", "y")), InvalidChange),
        ((), Endorse("m0", ReplaceMember("m1", "m2")), InvalidChange),
    ],
)
def test_each_refusal_has_its_situation(
    before: tuple[Event, ...], event: Event, kind: type[RefusedEvent]
) -> None:
    """An event that is not allowed raises its own error, in one line, and changes nothing."""
    state, _ = play(begin(4), *before)
    copy = rules.msgspec.structs.replace(state)
    with pytest.raises(RefusedEvent) as caught:
        rules.apply(state, event, 0)
    assert type(caught.value) is kind
    assert "\n" not in str(caught.value)
    assert state == copy


def test_time_never_goes_back() -> None:
    """An event before the round opened, or before its proposal, is refused."""
    state, _ = rules.apply(begin(3), Pass(0, "m0"), 50)
    for event in (Pass(1, "m1"), Endorse("m0", ADD)):
        with pytest.raises(TimeWentBack):
            rules.apply(state, event, 49)
    state, _ = rules.apply(state, Propose(1, "m1", "p"), 60)
    with pytest.raises(TimeWentBack):
        rules.apply(state, Vote(1, "m0", "p", YES), 59)
    with pytest.raises(TimeWentBack):
        rules.advance(state, 59)


def test_a_replay_gives_the_decisions_in_order() -> None:
    """Entries and nothing else give every round's end, those without a proposal included."""
    experiment = Experiment(members=("m0", "m1", "m2"), initial="M0", schema="s")
    entries = [
        Entry(0, Pass(0, "m0")),
        Entry(5, Propose(1, "m1", "p")),
        Entry(5, Vote(1, "m0", "p", YES)),
        Entry(6, Vote(1, "m2", "p", YES)),
        Entry(6 + 3 * 3_600, Pass(5, "m2")),
    ]
    decisions = list(rules.replay(experiment, entries))
    assert [(each.round, each.through, each.outcome) for each in decisions] == [
        (0, 0, Outcome.EXPIRED),
        (1, 1, Outcome.ACCEPTED),
        (2, 4, Outcome.EXPIRED),
        (5, 5, Outcome.EXPIRED),
    ]
