"""A member at work: it catches up, waits out what may pass, and ends with everybody's model."""

from __future__ import annotations

from threading import Thread

import pytest
from toys import Seeking, seekers

from colearn import ErrorCodes, TrainingSummary, Weights
from colearn import member as members
from colearn.errors import BlobMissing, CorruptLedger, LedgerError
from colearn.ledgers.local import LocalLedger
from colearn.member import take_part
from colearn.participant import Participant
from colearn.records import Experiment, Rule
from colearn.stores.memory import MemoryStore
from colearn.weights import Schema
from colearn.weights_store import WeightsStore

NAMES = ("ann", "bob", "cyd")


class Told:
    """Remembers what it was told."""

    def __init__(self):
        self.entries, self.decisions, self.failures, self.reads = [], [], [], 0

    def ordered(self, entry):
        self.entries.append(entry)

    def decided(self, decision):
        self.decisions.append(decision)

    def read(self, state):
        self.reads += 1

    def failed(self, reason):
        self.failures.append(reason)


class Faulty(LocalLedger):
    """Cannot be read for a while."""

    def __init__(self, *arguments):
        self.faults = []
        super().__init__(*arguments)

    def view(self):
        if self.faults:
            raise self.faults.pop()
        return super().view()


class Group:
    """Three members of one ledger, whose blobs are in one store."""

    def __init__(self):
        learners = seekers()
        initial = learners[0].mli_get_current_weights()
        schema = Schema.of(initial.weights)
        self.store = MemoryStore()
        digest = WeightsStore(self.store, schema).put(initial, round_index=0, sender="", base="")
        experiment = Experiment(
            members=NAMES, initial=digest, schema=schema.digest, rule=Rule(threshold="1/3")
        )
        self.ledger = Faulty(experiment)
        self.weights = {name: WeightsStore(self.store, schema) for name in NAMES}
        self.learners = dict(zip(NAMES, learners, strict=True))
        self.models, self.ahead = {}, {}

    def run(self, name, rounds, watcher=None, *, ahead=False):
        """Take part as one member."""
        participant = Participant(
            name, self.learners[name], ledger=self.ledger, weights=self.weights[name]
        )
        self.models[name] = take_part(
            participant,
            self.weights[name],
            rounds=rounds,
            watchers=() if watcher is None else (watcher,),
            ahead=ahead,
        )
        self.ahead[name] = participant.goes_ahead

    def run_all(self, *names, rounds, watcher=None, ahead=False):
        """Take part as several members at the same time."""
        threads = [
            Thread(
                target=self.run,
                args=(name, rounds, watcher if name == names[0] else None),
                kwargs={"ahead": ahead},
                daemon=True,
            )
            for name in names
        ]
        for each in threads:
            each.start()
        for each in threads:
            each.join(timeout=30)
            assert not each.is_alive()


@pytest.fixture(autouse=True)
def _hurry(monkeypatch):
    monkeypatch.setattr(members, "LONGEST_PAUSE_SECONDS", 0.02)
    monkeypatch.setattr(members, "LONGEST_RETRY_SECONDS", 0.01)


def test_members_end_with_one_model():
    """All end after as many proposals as were agreed on, hold the same model, and were told all."""
    group, told = Group(), Told()
    group.run_all(*NAMES, rounds=5, watcher=told)
    assert len(set(group.models.values())) == 1
    assert len([each for each in told.decisions if each.proposal]) == 5
    assert told.entries[: len(told.entries)] == group.ledger.events()[: len(told.entries)]
    held = [group.learners[name].mli_get_current_weights().weights for name in NAMES]
    assert all((each["guess"] == held[0]["guess"]).all() for each in held)


def test_nobody_goes_ahead_of_the_last_round():
    """Members that may train during the vote do so, but not when no round is to come."""
    group = Group()
    group.run_all(*NAMES, rounds=1, ahead=True)
    assert not any(group.ahead.values())
    group.run_all(*NAMES, rounds=5, ahead=True)
    assert len(set(group.models.values())) == 1


def test_who_joins_late_catches_up():
    """A member that comes when all is over takes the model of the end, and votes on nothing."""
    group = Group()
    group.run_all("ann", "bob", rounds=2)
    entries = len(group.ledger.events())
    told = Told()
    group.run("cyd", 2, told)
    assert group.models["cyd"] == group.models["ann"]
    assert len(group.ledger.events()) == entries == len(told.entries)


class Spending(Seeking):
    """Trains a few times; then its budget is spent."""

    budget = 1

    def mli_propose_weights(self):
        if not self.budget:
            spent = TrainingSummary(error_code=ErrorCodes.DP_BUDGET_EXCEEDED)
            return Weights(self.mli_get_current_weights().weights, spent)
        self.budget -= 1
        return super().mli_propose_weights()


def test_members_that_have_spent_their_budgets_end(caplog):
    """Each proposes once and then passes: two turns of passes, one line, and it is over."""
    group = Group()
    group.learners = {name: Spending([1, 2, 3]) for name in NAMES}
    group.run_all(*NAMES, rounds=5)
    assert len(set(group.models.values())) == 1
    assert [each.proposal is None for each in group.ledger.decisions()][:9] == [False] * 3 + [
        True
    ] * 6
    told = "all members passed, 2 times each, as with spent budgets: nobody can propose any more"
    lines = [each.message for each in caplog.records]
    assert lines == [f"{told}, and it is over with 3 of 5 proposals decided"] * 3
    group.run("ann", 5)
    assert group.models["ann"] == group.models["bob"]


def test_one_that_can_still_train_keeps_the_others_there():
    """Whoever has something left proposes in its turn, and the others, who vote, do not leave."""
    group = Group()
    group.learners = {name: Spending([1, 2, 3]) for name in NAMES}
    group.learners["bob"].budget = 3
    group.run_all(*NAMES, rounds=5)
    assert len(set(group.models.values())) == 1
    proposers = [each.proposer for each in group.ledger.decisions() if each.proposal]
    assert proposers == ["ann", "bob", "cyd", "bob", "bob"]


def test_more_rounds_than_agreed_change_nothing():
    """The end is after the agreed number of proposals, whatever the ledger holds beyond."""
    group = Group()
    group.run_all(*NAMES, rounds=4)
    group.run("ann", 2)
    two = [each.proposal for each in group.ledger.decisions()][:2]
    assert group.models["ann"] in two


@pytest.mark.parametrize("reason", [LedgerError("the node is down"), BlobMissing("not there")])
def test_what_may_pass_is_waited_out(reason):
    """A trouble that passes is told, and the member goes on where it was."""
    group, told = Group(), Told()
    group.run_all(*NAMES, rounds=1)
    group.ledger.faults = [reason, reason]
    group.run("ann", 1, told)
    assert told.failures == [reason, reason]
    assert group.models["ann"] == group.models["bob"]


def test_a_ledger_that_lies_ends_it():
    """A ledger against the rules is no trouble that passes."""
    group = Group()
    group.ledger.faults = [CorruptLedger("it records what the rules refuse")]
    with pytest.raises(CorruptLedger):
        group.run("ann", 1)


def test_pauses_between_tries_grow_and_end():
    """Each try waits longer, up to a limit, however long the trouble lasts."""
    members.LONGEST_RETRY_SECONDS = 30.0
    assert 0.25 <= members._retry_seconds(0) <= 0.5
    assert 15 <= members._retry_seconds(100_000) <= 30
