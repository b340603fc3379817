"""Four members in one process, who vote by signed ballots, keep journals and may merge."""

from __future__ import annotations

from toys import Sealed, TogetherLedger

from colearn.boards.local import LocalBoard
from colearn.course import Course
from colearn.duty import Action
from colearn.journal import Journal
from colearn.participant import Participant
from colearn.records import Experiment, Rule, Vote
from colearn.stores.memory import MemoryStore
from colearn.weights import Schema
from colearn.weights_store import WeightsStore

MEMBERS = ("a", "b", "c", "d")


class Net:
    """Four members with one ledger, board and store; journals where a folder is given."""

    def __init__(self, learners, folder=None, method=None, reveal_seconds=0):
        initial = learners[0].mli_get_current_weights()
        schema = Schema.of(initial.weights)
        self.weights = WeightsStore(MemoryStore(), schema)
        digest = self.weights.put(initial, round_index=0, sender="", base="")
        self.ledger = TogetherLedger(
            Experiment(
                members=MEMBERS,
                initial=digest,
                schema=schema.digest,
                rule=Rule(propose_seconds=30, vote_seconds=30, reveal_seconds=reveal_seconds),
                method="plain" if method is None else method.name,
            )
        )
        self.board = LocalBoard(self.ledger.experiment)
        self.signer = Sealed(MEMBERS)
        self.method, self.folder = method, folder
        self.journals = {}
        self.participants = {}
        for name, learner in zip(MEMBERS, learners, strict=True):
            self.start(name, learner)

    def start(self, name, learner, silent_through=-1):
        """Start a member's process, or start it again."""
        if self.folder is not None:
            if name in self.journals:
                self.journals[name].close()
            self.journals[name] = Journal(
                self.folder / f"{name}.db",
                self.ledger.experiment,
                name,
                silent_through=silent_through,
            )
        course = None
        if self.method is not None:
            course = Course(self.method, self.ledger, self.weights, self.signer)
        self.participants[name] = each = Participant(
            name,
            learner,
            ledger=self.ledger,
            weights=self.weights,
            board=self.board,
            course=course,
            signer=self.signer,
            journal=self.journals.get(name),
        )
        assert each.step() is Action.ACCEPT
        return each

    def __getitem__(self, name):
        return self.participants[name]

    def votes(self):
        """Votes on the ledger, by sender."""
        return {
            entry.event.sender: entry.event.choice
            for entry in self.ledger.events()
            if isinstance(entry.event, Vote)
        }
