"""Four validators of a CometBFT chain with an EVM on it, on this machine.

Of PyPI's ``injective-core``, in an environment of its own or not; the test that asks for
it is skipped where the program ``injectived`` is not on the PATH or named by INJECTIVED.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Self

from web3 import HTTPProvider, Web3

COUNT = 4
CHAIN_ID = "injective-777"
_STAKE, _FUNDS = 10**20, 10**26
_PATIENCE_SECONDS = 90


def program() -> str | None:
    """Where the program is, if anywhere."""
    return os.environ.get("INJECTIVED") or shutil.which("injectived")


class Validators:
    """A chain whose blocks need three of its four validators."""

    def __init__(self, folder: Path, accounts: Iterable[str]) -> None:
        self._program = program() or "injectived"
        self._homes = [folder / str(number) for number in range(COUNT)]
        self._ports = [_free_ports(5) for _ in self._homes]
        self._processes: dict[int, subprocess.Popen[bytes]] = {}
        self._found(list(accounts))

    @property
    def urls(self) -> list[str]:
        """Where each of them answers as a node of Ethereum."""
        return [f"http://127.0.0.1:{ports[2]}" for ports in self._ports]

    def start(self, number: int) -> None:
        """Start one, or start it again."""
        home = self._homes[number]
        with (home / "log.txt").open("ab") as log:
            self._processes[number] = subprocess.Popen(
                [self._program, "start", "--home", str(home), "--log-level", "error"],
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def kill(self, number: int) -> None:
        """Kill one."""
        process = self._processes.pop(number)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()

    def height(self, number: int) -> int:
        """The newest block that one of them knows; -1 where it does not answer."""
        try:
            return int(Web3(HTTPProvider(self.urls[number])).eth.block_number)
        except Exception:  # noqa: BLE001 - whatever it is, it has no block to show
            return -1

    def wait_for(self, number: int, height: int) -> None:
        """Wait until one of them has a block."""
        end = time.monotonic() + _PATIENCE_SECONDS
        while self.height(number) < height:
            log = self._homes[number] / "log.txt"
            assert time.monotonic() < end, log.read_text()[-2000:]
            time.sleep(0.1)

    def __enter__(self) -> Self:
        try:
            for number in range(COUNT):
                self.start(number)
            for number in range(COUNT):
                self.wait_for(number, 1)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        for number in list(self._processes):
            self.kill(number)

    def _run(self, number: int, *arguments: str) -> str:
        home = self._homes[number]
        done = subprocess.run(
            [self._program, *arguments, "--home", str(home)],
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr[-2000:]
        return done.stdout + done.stderr

    def _found(self, accounts: list[str]) -> None:
        """Make keys and genesis."""
        test = ("--keyring-backend", "test")
        validators = []
        for number in range(COUNT):
            self._run(number, "init", f"node-{number}", "--chain-id", CHAIN_ID)
            self._run(number, "keys", "add", "validator", *test)
            validators.append(self._run(number, "keys", "show", "validator", "-a", *test).strip())
        genesis = self._homes[0] / "config" / "genesis.json"
        _edit(genesis, _terms)
        for address in (*validators, *map(self._native, accounts)):
            self._run(0, "add-genesis-account", address, f"{_FUNDS}inj", "--chain-id", CHAIN_ID)
        for number, home in enumerate(self._homes):
            if number:
                shutil.copy(genesis, home / "config" / "genesis.json")
            stake = ("validator", f"{_STAKE}inj", "--chain-id", CHAIN_ID)
            self._run(number, "genesis", "gentx", *stake, *test)
            if number:
                for made in (home / "config" / "gentx").iterdir():
                    shutil.copy(made, self._homes[0] / "config" / "gentx" / made.name)
        self._run(0, "genesis", "collect-gentxs")
        ids = [self._run(number, "comet", "show-node-id").strip() for number in range(COUNT)]
        peers = [
            f"{each.splitlines()[-1]}@127.0.0.1:{ports[0]}"
            for each, ports in zip(ids, self._ports, strict=True)
        ]
        for number, home in enumerate(self._homes):
            if number:
                shutil.copy(genesis, home / "config" / "genesis.json")
            self._configure(number, ",".join(peers[:number] + peers[number + 1 :]))

    def _native(self, account: str) -> str:
        """An Ethereum address as the chain itself writes it."""
        said = self._run(0, "keys", "parse", account.removeprefix("0x"))
        found = re.search(r"\binj1[0-9a-z]{38}\b", said)
        assert found, said
        return found.group()

    def _configure(self, number: int, peers: str) -> None:
        p2p, rpc, evm, evm_sockets, grpc = self._ports[number]
        config = self._homes[number] / "config"
        _set(
            config / "config.toml",
            {
                "p2p.laddr": f"tcp://127.0.0.1:{p2p}",
                "p2p.persistent_peers": peers,
                "p2p.addr_book_strict": False,
                "p2p.allow_duplicate_ip": True,
                "rpc.laddr": f"tcp://127.0.0.1:{rpc}",
                "rpc.pprof_laddr": "",
                "consensus.timeout_commit": "300ms",
                "instrumentation.prometheus": False,
            },
        )
        _set(
            config / "app.toml",
            {
                "minimum-gas-prices": "1inj",
                "api.enable": False,
                "grpc.address": f"127.0.0.1:{grpc}",
                "grpc-web.enable": False,
                "json-rpc.address": f"127.0.0.1:{evm}",
                "json-rpc.ws-address": f"127.0.0.1:{evm_sockets}",
            },
        )


def _terms(genesis: dict[str, Any]) -> None:
    """Let all be paid in one coin, and blocks have room for a contract."""
    state = genesis["app_state"]
    state["staking"]["params"]["bond_denom"] = "inj"
    state["crisis"]["constant_fee"]["denom"] = "inj"
    state["mint"]["params"]["mint_denom"] = "inj"
    state["gov"]["params"]["min_deposit"][0]["denom"] = "inj"
    genesis["consensus"]["params"]["block"]["max_gas"] = "100000000"


def _edit(path: Path, change: Any) -> None:
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def _set(path: Path, values: dict[str, Any]) -> None:
    """Change values of a TOML file, line by line; each must be there."""
    section, waiting, lines = "", dict(values), []
    for line in path.read_text().splitlines():
        if found := re.match(r"\[([\w-]+)\]", line):
            section = found.group(1) + "."
        elif (name := section + line.partition("=")[0].strip()) in waiting:
            line = f"{line.partition('=')[0]}= {json.dumps(waiting.pop(name))}"  # noqa: PLW2901
        lines.append(line)
    assert not waiting, f"{path} has no {', '.join(waiting)}"
    path.write_text("\n".join(lines) + "\n")


def _free_ports(count: int) -> list[int]:
    """Ports that are free now."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports
