"""What a framework learner does differently when its data is to stay private.

Its records are assigned to training or voting by the guard, its votes are noisy, and
its training clips, adds noise and is paid for before it begins. Nothing here draws
from the run's seed: others know it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from colearn.learners.protectable import (
    check_private_training,
    check_private_votes,
    from_outside,
)
from colearn.ml_interface import ErrorCodes, ProposedWeights, Weights
from colearn.privacy.config import planned_releases, planned_votes, preset
from colearn.privacy.guard import Guard, NoisySteps, PrivateTraining, PrivateVotes
from colearn.privacy.noise import secret_generator
from colearn.records import Digest, digest_of
from colearn.weights import decode, encode

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from colearn.learners.base import FrameworkLearner
    from colearn.learners.samples import Samples
    from colearn.ml_interface import MachineLearningInterface
    from colearn.privacy.config import Privacy
    from colearn.protocols import Tensors
    from colearn.records import Rule


def protect(
    learner: MachineLearningInterface,
    name: str,
    *,
    rounds: int,
    members: int,
    all_train: bool,
    rule: Rule,
    budget: Path | None = None,
    witness: Path | None = None,
) -> None:
    """Put a learner under the preset of that name, for an experiment.

    One that its owner has protected already stays as it is.

    Args:
        learner: One of this package's.
        name: ``standard`` or ``strict``.
        rounds: How many the experiment takes.
        members: How many take part.
        all_train: Whether its method has all members train in each round.
        rule: Says who votes and trains in each round.
        budget: As in `Privacy`.
        witness: As in `Privacy`.

    Raises:
        ConfigError: There is no such preset.
        UnsupportedModel: The learner cannot be protected.
        BudgetError: The budget's file cannot be used.
        LearnerError: There are too few records.
    """
    own = from_outside(learner, name)
    if own.privacy is not None:
        return
    samples = len(own.train_samples[0]) + len(own.vote_samples[0])
    own.protect(
        preset(
            name,
            samples=samples,
            releases=planned_releases(
                rounds, members, all_train=all_train, committee=rule.committee
            ),
            votes=planned_votes(
                rounds, members, rule.committee, proposer_votes=rule.proposer_votes
            ),
            budget=budget,
            witness=witness,
        )
    )


def guard(learner: FrameworkLearner, privacy: Privacy, parts: Sequence[Samples]) -> Guard:
    """Make the guard of a learner whose records are all of these parts.

    Raises:
        UnsupportedModel: It cannot train or vote privately, or cannot tell its records apart.
    """
    if privacy.train is not None:
        check_private_training(learner)
    if privacy.votes is not None:
        check_private_votes(learner)
    records = learner.joined(parts)
    made = Guard(
        privacy, learner.digests(records), steps=learner.steps, batch_size=learner.batch_size
    )
    learner.train_samples = learner.take(records, made.parts.train)
    learner.vote_samples = learner.take(records, made.parts.vote)
    return made


def propose(learner: FrameworkLearner, training: PrivateTraining, turn: Sequence[int]) -> Weights:
    """Train privately from the current weights, or say that the budget is spent.

    Args:
        learner: The learner.
        training: Its guard's.
        turn: Tells this training from others on the same weights: the same numbers
            give the same proposal again, after a restart too.
    """
    current, schema = learner.mli_get_current_weights().weights, learner.schema()
    offset = digest_of(array.tobytes() for array in (learner.offset or {}).values())
    key = f"{_digest(learner, current)}/{'/'.join(map(str, turn))}/{offset}"

    def train(plan: NoisySteps) -> bytes:
        return b"".join(encode(learner.train(current, secret_generator(), plan), schema).parts)

    body = training.result(key, train)
    if body is None:
        return Weights(current, training.summary(ErrorCodes.DP_BUDGET_EXCEEDED))
    return Weights(decode((body,), schema, {}, digest=None), training.summary())


def judge(learner: FrameworkLearner, votes: PrivateVotes, weights: Weights) -> ProposedWeights:
    """Vote privately; no score is measured, so that none can leave."""
    learner.check(weights.weights)
    current = learner.mli_get_current_weights().weights
    key = f"{_digest(learner, current)}/{_digest(learner, weights.weights)}"
    vote = votes.vote(key, lambda: learner.vote_losses(weights))
    return ProposedWeights(weights.weights, weights.training_summary, vote=vote)


def _digest(learner: FrameworkLearner, tensors: Tensors) -> Digest:
    return digest_of(encode(tensors, learner.schema()).parts)
