"""What a learner may give away of its data, and where it keeps account of it."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass
from pathlib import Path

from colearn.errors import ConfigError
from colearn.ml_interface import DiffPrivConfig

PRESETS = {"standard": (8.0, 2.0), "strict": (3.0, 1.0)}
"""By name, the epsilon of training and the epsilon of votes."""

_MAX_DELTA = 1e-5
_VOTES = 100
_BEYOND = 1e-3


@dataclass(frozen=True, slots=True, kw_only=True)
class VotePrivacy:
    """Differentially private votes.

    Attributes:
        epsilon: What all of them together may cost.
        delta: The chance that the cost is higher.
        votes: How many are planned; when they are used up the learner abstains.
        margin: What the loss of a sample must fall by to count in favour.
    """

    epsilon: float
    delta: float
    votes: int = _VOTES
    margin: float = 0.0

    def __post_init__(self) -> None:
        _check_budget(self.epsilon, self.delta)
        _check_count("votes", self.votes)
        if not 0 <= self.margin < math.inf:
            raise ConfigError(f"margin {self.margin} is refused: it must be 0 or more")


@dataclass(frozen=True, slots=True, kw_only=True)
class Privacy:
    """What a learner's data may give away; None for a part that is not protected.

    Say how many trainings there will be: the budget lasts for ``releases`` of them, and a
    learner whose budget is spent proposes no more.

    Attributes:
        train: Protects what training gives: proposals, and updates where the method
            asks for them.
        releases: How many trainings the noise is worked out for; see `planned_releases`.
            With 1, the second finds the budget spent.
        votes: Protects votes, and keeps all scores inside the learner.
        budget: The file that accounts for this data, for all experiments it is used in.
            None keeps account in memory, which is enough for a simulation only.
        witness: Where the budget's count is kept a second time. None keeps it in the
            user's state folder, by the fingerprint of the data.
    """

    train: DiffPrivConfig | None = None
    releases: int = 1
    votes: VotePrivacy | None = None
    budget: Path | None = None
    witness: Path | None = None

    def __post_init__(self) -> None:
        _check_count("releases", self.releases)
        if self.train is not None:
            _check_budget(self.train.target_epsilon, self.train.target_delta)
            if not 0 < self.train.max_grad_norm < math.inf:
                raise ConfigError(
                    f"max_grad_norm {self.train.max_grad_norm} is refused: it must be above 0"
                )
            noise = self.train.noise_multiplier
            if noise is not None and not 0 < noise < math.inf:
                raise ConfigError(
                    f"noise_multiplier {noise} is refused: it must be above 0, or None to have "
                    "it worked out"
                )


def preset(
    name: str,
    *,
    samples: int,
    releases: int,
    votes: int = _VOTES,
    budget: Path | None = None,
    witness: Path | None = None,
) -> Privacy:
    """The privacy of that name: ``standard`` (epsilon 8 and 2) or ``strict`` (3 and 1).

    Args:
        name: Of the preset.
        samples: How many the learner has, to train and to vote; delta is 1e-5, or a
            tenth of one in that many.
        releases: How many trainings are planned; see `planned_releases`.
        votes: How many votes are planned.
        budget: As in `Privacy`.
        witness: As in `Privacy`.

    Raises:
        ConfigError: There is no such preset, or a number cannot be used.
    """
    check_name(name)
    _check_count("samples", samples)
    train_epsilon, vote_epsilon = PRESETS[name]
    delta = min(_MAX_DELTA, 1 / (10 * samples))
    return Privacy(
        train=DiffPrivConfig(train_epsilon, delta, max_grad_norm=1.0),
        releases=releases,
        votes=VotePrivacy(epsilon=vote_epsilon, delta=delta, votes=votes),
        budget=budget,
        witness=witness,
    )


def check_name(name: str) -> None:
    """Raise `ConfigError` unless a preset has this name."""
    if name not in PRESETS:
        raise ConfigError(f"no privacy is called {name!r}; choose {' or '.join(PRESETS)}")


def planned_releases(rounds: int, members: int, *, all_train: bool, committee: int = 0) -> int:
    """How often a member's training is released in that many rounds.

    Its turn comes once in ``members`` rounds; under a method by which all train, it
    releases an update in each. A rejected proposal counts: it was published.

    Where ``committee`` members are drawn for each round, chance says how often it is one of
    them: planned is what it stays within but for a chance of 1 in 1,000. Beyond that the
    budget is spent, and it passes.
    """
    turns = -(-rounds // members)
    return turns + _asked(rounds - turns, members, committee) if all_train else turns


def planned_votes(
    rounds: int, members: int, committee: int = 0, *, proposer_votes: bool = False
) -> int:
    """How often a member votes in that many rounds: in all but those it proposes in.

    Where the rule lets proposers vote, in those, too. Where a committee is drawn, as in
    `planned_releases`; beyond that it abstains.
    """
    turns = 0 if proposer_votes else rounds // members
    return max(1, _asked(rounds - turns, members, committee))


def _asked(rounds: int, members: int, committee: int) -> int:
    """How many of so many rounds of others ask for a member, but for a chance of `_BEYOND`."""
    others = members - 1
    if not 0 < committee < others:
        return rounds
    drawn, left = math.log(committee / others), math.log(1 - committee / others)
    count, within = -1, 0.0
    while within < 1 - _BEYOND:  # the binomial distribution, from 0 on
        count += 1
        ways = math.lgamma(rounds + 1) - math.lgamma(count + 1) - math.lgamma(rounds - count + 1)
        within += math.exp(ways + count * drawn + (rounds - count) * left)
    return count


def default_witness(fingerprint: str) -> Path:
    """Where a budget's count is kept unless said otherwise: one file for each data set."""
    state = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    return Path(state) / "colearn" / "budgets" / f"{fingerprint[:32]}.witness"


def unprotected(privacy: Privacy | None) -> str | None:
    """What to tell the owner of data that leaves its machine unprotected; None if all is well."""
    if privacy is None:
        return (
            "privacy is off: proposals and votes tell others about single records; "
            "--privacy standard protects them (docs/privacy.md)"
        )
    open_parts = [name for name in ("train", "votes") if getattr(privacy, name) is None]
    if open_parts:
        return f"privacy is off for {open_parts[0]}: others can learn about single records from it"
    if privacy.budget is None:
        return (
            "the privacy budget is in memory only: a restart begins anew with all of it; "
            "name a file for it"
        )
    return None


def _check_budget(epsilon: float, delta: float) -> None:
    if not 0 < epsilon < math.inf:
        raise ConfigError(f"epsilon {epsilon} is refused: it must be above 0 (8 is usual)")
    if not 0 < delta < 1:
        raise ConfigError(f"delta {delta} is refused: it must lie between 0 and 1 (1e-5 is usual)")


def _check_count(name: str, value: object) -> None:
    if type(value) is not int or value < 1:
        raise ConfigError(f"{name} {value!r} is refused: it must be a whole number, 1 or more")
