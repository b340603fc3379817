"""A task, split over learners, some of them attackers: what the demo runs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
from threadpoolctl import threadpool_limits

from colearn import tasks
from colearn.collective import LOCAL, Collective
from colearn.errors import ConfigError
from colearn.methods import committee_for
from colearn.methods import method as method_named
from colearn.ml_interface import MachineLearningInterface
from colearn.privacy.config import check_name
from colearn.records import MAX_MEMBERS, PLAIN, Rule, fraction
from colearn.tasks import Setting, Task
from colearn.tasks.own import is_factory, own_task
from colearn.testing.attackers import (
    Colluder,
    ContraryVoter,
    LazyVoter,
    Noise,
    Pact,
    SignFlip,
)

LABEL_FLIP = "label-flip"
_SEEDS = 2**32  # what scikit-learn takes
ATTACKS: Mapping[str, Callable[[MachineLearningInterface, int, Pact], MachineLearningInterface]] = {
    LABEL_FLIP: lambda learner, seed, pact: learner,
    "sign-flip": lambda learner, seed, pact: SignFlip(learner),
    "noise": lambda learner, seed, pact: Noise(learner, sigma=1.0, seed=seed),
    "lazy-voter": lambda learner, seed, pact: LazyVoter(learner),
    "contrary-voter": lambda learner, seed, pact: ContraryVoter(learner),
    "colluding-voter": lambda learner, seed, pact: Colluder(SignFlip(learner), pact),
}
"""By name, what wraps an attacker's learner. Label flipping is done to its data."""


class Settings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """All that determines a simulated run; the same settings give the same digests.

    None stands for what suits the task and the members. The fields are the demo's options.
    """

    task: str = "digits"
    learner: str | None = None
    learners: int = 5
    rounds: int | None = None
    method: str | None = None
    untrusted: bool = False
    threshold: str = "1/2"
    vote: str | None = None
    split: str = "dirichlet:0.3"
    seed: int = 0
    learning_rate: float | None = None
    batch_size: int | None = None
    data_dir: str | None = None
    test_dir: str | None = None
    attackers: int = 0
    attack: str = LABEL_FLIP
    ledger: str = LOCAL
    committee: int | None = None
    privacy: str | None = None


@dataclass(frozen=True, slots=True)
class Simulation:
    """A collective ready to run, with the data behind it.

    Attributes:
        settings: With the task's own choices filled in.
        task: The task.
        setting: Learners, test samples, pooled learner.
        learners: The members' learners by name, attackers' wrapped.
        collective: The participants.
        attackers: Names of the members that attack.
    """

    settings: Settings
    task: Task
    setting: Setting
    learners: Mapping[str, MachineLearningInterface]
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
    rule = rule_of(settings)
    setting = build(settings)
    if settings.privacy is not None:
        _protect(setting, settings, settings.privacy, folder)
    pact = Pact()
    wrap = _attack(settings)
    attacking = attackers_of(settings)
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
        method=settings.method or PLAIN,
        ledger=settings.ledger,
        terms=_terms(settings),
    )
    proposed = collective.proposed
    if proposed is not None and collective.ledger.view().proposer in attackers:
        pact.add(collective.weights_of(proposed))
    return Simulation(
        settings=settings,
        task=task_of(settings),
        setting=setting,
        learners=learners,
        collective=collective,
        attackers=attackers,
    )


def resolved(settings: Settings) -> Settings:
    """Fill in what suits the task and the members, and check what can be checked without data.

    Raises:
        ConfigError: A setting cannot be used.
    """
    task = task_of(settings)
    if settings.rounds is None and not task.rounds:
        raise ConfigError(f"how many rounds is {settings.task} to learn? say --rounds")
    method, vote, rounds = tasks.suited(
        task,
        trusted=not (settings.untrusted or settings.attackers),
        method=settings.method,
        vote=settings.vote,
        rounds=settings.rounds,
    )
    if rounds < 1:
        raise ConfigError(f"{rounds} rounds are refused: a run has at least 1")
    if not 2 <= settings.learners <= MAX_MEMBERS:
        raise ConfigError(
            f"{settings.learners} learners are refused: a collective has 2 to {MAX_MEMBERS}"
        )
    committee = settings.committee
    if committee is None:
        committee = committee_for(method, settings.learners)
    if committee >= settings.learners:
        raise ConfigError(
            f"a committee of {committee} cannot be drawn beside the proposer from "
            f"{settings.learners} learners: take {settings.learners - 1} or fewer, or 0 for all"
        )
    if not 0 <= settings.seed < _SEEDS:
        raise ConfigError(f"seed {settings.seed} is refused: it must be 0 to {_SEEDS - 1}")
    if settings.attack != LABEL_FLIP and not settings.attackers:
        raise ConfigError(f"the attack {settings.attack} needs attackers: say how many, 1 or more")
    if settings.privacy is not None:
        check_name(settings.privacy)
    settings = msgspec.structs.replace(
        settings, rounds=rounds, method=method, vote=vote, committee=committee
    )
    rule_of(settings)
    return settings


def rule_of(settings: Settings) -> Rule:
    """The voting rule; raises `InvalidRule` where no group should run under it."""
    return Rule(
        threshold=fraction("threshold", settings.threshold), committee=settings.committee or 0
    )


def task_of(settings: Settings) -> Task:
    """The task that is learned: one of this package, or what a function of the user's makes.

    Raises:
        ConfigError: There is none, or its data cannot be shared out.
    """
    if not is_factory(settings.task):
        task = tasks.get(settings.task, settings.learner)
        return task if settings.privacy is None else task.privately()
    if settings.learner is not None:
        raise ConfigError(
            f"{settings.task} makes learners of its own: leave --learner {settings.learner} out"
        )
    return own_task(settings.task, _path(settings.data_dir))


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


def attackers_of(settings: Settings) -> frozenset[int]:
    """Which learners attack: the last ones."""
    if not 0 <= settings.attackers < settings.learners:
        raise ConfigError(
            f"{settings.attackers} attackers of {settings.learners} learners: "
            f"take 0 to {settings.learners - 1}, so that somebody honest is left"
        )
    return frozenset(range(settings.learners - settings.attackers, settings.learners))


def build(settings: Settings) -> Setting:
    """Load the data, share them out, and make the learners of resolved settings."""
    task = task_of(settings)
    task.framework_module()
    threadpool_limits(1)  # others train beside; and torch's learners keep to what they find
    setting = tasks.build(
        task,
        learners=settings.learners,
        split=settings.split,
        seed=settings.seed,
        learning_rate=settings.learning_rate,
        batch_size=settings.batch_size,
        policy=settings.vote or "loss",
        data_dir=_path(settings.data_dir),
        test_dir=_path(settings.test_dir),
        flipped=attackers_of(settings) if settings.attack == LABEL_FLIP else frozenset(),
    )
    threadpool_limits(1)  # of what was loaded since
    return setting


def _protect(setting: Setting, settings: Settings, privacy: str, folder: Path | None) -> None:
    """Put the learners under a preset, each with a budget of its own in the run's folder."""
    from colearn.learners.private import protect  # noqa: PLC0415 - needs an extra

    budgets = None if folder is None else folder / "budgets"
    if budgets is not None:
        budgets.mkdir(parents=True, exist_ok=True)
    for index, learner in enumerate(setting.learners):
        protect(
            learner,
            privacy,
            rounds=settings.rounds or 1,
            members=settings.learners,
            all_train=method_named(settings.method or PLAIN).all_train,
            rule=rule_of(settings),
            budget=None if budgets is None else budgets / f"learner-{index}.sqlite",
            witness=None if budgets is None else budgets / f"learner-{index}.witness",
        )


def _terms(settings: Settings) -> dict[str, str]:
    """What makes the same members another experiment; how long it runs and from where does not."""
    free = ["rounds", "threshold", "committee", "method", "untrusted", "seed"]
    free += ["data_dir", "test_dir", "ledger"]
    free += [name for name in ("learner", "privacy") if getattr(settings, name) is None]
    return {
        name: str(value)
        for name, value in msgspec.structs.asdict(settings).items()
        if name not in free
    }


def _path(text: str | None) -> Path | None:
    return None if text is None else Path(text)
