"""Secret votes: commitments first, then what was committed to."""

from __future__ import annotations

from fractions import Fraction

import pytest
from elections import BLANK, NO, YES, Ballots, by_definition, elections
from hypothesis import given

from colearn import rules
from colearn.errors import (
    AlreadyVoted,
    NoProposal,
    NotAMember,
    NothingToReveal,
    ProposerMayNotVote,
    RefusedEvent,
    TimeWentBack,
    WrongPhase,
    WrongProposal,
    WrongReveal,
    WrongRound,
)
from colearn.ledgers.local import LocalLedger
from colearn.records import (
    Choice,
    Commit,
    Event,
    Experiment,
    Propose,
    Reveal,
    Rule,
    Vote,
    commitments_in,
)
from colearn.rules import Outcome, Phase, State

MEMBERS = ("m0", "m1", "m2", "m3", "m4")
SECRET = Rule(propose_seconds=100, vote_seconds=10, reveal_seconds=5)
PROPOSED = Propose(0, "m0", "p")


def found(rule: Rule = SECRET, members: int = 5) -> Experiment:
    """An experiment."""
    return Experiment(members=MEMBERS[:members], initial="M0", schema="s", rule=rule)


COMMITMENT_TO = commitments_in(found())


def commit(member: str, choice: Choice = YES) -> Commit:
    """A commitment to a vote in round 0, by the salt "salt"."""
    return Commit(0, member, "p", COMMITMENT_TO(Vote(0, member, "p", choice), "salt"))


def reveal(member: str, choice: Choice = YES, salt: str = "salt") -> Reveal:
    """What a member committed to, or claims to."""
    return Reveal(0, member, choice, salt)


def play(*events: Event, now: int = 0, state: State | None = None) -> State:
    """The state after events at one time."""
    state = state or rules.start(found(), 0)
    for event in events:
        state, _ = rules.apply(state, event, now, COMMITMENT_TO)
    return state


EVERYBODY = tuple(commit(member) for member in MEMBERS[1:])
THREE = (PROPOSED, *EVERYBODY[:3])


def test_nothing_is_known_before_all_is_fixed() -> None:
    """Commitments decide nothing, however many; with the last of them the votes are revealed."""
    state = play(*THREE)
    assert (state.phase, state.voted, state.deadline) == (Phase.COMMITTING, 0, 10)
    state = play(commit("m4"), state=state, now=4)
    assert (state.phase, state.voted, state.deadline) == (Phase.REVEALING, 0, 9)


def test_the_vote_that_makes_it_certain_closes_the_round() -> None:
    """Revealed votes count as open ones do, and what comes later is recorded."""
    state = play(PROPOSED, *EVERYBODY, reveal("m1"), reveal("m2"))
    assert (state.round, state.approve) == (0, 0b00110)
    state = play(reveal("m3"), state=state)
    assert (state.round, state.current) == (1, "p")
    assert state.last is not None
    assert state.last.voted == 0b01110
    late = play(reveal("m4"), state=state)
    assert late.last is not None
    assert late.last.voted == 0b11110
    with pytest.raises(WrongReveal):
        play(reveal("m4", NO), state=state)
    with pytest.raises(NothingToReveal):
        play(reveal("m3"), state=state)


def test_deadlines_are_exclusive_in_both_phases() -> None:
    """At its deadline, to the second, it is too late to commit, and then to reveal."""
    state = play(*THREE)
    assert play(commit("m4"), state=state, now=9).revealing == 9
    with pytest.raises(WrongPhase):
        play(reveal("m1"), state=state, now=9)
    with pytest.raises(WrongPhase):
        play(commit("m4"), state=state, now=10)
    assert play(reveal("m1"), state=state, now=10).deadline == 15
    assert play(reveal("m1"), state=state, now=14).approve == 0b00010
    late = play(reveal("m1"), state=state, now=15)
    assert (late.round, late.opened, late.approve, late.current) == (1, 15, 0, "M0")


def test_time_that_jumps_passes_through_every_phase() -> None:
    """Whoever looks only later sees the round that expired, and those that nobody proposed in."""
    state, decisions = rules.advance(play(*THREE), 10 + 5 + 2 * 100)
    ended = [(each.round, each.through, each.outcome, each.proposal) for each in decisions]
    assert ended == [(0, 0, Outcome.EXPIRED, "p"), (1, 2, Outcome.EXPIRED, None)]
    assert (state.round, state.opened) == (3, 215)


def test_what_is_not_revealed_is_not_cast() -> None:
    """A commitment alone neither approves nor makes a quorum."""
    rule = Rule(threshold="1/4", vote_seconds=10, reveal_seconds=5, quorum="3/4")
    state = play(*THREE, state=rules.start(found(rule), 0))
    state = play(reveal("m1"), reveal("m2"), state=state, now=10)
    assert (state.round, state.approve) == (0, 0b00110)
    _, (decision,) = rules.advance(state, 15)
    assert (decision.outcome, decision.approvals) == (Outcome.EXPIRED, 2)


@pytest.mark.parametrize(
    ("rule", "revealed"),
    [
        (SECRET, [NO]),
        (SECRET, [YES, YES, BLANK]),
        (Rule(threshold="1/4", quorum="1", vote_seconds=10, reveal_seconds=5), [YES]),
    ],
    ids=["too few can approve", "too few did approve", "no quorum is left"],
)
def test_certain_failure_closes_the_round_early(rule: Rule, revealed: list[Choice]) -> None:
    """Where those with a commitment can no longer bring it about, nobody waits for them."""
    voters = MEMBERS[1 : 1 + 3]
    commits = [
        commit(member, choice)
        for member, choice in zip(voters, (revealed + [YES] * 3)[:3], strict=True)
    ]
    state = play(PROPOSED, *commits, state=rules.start(found(rule), 0))
    for member, choice in zip(voters, revealed, strict=False):
        assert state.round == 0
        state, decisions = rules.apply(state, reveal(member, choice), 10, COMMITMENT_TO)
    assert [each.outcome for each in decisions] == [Outcome.REJECTED]


@given(elections())
def test_a_secret_vote_accepts_what_an_open_one_does(election: tuple[Rule, int, Ballots]) -> None:
    """With the same ballots, and silence for those that do not commit, M′ fares the same."""
    rule, size, ballots = election
    rule = rules.msgspec.structs.replace(rule, reveal_seconds=5)
    members = tuple(f"m{index}" for index in range(size))
    ledger = LocalLedger(Experiment(members=members, initial="M0", schema="s", rule=rule))
    voters = members if rule.proposer_votes else members[1:]
    ledger.submit(PROPOSED)
    cast = [
        Vote(0, voter, "p", choice) for voter, choice in zip(voters, ballots, strict=True) if choice
    ]
    for vote in cast:
        ledger.submit(Commit(0, vote.sender, "p", ledger.commitment(vote, "salt")))
    if ledger.view().phase is Phase.COMMITTING:
        ledger.wait(len(ledger.events()), ledger.view().deadline)
    for vote in cast:
        ledger.submit(Reveal(0, vote.sender, vote.choice, "salt"))
    ledger.wait(len(ledger.events()), ledger.view().deadline)
    assert (ledger.view().current == "p") == (by_definition(rule, ballots) is Outcome.ACCEPTED)


@pytest.mark.parametrize(
    ("before", "event", "kind"),
    [
        ((), commit("m1"), NoProposal),
        ((), reveal("m1"), NoProposal),
        (THREE, Vote(0, "m4", "p", YES), WrongPhase),
        (THREE, reveal("m1"), WrongPhase),
        (THREE, commit("x"), NotAMember),
        (THREE, reveal("x"), NotAMember),
        (THREE, commit("m0"), ProposerMayNotVote),
        (THREE, commit("m1"), AlreadyVoted),
        (THREE, Commit(0, "m4", "q", "c"), WrongProposal),
        (THREE, Commit(1, "m4", "p", "c"), WrongRound),
        ((*THREE, commit("m4")), commit("m1"), WrongPhase),
        ((*THREE, commit("m4")), Vote(0, "m1", "p", YES), WrongPhase),
        ((*THREE, commit("m4")), reveal("m0"), NothingToReveal),
        ((*THREE, commit("m4")), reveal("m1", NO), WrongReveal),
        ((*THREE, commit("m4")), reveal("m1", salt="other"), WrongReveal),
        ((*THREE, commit("m4"), reveal("m1")), reveal("m1"), NothingToReveal),
        (
            (PROPOSED, *EVERYBODY, *(reveal(member) for member in MEMBERS[1:4])),
            commit("m4"),
            WrongRound,
        ),
        (
            (PROPOSED, *EVERYBODY, *(reveal(member) for member in MEMBERS[1:4])),
            Vote(0, "m4", "p", YES),
            WrongPhase,
        ),
    ],
)
def test_each_refusal_has_its_situation(
    before: tuple[Event, ...], event: Event, kind: type[RefusedEvent]
) -> None:
    """An event that is not allowed raises its own error, in one line, and changes nothing."""
    state = play(*before)
    with pytest.raises(RefusedEvent) as caught:
        play(event, state=state)
    assert type(caught.value) is kind
    assert "\n" not in str(caught.value)


def test_open_votes_know_no_commitments() -> None:
    """Where the rule says nothing of reveals, nobody commits or reveals."""
    state = play(PROPOSED, state=rules.start(found(Rule()), 0))
    for event in (commit("m1"), reveal("m1")):
        with pytest.raises(WrongPhase):
            play(event, state=state)


def test_a_copied_commitment_is_worth_nothing() -> None:
    """Who commits to what another did cannot reveal it, not even with the other's salt."""
    copied = rules.msgspec.structs.replace(commit("m1"), sender="m2")
    state = play(PROPOSED, commit("m1"), copied, *EVERYBODY[2:])
    with pytest.raises(WrongReveal):
        play(reveal("m1"), reveal("m2"), state=state)


def test_a_commitment_is_bound_to_its_experiment() -> None:
    """The same vote and salt make another commitment in another experiment."""
    elsewhere = commitments_in(found(Rule(threshold=Fraction(2, 3), reveal_seconds=5)))
    vote = Vote(0, "m1", "p", YES)
    assert elsewhere(vote, "salt") != COMMITMENT_TO(vote, "salt")


def test_without_a_way_to_check_nothing_is_revealed() -> None:
    """Rules that are not told how votes are hidden believe nobody."""
    state = play(PROPOSED, *EVERYBODY)
    with pytest.raises(WrongReveal):
        rules.apply(state, reveal("m1"), 0)


def test_time_does_not_go_back_behind_the_commitments() -> None:
    """An event before votes are revealed, in ledger time, is refused once they are."""
    state = play(EVERYBODY[3], state=play(*THREE), now=7)
    with pytest.raises(TimeWentBack):
        play(reveal("m1"), state=state, now=6)
