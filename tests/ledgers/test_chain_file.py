"""A chain that anvil keeps in a file, of which something is cut off, or whose keeper is killed."""

from __future__ import annotations

import json
import logging
import signal
import socket
import subprocess
import sys
import time

import pytest
from anvils import ask

from colearn.errors import LedgerError
from colearn.ledgers.anvil import Anvil
from colearn.ledgers.chain_file import copy_of, mend
from colearn.ledgers.nodes import connect

RICH = "0x" + "5" * 40


def until(holds):
    """Wait until something holds."""
    end = time.monotonic() + 20
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.02)


@pytest.fixture(scope="module")
def kept(anvil_program, tmp_path_factory):
    """What a killed anvil left: a chain of 40 blocks, and its copy."""
    file = tmp_path_factory.mktemp("kept") / "chain.json"
    with Anvil(state=file) as node:
        web3 = connect([node.url])
        ask(web3, "anvil_mine", hex(40))
        ask(web3, "anvil_setBalance", RICH, hex(7))
        node.keep(RICH)
        node.kill()
    return copy_of(file).read_bytes()


def number_and_balance(file):
    """How a chain stands that goes on from a file."""
    with Anvil(state=file) as node:
        web3 = connect([node.url])
        return web3.eth.block_number, web3.eth.get_balance(web3.to_checksum_address(RICH))


@pytest.mark.parametrize("share", [0, 1e-9, 0.01, 0.5, 0.99, "all but one"])
def test_a_file_that_is_cut_short_is_replaced_by_its_copy(tmp_path, kept, caplog, share):
    """Wherever anvil was killed over it, the chain goes on as it was; one line says why."""
    file = tmp_path / "chain.json"
    length = len(kept) - 1 if share == "all but one" else -int(-share * len(kept) // 1)
    file.write_bytes(kept[:length])
    copy_of(file).write_bytes(kept)
    with caplog.at_level(logging.WARNING):
        assert number_and_balance(file) == (40, 7)
    (record,) = caplog.records
    assert f"{file} is cut short" in record.getMessage()
    assert "the chain goes on from its copy of" in record.getMessage()


def test_a_file_that_ends_with_a_brace_may_be_cut_short(tmp_path, kept):
    """Not its last character tells whether it is whole."""
    file = tmp_path / "chain.json"
    braces = [place for place, byte in enumerate(kept[:-1]) if byte == ord("}")]
    copy_of(file).write_bytes(kept)
    for place in braces[:: len(braces) // 20]:
        file.write_bytes(kept[: place + 1])
        mend(file)
        assert file.read_bytes() == kept


def test_a_whole_file_is_taken_as_it_is(tmp_path, kept, caplog):
    """An older copy beside it has no say, and nothing is told."""
    file = tmp_path / "chain.json"
    newer = json.dumps({**json.loads(kept), "mark": 1}).encode()
    file.write_bytes(newer)
    copy_of(file).write_bytes(kept)
    mend(file)
    assert file.read_bytes() == newer
    assert not caplog.records


@pytest.mark.parametrize("copy", [None, b"", b'{"block": {'])
def test_no_whole_copy_is_one_line(tmp_path, kept, copy):
    """Where nothing whole is left, that is said, and what to do; nothing is overwritten."""
    file = tmp_path / "chain.json"
    file.write_bytes(kept[:1000])
    if copy is not None:
        copy_of(file).write_bytes(copy)
    with pytest.raises(LedgerError, match="no whole copy lies beside it.*begin anew") as error:
        Anvil(state=file)
    assert "\n" not in str(error.value)
    assert file.read_bytes() == kept[:1000]


def test_the_copy_is_of_the_newest_whole_file(tmp_path, anvil_program):
    """While anvil writes over and over, there is a whole copy at any moment, soon the newest."""
    file = tmp_path / "chain.json"
    with Anvil(state=file) as node:
        web3 = connect([node.url])
        for count in range(1, 4):
            address = "0x" + str(count) * 40
            ask(web3, "anvil_mine", hex(400))
            ask(web3, "anvil_setBalance", address, hex(1))
            node.keep(address)
            assert json.loads(copy_of(file).read_bytes())["best_block_number"] == 400 * count


def test_anvil_ends_with_whoever_is_killed(tmp_path, anvil_program):
    """Kill -9 of the process that started it leaves no orphan, and the file whole."""
    file = tmp_path / "chain.json"
    code = (
        "import sys, time; from pathlib import Path; from colearn.ledgers.anvil import Anvil\n"
        "print(Anvil(state=Path(sys.argv[1])).port, flush=True); time.sleep(60)"
    )
    command = [sys.executable, "-c", code, str(file)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as run:
        port = int(run.stdout.readline())
        ask(connect([f"http://127.0.0.1:{port}"]), "anvil_setBalance", RICH, hex(7))
        run.send_signal(signal.SIGKILL)
    until(lambda: not answers(port))
    until(lambda: file.exists() and RICH.encode() in file.read_bytes())
    assert number_and_balance(file) == (0, 7)


def answers(port):
    """Whether anybody listens."""
    with socket.socket() as tried:
        return tried.connect_ex(("127.0.0.1", port)) == 0
