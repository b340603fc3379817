"""Nodes of a chain, spoken to as if they were one: none of them is trusted alone.

Transactions are given to all of them. What decides is asked of every node that
answers: chain id, code, blocks and their times, log entries, what transactions say.
Where they differ nothing is believed. The newest block is the newest that all of them
have, so that a node which lags behind holds the others up, and does not look like a lie.
"""

from __future__ import annotations

import textwrap
import time
from collections.abc import Sequence
from typing import Any

from requests import RequestException
from web3 import HTTPProvider, Web3
from web3.providers.base import JSONBaseProvider

from colearn.errors import ConfigError, LedgerError

_TIMEOUT_SECONDS = 10
_PAUSES_SECONDS = (0.1, 0.2, 0.4, 0.8, 1.6)
_ASKED_OF_ALL = {
    *("eth_chainId", "eth_getCode", "eth_getLogs"),
    *("eth_getBlockByNumber", "eth_getTransactionByHash"),
}
_DECIDES = {
    "eth_getBlockByNumber": ("number", "hash", "parentHash", "timestamp", "baseFeePerGas"),
    "eth_getTransactionByHash": ("hash", "from", "to", "input"),
    "eth_getLogs": (
        *("address", "topics", "data", "logIndex"),
        *("blockNumber", "blockHash", "transactionHash"),
    ),
}
"""What a ledger goes by in an answer; of the rest every program tells something else."""

_SEND = "eth_sendRawTransaction"
_TAGS = {"latest", "finalized", "safe"}
_LONGEST_LINE = 300


def connect(urls: Sequence[str]) -> Web3:
    """Give access to a chain by the URLs of its nodes, one or more.

    Raises:
        ConfigError: There is no URL, or one is not of HTTP.
    """
    if not urls:
        raise ConfigError("no node: give the URL of one, such as http://127.0.0.1:8545")
    for url in urls:
        if not url.startswith(("http://", "https://")):
            raise ConfigError(
                f"{url!r:.100} is no URL of a node: it begins with http:// or https://"
            )
    return Web3(Nodes(urls))


def said_by(reason: BaseException) -> str:
    """What went wrong between here and a node, in one line: at its root, in its own words."""
    response = getattr(reason, "rpc_response", None) or {}
    error = response.get("error")
    if isinstance(error, dict) and error.get("message"):
        return shortened(str(error["message"]))
    text, root = f"{type(reason).__name__}: {reason}", reason.__context__
    while root is not None:
        if isinstance(root, OSError) and root.strerror:
            text = root.strerror
        root = root.__context__
    return shortened(text)


def shortened(text: str) -> str:
    """A text as one line, of which the end is left out, from a word on, if it is long."""
    short = textwrap.shorten(text, _LONGEST_LINE, placeholder=" …")
    return short if len(short) > 2 else text[:_LONGEST_LINE]


class Disagreement(Exception):
    """Two nodes tell different things about one chain."""


class Nodes(JSONBaseProvider):
    """A provider of web3.py for several nodes of one chain.

    Args:
        urls: Of the nodes.
    """

    def __init__(self, urls: Sequence[str]) -> None:
        super().__init__()
        self._nodes = {
            url: HTTPProvider(
                url,
                request_kwargs={"timeout": _TIMEOUT_SECONDS},
                exception_retry_configuration=None,
            )
            for url in urls
        }

    def make_request(self, method: Any, params: Any) -> Any:
        """Ask one node, or all of them where they must agree; try again where none answers.

        Raises:
            LedgerError: No node answers, or they disagree.
        """
        ask = self._ask_one
        if len(self._nodes) > 1 and method == _SEND:
            ask = self._tell_all
        elif len(self._nodes) > 1 and method in _ASKED_OF_ALL:
            ask = self._ask_all
        failure: Exception = LedgerError("nobody asked")
        for pause in (*_PAUSES_SECONDS, None):
            try:
                return ask(method, params)
            except (RequestException, Disagreement, ValueError) as reason:
                failure = reason
            if pause is not None:
                time.sleep(pause)
        if isinstance(failure, Disagreement):
            raise LedgerError(f"the chain's nodes disagree, so none is believed: {failure}")
        names = ", ".join(self._nodes)
        raise LedgerError(f"none of the chain's nodes answers ({names}): {said_by(failure)}")

    def is_connected(self, show_traceback: bool = False) -> bool:
        """Whether one of them answers."""
        try:
            self._ask_one("eth_chainId", [])
        except (RequestException, ValueError):
            if show_traceback:
                raise
            return False
        return True

    def _ask_one(self, method: Any, params: Any) -> Any:
        """The answer of the first node that knows one."""
        *others, last = self._nodes.values()
        for node in others:
            try:
                answer = node.make_request(method, params)
            except (RequestException, ValueError):
                continue
            if answer.get("result", "an error") is not None:
                return answer
        return last.make_request(method, params)

    def _tell_all(self, method: Any, params: Any) -> Any:
        """Give all nodes a transaction; the answer of one that takes it, if any does."""
        answers = list(self._answers(method, params).values())
        return next((each for each in answers if "result" in each), answers[0])

    def _ask_all(self, method: Any, params: Any) -> Any:
        """The answer that all nodes give which answer at all."""
        if method == "eth_getBlockByNumber" and params[0] in _TAGS:
            answers = self._answers(method, params)
            blocks = [each["result"] for each in answers.values() if each.get("result")]
            if not blocks:
                return next(iter(answers.values()))
            params = [min((each["number"] for each in blocks), key=_number), *params[1:]]
        answers = self._answers(method, params)
        if method == "eth_getTransactionByHash":  # one that is in no block, not all know of
            answers = {url: each for url, each in answers.items() if each.get("result")} or answers
        (first, answer), *others = answers.items()
        for other, another in others:
            if _essence(method, another) != _essence(method, answer):
                what = shortened(f"{method} {params!r}")
                raise Disagreement(f"{first} and {other} differ on {what}")
        return answer

    def _answers(self, method: Any, params: Any) -> dict[str, Any]:
        answers: dict[str, Any] = {}
        failure: Exception | None = None
        for url, node in self._nodes.items():
            try:
                answers[url] = node.make_request(method, params)
            except (RequestException, ValueError) as reason:
                failure = reason
        if not answers and failure is not None:
            raise failure
        return answers


def _number(text: str) -> int:
    return int(text, 16)


def _essence(method: str, answer: Any) -> Any:
    """What two nodes must agree on in their answers."""
    if "result" not in answer:
        return "an error"
    result, fields = answer["result"], _DECIDES.get(method)
    if fields is None or result is None:
        return result
    return [
        [_spelled(each.get(field)) for field in fields]
        for each in (result if isinstance(result, list) else [result])
    ]


def _spelled(value: Any) -> Any:
    """Digits as every program spells them: some write addresses with capitals."""
    return value.lower() if isinstance(value, str) else value
