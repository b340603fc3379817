"""Rules, groups and ballots that the tests of the rules share."""

from __future__ import annotations

from fractions import Fraction

from hypothesis import strategies as st

from colearn import rules
from colearn.records import (
    AddMember,
    Choice,
    Event,
    Experiment,
    Propose,
    Rule,
    Vote,
)
from colearn.rules import Decision, Outcome, State

ADD = AddMember("new")
YES, NO, BLANK = Choice.APPROVE, Choice.REJECT, Choice.ABSTAIN
Ballots = list[Choice | None]

shares = st.builds(
    lambda num, extra: Fraction(num, num + extra), st.integers(1, 12), st.integers(1, 12)
)


@st.composite
def elections(draw: st.DrawFn) -> tuple[Rule, int, Ballots]:
    """A rule, a number of members, and a ballot (None: silence) of each eligible voter."""
    rule = Rule(
        threshold=draw(shares),
        inclusive=draw(st.booleans()),
        proposer_votes=draw(st.booleans()),
        quorum=draw(st.just(Fraction(0)) | shares),
    )
    members = draw(st.integers(2, 9))
    voters = members if rule.proposer_votes else members - 1
    ballot = st.sampled_from([YES, NO, BLANK, None])
    return rule, members, draw(st.lists(ballot, min_size=voters, max_size=voters))


def begin(members: int, rule: Rule | None = None) -> State:
    """A state at time 0 with members m0, m1, ..."""
    names = tuple(f"m{index}" for index in range(members))
    return rules.start(Experiment(members=names, initial="M0", schema="s", rule=rule or Rule()), 0)


def play(state: State, *events: Event, now: int = 0) -> tuple[State, list[Decision]]:
    """Apply events at one time."""
    decisions: list[Decision] = []
    for event in events:
        state, more = rules.apply(state, event, now)
        decisions += more
    return state, decisions


def votes(state: State, ballots: Ballots, round_index: int = 0, proposal: str = "p") -> list[Vote]:
    """The votes of all who may vote in a round and are not silent, in member order."""
    proposer = state.members[round_index % len(state.members)]
    voters = [each for each in state.members if state.rule.proposer_votes or each != proposer]
    return [
        Vote(round_index, voter, proposal, choice)
        for voter, choice in zip(voters, ballots, strict=True)
        if choice is not None
    ]


def decide(rule: Rule, members: int, ballots: Ballots, order: list[int] | None = None) -> Decision:
    """Put ballots in, in an order; let time run out; return what became of the round."""
    state = begin(members, rule)
    cast = votes(state, ballots)
    if order is not None:
        cast = [cast[index] for index in order if index < len(cast)]
    state, decisions = play(state, Propose(0, "m0", "p"), *cast)
    state, more = rules.advance(state, rule.vote_seconds)
    decisions += more
    assert decisions[0].round == 0
    assert (state.current == "p") == (decisions[0].outcome is Outcome.ACCEPTED)
    return decisions[0]


def by_definition(rule: Rule, ballots: Ballots) -> Outcome:
    """The outcome with all ballots in, by the words of the rule and exact fractions."""

    def suffices(approvals: int) -> bool:
        share = Fraction(approvals, len(ballots))
        return share >= rule.threshold if rule.inclusive else share > rule.threshold

    silent = ballots.count(None)
    approvals = ballots.count(YES)
    if suffices(approvals) and Fraction(len(ballots) - silent, len(ballots)) >= rule.quorum:
        return Outcome.ACCEPTED
    return Outcome.EXPIRED if suffices(approvals + silent) else Outcome.REJECTED
