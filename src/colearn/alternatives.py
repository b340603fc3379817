"""Ways to learn, side by side, each trained in a process of its own.

The protocol under any method, federated averaging, all data in one place, and each
learner alone, on the same data, with as much training. A demo is compared with them, and
the laboratory compares them with each other.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from multiprocessing.connection import Connection, wait
from threading import Thread
from typing import Any, NamedTuple

import msgspec

from colearn.baselines import federated_averaging, train_alone
from colearn.collective import LOCAL
from colearn.errors import ColearnError
from colearn.methods import method
from colearn.records import PLAIN
from colearn.report.result import BEST_SOLO, FEDAVG, POOLED, Comparison
from colearn.report.trainings import SOLO, Training
from colearn.simulation import Settings, attackers_of, build, resolved, simulate


class Job(NamedTuple):
    """One way to learn, to be tried.

    Attributes:
        settings: Those of the run; where it is one of the protocol, with its method.
        way: A method's name, ``FedAvg``, ``pooled``, or a learner's name.
        turns: How many a learner takes at most, alone or in a collective.
        rounds: How many rounds of the protocol make a turn.
    """

    settings: Settings
    way: str
    turns: int
    rounds: int = 1


def of_method(settings: Settings, name: str, turns: int) -> Job:
    """The protocol under a method, for so many turns of every learner.

    Where one learner trains a round, as many rounds make a turn as learners train in one of
    the others: all, or those drawn and the proposer.
    """
    chosen = msgspec.structs.replace(
        settings, method=name, rounds=turns, privacy=None, ledger=LOCAL
    )
    drawn = settings.committee or settings.learners
    trainers = min(drawn + 1, settings.learners)
    return Job(resolved(chosen), name, turns, 1 if method(name).all_train else trainers)


def compared(settings: Settings, turns: int, *, average: bool) -> list[Job]:
    """What needs no protocol: FedAvg if asked for, all data pooled, each honest learner alone."""
    attacking = attackers_of(settings)
    honest = [f"{SOLO}{index}" for index in range(settings.learners) if index not in attacking]
    bare = msgspec.structs.replace(settings, privacy=None, ledger=LOCAL)
    return [Job(bare, way, turns) for way in (*([FEDAVG] if average else []), POOLED, *honest)]


class Trainings:
    """Does jobs in processes of their own, which take one after the other. `close` ends them."""

    def __init__(self, jobs: Sequence[Job]) -> None:
        context = multiprocessing.get_context("spawn")
        self._following = context.Value("i", 0)  # kept: it ends with what holds it
        self._workers: dict[Connection, Any] = {}
        for _ in range(min(len(jobs), os.cpu_count() or 1)):
            receiver, sender = context.Pipe(duplex=False)
            process = context.Process(
                target=_work, args=(sender, jobs, self._following), daemon=True
            )
            with _interrupts_ignored():
                process.start()
            sender.close()
            self._workers[receiver] = process

    def __iter__(self) -> Iterator[Training]:
        """Give what came of each job, as they are done.

        Raises:
            ColearnError: A job failed, or a process ended before its time.
        """
        working = dict(self._workers)
        while working:
            ready = wait(list(working))
            for receiver in [each for each in working if each in ready]:
                try:
                    done = receiver.recv()
                except EOFError:
                    process = working.pop(receiver)
                    process.join()
                    if process.exitcode:
                        raise ColearnError(
                            "a process that trains in other ways ended with status "
                            f"{process.exitcode}; what was done is kept: colearn resume goes on"
                        ) from None
                    continue
                if isinstance(done, ColearnError):
                    raise done
                yield done

    def close(self) -> None:
        """End the processes, whether they are done or not."""
        for receiver, process in self._workers.items():
            process.terminate()
            process.join()
            receiver.close()


class Alternatives:
    """What a demo is compared with.

    They are trained from the start, beside the collective, and without noise: who keeps
    data and models at home needs none, so that what privacy costs can be seen.
    """

    def __init__(self, settings: Settings, rounds: int) -> None:
        own = settings.method or PLAIN
        jobs = compared(settings, rounds, average=own != PLAIN)
        if own != PLAIN:
            plain = of_method(msgspec.structs.replace(settings, vote=None), PLAIN, rounds)
            jobs.insert(0, plain if method(own).all_train else plain._replace(rounds=1))
        self._ways = [job.way for job in jobs]
        self._trainings = Trainings(jobs)

    def compare(self, collective: float) -> Comparison:
        """Wait for them, and compare the collective's score with theirs.

        Raises:
            ColearnError: A process ended before its time.
        """
        done = {each.way: each for each in self._trainings}
        ordered = [done[way] for way in self._ways]
        solo = [each for each in ordered if each.way not in (PLAIN, FEDAVG, POOLED)]
        others = [each for each in ordered if each not in solo]
        comparison = Comparison(
            collective=collective,
            solo={each.way: each.score for each in solo},
            others={each.way: each.score for each in others},
            curves={each.way: each.curve for each in others},
        )
        best = {BEST_SOLO: done[comparison.best_solo].curve}
        return msgspec.structs.replace(comparison, curves=best | comparison.curves)

    def close(self) -> None:
        """End the processes."""
        self._trainings.close()


def _work(sender: Connection, jobs: Sequence[Job], following: Any) -> None:
    """Take the job that follows, until there is none."""
    Thread(target=_end_with_parent, daemon=True).start()
    for job in _taken(jobs, following):
        try:
            sender.send(_done(job))
        except ColearnError as reason:
            sender.send(reason)


def _taken(jobs: Sequence[Job], following: Any) -> Iterable[Job]:
    while True:
        with following.get_lock():
            index = following.value
            following.value += 1
        if index >= len(jobs):
            return
        yield jobs[index]


def _done(job: Job) -> Training:
    settings, seed = job.settings, job.settings.seed
    if job.way == FEDAVG:
        simulation = simulate(settings)
        evaluate = partial(simulation.setting.pooled.evaluate, samples=simulation.setting.test)
        curve = federated_averaging(simulation.learners, job.turns, evaluate, seed=seed)
        return Training(seed=seed, way=job.way, score=curve[-1], curve=curve)
    if job.way == settings.method:
        result = simulate(settings).collective.run(job.turns * job.rounds)
        return Training(
            seed=seed,
            way=job.way,
            score=result.final_score,
            curve=tuple(result.scores[job.rounds - 1 :: job.rounds]),
            accepted=result.accepted / len(result.rounds),
            bytes_moved=result.bytes_moved,
        )
    setting = build(settings)
    learner = (
        setting.pooled if job.way == POOLED else setting.learners[int(job.way.removeprefix(SOLO))]
    )
    alone = train_alone(
        learner, job.turns, partial(learner.evaluate, samples=setting.test), seed=seed
    )
    return Training(seed=seed, way=job.way, score=alone.score, curve=alone.curve)


def _end_with_parent() -> None:
    """End this process as soon as its parent has, however that ended."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


@contextmanager
def _interrupts_ignored() -> Iterator[None]:
    """Let processes that are started meanwhile inherit that Ctrl-C is not for them."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
