"""anvil, a node for development and tests, found on this machine and run.

It is installed by ``npm i @foundry-rs/anvil``, or with Foundry.
"""

from __future__ import annotations

import contextlib
import os
import platform
import shutil
import socket
import subprocess
import time
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import Self

from colearn.errors import ConfigError, LedgerError
from colearn.ledgers.chain_file import Keeper, copy_of, mend

VARIABLE = "ANVIL"
"""The environment variable that may name anvil's program."""

INSTALL = "npm i @foundry-rs/anvil@1.7.1"
"""The command that installs it in a folder."""

_FUNDS_WEI = 10**21
_START_SECONDS = 20.0
_STOP_SECONDS = 5.0
_SYSTEMS = {"Linux": "linux", "Darwin": "darwin"}
_MACHINES = {"x86_64": "amd64", "AMD64": "amd64", "aarch64": "arm64", "arm64": "arm64"}


def find_anvil() -> Path | None:
    """Where anvil's program is; None if it is nowhere.

    Looked for where ``ANVIL`` says, on the path, and in the folder ``node_modules`` of
    the working directory and those above it.
    """
    named = os.environ.get(VARIABLE)
    if named is not None:
        return Path(named) if os.access(named, os.X_OK) else None
    found = shutil.which("anvil")
    if found is not None:
        return Path(found)
    system, machine = _SYSTEMS.get(platform.system()), _MACHINES.get(platform.machine())
    package = f"node_modules/@foundry-rs/anvil-{system}-{machine}/bin/anvil"
    here = Path.cwd()
    return next(
        (each / package for each in (here, *here.parents) if (each / package).exists()), None
    )


class Anvil:
    """A running node, which ends with the ``with`` statement that it is used in.

    It ends with this process, too, where that is killed.

    Args:
        port: On loopback; 0 takes a free one.
        block_seconds: Time from block to block; None: one for each transaction, at once.
        state: A file that the chain is kept in, every second; what it holds is gone on
            with. The last whole copy lies beside it, for when anvil is killed over it.

    Raises:
        ConfigError: anvil is not installed.
        LedgerError: It does not start, or neither the file nor its copy is whole.
    """

    def __init__(
        self, *, port: int = 0, block_seconds: int | None = None, state: Path | None = None
    ) -> None:
        program = find_anvil()
        if program is None:
            raise ConfigError(
                f"anvil is not installed: {INSTALL}, or set {VARIABLE} to its program"
            )
        if port and _answers(port):
            raise LedgerError(f"port {port} is taken by another program: choose another")
        self.port = port or _free_port()
        command = [str(program), "--port", str(self.port), "--silent", "--accounts", "1"]
        if block_seconds is not None:
            command += ["--block-time", str(block_seconds)]
        if state is not None:
            mend(state)
            command += ["--state", str(state), "--state-interval", "1"]
        self._process = subprocess.Popen(  # noqa: S603 - a program that was looked for
            command, start_new_session=True, stdin=subprocess.DEVNULL
        )
        self._guard = _end_with_this_process(self._process.pid)
        self._state = state
        self._keeper = None if state is None else Keeper(state)
        try:
            self._await_start()
        except BaseException:
            self.kill()
            raise

    @property
    def url(self) -> str:
        """Where it is spoken to."""
        return f"http://127.0.0.1:{self.port}"

    def fund(self, addresses: Iterable[str]) -> None:
        """Give addresses what transactions cost, many times over."""
        from web3 import HTTPProvider  # noqa: PLC0415 - whoever only looks for anvil needs none
        from web3.types import RPCEndpoint  # noqa: PLC0415

        node = HTTPProvider(self.url)
        for address in addresses:
            node.make_request(RPCEndpoint("anvil_setBalance"), [address, hex(_FUNDS_WEI)])

    @property
    def end(self) -> str:
        """How it ended, in words; empty while it runs."""
        status = self._process.poll()
        if status is None:
            return ""
        return f"by signal {-status}" if status < 0 else f"with status {status}"

    def keep(self, address: str) -> None:
        """Return once the file's copy has an account, such as a contract that was deployed.

        Raises:
            LedgerError: The node ends first.
        """
        if self._state is None:
            return
        copy = copy_of(self._state)
        while not copy.exists() or address.lower().encode() not in copy.read_bytes():
            if self.end:
                raise LedgerError(f"anvil ended {self.end} before it wrote {self._state}")
            time.sleep(0.05)

    def stop(self) -> None:
        """End it; what it keeps in a file is complete then."""
        self._process.terminate()
        try:
            self._process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
        self._close()

    def kill(self) -> None:
        """End it as a crash does."""
        self._process.kill()
        self._close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def _close(self) -> None:
        self._process.wait()
        self._guard.kill()
        self._guard.communicate()
        if self._keeper is not None:
            self._keeper.close()

    def _await_start(self) -> None:
        until = time.monotonic() + _START_SECONDS
        while not _answers(self.port):
            if self._process.poll() is not None or time.monotonic() > until:
                break
            time.sleep(0.02)
        else:
            if self._process.poll() is None:
                return
        raise LedgerError(
            f"anvil does not start on port {self.port}: is the port taken, or its state file "
            "damaged or another version's?"
        )


def _end_with_this_process(pid: int) -> subprocess.Popen[bytes]:
    """Start a shell that ends a process once its own input is closed: when this one is no more."""
    command = ["/bin/sh", "-c", f"read _; kill {pid}"]
    return subprocess.Popen(  # noqa: S603 - a command of our own
        command, start_new_session=True, stdin=subprocess.PIPE
    )


def _answers(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)):
        return True
    return False


def _free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])
