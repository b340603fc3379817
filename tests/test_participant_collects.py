"""Members that vote by signed ballots, which the proposer puts on the ledger; and journals."""

from __future__ import annotations

import numpy as np
import pytest
from collecting import MEMBERS, Net
from toys import Averaging, Scripted

from colearn import ErrorCodes, TrainingSummary, Weights
from colearn import participant as participants
from colearn.duty import Action, Duty
from colearn.errors import LedgerError
from colearn.journal import Journal
from colearn.records import Ballot, Candidate, Choice, Propose, Reveal, Vote
from colearn.rules import Outcome


def scripted(*votes):
    """Four learners with these votes, every time; None is to abstain."""
    return [Scripted([vote] * 9) for vote in votes]


def test_a_round_is_one_entry_of_proposal_and_ballots():
    """The candidate is shown, all ballots come, and one submission decides the round."""
    net = Net(scripted(True, True, False, None))
    assert net["a"].step() is Action.PROPOSE
    assert net.ledger.events() == []
    assert net["a"].step() is None
    assert [net[name].step() for name in "bcd"] == [Action.VOTE] * 3
    assert net.ledger.events() == []
    assert net["a"].step() is Action.COLLECT
    assert net.ledger.together == 1
    assert net.votes() == {"b": Choice.APPROVE, "c": Choice.REJECT, "d": Choice.ABSTAIN}
    decision = net.ledger.decisions()[0]
    assert (decision.outcome, decision.approvals) == (Outcome.REJECTED, 1)


def test_the_outcome_is_waited_for_a_moment_only(monkeypatch):
    """Once certain, the proposer gives the others a moment, and then submits without them."""
    net = Net(scripted(True, True, True, True))
    net["a"].step()
    net["b"].step()
    net["c"].step()
    assert net["a"].step() is None
    monkeypatch.setattr(participants, "GRACE_SECONDS", 0.0)
    assert net["a"].step() is Action.COLLECT
    assert net.ledger.decisions()[0].outcome is Outcome.ACCEPTED
    assert set(net.votes()) == {"b", "c"}


def test_nobody_answers_and_the_proposal_still_stands():
    """Without a single ballot the proposal goes to the ledger, open to direct votes."""
    net = Net(scripted(True, True, True, True))
    net["a"].step()
    net.ledger.wait(10**6, 20)
    assert net["a"].step() is Action.COLLECT
    assert net.ledger.view().proposal is not None
    for name in "bcd":
        net[name].step()
    assert net.ledger.decisions()[0].outcome is Outcome.ACCEPTED


def test_forged_ballots_are_left_out():
    """A ballot that its sender did not sign would spoil the submission, and is left out."""
    net = Net(scripted(True, True, True, True))
    net["a"].step()
    shown = net.board.read(0)[0]
    net.board.post(Ballot(0, "d", shown.proposal, Choice.REJECT, "forged"))
    net["b"].step()
    net["c"].step()
    assert net["a"].step() is Action.COLLECT
    assert set(net.votes()) == {"b", "c"}


def test_a_collector_that_drops_votes_gains_nothing():
    """Whose ballot the proposer left out votes on the ledger, with the same choice."""
    net = Net(scripted(True, False, False, True))
    net["a"].step()
    for name in "bcd":
        net[name].step()
    shown, *ballots = net.board.read(0)
    net.ledger.submit_together(
        Propose(0, "a", shown.proposal), [each for each in ballots if each.sender == "d"]
    )
    assert net.ledger.view().round == 0
    assert net["b"].step() is Action.VOTE
    assert net["c"].step() is Action.VOTE
    assert net.ledger.decisions()[0].outcome is Outcome.REJECTED


def test_a_member_votes_once_whatever_it_is_shown(tmp_path):
    """A proposer that puts another digest on the ledger than it showed gets no second vote."""
    net = Net(scripted(True, True, True, True), tmp_path)
    net["a"].step()
    net["b"].step()
    other = net.weights.put(
        net["a"].learner.mli_get_current_weights(),
        round_index=0,
        sender="a",
        base=net.ledger.view().current,
    )
    net.ledger.submit(Propose(0, "a", other))
    assert net["b"].step() is None
    assert net["c"].step() is Action.VOTE
    assert set(net.votes()) == {"c"}


def test_a_restart_repeats_the_vote_and_never_tests_again(tmp_path):
    """After a crash between deciding and publishing the very same vote is published."""
    net = Net(scripted(True, True, True, True), tmp_path)
    net["a"].step()
    state, notes = net.ledger.view(), net.board.read(0)
    lost = net["b"].work(Action.VOTE, state, notes).notes[0]
    assert net.board.read(0) == notes

    class Changed(Scripted):
        def mli_test_weights(self, weights):
            raise AssertionError("tested again")

    changed = Changed([])
    net.start("b", changed).step()
    assert net.board.read(0)[-1] == lost


def test_a_restart_repeats_the_proposal_and_never_trains_again(tmp_path):
    """After a crash between deciding and publishing the very same proposal is published."""
    net = Net(scripted(True, True, True, True), tmp_path)
    lost = net["a"].work(Action.PROPOSE, net.ledger.view()).notes[0]
    assert isinstance(lost, Candidate)
    net.start("a", Scripted([], stride=7.0)).step()
    assert net.board.read(0) == [lost]


def test_a_restart_repeats_the_update(tmp_path):
    """What was trained is posted again, not trained again."""
    net = Net(scripted(True, True, True, True), tmp_path, Averaging())
    lost = net["b"].work(Action.TRAIN, net.ledger.view()).notes[0]
    net.start("b", Scripted([], stride=7.0)).step()
    assert net.board.read(0) == [lost]


def test_a_lost_journal_refuses_to_vote_in_the_live_round(tmp_path):
    """Who may have voted already, and does not know, stays silent until the next round."""
    net = Net(scripted(True, True, True, True), tmp_path)
    net["a"].step()
    net["b"].step()
    net.journals["b"].close()
    (tmp_path / "b.db").unlink()
    del net.journals["b"]
    again = net.start("b", Scripted([False] * 9), silent_through=0)
    assert again.step() is None
    net["c"].step()
    net["d"].step()
    assert net["a"].step() is Action.COLLECT
    assert again.step() is Action.ACCEPT
    assert again.step() is Action.PROPOSE


def test_an_old_journal_is_noticed_by_what_the_ledger_has(tmp_path):
    """A journal restored from a backup knows less than the ledger: silent in the live round."""
    net = Net(scripted(True, True, True, True), tmp_path)
    net["a"].step()
    for name in "bcd":
        net[name].step()
    net["a"].step()
    net.journals["c"].close()
    (tmp_path / "c.db").unlink()
    del net.journals["c"]
    again = net.start("c", Scripted([True] * 9))
    assert net.ledger.view().round == 1
    for name in "abd":
        net[name].step()
    net["b"].step()
    assert again.step() is None


def test_the_journal_stops_a_second_process(tmp_path):
    """Two processes with one member's journal: the second is told so."""
    net = Net(scripted(True, True, True, True), tmp_path)
    with pytest.raises(LedgerError, match="end any other process"):
        Journal(tmp_path / "b.db", net.ledger.experiment, "b", silent_through=-1)


class Mean(Averaging):
    """The mean of the updates; no memory."""

    def merge(self, base, state, updates):
        return {"w": sum(each.tensors["w"] for each in updates) / len(updates)}

    def advance(self, base, state, updates, accepted):
        return {}


class Counting(Mean):
    """Remembers how many merges were decided."""

    def offset(self, state, member):
        return None

    def advance(self, base, state, updates, accepted):
        return {"merges": np.array(float(state.get("merges", 0.0)) + 1.0)}


def test_an_update_that_comes_too_late_counts_in_the_next_round(monkeypatch):
    """A member slower than the rounds has its say, once, and nobody waits for it again."""
    monkeypatch.setattr(participants, "GRACE_SECONDS", 0.0)
    net = Net(scripted(True, True, True, True), method=Counting())
    late = net["d"].work(Action.TRAIN, net.ledger.view()).notes
    for name in "abc":
        net[name].step()
    net.ledger.wait(10**6, 10)
    steps = [net[name].step() for name in "abca"]
    assert steps == [Action.PROPOSE, Action.VOTE, Action.VOTE, Action.COLLECT]
    assert net.ledger.view().round == 1
    net.board.post(*late)
    for _ in range(9):
        for name in "bca":
            net[name].step()
    decision = net.ledger.decisions()[1]
    assert decision.outcome is Outcome.ACCEPTED
    merged = net.weights.proposal(decision.proposal).merged
    assert [(each.sender, each.round) for each in merged] == [
        ("a", 1),
        ("b", 1),
        ("c", 1),
        ("d", 0),
    ]
    net["c"].course.follow()
    assert not net["c"].course.late(late[0], 2)
    assert net["c"].course.state["merges"] == 2, "the method's state goes on from every merge"


def test_a_proposer_that_lies_about_its_merge_is_rejected_in_that_round(monkeypatch):
    """Voters make the merge again and never look at a false one, however good it is."""
    monkeypatch.setattr(participants, "GRACE_SECONDS", 0.0)
    net = Net(scripted(True, True, True, True), method=Mean())
    honest = net["a"].course.merge
    net["a"].course.merge = lambda updates: {"w": honest(updates)["w"] + 1e-3}
    while not net.ledger.decisions():
        for name in MEMBERS:
            net[name].step()
    assert net.ledger.decisions()[0].outcome is Outcome.REJECTED
    assert net.votes() == dict.fromkeys("bcd", Choice.REJECT)
    assert net.ledger.view().current == net.ledger.experiment.initial
    assert all(len(list(net[name].learner.votes)) == 9 for name in "bcd")


def test_a_proposer_that_merges_whom_it_likes_is_rejected_in_that_round(monkeypatch):
    """Voters hold the others' updates, too, and what came after the candidate does not count."""
    monkeypatch.setattr(participants, "GRACE_SECONDS", 0.0)
    net = Net(scripted(True, True, True, True), method=Mean())
    for name in "bcda":
        assert net[name].step() is Action.TRAIN
    mine = [note for note in net.board.read(0) if note.sender == "a"]
    monkeypatch.setattr(net["a"], "_merged", lambda *_: tuple(mine))
    assert net["a"].step() is Action.PROPOSE
    while not net.ledger.decisions():
        for name in "bcda":
            net[name].step()
    assert net.ledger.decisions()[0].outcome is Outcome.REJECTED
    assert set(net.votes().values()) == {Choice.REJECT}


@pytest.mark.parametrize("shown", [True, False])
def test_a_proposer_that_does_not_wait_for_the_others_is_rejected(monkeypatch, shown):
    """Nobody else has given anything when it comes, on the board or on the ledger at once."""
    monkeypatch.setattr(participants, "GRACE_SECONDS", 0.0)
    net = Net(scripted(True, True, True, True), method=Mean())
    assert net["a"].step() is Action.TRAIN
    with monkeypatch.context() as liar:
        liar.setattr(Duty, "_updates_enough", lambda *_: True)
        if not shown:
            liar.setattr(Duty, "collecting", lambda *_: False)
        assert net["a"].step() is Action.PROPOSE
    assert (net.ledger.view().proposal is None) == shown
    while not net.ledger.decisions():
        for name in "bcda":
            net[name].step()
    decision = net.ledger.decisions()[0]
    assert decision.outcome is Outcome.REJECTED
    assert [each.sender for each in net.weights.proposal(decision.proposal).merged] == ["a"]
    assert Choice.APPROVE not in net.votes().values()


def test_who_has_nothing_to_give_is_missed_by_nobody(monkeypatch):
    """As with spent budgets: whoever said so is waited for no longer, and the merge holds."""
    monkeypatch.setattr(participants, "GRACE_SECONDS", 0.0)
    spent = TrainingSummary(error_code=ErrorCodes.DP_BUDGET_EXCEEDED)
    net = Net(scripted(True, True, True, True), method=Mean())
    for name in "cd":
        learner = net[name].learner
        nothing = Weights(learner.current.weights, spent)
        monkeypatch.setattr(learner, "mli_propose_weights", lambda nothing=nothing: nothing)
    while not net.ledger.decisions():
        for name in "bcda":
            net[name].step()
    decision = net.ledger.decisions()[0]
    assert (net.ledger.now(), decision.outcome) == (0, Outcome.ACCEPTED)
    assert [each.sender for each in net.weights.proposal(decision.proposal).merged] == ["a", "b"]


def test_updates_that_come_after_the_candidate_are_not_missed(monkeypatch):
    """A proposer that waited in vain is not blamed for what came then."""
    monkeypatch.setattr(participants, "GRACE_SECONDS", 0.0)
    net = Net(scripted(True, True, True, True), method=Mean())
    late = [
        note for name in "bcd" for note in net[name].work(Action.TRAIN, net.ledger.view()).notes
    ]
    assert net["a"].step() is Action.TRAIN
    net.ledger.wait(10**6, 10)
    assert net["a"].step() is Action.PROPOSE
    net.board.post(*late)
    while not net.ledger.decisions():
        for name in "bcda":
            net[name].step()
    assert net.ledger.decisions()[0].outcome is Outcome.ACCEPTED


def test_updates_candidate_and_ballots_in_one_round(tmp_path):
    """With a method in which all train, and collected votes, a round is one entry too."""
    net = Net(scripted(True, True, True, True), tmp_path, Mean())
    while len(net.ledger.decisions()) < 3:
        acted = [net[name].step() for name in MEMBERS]
        assert any(acted)
    assert net.ledger.together == 3
    assert [each.outcome for each in net.ledger.decisions()] == [Outcome.ACCEPTED] * 3
    proposal = net.weights.proposal(net.ledger.view().current)
    assert [update.sender for update in proposal.merged] == list(MEMBERS)
    assert all(update.signature for update in proposal.merged)


def test_secret_votes_are_committed_to_and_then_revealed(tmp_path):
    """No choice is on the ledger or the board before all have committed; then all count."""
    net = Net(scripted(True, True, False, True), tmp_path, reveal_seconds=30)
    assert net["a"].step() is Action.PROPOSE
    assert [net[name].step() for name in "bcd"] == [Action.COMMIT] * 3
    assert net.board.read(0) == []
    assert not any(isinstance(entry.event, Vote | Reveal) for entry in net.ledger.events())
    assert net["a"].step() is None
    assert [net[name].step() for name in "bc"] == [Action.REVEAL] * 2
    assert net["d"].step() is Action.REVEAL
    assert net.ledger.decisions()[0].outcome is Outcome.ACCEPTED
    assert net.ledger.decisions()[0].approvals == 2


def test_a_restart_reveals_what_was_committed_to(tmp_path):
    """The salt is in the journal before the commitment is on the ledger, crash or no crash."""
    net = Net(scripted(True, True, True, True), tmp_path, reveal_seconds=30)
    net["a"].step()
    lost = net["b"].work(Action.COMMIT, net.ledger.view()).event
    again = net.start("b", Scripted([False] * 9))
    assert again.step() is Action.COMMIT
    assert net.ledger.events()[-1].event == lost
    for name in "cd":
        net[name].step()
    again = net.start("b", Scripted([False] * 9))
    assert again.step() is Action.REVEAL
    assert net.ledger.events()[-1].event.choice is Choice.APPROVE


def test_without_its_journal_a_commitment_stays_hidden():
    """Who has forgotten what it committed to reveals nothing, and stops nothing."""
    net = Net(scripted(True, True, True, True), reveal_seconds=30)
    net["a"].step()
    for name in "bcd":
        net[name].step()
    again = net.start("b", Scripted([True] * 9))
    assert again.step() is None
    net["c"].step()
    net["d"].step()
    assert net.ledger.decisions()[0].outcome is Outcome.ACCEPTED


def test_who_lacks_the_methods_state_does_not_train_with_another(monkeypatch):
    """It looks for it for half a minute, and passes its turn without."""
    monkeypatch.setattr(participants, "GRACE_SECONDS", 0.0)
    net = Net(scripted(False, False, False, False), method=Counting())
    while not net.ledger.decisions():
        for name in "bcda":
            net[name].step()
    for name in "acd":
        net[name].course.follow()
    rejected = net.ledger.decisions()[0].proposal
    net.weights.forget(rejected)
    net.weights._store.drop(rejected)

    class Idle(Scripted):
        def mli_propose_weights(self):
            raise AssertionError("trained from a state that is nobody's")

    late = net.start("b", Idle([]))
    assert net.ledger.view().proposer == "b"
    assert [net[name].step() for name in "acdb"] == [*[Action.TRAIN] * 3, None]
    monkeypatch.setattr("colearn.course._LATER_SECONDS", 0.0)
    assert [late.step(), late.step()] == [Action.TRAIN, Action.PROPOSE]
    assert (net.ledger.view().round, len(net.ledger.events())) == (2, 5)
