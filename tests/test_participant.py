"""One member's loop: what is due, what is done, and what is published."""

from __future__ import annotations

import numpy as np
import pytest
from toys import Scripted, Seeking

from colearn.boards.local import LocalBoard
from colearn.duty import Action
from colearn.errors import LearnerError, NotYourTurn, StoreError, UnusableWeights
from colearn.ledgers.local import LocalLedger
from colearn.participant import Participant
from colearn.records import Experiment, Pass, Propose, Rule, Vote
from colearn.stores.memory import MemoryStore
from colearn.together import Done, step_together
from colearn.trainee import training_seed
from colearn.weights import Schema
from colearn.weights_store import WeightsStore


class Network:
    """Three members on one ledger; each has a store of its own, as on machines of their own."""

    def __init__(self, learners, rule=None):
        initial = learners[0].mli_get_current_weights()
        schema = Schema.of(initial.weights)
        self.stores = [MemoryStore() for _ in learners]
        self.weights = [WeightsStore(store, schema) for store in self.stores]
        for weights in self.weights:
            digest = weights.put(initial, round_index=0, sender="", base="")
        members = tuple("abc"[: len(learners)])
        self.ledger = LocalLedger(
            Experiment(members=members, initial=digest, schema=schema.digest, rule=rule or Rule())
        )
        self.board = LocalBoard(self.ledger.experiment)
        self.participants = [
            Participant(
                name,
                learner,
                ledger=self.ledger,
                weights=weights,
                board=self.board,
                show_scores=True,
            )
            for name, learner, weights in zip(members, learners, self.weights, strict=True)
        ]
        for participant in self.participants:
            assert participant.step() is Action.ACCEPT

    def propose(self, *receivers):
        """Let the first member propose, and these others have the bytes."""
        self.participants[0].step()
        self.send(0, *receivers)

    def send(self, sender, *receivers):
        """Copy all blobs of one member's store to others'."""
        for receiver in receivers:
            self.stores[receiver]._blobs.update(self.stores[sender]._blobs)


@pytest.fixture
def network():
    """Three members who hold M₀ and have not begun."""
    return Network([Scripted([True] * 9), Scripted([True] * 9), Scripted([True] * 9)])


def test_a_round_step_by_step(network):
    """Only the proposer acts first, then the others, then all take over M′; else nothing is due."""
    a, b, c = network.participants
    assert [each.due(network.ledger.view()) for each in (a, b, c)] == [Action.PROPOSE, None, None]
    assert b.step() is None
    assert a.step() is Action.PROPOSE
    network.send(0, 1, 2)
    assert a.step() is None
    assert b.step() is Action.VOTE
    assert b.step() is None
    assert c.step() is Action.VOTE
    assert [each.step() for each in (a, b, c)] == [Action.ACCEPT] * 3
    assert [each.due(network.ledger.view()) for each in (a, b, c)] == [None, Action.PROPOSE, None]


def test_work_publishes_nothing(network):
    """Training and testing leave the ledger alone; only what is submitted stands on it."""
    a, *_ = network.participants
    event = a.work(Action.PROPOSE, network.ledger.view()).event
    assert isinstance(event, Propose)
    assert network.ledger.events() == []


def test_repeated_work_gives_the_same_event():
    """A member that crashed before it published trains to the very same proposal again."""
    network = Network([Seeking([1, 2]), Seeking([2, 3]), Seeking([3, 4])])
    a, *_ = network.participants
    state = network.ledger.view()
    assert a.work(Action.PROPOSE, state) == a.work(Action.PROPOSE, state)


def test_weights_that_cannot_be_had_are_an_abstention(network):
    """Whoever cannot fetch the bytes abstains: silence would hold up the round."""
    a, b, _ = network.participants
    a.step()
    assert b.step() is Action.VOTE
    assert network.ledger.events()[-1].event.choice.value == "abstain"


@pytest.mark.parametrize("which", ["proposal", "weights"])
def test_wrong_bytes_are_a_rejection(network, which):
    """Bytes that are not what the digest names are voted down, whichever blob it is."""
    b = network.participants[1]
    network.propose(1)
    proposal = network.ledger.view().proposal
    digest = proposal if which == "proposal" else network.weights[0].proposal(proposal).weights
    network.stores[1]._blobs[digest] = (memoryview(b"not what it says"),)
    assert b.step() is Action.VOTE
    assert network.ledger.events()[-1].event.choice.value == "reject"


@pytest.mark.parametrize("lie", ["round_index", "sender", "base"])
def test_a_proposal_with_a_false_origin_is_rejected(network, lie):
    """A record that names another round, proposer or base than it stands under is voted down."""
    state = network.ledger.view()
    origin = {"round_index": 0, "sender": "a", "base": state.current}
    origin[lie] = {"round_index": 7, "sender": "mallory", "base": "0" * 64}[lie]
    digest = network.weights[0].put(Scripted([]).mli_propose_weights(), **origin)
    network.send(0, 1)
    network.ledger.submit(Propose(0, "a", digest))
    network.participants[1].step()
    assert network.ledger.events()[-1].event.choice.value == "reject"


def test_a_store_that_fails_is_an_abstention(network, monkeypatch):
    """A member whose own disk fails says nothing against the proposer."""
    a, b, _ = network.participants
    a.step()

    def fail(*_):
        raise StoreError("too many open files")

    monkeypatch.setattr(network.stores[1], "open", fail)
    b.step()
    assert network.ledger.events()[-1].event.choice.value == "abstain"


def test_weights_the_model_cannot_be_set_to_are_rejected(network):
    """A learner that refuses the weights themselves votes them down, and lives."""
    b = network.participants[1]
    network.propose(1)

    def refuse(_):
        raise UnusableWeights("a tree with a cycle")

    b.learner.mli_test_weights = refuse
    b.step()
    assert network.ledger.events()[-1].event.choice.value == "reject"


@pytest.mark.parametrize("vote", ["no", 1, 0.7, np.array([True])], ids=repr)
def test_a_vote_that_is_none_is_refused(vote):
    """Only True, False and None are votes: a truthy "no" must not approve."""
    network = Network([Scripted([]), Scripted([vote]), Scripted([])])
    b = network.participants[1]
    network.propose(1)
    with pytest.raises(LearnerError, match="'b': mli_test_weights voted"):
        b.step()
    assert len(network.ledger.events()) == 1


def test_numpys_booleans_are_votes():
    """What a comparison of numpy numbers gives is a vote."""
    network = Network([Scripted([]), Scripted([np.True_]), Scripted([])])
    b = network.participants[1]
    network.propose(1)
    b.step()
    assert network.ledger.events()[-1].event.choice.value == "approve"


def test_a_learner_that_trains_its_own_model_in_propose_is_found():
    """Changing the current weights while proposing is the typical mistake, and is named."""

    class Hasty(Scripted):
        def mli_propose_weights(self):
            self.current = super().mli_propose_weights()
            return self.current

    network = Network([Hasty([]), Scripted([]), Scripted([])])
    with pytest.raises(LearnerError, match="'a': after mli_propose_weights .* 'w'"):
        network.participants[0].step()


def test_a_learner_that_takes_over_what_it_tests_is_found():
    """Testing must leave the current weights alone."""

    class Eager(Scripted):
        def mli_test_weights(self, weights):
            self.current = weights
            return super().mli_test_weights(weights)

    network = Network([Scripted([]), Eager([False]), Scripted([])])
    b = network.participants[1]
    network.propose(1)
    with pytest.raises(LearnerError, match="'b': after mli_test_weights"):
        b.step()


def test_a_learner_that_accepts_nothing_is_found():
    """Accepting must make the weights given the current ones."""

    class Stubborn(Scripted):
        def mli_accept_weights(self, weights):
            pass

    stubborn = Stubborn([])
    stubborn.current = Scripted([], stride=5.0).mli_propose_weights()
    with pytest.raises(LearnerError, match="'b': after mli_accept_weights"):
        Network([Scripted([]), stubborn, Scripted([])])


def test_an_error_of_the_learners_own_says_whose_and_when(network):
    """A learner's own exception keeps its type and is told where it came up."""
    network.participants[0].learner.mli_propose_weights = lambda: 1 / 0
    with pytest.raises(ZeroDivisionError) as failure:
        network.participants[0].step()
    assert failure.value.__notes__ == ["while 'a' was to propose, round 0"]


def test_a_refusal_that_is_no_lateness_is_raised(network):
    """A ledger that refuses what is due, though nothing has moved, is a fault to be seen."""
    stray = Participant("c", Scripted([]), ledger=network.ledger, weights=network.weights[2])
    stray.step()
    stray.work = lambda *_: Done(Pass(network.ledger.view().round, "c"))
    stray.due = lambda *_: Action.PROPOSE
    with pytest.raises(NotYourTurn):
        step_together([stray])


def test_a_vote_too_late_does_no_harm(network):
    """A member whose round is over by the time it has tested goes on with the next round."""
    a, b, c = network.participants
    a.step()
    network.send(0, 1, 2)
    vote = c.work(Action.VOTE, network.ledger.view()).event
    network.ledger.wait(len(network.ledger.events()), network.ledger.view().deadline)
    network.ledger.submit(vote)
    assert network.ledger.view().round == 1
    assert b.step() is Action.PROPOSE
    assert network.ledger.decisions()[0].approve == 0


def test_a_proposal_too_late_is_dropped(network):
    """A proposer that trained past its deadline submits nothing and stops nothing."""
    a, *_ = network.participants
    late = a.learner

    def slow():
        network.ledger.wait(0, network.ledger.view().deadline)
        return Scripted.mli_propose_weights(late)

    late.mli_propose_weights = slow
    assert a.step() is Action.PROPOSE
    assert network.ledger.events() == []
    assert network.ledger.view().round == 1


def test_with_proposer_votes_the_proposer_votes_too():
    """The option makes the proposer test its own proposal."""
    learners = [Scripted([False]), Scripted([True]), Scripted([True])]
    network = Network(learners, Rule(proposer_votes=True))
    a, *_ = network.participants
    assert a.step() is Action.PROPOSE
    assert a.step() is Action.VOTE
    assert network.ledger.events()[-1].event.choice.value == "reject"


def test_scores_stay_home_by_default(network):
    """A participant that was not told to shows no score; only its vote leaves it."""
    a, b, _ = network.participants
    quiet = Participant(
        "b", b.learner, ledger=network.ledger, weights=network.weights[1], board=network.board
    )
    quiet.step()
    a.step()
    network.send(0, 1)
    assert quiet.step() is Action.VOTE
    assert network.board.read(0) == []
    assert isinstance(network.ledger.events()[-1].event, Vote)


def test_a_stranger_waits(network):
    """Somebody who is no member takes over M and does nothing else."""
    stranger = Participant("z", Scripted([]), ledger=network.ledger, weights=network.weights[0])
    assert stranger.step() is Action.ACCEPT
    network.participants[0].step()
    assert stranger.step() is None


def test_not_finite_is_a_pass():
    """A learner that diverged gives its turn away at once."""
    network = Network([Scripted([], stride=float("inf")), Scripted([]), Scripted([])])
    network.participants[0].step()
    assert isinstance(network.ledger.events()[-1].event, Pass)


def test_training_seeds_differ_by_seed_member_and_round():
    """No two of 3 seeds × 3 members × 50 rounds share a seed, and each fits 63 bits."""
    seeds = {
        training_seed(seed, member, index)
        for seed in range(3)
        for member in "abc"
        for index in range(50)
    }
    assert len(seeds) == 450
    assert all(0 <= seed < 1 << 63 for seed in seeds)
