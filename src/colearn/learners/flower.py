"""Flower's clients as learners, and a Flower strategy under which clients vote.

A `FlowerLearner` lets a client that was written for Flower take part in colearn. A
`VotingStrategy` goes the other way: in a federation that stays Flower's, the clients
vote on every model that the server has aggregated.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from colearn.errors import ConfigError, LearnerError, MissingExtra
from colearn.learners.supervised import one_line
from colearn.ml_interface import (
    ColearnModel,
    MachineLearningInterface,
    ModelFormat,
    ProposedWeights,
    TrainingSummary,
    Weights,
)
from colearn.records import Rule
from colearn.rules import Outcome, State, needed, tally
from colearn.voting import policy as named_policy
from colearn.voting.means import LowerMean
from colearn.weights import Schema

try:
    from flwr.client import NumPyClient
    from flwr.common import EvaluateIns, EvaluateRes, FitIns, FitRes, Parameters, Scalar
    from flwr.server.client_manager import ClientManager
    from flwr.server.client_proxy import ClientProxy
    from flwr.server.server import evaluate_clients
    from flwr.server.strategy import Strategy
except ModuleNotFoundError:
    raise MissingExtra("FlowerLearner", "flwr", "flower") from None

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from colearn.protocols import Policy

Arrays = list["NDArray[Any]"]
"""Flower's parameters: arrays without names, in an order that all clients share."""

_ACCURACY = "accuracy"
_CLIENT_POLICIES = ("loss", "accuracy")


class FlowerLearner(MachineLearningInterface):
    """A Flower `NumPyClient`, unchanged, behind the Machine Learning Interface.

    A client measures the loss of all its samples as one number, so it can vote by
    ``loss`` or by ``accuracy``. Its ``fit`` takes all its steps in one go, so methods
    that correct each step, such as ``fast``, merge what it trained and correct the others.
    It counts by the number of samples that ``fit`` returns.

    Args:
        client: The client. Parameters are handed to it with every call; whatever it
            keeps besides them is its own affair.
        policy: ``loss``, or ``accuracy`` where ``evaluate`` returns that metric.
        initial: M₀, for a client whose ``get_parameters`` returns nothing.
        fit_config: What ``fit`` is given, besides ``seed``: a number that a client may
            seed itself by, so that training repeats itself.
        evaluate_config: What ``evaluate`` is given.

    Raises:
        ConfigError: The policy compares single samples.
        LearnerError: The client has no parameters, or they cannot travel.

    Example:
        ```python
        learners = [FlowerLearner(client) for client in clients]
        result = Collective(learners).run(rounds=10)
        ```
    """

    def __init__(
        self,
        client: NumPyClient,
        *,
        policy: str = "loss",
        initial: Sequence[NDArray[Any]] | None = None,
        fit_config: Mapping[str, Scalar] | None = None,
        evaluate_config: Mapping[str, Scalar] | None = None,
    ) -> None:
        self._policy = _whole_policy(policy)
        self._client = client
        self._fit_config = dict(fit_config or {})
        self._evaluate_config = dict(evaluate_config or {})
        self._seed = 0
        arrays = self._called("get_parameters", {}) if initial is None else list(initial)
        if not isinstance(arrays, list) or not arrays:
            raise LearnerError(
                f"{type(client).__name__}.get_parameters returned {arrays!r:.40}, but M₀ is "
                "needed to begin with: let it return a list of arrays, or pass initial="
            )
        self._current = Weights(_named(arrays))
        self._schema = Schema.of(self._current.weights)
        self._before: NDArray[np.float64] | None = None

    def set_seed(self, seed: int) -> None:
        """Pass this seed to the client's next ``fit`` as ``config["seed"]``."""
        self._seed = seed

    def mli_propose_weights(self) -> Weights:
        """Let the client fit from the current weights.

        Raises:
            LearnerError: ``fit`` failed, or returned something else than Flower asks for.
        """
        config = {**self._fit_config, "seed": self._seed}
        returned = self._called("fit", self._arrays(self._current), config)
        arrays, samples, _ = _three("fit", returned, "parameters, number of samples, metrics")
        proposed = Weights(_named(arrays), TrainingSummary(samples=samples))
        self._schema.dims(proposed.weights)
        return proposed

    def mli_test_weights(self, weights: Weights) -> ProposedWeights:
        """Vote by what the client's ``evaluate`` says of the current weights and of these.

        Raises:
            SchemaMismatch: The weights do not fit the client's.
            LearnerError: ``evaluate`` failed, or lacks what the policy compares.
        """
        self._schema.dims(weights.weights)
        if self._before is None:
            self._before = self._measured(self._current)
        after = self._measured(weights)
        return ProposedWeights(
            weights.weights,
            weights.training_summary,
            vote_score=-float(after.mean()) if len(after) else math.nan,
            vote=self._policy.vote(self._before, after, after),
        )

    def mli_accept_weights(self, weights: Weights) -> None:
        """Make these the current weights, by reference.

        Raises:
            SchemaMismatch: The weights do not fit the client's.
        """
        self._schema.dims(weights.weights)
        self._current = Weights(weights.weights, weights.training_summary)
        self._before = None

    def mli_get_current_weights(self) -> Weights:
        """Return the current weights, by reference."""
        return self._current

    def mli_get_current_model(self) -> ColearnModel:
        """Return the current parameters as Flower knows them: a list of arrays."""
        return ColearnModel(ModelFormat.NATIVE, model=self._arrays(self._current))

    def _arrays(self, weights: Weights) -> Arrays:
        """Copies in the client's order: a client may write into what it is given."""
        return [np.array(weights.weights[name]) for name in self._schema.tensors]

    def _measured(self, weights: Weights) -> NDArray[np.float64]:
        """What the policy compares: one number, shape (1,); none if there was no sample."""
        config = dict(self._evaluate_config)
        returned = self._called("evaluate", self._arrays(weights), config)
        loss, count, metrics = _three("evaluate", returned, "loss, number of samples, metrics")
        if not count:
            return np.empty(0)
        return np.array([_compared(self._policy, loss, metrics)])

    def _called(self, method: str, *arguments: Any) -> Any:
        try:
            return getattr(self._client, method)(*arguments)
        except Exception as reason:
            raise LearnerError(
                f"{type(self._client).__name__}.{method} failed: "
                f"{type(reason).__name__}: {one_line(reason)}"
            ) from reason


class VotingStrategy(Strategy):
    """Any Flower strategy, with every model it aggregates put to its clients' vote.

    Once the inner strategy has aggregated, the clients that it would evaluate by
    measure the new model and the one before on their private data. Each approves if
    the new one is better, `colearn.rules` decide, and a model that is not accepted
    is dropped with what the inner strategy remembered of it: the parameters before
    stay. The server itself is no voter. As always in Flower, clients' losses go to
    the server; only in colearn proper do they stay at home.

    ``aggregate_fit`` adds ``approvals``, how many were ``needed``, ``voters`` and
    ``accepted`` (1 or 0) to its metrics.

    Args:
        inner: How models are aggregated, and which clients are asked.
        rule: Threshold, inclusive and quorum, of the clients asked. Who does not answer
            does not approve.
        policy: ``loss``, or ``accuracy`` where clients return that metric.
        timeout_seconds: How long a client may take to measure; None: no limit.

    Raises:
        ConfigError: The policy compares single samples.

    Example:
        ```python
        strategy = VotingStrategy(FedAvg(), rule=Rule(threshold="2/3"))
        ```
    """

    def __init__(
        self,
        inner: Strategy,
        *,
        rule: Rule | None = None,
        policy: str = "loss",
        timeout_seconds: float | None = None,
    ) -> None:
        self._inner = inner
        self._rule = msgspec.structs.replace(rule or Rule(), proposer_votes=True)
        self._policy = _whole_policy(policy)
        self._timeout_seconds = timeout_seconds
        self._current: Parameters | None = None
        self._clients: ClientManager | None = None
        self._known: dict[str, NDArray[np.float64]] = {}

    def initialize_parameters(self, client_manager: ClientManager) -> Parameters | None:
        """Ask the inner strategy."""
        return self._inner.initialize_parameters(client_manager)

    def configure_fit(
        self, server_round: int, parameters: Parameters, client_manager: ClientManager
    ) -> list[tuple[ClientProxy, FitIns]]:
        """Ask the inner strategy, and remember the model that may be replaced."""
        if parameters is not self._current:
            self._current, self._known = parameters, {}
        self._clients = client_manager
        return self._inner.configure_fit(server_round, parameters, client_manager)

    def aggregate_fit(
        self,
        server_round: int,
        results: list[tuple[ClientProxy, FitRes]],
        failures: list[tuple[ClientProxy, FitRes] | BaseException],
    ) -> tuple[Parameters | None, dict[str, Scalar]]:
        """Return the inner strategy's model if the clients accept it, else the one before."""
        tried = copy.copy(self._inner)
        proposed, metrics = tried.aggregate_fit(server_round, results, failures)
        if proposed is None or self._current is None or self._clients is None:
            return proposed, metrics
        asked = tried.configure_evaluate(server_round, proposed, self._clients)
        if not asked:
            raise ConfigError(
                f"{type(self._inner).__name__} evaluates with no client, so that nobody can vote: "
                "let it evaluate, such as with fraction_evaluate=1"
            )
        unknown = [
            (client, EvaluateIns(self._current, ins.config))
            for client, ins in asked
            if client.cid not in self._known
        ]
        self._known |= self._measured(server_round, unknown)
        measured = self._measured(server_round, asked)
        votes = [
            self._policy.vote(self._known[client.cid], after, after)
            if client.cid in self._known and (after := measured.get(client.cid)) is not None
            else None
            for client, _ in asked
        ]
        accepted = _outcome(self._rule, votes) is Outcome.ACCEPTED
        if accepted:
            self._inner, self._current, self._known = tried, proposed, measured
        counts: dict[str, Scalar] = {
            "approvals": votes.count(True),
            "needed": needed(self._rule, len(votes)),
            "voters": len(votes),
            "accepted": int(accepted),
        }
        return self._current, metrics | counts

    def configure_evaluate(
        self, server_round: int, parameters: Parameters, client_manager: ClientManager
    ) -> list[tuple[ClientProxy, EvaluateIns]]:
        """Ask the inner strategy."""
        return self._inner.configure_evaluate(server_round, parameters, client_manager)

    def aggregate_evaluate(
        self,
        server_round: int,
        results: list[tuple[ClientProxy, EvaluateRes]],
        failures: list[tuple[ClientProxy, EvaluateRes] | BaseException],
    ) -> tuple[float | None, dict[str, Scalar]]:
        """Ask the inner strategy."""
        return self._inner.aggregate_evaluate(server_round, results, failures)

    def evaluate(
        self, server_round: int, parameters: Parameters
    ) -> tuple[float, dict[str, Scalar]] | None:
        """Ask the inner strategy."""
        return self._inner.evaluate(server_round, parameters)

    def _measured(
        self, server_round: int, asked: list[tuple[ClientProxy, EvaluateIns]]
    ) -> dict[str, NDArray[np.float64]]:
        """What the policy compares, by client; who fails or has no sample is left out."""
        results, _ = evaluate_clients(asked, None, self._timeout_seconds, server_round)
        return {
            client.cid: np.array([_compared(self._policy, result.loss, result.metrics)])
            for client, result in results
            if result.num_examples
        }


def _outcome(rule: Rule, votes: Sequence[bool | None]) -> Outcome:
    """Decide by the rules of a round in which all have voted who will."""
    approve, reject = (
        sum(1 << place for place, vote in enumerate(votes) if vote is choice)
        for choice in (True, False)
    )
    return tally(
        State(
            members=tuple(map(str, range(len(votes)))),
            rule=rule,
            current="",
            round=0,
            opened=0,
            approve=approve,
            reject=reject,
            endorsed=(),
        )
    )


def _whole_policy(name: str) -> Policy:
    """A policy that one number of all samples is enough for.

    Raises:
        ConfigError: It compares sample by sample, or there is none of that name.
    """
    policy = named_policy(name)
    if not isinstance(policy, LowerMean):
        raise ConfigError(
            f"the voting policy {name!r} compares losses sample by sample, but a Flower client "
            f"returns one loss for all: choose {' or '.join(_CLIENT_POLICIES)}"
        )
    return policy


def _compared(policy: Policy, loss: Any, metrics: Mapping[str, Any]) -> float:
    """The loss, or the share of errors."""
    if policy.metric == "loss":
        return float(loss)
    if _ACCURACY not in metrics:
        raise LearnerError(
            f"the vote is by accuracy, but the client's evaluate returned "
            f"{', '.join(sorted(metrics)) or 'no metrics'}: let it return {_ACCURACY!r} among its "
            "metrics, or vote by loss"
        )
    return 1.0 - float(metrics[_ACCURACY])


def _named(arrays: Any) -> dict[str, NDArray[Any]]:
    """Names for arrays that have none, so that sorting by name keeps their order."""
    if not isinstance(arrays, list | tuple):
        raise LearnerError(f"parameters are a {type(arrays).__name__}: expected a list of arrays")
    return {
        f"parameter-{place:04}": np.array(array, order="C") for place, array in enumerate(arrays)
    }


def _three(method: str, returned: Any, expected: str) -> tuple[Any, Any, Any]:
    if not isinstance(returned, tuple) or len(returned) != 3:
        raise LearnerError(
            f"the client's {method} returned a {type(returned).__name__}: "
            f"expected three things, {expected}"
        )
    return returned
