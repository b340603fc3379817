"""A task, split over learners, some of them attackers: what the demo runs.

Also what the collective is compared with: each learner alone and all data pooled,
at the same number of training steps.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from threading import Thread
from typing import Any

import msgspec
from threadpoolctl import threadpool_limits

from colearn import tasks
from colearn.baselines import Alone, train_alone
from colearn.collective import Collective
from colearn.errors import ColearnError, ConfigError
from colearn.ml_interface import MachineLearningInterface
from colearn.records import MAX_MEMBERS, Rule, fraction
from colearn.report.result import Comparison
from colearn.tasks import Setting, Task
from colearn.testing.attackers import Colluder, LazyVoter, Noise, Pact, SignFlip

LABEL_FLIP = "label-flip"
_SEEDS = 2**32  # what scikit-learn takes
ATTACKS: Mapping[str, Callable[[MachineLearningInterface, int, Pact], MachineLearningInterface]] = {
    LABEL_FLIP: lambda learner, seed, pact: learner,
    "sign-flip": lambda learner, seed, pact: SignFlip(learner),
    "noise": lambda learner, seed, pact: Noise(learner, sigma=1.0, seed=seed),
    "lazy-voter": lambda learner, seed, pact: LazyVoter(learner),
    "colluding-voter": lambda learner, seed, pact: Colluder(SignFlip(learner), pact),
}
"""By name, what wraps an attacker's learner. Label flipping is done to its data."""


class Settings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """All that determines a simulated run; the same settings give the same digests.

    None stands for the task's own choice. The fields are the demo's options.
    """

    task: str = "digits"
    learner: str | None = None
    learners: int = 5
    rounds: int | None = None
    threshold: str = "1/2"
    vote: str = "loss"
    split: str = "iid"
    seed: int = 0
    learning_rate: float | None = None
    batch_size: int | None = None
    data_dir: str | None = None
    test_dir: str | None = None
    attackers: int = 0
    attack: str = LABEL_FLIP


@dataclass(frozen=True, slots=True)
class Simulation:
    """A collective ready to run, with the data behind it.

    Attributes:
        settings: With the task's own choices filled in.
        task: The task.
        setting: Learners, test samples, pooled learner.
        collective: The participants.
        attackers: Names of the members that attack.
    """

    settings: Settings
    task: Task
    setting: Setting
    collective: Collective
    attackers: tuple[str, ...]

    @property
    def rounds(self) -> int:
        """How many rounds it is meant to take."""
        return self.settings.rounds or self.task.rounds


def simulate(settings: Settings, folder: Path | None = None) -> Simulation:
    """Load the data, make the learners and their collective.

    Raises:
        ConfigError: A setting cannot be used, or the folder holds another run.
    """
    settings = resolved(settings)
    rule = Rule(threshold=fraction("threshold", settings.threshold))
    setting = _setting(settings)
    pact = Pact()
    wrap = _attack(settings)
    attacking = _attacking(settings)
    learners: dict[str, MachineLearningInterface] = {
        f"learner-{index}": wrap(learner, settings.seed, pact) if index in attacking else learner
        for index, learner in enumerate(setting.learners)
    }
    attackers = tuple(f"learner-{index}" for index in sorted(attacking))
    collective = Collective(
        learners,
        rule=rule,
        seed=settings.seed,
        folder=folder,
        evaluate=partial(setting.pooled.evaluate, samples=setting.test),
        terms=_terms(settings),
    )
    state = collective.ledger.view()
    if state.proposal is not None and state.proposer in attackers:
        pact.add(collective.weights_of(state.proposal))
    return Simulation(
        settings=settings,
        task=tasks.get(settings.task, settings.learner),
        setting=setting,
        collective=collective,
        attackers=attackers,
    )


def resolved(settings: Settings) -> Settings:
    """Fill in the task's own number of rounds, and check what can be checked without data.

    Raises:
        ConfigError: A setting cannot be used.
    """
    task = tasks.get(settings.task, settings.learner)
    rounds = task.rounds if settings.rounds is None else settings.rounds
    if rounds < 1:
        raise ConfigError(f"{rounds} rounds are refused: a run has at least 1")
    if not 2 <= settings.learners <= MAX_MEMBERS:
        raise ConfigError(
            f"{settings.learners} learners are refused: a collective has 2 to {MAX_MEMBERS}"
        )
    if not 0 <= settings.seed < _SEEDS:
        raise ConfigError(f"seed {settings.seed} is refused: it must be 0 to {_SEEDS - 1}")
    if settings.attack != LABEL_FLIP and not settings.attackers:
        raise ConfigError(f"the attack {settings.attack} needs attackers: say how many, 1 or more")
    return msgspec.structs.replace(settings, rounds=rounds)


class Alternatives:
    """Trains each learner alone, and one on all data, in processes of their own.

    They work from the start, beside the collective. `close` ends them.
    """

    def __init__(self, settings: Settings, rounds: int) -> None:
        attacking = _attacking(settings)
        jobs = [None, *(index for index in range(settings.learners) if index not in attacking)]
        count = min(len(jobs), os.cpu_count() or 1)
        self._workers = [_Worker(settings, rounds, jobs[first::count]) for first in range(count)]

    def compare(self, collective: float) -> Comparison:
        """Wait for them, and compare the collective's score with theirs.

        Raises:
            ColearnError: A process ended before its time.
        """
        done = {index: alone for worker in self._workers for index, alone in worker.results()}
        pooled = done.pop(None)
        solo = {f"learner-{index}": alone for index, alone in sorted(done.items())}
        comparison = Comparison(
            collective=collective,
            solo={name: alone.score for name, alone in solo.items()},
            pooled=pooled.score,
            solo_curve=(),
            pooled_curve=pooled.curve,
        )
        curve = solo[comparison.best_solo].curve
        return msgspec.structs.replace(comparison, solo_curve=curve)

    def close(self) -> None:
        """End the processes, whether they are done or not."""
        for worker in self._workers:
            worker.close()


class _Worker:
    """A process that trains some learners alone, one after the other; None is the pooled one."""

    def __init__(self, settings: Settings, rounds: int, jobs: Sequence[int | None]) -> None:
        context = multiprocessing.get_context("spawn")
        self._jobs = jobs
        self._receiver, sender = context.Pipe(duplex=False)
        self._process = context.Process(
            target=_train_alone, args=(sender, settings, rounds, jobs), daemon=True
        )
        with _interrupts_ignored():
            self._process.start()
        sender.close()

    def results(self) -> Iterator[tuple[int | None, Alone]]:
        for job in self._jobs:
            try:
                yield job, self._receiver.recv()
            except EOFError:
                self._process.join()
                raise ColearnError(
                    "a process that trains learners alone ended with status "
                    f"{self._process.exitcode}; the run itself is kept: colearn resume goes on"
                ) from None

    def close(self) -> None:
        self._process.terminate()
        self._process.join()
        self._receiver.close()


def _train_alone(
    sender: Connection, settings: Settings, rounds: int, jobs: Sequence[int | None]
) -> None:
    Thread(target=_end_with_parent, daemon=True).start()
    setting = _setting(settings)
    for job in jobs:
        learner = setting.pooled if job is None else setting.learners[job]
        evaluate = partial(learner.evaluate, samples=setting.test)
        sender.send(train_alone(learner, rounds, evaluate, seed=settings.seed))


def _end_with_parent() -> None:
    """End this process as soon as its parent has, however that ended."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def settings_from(values: Mapping[str, Any]) -> Settings:
    """Settings from a run's file; a `ConfigError` names what does not fit."""
    try:
        return msgspec.convert(values, Settings)
    except msgspec.ValidationError as reason:
        raise ConfigError(f"these are not settings of a run: {reason}") from None


def _attack(
    settings: Settings,
) -> Callable[[MachineLearningInterface, int, Pact], MachineLearningInterface]:
    try:
        return ATTACKS[settings.attack]
    except KeyError:
        raise ConfigError(
            f"no attack is called {settings.attack!r}; choose one of {', '.join(ATTACKS)}"
        ) from None


def _attacking(settings: Settings) -> frozenset[int]:
    """Which learners attack: the last ones."""
    if not 0 <= settings.attackers < settings.learners:
        raise ConfigError(
            f"{settings.attackers} attackers of {settings.learners} learners: "
            f"take 0 to {settings.learners - 1}, so that somebody honest is left"
        )
    return frozenset(range(settings.learners - settings.attackers, settings.learners))


def _setting(settings: Settings) -> Setting:
    setting = tasks.build(
        tasks.get(settings.task, settings.learner),
        learners=settings.learners,
        split=settings.split,
        seed=settings.seed,
        learning_rate=settings.learning_rate,
        batch_size=settings.batch_size,
        policy=settings.vote,
        data_dir=_path(settings.data_dir),
        test_dir=_path(settings.test_dir),
        flipped=_attacking(settings) if settings.attack == LABEL_FLIP else frozenset(),
    )
    threadpool_limits(1)  # small products, and others train beside: more threads only cost time
    return setting


def _terms(settings: Settings) -> dict[str, str]:
    """What makes the same members another experiment; how long it runs and from where does not."""
    free = ["rounds", "threshold", "seed", "data_dir", "test_dir"]
    if settings.learner is None:
        free.append("learner")
    return {
        name: str(value)
        for name, value in msgspec.structs.asdict(settings).items()
        if name not in free
    }


def _path(text: str | None) -> Path | None:
    return None if text is None else Path(text)


@contextmanager
def _interrupts_ignored() -> Iterator[None]:
    """Let processes that are started meanwhile inherit that Ctrl-C is not for them."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
