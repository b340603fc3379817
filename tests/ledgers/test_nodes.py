"""Several nodes as one: what is asked of all, and what is made of their answers."""

from __future__ import annotations

from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread

import pytest
from requests import ConnectionError as RequestsConnectionError
from web3.exceptions import Web3RPCError

from colearn.errors import ConfigError, LedgerError
from colearn.ledgers import nodes
from colearn.ledgers.nodes import Nodes, connect, said_by, shortened


class Script:
    """A node that answers as it is told; an exception stands for no answer."""

    def __init__(self, *answers):
        self.answers, self.asked = list(answers), []

    def make_request(self, method, params):
        self.asked.append((method, params))
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return {"result": answer}


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    """Retries without pauses."""
    monkeypatch.setattr(nodes, "_PAUSES_SECONDS", (0, 0))


def among(**scripts):
    """A provider for scripted nodes."""
    provider = Nodes([])
    provider._nodes = scripts
    return provider


DOWN = RequestsConnectionError("refused")


def test_an_answer_is_tried_for_again():
    """A node that fails for a moment is asked again; one that stays down is named."""
    node = Script(DOWN, DOWN, "0x1")
    assert among(a=node).make_request("eth_gasPrice", []) == {"result": "0x1"}
    assert len(node.asked) == 3
    with pytest.raises(LedgerError, match=r"none of the chain's nodes answers \(a\).*refused"):
        among(a=Script(DOWN)).make_request("eth_gasPrice", [])


def test_the_root_of_a_failure_is_told():
    """One line with what went wrong at last, not with the libraries that it went through."""
    answers = [
        (503, b"", "503 Server Error: Service"),
        (200, b"<html>", "JSONDecodeError: Could not decode"),
    ]
    for status, body, says in answers:
        with answering(status, body) as url, pytest.raises(LedgerError, match=says):
            connect([url]).provider.make_request("eth_chainId", [])
    with pytest.raises(LedgerError, match=r"answers \(http://127.*\): Connection refused$"):
        connect([url]).provider.make_request("eth_chainId", [])


@contextmanager
def answering(status, body):
    """A server that answers everything so."""

    class Same(BaseHTTPRequestHandler):
        def do_POST(self):
            self.send_response(status)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            """Say nothing."""

    with HTTPServer(("127.0.0.1", 0), Same) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def test_a_nodes_own_words_are_cut_between_words():
    """What it says of an error comes whole if it is short; else its beginning, up to a word."""
    said = {"code": -32000, "message": "execution reverted: colearn: it is another's turn"}
    assert said_by(Web3RPCError(repr(said), rpc_response={"error": said})) == said["message"]
    long = {"code": -32000, "message": "insufficient funds\n " + "0123456789 " * 100}
    line = said_by(Web3RPCError(repr(long), rpc_response={"error": long}))
    assert line.startswith("insufficient funds 0123456789")
    assert line.endswith("0123456789 …")
    assert 250 < len(line) <= 300
    assert shortened("0x" + "f" * 1_000) == "0x" + "f" * 298


def test_what_decides_is_asked_of_all():
    """One differing chain id is enough to believe none; a node that is down does not count."""
    assert among(a=Script("0x1"), b=Script("0x1")).make_request("eth_chainId", [])
    assert among(a=Script(DOWN), b=Script("0x1")).make_request("eth_chainId", [])
    with pytest.raises(LedgerError, match="disagree, so none is believed: a and c differ"):
        among(a=Script("0x1"), b=Script("0x1"), c=Script("0x2")).make_request("eth_chainId", [])


def test_the_newest_block_is_one_that_all_have():
    """A node that lags holds the others up; at that height all must have one hash."""
    ahead, behind = {"number": "0x10", "hash": "h16"}, {"number": "0xf", "hash": "h15"}
    a, b = Script(ahead, behind), Script(behind)
    answer = among(a=a, b=b).make_request("eth_getBlockByNumber", ["latest", False])
    assert answer == {"result": behind}
    assert a.asked[-1] == ("eth_getBlockByNumber", ["0xf", False])
    lying = Script(ahead, {"number": "0xf", "hash": "other"})
    with pytest.raises(LedgerError, match="disagree"):
        among(a=lying, b=b).make_request("eth_getBlockByNumber", ["latest", False])


def test_log_entries_are_compared():
    """A node that leaves a log entry out is found out."""
    log = {"blockHash": "h", "topics": ["t"], "data": "d"}
    with pytest.raises(LedgerError, match="differ on eth_getLogs"):
        among(a=Script([log]), b=Script([])).make_request("eth_getLogs", [{}])
    assert among(a=Script([log]), b=Script([dict(log)])).make_request("eth_getLogs", [{}])


BLOCK = {"number": "0xf", "hash": "h", "parentHash": "g", "timestamp": "0x9", "nonce": "0x1"}
LOG = {"blockNumber": "0xf", "blockHash": "h", "topics": ["t"], "data": "d", "address": "0xaA"}
SENT = {"hash": "h", "from": "0xAb", "to": "0xcd", "input": "0x01"}


@pytest.mark.parametrize(
    ("method", "answer", "lie"),
    [
        ("eth_getBlockByNumber", BLOCK, {"timestamp": "0xf9"}),
        ("eth_getBlockByNumber", BLOCK, {"parentHash": "e"}),
        ("eth_getBlockByNumber", BLOCK, {"baseFeePerGas": "0xff"}),
        ("eth_getLogs", [LOG], {"transactionHash": "u"}),
        ("eth_getLogs", [LOG], {"blockNumber": "0x1"}),
        ("eth_getTransactionByHash", SENT, {"input": "0x02"}),
    ],
)
def test_all_that_a_ledger_goes_by_is_compared(method, answer, lie):
    """Of a block its time too, for rounds end by it; what programs tell otherwise may differ."""
    lies = [each | lie for each in answer] if isinstance(answer, list) else answer | lie
    with pytest.raises(LedgerError, match=f"differ on {method}"):
        among(a=Script(answer), b=Script(lies)).make_request(method, ["0xf", False])
    chatty = {"nonce": "0x2", "size": "0x3", "address": "0xAA"}
    more = [each | chatty for each in answer] if isinstance(answer, list) else answer | chatty
    assert among(a=Script(answer), b=Script(more)).make_request(method, ["0xf", False])


def test_a_transaction_in_no_block_is_not_known_to_all():
    """Who has not heard of it does not contradict who has."""
    nodes_ = among(a=Script(None), b=Script(SENT))
    assert nodes_.make_request("eth_getTransactionByHash", ["h"]) == {"result": SENT}


def test_urls_are_checked():
    """What is no URL of a node is refused before anything is asked."""
    with pytest.raises(ConfigError, match="no node: give the URL"):
        connect([])
    with pytest.raises(ConfigError, match="'localhost:8545' is no URL"):
        connect(["localhost:8545"])


def test_a_transaction_is_given_to_all():
    """A node that drops what it took, or refuses it, silences nobody."""
    drops, takes = Script("0x7"), Script("0x7")
    provider = among(a=drops, b=Script(DOWN), c=takes)
    assert provider.make_request("eth_sendRawTransaction", ["0x00"]) == {"result": "0x7"}
    assert takes.asked == drops.asked == [("eth_sendRawTransaction", ["0x00"])]
    refuses = Script("unused")
    refuses.make_request = lambda *_: {"error": {"message": "already known"}}
    provider = among(a=refuses, b=takes)
    assert provider.make_request("eth_sendRawTransaction", ["0x00"]) == {"result": "0x7"}
    refusal = among(a=refuses, b=refuses).make_request("eth_sendRawTransaction", ["0x00"])
    assert refusal == {"error": {"message": "already known"}}


def test_who_knows_of_no_receipt_is_not_the_last_to_be_asked():
    """A receipt that one node lacks is asked of the next."""
    provider = among(a=Script(None), b=Script({"status": "0x1"}))
    answer = provider.make_request("eth_getTransactionReceipt", ["0x00"])
    assert answer == {"result": {"status": "0x1"}}
    assert among(a=Script(None), b=Script(None)).make_request(
        "eth_getTransactionReceipt", ["0x00"]
    ) == {"result": None}
