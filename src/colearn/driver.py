"""The protocol in fifteen lines: the readable twin of the full machinery.

No network, no ledger, no digests, no deadlines. `colearn.Collective` with
``Rule(inclusive=True, proposer_votes=True)`` takes the same decisions, and a test
says so. Its edge cases are kept on purpose, and are why `Rule` refuses them: a
threshold of 0 accepts a unanimous "no", and a lone learner that likes its own
proposal always passes it.
"""

from __future__ import annotations

from collections.abc import Sequence

from colearn.ml_interface import MachineLearningInterface, ProposedWeights


def run_one_round(
    round_index: int,
    learners: Sequence[MachineLearningInterface],
    vote_threshold: float = 0.5,
) -> tuple[list[ProposedWeights], bool]:
    """Let one learner propose and all of them vote; accept at the threshold or above.

    The proposer is ``learners[round_index % len(learners)]`` and votes too. The
    weights are passed on untouched, so anything the learners understand will do.

    Returns:
        Each learner's verdict, in order, and whether the proposal was accepted.
    """
    proposer = learners[round_index % len(learners)]
    proposal = proposer.mli_propose_weights()
    verdicts = [learner.mli_test_weights(proposal) for learner in learners]
    approvals = sum(1 for verdict in verdicts if verdict.vote)
    accepted = approvals >= len(learners) * vote_threshold
    if accepted:
        for learner, verdict in zip(learners, verdicts, strict=True):
            learner.mli_accept_weights(verdict)
    return verdicts, accepted


def run(
    rounds: int,
    learners: Sequence[MachineLearningInterface],
    vote_threshold: float = 0.5,
) -> list[tuple[list[ProposedWeights], bool]]:
    """Run rounds 0 to ``rounds - 1`` and return what `run_one_round` returned for each."""
    return [run_one_round(index, learners, vote_threshold) for index in range(rounds)]
