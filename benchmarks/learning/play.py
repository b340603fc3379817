"""One run of one cell: the product's methods, votes and tally over batched learners."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from benchmarks.learning import attacks, network
from benchmarks.learning.baselines import FEDPROX, find
from benchmarks.learning.cells import Cell
from benchmarks.learning.data import shares
from colearn.committee import workers
from colearn.compact import compact, restored
from colearn.kinds import trained
from colearn.methods import METHODS
from colearn.protocols import Method, Tensors, Trained
from colearn.records import PLAIN, Experiment, Rule, digest_of
from colearn.rules import Outcome, start, tally
from colearn.voting import policy

BATCH = 32


class Run:
    """A cell, a seed, and all that a run of them goes through."""

    def __init__(self, cell: Cell, seed: int, method: Method | None = None) -> None:
        self.cell = cell
        self.method = method or find(cell.method, cell.liars)
        self.seed = digest_of((str(seed).encode(),))
        self.rng = np.random.default_rng((seed, 3))
        self.held = shares(cell, seed)
        liars = self.rng.permutation(cell.learners)[: round(cell.liars * cell.learners)]
        self.liars = frozenset(liars.tolist())
        self.members = [f"learner-{index}" for index in range(cell.learners)]
        if cell.attack == "gone":
            self._remove_liars()
        self.how = network.Training(
            cell.learning_rate, cell.optimiser, FEDPROX if cell.method == "fedprox" else 0.0
        )
        self.queues = [np.zeros(0, np.intp) for _ in self.members]
        self.model: Tensors = network.initial(self.held.x.shape[1], seed)
        self.state: Tensors = {}
        self.accepted: list[bool] = []
        self.left: list[tuple[Trained, Tensors]] = []
        self.x, self.y = self.held.x, self.held.y
        if self.liars:
            self._poison()

    def play(self) -> dict[str, Any]:
        """Run all rounds; return the curve of test accuracies and what else was seen."""
        began = time.perf_counter()
        curve = [self.accuracy()]
        for index in range(self.cell.rounds):
            self.round(index)
            curve.append(self.accuracy() if self.accepted[-1] else curve[-1])
        outcome = {
            "curve": [round(float(each), 5) for each in curve],
            "accepted": sum(self.accepted) / len(self.accepted),
            "seconds": round(time.perf_counter() - began, 3),
        }
        if self.cell.attack == "backdoor":
            outcome["backdoor"] = self.backdoor()
        return outcome

    def round(self, index: int) -> None:
        """One round: train, merge, vote, decide."""
        count = len(self.members)
        at_work = workers(Rule(committee=self.cell.committee), self.seed, index, count)
        present = [place for place in range(count) if at_work >> place & 1]
        proposer = index % count
        updates = self.train(self._trainers(present, proposer))
        if self.cell.slow:
            updates = self._in_time(updates, odd=bool(index % 2))
        if self.cell.omits and proposer in self.liars:
            updates = self._chosen(updates)
        proposal = self.method.merge(self.model, self.state, updates)
        accept = not self.cell.policy or self.vote(present, proposer, proposal)
        self.state = self.method.advance(
            self.model, self.state, updates, proposal if accept else None
        )
        self.accepted.append(accept)
        if accept:
            self.model = proposal

    def train(self, trainers: list[int]) -> list[Trained]:
        """What each of them publishes."""
        told = [self.method.offset(self.state, self.members[index]) for index in trainers]
        names = trained(self.model)
        offsets = None
        if any(each is not None for each in told):
            none = {name: np.zeros_like(self.model[name]) for name in names}
            offsets = network.stacked([each or none for each in told])
        batches = np.stack([self.batches(index) for index in trainers])
        start = network.stacked([self.model] * len(trainers))
        after = network.train(start, offsets, (self.x, self.y), batches, self.how)
        if self.liars:
            after = self._lied(trainers, after)
        return [
            Trained(
                self.members[index],
                self._sent({name: after[name][place] for name in after}),
                self.cell.steps,
                len(self.held.train[index]),
            )
            for place, index in enumerate(trainers)
        ]

    def _sent(self, tensors: Tensors) -> Tensors:
        """An update as the others find it: our own methods' are rounded on the way."""
        if self.method.name == PLAIN or self.method.name not in METHODS:
            return tensors
        return restored(self.model, compact(self.model, tensors))

    def vote(self, present: list[int], proposer: int, proposal: Tensors) -> bool:
        """The decision: votes of those present, counted by the product's own rule."""
        one = policy(self.cell.policy)
        measure = network.losses if one.metric == "loss" else network.errors
        honest: dict[int, bool | None] = {}
        for place, index in enumerate(present):
            if index != proposer and index not in self.liars:
                rows = self.held.vote[index]
                x, y = self.held.x[rows], self.held.y[rows]
                honest[place] = one.vote(measure(self.model, x, y), measure(proposal, x, y), y)
        votes = honest | {
            place: self._ballot(list(honest.values()), proposer)
            for place, index in enumerate(present)
            if index in self.liars and index != proposer
        }
        approve = sum(1 << place for place, vote in votes.items() if vote is True)
        reject = sum(1 << place for place, vote in votes.items() if vote is False)
        opened = start(
            Experiment(
                members=tuple(self.members[index] for index in present), initial="", schema=""
            ),
            now=0,
        )
        counted = msgspec.structs.replace(opened, approve=approve, reject=reject)
        return tally(counted) is Outcome.ACCEPTED

    def _ballot(self, honest: list[bool | None], proposer: int) -> bool | None:
        """How every attacker votes, knowing the honest votes."""
        if self.cell.ballots == "copied":
            return honest[0]
        if self.cell.ballots == "colluding":
            return proposer in self.liars
        return 2 * sum(vote is True for vote in honest) <= len(honest)

    def accuracy(self) -> float:
        """Of the current model, on the test set."""
        return float(network.accuracy(self.model, self.held.x_test, self.held.y_test))

    def backdoor(self) -> float:
        """Share of triggered test images, of other classes, that are taken for the target."""
        others = self.held.y_test != attacks.TARGET
        guesses = network.probabilities(
            self.model, attacks.triggered(self.held.x_test[others])
        ).argmax(axis=-1)
        return float((guesses == attacks.TARGET).mean())

    def _trainers(self, present: list[int], proposer: int) -> list[int]:
        """Who trains in a round."""
        if not self.method.all_train:
            return [proposer]
        count = round((1 - self.cell.absent) * len(present))
        if count == len(present):
            return present
        return sorted(self.rng.permutation(present)[:count].tolist())

    def _in_time(self, updates: list[Trained], *, odd: bool) -> list[Trained]:
        """What there is to merge: of the slow, in odd rounds, their moves of the round before."""
        quick = len(updates) - round(self.cell.slow * len(updates))
        left, self.left = self.left, [(one, compact(self.model, one.tensors)) for one in updates]
        if not (odd and self.cell.late):
            return updates[:quick]
        return updates[:quick] + [
            one._replace(tensors=restored(self.model, sent)) for one, sent in left[quick:]
        ]

    def _chosen(self, updates: list[Trained]) -> list[Trained]:
        """What an attacker merges: fewer than a third of all may be left out, the honest."""
        lying = {self.members[index] for index in self.liars}
        honest = [place for place, one in enumerate(updates) if one.member not in lying]
        most = min((len(updates) - 1) // 3, len(honest))
        left = set(self.rng.permutation(honest)[:most].tolist())
        return [one for place, one in enumerate(updates) if place not in left]

    def _remove_liars(self) -> None:
        """Go on as if the attackers had never come."""
        stay = [index for index in range(len(self.members)) if index not in self.liars]
        self.members = [self.members[index] for index in stay]
        self.held = replace(
            self.held,
            train=[self.held.train[index] for index in stay],
            vote=[self.held.vote[index] for index in stay],
        )
        self.liars = frozenset()

    def batches(self, index: int) -> NDArray[np.intp]:
        """The next mini-batches of a learner: pass after pass over its samples, shuffled."""
        need = self.cell.steps * BATCH
        while len(self.queues[index]) < need:
            self.queues[index] = np.concatenate(
                [self.queues[index], self.rng.permutation(self.held.train[index])]
            )
        rows, self.queues[index] = np.split(self.queues[index], [need])
        return rows.reshape(self.cell.steps, BATCH)

    def _poison(self) -> None:
        """Change what attackers train on; voting samples stay apart from these."""
        x, y = self.x.copy(), self.y.copy()
        last = int(y.max())
        for index in self.liars:
            rows = self.held.train[index]
            x[rows], y[rows] = attacks.poisoned(self.cell.attack, x[rows], y[rows], last)
        self.x, self.y = x, y

    def _lied(self, trainers: list[int], after: network.Stack) -> network.Stack:
        lying = np.array([index in self.liars for index in trainers])
        if not lying.any() or lying.all():
            return after
        names = trained(self.model)
        moves = np.concatenate(
            [(after[name] - self.model[name]).reshape(len(trainers), -1) for name in names], axis=1
        ).astype(np.float64)
        moves[lying] = attacks.ATTACKS[self.cell.attack](
            attacks.Scene(moves[~lying], moves[lying], self.cell.strength, self.rng)
        )
        result, start = {}, 0
        for name in names:
            size = self.model[name].size
            part = moves[:, start : start + size].reshape(after[name].shape)
            result[name] = (self.model[name] + part).astype(np.float32)
            start += size
        return result


def play(cell: Cell, seed: int, method: Method | None = None) -> dict[str, Any]:
    """Run one cell with one seed; ``method`` stands in for the one it names."""
    if cell.method == "solo":
        return alone(Run(replace(cell, method="plain"), seed))
    if cell.method == "pooled":
        run = Run(replace(cell, method="plain"), seed)
        run.held.train[:] = [np.concatenate(run.held.train)]
        return alone(run)
    return Run(cell, seed, method).play()


def alone(run: Run) -> dict[str, Any]:
    """Learners that never meet: the mean and the best of their test accuracies by round."""
    began = time.perf_counter()
    learners = range(len(run.held.train))
    weights = network.stacked([run.model] * len(learners))
    curve, best = [run.accuracy()], [run.accuracy()]
    for _ in range(run.cell.rounds):
        batches = np.stack([run.batches(index) for index in learners])
        weights = network.train(weights, None, (run.x, run.y), batches, run.how)
        reached = network.accuracy(weights, run.held.x_test, run.held.y_test)
        curve.append(round(float(reached.mean()), 5))
        best.append(round(float(reached.max()), 5))
    return {"curve": curve, "best": best, "seconds": round(time.perf_counter() - began, 3)}
