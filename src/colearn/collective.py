"""A collective in one process: every learner a participant, on a ledger of its own.

The participants are those of a real network, only their ledger, board and store
are local, and everybody's scores are shown: this is a simulation's view.
"""

from __future__ import annotations

import math
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Executor
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Self

from colearn.boards.local import LocalBoard
from colearn.course import Course, check_merges
from colearn.duty import Action, candidate
from colearn.errors import ConfigError, LearnerError, SchemaMismatch
from colearn.ledgers.local import LocalLedger
from colearn.log import holds_records
from colearn.methods import method as named_method
from colearn.ml_interface import MachineLearningInterface, Weights
from colearn.participant import Participant
from colearn.protocols import Method, Schematic, Store
from colearn.records import (
    PLAIN,
    Choice,
    Digest,
    Experiment,
    Proposal,
    Rule,
    Scores,
    Update,
    Vote,
    check_members,
    encode,
)
from colearn.report.result import Result, Round
from colearn.rules import Decision, Outcome
from colearn.stores.directory import DirectoryStore
from colearn.stores.memory import MemoryStore
from colearn.terms import difference
from colearn.together import seen, step_together
from colearn.weights import Schema
from colearn.weights_store import WeightsStore

if TYPE_CHECKING:
    from colearn.ledgers.simulated import SimulatedLedger

LEDGER_FILE = "ledger.log"
CHAIN_FILE = "chain.log"
BOARD_FILE = "board.log"
STORE_FOLDER = "store"

LOCAL, EVM = "local", "evm"
LEDGER_FILES = {LOCAL: LEDGER_FILE, EVM: CHAIN_FILE}

_METHODS = (
    "mli_propose_weights",
    "mli_test_weights",
    "mli_accept_weights",
    "mli_get_current_weights",
)


class Collective:
    """Learners that train one model together.

    M₀ is the first learner's current model.

    Args:
        learners: The learners, in join order, named or not.
        rule: The voting rule.
        seed: Seed of the whole run; the same seed gives the same digests.
        folder: Where to keep ledger, scores and weights. A folder that holds a run
            of the same experiment goes on where that run stopped. Without a folder
            all is kept in memory, and only the current weights.
        executor: Runs training and testing that are due at the same time; threads
            that share the learners, such as a ``ThreadPoolExecutor``. Without one
            they run one after the other. The digests are the same either way.
        evaluate: Scores a model on data that no learner sees, higher is better.
            Decides nothing.
        method: How M′ is made from M: a name from `colearn.methods`, or a method.
        ledger: What counts the votes: "local", or "evm" for the smart contract, on a
            chain in this process. The learning is the same; a folder then holds the
            chain's transactions.
        terms: What else makes this experiment this one, such as its data; a folder
            with other terms is refused.

    Raises:
        LearnerError: A learner lacks a method of the interface, or takes part twice.
        SchemaMismatch: Two learners' models differ in a tensor.
        ConfigError: Fewer than two learners, or a folder of another experiment.

    Example:
        ```python
        result = Collective(learners, rule=Rule(threshold="2/3"), seed=1).run(rounds=20)
        print(result.scores[-1])
        ```
    """

    def __init__(
        self,
        learners: Sequence[MachineLearningInterface] | Mapping[str, MachineLearningInterface],
        *,
        rule: Rule | None = None,
        seed: int = 0,
        folder: str | Path | None = None,
        executor: Executor | None = None,
        evaluate: Callable[[Weights], float] | None = None,
        method: str | Method = PLAIN,
        ledger: str = LOCAL,
        terms: Mapping[str, str] | None = None,
    ) -> None:
        named = _named(learners)
        if rule is not None and not isinstance(rule, Rule):
            raise ConfigError(f"rule {rule!r:.40} is no rule: give Rule(threshold=…)")
        if type(seed) is not int or seed < 0:
            raise ConfigError(f"seed {seed!r:.40} is refused: it must be a whole number, 0 or more")
        schema = _check_learners(named)
        if isinstance(method, str):
            method = named_method(method)
        check_merges(method, schema)
        initial = next(iter(named.values())).mli_get_current_weights()
        experiment = Experiment(
            members=tuple(named),
            initial=_put_initial(WeightsStore(MemoryStore(), schema), initial),
            schema=schema.digest,
            rule=rule or Rule(),
            method=method.name,
            terms={"seed": str(seed), **(terms or {})},
        )
        self._keep_all = folder is not None
        self._evaluate = evaluate
        self._map = map if executor is None else executor.map
        with ExitStack() as opened:
            store: Store = MemoryStore()
            board_file = None
            if folder is not None:
                folder = _made(Path(folder))
                board_file = folder / BOARD_FILE
            self.ledger = _ledger(ledger, experiment, folder)
            opened.callback(self.ledger.close)
            signer = None if isinstance(self.ledger, LocalLedger) else self.ledger.signer
            self._board = opened.enter_context(LocalBoard(experiment, board_file))
            if folder is not None:
                store = DirectoryStore(folder / STORE_FOLDER)
            store.put((encode(schema),))
            self._weights = WeightsStore(store, schema)
            _put_initial(self._weights, initial)
            self._course = None
            if method.name != PLAIN:
                self._course = Course(method, self.ledger, self._weights, signer)
            self._participants = [
                Participant(
                    name,
                    learner,
                    ledger=self.ledger,
                    weights=self._weights,
                    seed=seed,
                    board=self._board,
                    course=self._course,
                    signer=signer,
                    show_scores=True,
                )
                for name, learner in named.items()
            ]
            self._rounds: list[Round] = []
            self._votes: defaultdict[int, dict[str, Choice]] = defaultdict(dict)
            self._seen = 0
            self._bytes_moved = 0
            self._up_to_date = frozenset(named)
            self._initial_score = math.nan
            if evaluate is not None:
                self._initial_score = evaluate(self._weights.get(experiment.initial))
            for decision in self.ledger.decisions():
                self._close(decision, math.nan)
            self._files = opened.pop_all()

    @property
    def members(self) -> tuple[str, ...]:
        """The learners' names, in join order."""
        return tuple(participant.member for participant in self._participants)

    @property
    def result(self) -> Result:
        """All rounds so far and the current weights."""
        return Result(
            members=self.members,
            rounds=tuple(self._rounds),
            weights=self.weights_of(self.ledger.view().current),
            initial_score=self._initial_score,
            bytes_moved=self._bytes_moved,
        )

    @property
    def proposed(self) -> Digest | None:
        """The proposal that the live round votes on; None before there is one."""
        state, notes, _ = seen(self._participants[0])
        return state.proposal or candidate(state, notes)

    def weights_of(self, proposal: Digest) -> Weights:
        """The weights of a proposal; without a folder only the live ones are held.

        Raises:
            BlobMissing: They are not held.
        """
        return self._weights.get(proposal)

    def run(self, rounds: int) -> Result:
        """Run that many more rounds and return all there have been."""
        for _ in self.play(rounds):
            pass
        return self.result

    def play(self, rounds: int) -> Iterator[Round]:
        """Run that many more rounds, and yield each as it closes."""
        if type(rounds) is not int or rounds < 0:
            raise ConfigError(f"rounds must be a whole number, 0 or more; got {rounds!r}")
        goal = len(self._rounds) + rounds
        began = time.perf_counter()
        try:
            while len(self._rounds) < goal:
                for decision in self.ledger.decisions(len(self._rounds)):
                    yield self._close(decision, time.perf_counter() - began)
                    began = time.perf_counter()
                if len(self._rounds) < goal and not step_together(self._participants, self._map):
                    self._wait()
        finally:
            self._accept()

    def close(self) -> None:
        """Let go of the folder's files; another process may then go on."""
        self._files.close()

    def __enter__(self) -> Self:
        """Use as a context manager to close the folder's files."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close."""
        self.close()

    def _wait(self) -> None:
        """Let time pass until somebody has something to do."""
        state, notes, _ = seen(self._participants[0])
        until = min(each.duty.wakes(state, notes) for each in self._participants)
        self.ledger.wait(len(self.ledger.events()), until)

    def _accept(self) -> None:
        """Let everybody take over what was accepted last."""
        state = self.ledger.view()
        for participant in self._participants:
            if participant.lacks(state):
                participant.work(Action.ACCEPT, state)

    def _close(self, decision: Decision, seconds: float) -> Round:
        """Describe a round that has closed, and let go of the weights that lost."""
        if self._course is not None:
            self._course.follow()
        for entry in self.ledger.events(self._seen):
            self._seen += 1
            if isinstance(entry.event, Vote):
                self._votes[entry.event.round][entry.event.sender] = entry.event.choice
        model, score = self.ledger.experiment.initial, self._initial_score
        if self._rounds:
            model, score = self._rounds[-1].model, self._rounds[-1].score
        loser = decision.proposal
        if decision.outcome is Outcome.ACCEPTED and decision.proposal is not None:
            loser, model = model, decision.proposal
            if self._evaluate is not None:
                score = self._evaluate(self._weights.get(model))
        notes = self._board.read(decision.round)
        updates = [note for note in notes if isinstance(note, Update)]
        if decision.proposal is not None:
            self._bytes_moved += self._moved(decision, self._weights.proposal(decision.proposal))
        if loser not in (None, model):
            (self._weights.forget if self._keep_all else self._weights.drop)(loser)
        (self._weights.forget_updates if self._keep_all else self._weights.drop_updates)(updates)
        self._rounds.append(
            Round(
                decision=decision,
                votes=self._votes.pop(decision.round, {}),
                scores={note.sender: note for note in notes if isinstance(note, Scores)},
                model=model,
                score=score,
                seconds=seconds,
            )
        )
        return self._rounds[-1]

    def _moved(self, decision: Decision, proposal: Proposal) -> int:
        """What a proposal's weights would cost on a network, in bytes."""
        if proposal.merged:  # all fetch the updates and make M′ of them, to follow the method
            return sum(each.size_bytes for each in proposal.merged) * (len(decision.members) - 1)
        at_work = decision.at_work
        behind = at_work - self._up_to_date  # who rested, and fetches M first
        if decision.outcome is Outcome.ACCEPTED:
            self._up_to_date = at_work
        else:
            self._up_to_date |= at_work
        return proposal.size_bytes * (len(at_work) - 1 + len(behind))


def _named(
    learners: Sequence[MachineLearningInterface] | Mapping[str, MachineLearningInterface],
) -> dict[str, MachineLearningInterface]:
    if isinstance(learners, Mapping):
        return dict(learners)
    if not isinstance(learners, Sequence):
        raise ConfigError(
            f"learners is a {type(learners).__name__}: give a list of learners, "
            "or a dict of them by name"
        )
    return {f"learner-{index}": learner for index, learner in enumerate(learners)}


def _made(folder: Path) -> Path:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as reason:
        raise ConfigError(f"folder {folder} cannot be made: {reason.strerror}") from None
    return folder


def _put_initial(weights: WeightsStore, initial: Weights) -> Digest:
    return weights.put(initial, round_index=0, sender="", base="")


def _check_learners(learners: Mapping[str, MachineLearningInterface]) -> Schema:
    """Check that all have the interface's methods and one schema, and return it."""
    check_members(tuple(learners))
    for name, learner in learners.items():
        if isinstance(learner, type):
            raise LearnerError(f"{name!r} is the class {learner.__name__}: give an instance of it")
        missing = [method for method in _METHODS if not callable(getattr(learner, method, None))]
        if missing:
            raise LearnerError(
                f"{name!r} ({type(learner).__name__}) lacks {', '.join(missing)}: "
                "a learner has the four methods of colearn.MachineLearningInterface"
            )
    if len({id(learner) for learner in learners.values()}) < len(learners):
        raise LearnerError("one learner takes part twice: each member needs a learner of its own")
    (first, schema), *others = [(name, _schema(name, each)) for name, each in learners.items()]
    for name, own in others:
        if difference := schema.difference(own):
            raise SchemaMismatch(
                f"{first!r} and {name!r} do not have the same model: {difference}; "
                "all learners need the same tensors"
            )
    return schema


def _schema(name: str, learner: MachineLearningInterface) -> Schema:
    """What a learner says its schema is; else that of its current weights."""
    if isinstance(learner, Schematic):
        return learner.schema()
    weights = learner.mli_get_current_weights()
    if not isinstance(weights, Weights):
        raise LearnerError(
            f"{name!r}: mli_get_current_weights returned a {type(weights).__name__}; "
            "return colearn.Weights({name: array, ...})"
        )
    return Schema.of(weights.weights)


def _ledger(
    name: str, experiment: Experiment, folder: Path | None
) -> LocalLedger | SimulatedLedger:
    """The ledger of that name, with its file in the folder, if there is one."""
    if name not in LEDGER_FILES:
        raise ConfigError(
            f"no ledger is called {name!r:.40}; choose one of {', '.join(LEDGER_FILES)}"
        )
    path = None if folder is None else folder / LEDGER_FILES[name]
    for other, file in LEDGER_FILES.items():
        if folder is not None and other != name and holds_records(folder / file):
            raise ConfigError(
                f"{folder} holds a run with the ledger {other}: go on with that, "
                "or choose another folder"
            )
    if name == EVM:
        from colearn.ledgers.simulated import SimulatedLedger  # noqa: PLC0415 - brings web3

        return SimulatedLedger(experiment, path)
    if path is None or not holds_records(path):
        return LocalLedger(experiment, path)
    ledger = LocalLedger.open(path)
    if differ := difference(experiment, ledger.experiment):
        ledger.close()
        raise ConfigError(
            f"{path} holds another experiment: {differ}; choose another folder, "
            "or the learners, rule, seed and terms it was begun with"
        )
    return ledger
