"""The readable twin: its edge cases, and its agreement with Collective."""

from __future__ import annotations

from fractions import Fraction
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from toys import Scripted

from colearn import Collective, Rule, run, run_one_round


def test_all_vote_the_proposer_too_and_exactly_the_threshold_accepts():
    """Two of four approvals meet a threshold of one half; the proposer's is one of them."""
    learners = [Scripted([True]), Scripted([True]), Scripted([False]), Scripted([False])]
    verdicts, accepted = run_one_round(0, learners)
    assert [verdict.vote for verdict in verdicts] == [True, True, False, False]
    assert accepted
    assert all(learner.current.weights["w"].tolist() == [1, 1, 1] for learner in learners)


def test_rejected_changes_nothing():
    """Below the threshold every learner keeps its weights."""
    learners = [Scripted([True]), Scripted([False]), Scripted([None])]
    _, accepted = run_one_round(0, learners)
    assert not accepted
    assert all(learner.current.weights["w"].tolist() == [0, 0, 0] for learner in learners)


def test_the_proposer_rotates():
    """Round r is proposed by learner r modulo n."""
    learners = [Scripted([True] * 5, stride=stride) for stride in (1, 10, 100)]
    run(5, learners)
    assert learners[2].current.weights["w"][0] == 1 + 10 + 100 + 1 + 10


@pytest.mark.parametrize(
    ("votes", "threshold", "accepted"),
    [([False, False], 0, True), ([True], 0.5, True), ([True, False], 1.0, False)],
    ids=["threshold-0-accepts-a-unanimous-no", "alone-it-passes", "threshold-1-is-unanimity"],
)
def test_edge_cases_are_kept(votes, threshold, accepted):
    """The original's edge cases, which Rule refuses, stand as documented."""
    assert run_one_round(0, [Scripted([vote]) for vote in votes], threshold)[1] is accepted


def test_any_payload_and_any_object_will_do():
    """Nothing is asked of learners but the methods, nothing of the weights at all."""
    accepted = []
    learner = SimpleNamespace(
        mli_propose_weights=lambda: "a string",
        mli_test_weights=lambda weights: SimpleNamespace(vote=weights == "a string"),
        mli_accept_weights=accepted.append,
    )
    _, passed = run_one_round(3, [learner, learner])
    assert passed
    assert len(accepted) == 2


@given(data=st.data())
def test_collective_decides_like_the_twin(data):
    """Under inclusive, proposer_votes both accept the same rounds and end on the same weights."""
    count = data.draw(st.integers(2, 7), "learners")
    rounds = data.draw(st.integers(1, 8), "rounds")
    sixteenths = data.draw(st.integers(1, 16), "threshold in sixteenths")
    votes = data.draw(
        st.lists(
            st.lists(st.sampled_from([True, False, None]), min_size=rounds, max_size=rounds),
            min_size=count,
            max_size=count,
        ),
        "votes",
    )
    strides = [3.0**power for power in range(count)]
    mine, theirs = (
        [Scripted(script, stride=stride) for script, stride in zip(votes, strides, strict=True)]
        for _ in range(2)
    )
    expected = [accepted for _, accepted in run(rounds, theirs, sixteenths / 16)]
    rule = Rule(threshold=Fraction(sixteenths, 16), inclusive=True, proposer_votes=True)
    result = Collective(mine, rule=rule).run(rounds)
    assert [each.accepted for each in result.rounds] == expected
    assert result.weights.weights["w"].tolist() == theirs[0].current.weights["w"].tolist()
    assert [each.votes["learner-0"].value for each in result.rounds] == [
        {True: "approve", False: "reject", None: "abstain"}[vote] for vote in votes[0]
    ]
