"""Members as processes, on a chain of their own: what a user starts in terminals."""

from __future__ import annotations

import json
import re
import shlex
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

PATIENCE_SECONDS = 60


def command(*arguments: object) -> list[str]:
    """The command line of this very python."""
    code = "import sys; from colearn.cli import main; main(sys.argv[1:])"
    return [sys.executable, "-c", code, *map(str, arguments)]


@dataclass
class Process:
    """A command that runs, and the file of what it says."""

    arguments: list[str]
    cwd: Path
    output: Path
    prefix: list[str] = field(default_factory=list)
    process: subprocess.Popen[bytes] = field(init=False)

    def __post_init__(self) -> None:
        self.start()

    def start(self) -> None:
        """Start it, or start it again; what it says is added to what it said."""
        with self.output.open("ab") as file:
            self.process = subprocess.Popen(
                [*self.prefix, *command(*self.arguments)],
                cwd=self.cwd,
                stdout=file,
                stderr=subprocess.STDOUT,
            )

    def end(self, number: int) -> int:
        """Send a signal; return the exit status."""
        self.process.send_signal(number)
        return self.process.wait(PATIENCE_SECONDS)

    def wait(self) -> int:
        """Wait for its end; return the exit status."""
        return self.process.wait(PATIENCE_SECONDS)

    def text(self) -> str:
        """All that it said."""
        return self.output.read_text()

    def said(self, event: str) -> list[dict[str, object]]:
        """The events of one name that it told as JSON."""
        lines = [line for line in self.text().splitlines() if line.startswith("{")]
        return [each for each in map(json.loads, lines) if each["event"] == event]

    def until(self, there: Callable[[], object]) -> None:
        """Wait until something holds; an end of the process is none."""
        end = time.monotonic() + PATIENCE_SECONDS
        while not there():
            assert self.process.poll() is None, self.text()
            assert time.monotonic() < end, self.text()
            time.sleep(0.05)


class Net:
    """A development chain with an experiment on it, and the commands to join it."""

    def __init__(self, folder: Path, *options: object) -> None:
        self.folder = folder
        self.started: list[Process] = []
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        self.devnet = self.run("devnet", *options, "--port", port, name="devnet")
        self.devnet.until(lambda: "Ctrl-C" in self.devnet.text())
        self.file = folder / "devnet" / "experiment.toml"
        lines = re.findall(r"^  colearn (join .*)$", self.devnet.text(), re.MULTILINE)
        self.joins = [shlex.split(line) for line in lines]

    def run(self, *arguments: object, name: str, prefix: Sequence[str] = ()) -> Process:
        """Start a command, to be ended when the test is over."""
        output = self.folder / f"{name}.txt"
        each = Process(list(map(str, arguments)), self.folder, output, list(prefix))
        self.started.append(each)
        return each

    def join(self, number: int, *options: object) -> Process:
        """Start one member, by the command that was printed for it."""
        return self.run(*self.joins[number], "--json", *options, name=f"member-{number}")

    def signing(self, number: int) -> list[object]:
        """The options by which a command signs as one of the members."""
        arguments = self.joins[number]
        at = arguments.index("--key")
        return [*arguments[at : at + 4], "--rpc", self.url]

    def close(self) -> None:
        """End all that still runs."""
        for each in reversed(self.started):
            if each.process.poll() is None:
                each.process.terminate()
                each.wait()


def free_port() -> int:
    """A port that is free now."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])
