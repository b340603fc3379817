"""What a simulated run is compared with, trained in processes of their own.

Each learner alone, all data in one place, federated averaging, and the plain protocol,
each with as much training as the collective's members.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from multiprocessing.connection import Connection
from threading import Thread

import msgspec

from colearn.baselines import Alone, federated_averaging, train_alone
from colearn.collective import LOCAL
from colearn.errors import ColearnError
from colearn.methods import method
from colearn.records import PLAIN
from colearn.report.result import BEST_SOLO, FEDAVG, PLAIN_PROTOCOL, POOLED, Comparison
from colearn.simulation import Settings, attackers_of, build, simulate


class Alternatives:
    """Trains in other ways, in processes of their own.

    They work from the start, beside the collective, and without noise: who keeps data and
    models at home needs none, so that what privacy costs can be seen. `close` ends them.
    """

    def __init__(self, settings: Settings, rounds: int) -> None:
        settings = msgspec.structs.replace(settings, privacy=None)
        attacking = attackers_of(settings)
        honest = (f"{index}" for index in range(settings.learners) if index not in attacking)
        jobs = [*(PLAIN_PROTOCOL, FEDAVG)[: 0 if settings.method == PLAIN else 2], POOLED, *honest]
        count = min(len(jobs), os.cpu_count() or 1)
        self._workers = [_Worker(settings, rounds, jobs[first::count]) for first in range(count)]

    def compare(self, collective: float) -> Comparison:
        """Wait for them, and compare the collective's score with theirs.

        Raises:
            ColearnError: A process ended before its time.
        """
        done = {job: alone for worker in self._workers for job, alone in worker.results()}
        others = {name: done.pop(name) for name in (PLAIN_PROTOCOL, FEDAVG, POOLED) if name in done}
        solo = {f"learner-{index}": done[index] for index in sorted(done, key=int)}
        comparison = Comparison(
            collective=collective,
            solo={name: alone.score for name, alone in solo.items()},
            others={name: alone.score for name, alone in others.items()},
            curves={name: alone.curve for name, alone in others.items()},
        )
        best = {BEST_SOLO: solo[comparison.best_solo].curve}
        return msgspec.structs.replace(comparison, curves=best | comparison.curves)

    def close(self) -> None:
        """End the processes, whether they are done or not."""
        for worker in self._workers:
            worker.close()


class _Worker:
    """A process that does some jobs, one after the other."""

    def __init__(self, settings: Settings, rounds: int, jobs: Sequence[str]) -> None:
        context = multiprocessing.get_context("spawn")
        self._jobs = jobs
        self._receiver, sender = context.Pipe(duplex=False)
        self._process = context.Process(
            target=_work, args=(sender, settings, rounds, jobs), daemon=True
        )
        with _interrupts_ignored():
            self._process.start()
        sender.close()

    def results(self) -> Iterator[tuple[str, Alone]]:
        for job in self._jobs:
            try:
                yield job, self._receiver.recv()
            except EOFError:
                self._process.join()
                raise ColearnError(
                    "a process that trains in other ways ended with status "
                    f"{self._process.exitcode}; the run itself is kept: colearn resume goes on"
                ) from None

    def close(self) -> None:
        self._process.terminate()
        self._process.join()
        self._receiver.close()


def _work(sender: Connection, settings: Settings, rounds: int, jobs: Sequence[str]) -> None:
    Thread(target=_end_with_parent, daemon=True).start()
    for job in jobs:
        sender.send(_JOBS.get(job, _alone)(settings, rounds, job))


def _alone(settings: Settings, rounds: int, job: str) -> Alone:
    setting = build(settings)
    learner = setting.pooled if job == POOLED else setting.learners[int(job)]
    evaluate = partial(learner.evaluate, samples=setting.test)
    return train_alone(learner, rounds, evaluate, seed=settings.seed)


def _fedavg(settings: Settings, rounds: int, _: str) -> Alone:
    simulation = simulate(msgspec.structs.replace(settings, ledger=LOCAL))
    evaluate = partial(simulation.setting.pooled.evaluate, samples=simulation.setting.test)
    curve = federated_averaging(simulation.learners, rounds, evaluate, seed=settings.seed)
    return Alone(curve[-1], rounds - 1, curve)


def _plain(settings: Settings, rounds: int, _: str) -> Alone:
    """The plain protocol with the same training in total: one learner trains a round, not all."""
    times = settings.learners if method(settings.method or PLAIN).all_train else 1
    plain = msgspec.structs.replace(settings, method=PLAIN, vote=None, ledger=LOCAL)
    result = simulate(plain).collective.run(rounds * times)
    curve = tuple(result.scores[times - 1 :: times])
    return Alone(curve[-1], rounds - 1, curve)


_JOBS = {PLAIN_PROTOCOL: _plain, FEDAVG: _fedavg}


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
