"""Small learners that tests share: quick, deterministic, and easy to reason about."""

from __future__ import annotations

import msgspec
import numpy as np

from colearn import MachineLearningInterface, ProposedWeights, Weights
from colearn.errors import BadSignature
from colearn.ledgers.local import LocalLedger
from colearn.records import Vote, digest_of, encode


class Scripted(MachineLearningInterface):
    """Proposes 1, 2, 3 ... times its own stride and votes by a script, round after round."""

    def __init__(self, votes, *, stride=1.0, size=3):
        self.votes = iter(votes)
        self.stride = stride
        self.current = Weights({"w": np.zeros(size)})

    def mli_propose_weights(self):
        return Weights({"w": self.current.weights["w"] + self.stride})

    def mli_test_weights(self, weights):
        return ProposedWeights(weights.weights, vote_score=0.5, vote=next(self.votes))

    def mli_accept_weights(self, weights):
        self.current = Weights(weights.weights)

    def mli_get_current_weights(self):
        return self.current


class Seeking(MachineLearningInterface):
    """Learns the mean of private numbers by noisy steps; all its randomness is seeded."""

    def __init__(self, numbers, noise=0.3):
        self.numbers = np.asarray(numbers, float)
        self.noise = noise
        self.guess = np.zeros(1)
        self.rng = np.random.default_rng(0)

    def set_seed(self, seed):
        self.rng = np.random.default_rng(seed)

    def loss(self, guess):
        return float(((self.numbers - guess) ** 2).mean())

    def mli_propose_weights(self):
        step = 0.5 * (self.numbers.mean() - self.guess)
        return Weights({"guess": self.guess + step + self.rng.normal(0, self.noise, 1)})

    def mli_test_weights(self, weights):
        new = self.loss(weights.weights["guess"])
        return ProposedWeights(weights.weights, vote_score=-new, vote=new < self.loss(self.guess))

    def mli_accept_weights(self, weights):
        self.guess = weights.weights["guess"]

    def mli_get_current_weights(self):
        return Weights({"guess": self.guess})


def seekers():
    """Three learners whose numbers differ."""
    return [Seeking([1, 2, 3]), Seeking([2, 3, 4]), Seeking([1, 3, 5])]


class Averaging:
    """A method that merges all members' updates: their mean, and half of the last move."""

    name = "averaging"
    all_train = True

    def offset(self, state, member):
        return {"guess": state["pull"]} if state else None

    def merge(self, base, state, updates):
        mean = sum(each.tensors["guess"] for each in updates) / len(updates)
        return {"guess": mean + (0.5 * state["move"] if state else 0.0)}

    def advance(self, base, state, updates, accepted):
        move = np.zeros(1) if accepted is None else accepted["guess"] - base["guess"]
        return {"move": move, "pull": np.full(1, 0.001 * len(updates))}

    def backed_off(self, state):
        return None


class Sole(Averaging):
    """The same with the proposer's update alone."""

    name = "sole"
    all_train = False


class Sealed:
    """Signs for members by a hash with each one's secret; knows all secrets, as a test may."""

    def __init__(self, members):
        self._secrets = {member: f"secret of {member}" for member in members}

    def sign(self, note):
        return msgspec.structs.replace(note, signature=self._seal(note))

    def check(self, note):
        if note.sender not in self._secrets or note.signature != self._seal(note):
            raise BadSignature(f"not signed by {note.sender!r}")

    def _seal(self, note):
        bare = msgspec.structs.replace(note, signature="")
        return digest_of((self._secrets[note.sender].encode(), encode(bare)))


class TogetherLedger(LocalLedger):
    """A local ledger that takes a proposal and ballots as one; counts how often."""

    together = 0

    def submit_together(self, propose, ballots):
        self.together += 1
        votes = [Vote(each.round, each.sender, each.proposal, each.choice) for each in ballots]
        return self.submit(propose, *votes)
