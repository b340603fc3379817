"""Members that train on a proposal while the vote on it runs."""

from __future__ import annotations

import threading

import numpy as np
import pytest
from collecting import MEMBERS, Net
from toys import Averaging, Scripted, Seeking, Sole

from colearn import Weights
from colearn.ahead import Ahead, Place
from colearn.duty import Action
from colearn.errors import LearnerError
from colearn.records import Update
from colearn.rules import Outcome

NUMBERS = ([1, 2, 3], [2, 3, 4], [1, 3, 5], [8, 8.5, 9])


def play(net, rounds, *, ahead):
    """Let all do what is due until so many rounds are decided; the models they went through."""
    for each in net.participants.values():
        each.goes_ahead = ahead
    models = []
    while len(net.ledger.decisions()) < rounds:
        acted = [net[name].step() for name in MEMBERS]
        assert any(acted)
        models.append(net.ledger.view().current)
    return models[-1], [each.outcome for each in net.ledger.decisions()]


@pytest.mark.parametrize("secret", [0, 30], ids=["open", "secret"])
@pytest.mark.parametrize("method", [None, Averaging(), Sole()], ids=["plain", "all", "one"])
def test_going_ahead_changes_no_bit(method, secret, tmp_path):
    """Through accepted and rejected rounds, models and outcomes are those of who waits."""
    found = []
    for ahead in (False, True):
        folder = tmp_path / str(ahead)
        folder.mkdir()
        net = Net([Seeking(each) for each in NUMBERS], folder, method, secret)
        found.append(play(net, 12, ahead=ahead))
    assert found[0] == found[1]
    assert {Outcome.ACCEPTED, Outcome.REJECTED} <= set(found[0][1])


class Watched(Scripted):
    """Says when it trains, and from what; trains only once it may."""

    def __init__(self, votes):
        super().__init__(votes)
        self.began, self.may = threading.Event(), threading.Event()
        self.may.set()
        self.trained = []

    def mli_propose_weights(self):
        self.began.set()
        assert self.may.wait(20)
        self.trained.append(self.current.weights["w"][0])
        return super().mli_propose_weights()


def watched(tmp_path, *votes):
    """Four members, plain rounds, the first of which is shown; the second proposes next."""
    net = Net([Watched([vote] * 9) for vote in votes], tmp_path)
    assert net["a"].step() is Action.PROPOSE
    second = net["b"]
    second.goes_ahead = True
    second.learner.may.clear()
    return net, second


def test_training_begins_while_the_vote_runs(tmp_path):
    """Who has voted trains on M′ before it is decided; its turn then only publishes that."""
    net, second = watched(tmp_path, True, True, True, True)
    assert second.step() is Action.VOTE
    assert second.learner.began.wait(20)
    assert net.ledger.view().round == 0
    assert second.step() is None
    second.learner.may.set()
    assert [net[name].step() for name in "cd"] == [Action.VOTE] * 2
    assert net["a"].step() is Action.COLLECT
    assert second.step() is Action.PROPOSE
    assert second.learner.trained == [1.0]
    proposed = net.weights.get(net.board.read(1)[0].proposal)
    assert proposed.weights["w"][0] == 2.0


def test_what_was_trained_on_a_rejected_proposal_is_dropped(tmp_path):
    """The member accepts M again, and trains from that."""
    net, second = watched(tmp_path, True, True, False, False)
    assert second.step() is Action.VOTE
    second.learner.may.set()
    assert [net[name].step() for name in "cd"] == [Action.VOTE] * 2
    assert net["a"].step() is Action.COLLECT
    assert net.ledger.decisions()[0].outcome is Outcome.REJECTED
    assert second.step() is Action.ACCEPT
    assert second.step() is Action.PROPOSE
    assert second.learner.trained == [1.0, 0.0]
    proposed = net.weights.get(net.board.read(1)[0].proposal)
    assert proposed.weights["w"][0] == 1.0


@pytest.mark.parametrize("vote", [False, None])
def test_who_does_not_approve_waits(vote, tmp_path):
    """Nobody trains on what it would rather not have."""
    net, second = watched(tmp_path, True, vote, True, True)
    assert second.step() is Action.VOTE
    assert not second.learner.began.wait(0.05)
    assert [net[name].step() for name in "cd"] == [Action.VOTE] * 2


def test_what_goes_wrong_ahead_is_told_in_its_round(tmp_path):
    """As it would be without going ahead; NaN among the weights is an update without any."""

    class Bad(Scripted):
        def mli_propose_weights(self):
            return Weights({"w": np.full(3, np.nan)}) if self.current.weights["w"][0] else self.good

        good = Weights({"w": np.ones(3)})

    class First(Averaging):
        def merge(self, base, state, updates):
            return updates[0].tensors

        def advance(self, base, state, updates, accepted):
            return {}

    net = Net([Bad([True] * 9) for _ in MEMBERS], tmp_path, First())
    play(net, 1, ahead=True)
    for name in MEMBERS * 2:
        net[name].step()
    assert [note.weights for note in net.board.read(1) if isinstance(note, Update)] == [""] * 4


def test_an_error_is_raised_where_the_work_is_taken():
    """Once; what begins for another place is dropped with its error."""
    ahead, place = Ahead(), Place(1, "a")

    def fails():
        raise LearnerError("no")

    ahead.begin(place, fails)
    with pytest.raises(LearnerError, match="no"):
        ahead.take(place, lambda: None)
    ahead.begin(place, fails)
    assert ahead.take(Place(2, "a"), lambda: None) is None
    assert ahead.place is None
