"""Options that several commands read alike."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter, Token

from colearn.errors import ConfigError

if TYPE_CHECKING:
    from colearn.drivers import Chain


def _whole(_: type, tokens: Sequence[Token]) -> int:
    """Read a whole number; the command line's own reading would cut 2.5 down to 2."""
    return int(tokens[0].value)


Whole = Annotated[int, Parameter(converter=_whole)]
Each = Parameter(negative=())
"""For an option that may be given several times."""
Tracks = Annotated[tuple[str, ...], Each]


@Parameter(name="*")
@dataclass(frozen=True)
class Trial:
    """How learners that are tried out in one process train, on what, and who of them attacks.

    Attributes:
        learning_rate: Instead of the task's own.
        batch_size: Instead of the task's own.
        data_dir: Folder of the data, for tasks that read one and for your function.
        test_dir: Folder of the test part, if it is another one.
        attackers: How many of the learners attack.
        attack: What attackers do: label-flip, sign-flip, noise, lazy-voter,
            contrary-voter or colluding-voter.
    """

    learning_rate: float | None = None
    batch_size: Whole | None = None
    data_dir: Path | None = None
    test_dir: Path | None = None
    attackers: Whole = 0
    attack: str = "label-flip"

    @property
    def settings(self) -> dict[str, Any]:
        """The same, as a run's settings hold it: they may be read from another folder."""
        folders = {
            name: None if path is None else str(path.resolve())
            for name, path in (("data_dir", self.data_dir), ("test_dir", self.test_dir))
        }
        return vars(self) | folders


USUAL = Trial()


@Parameter(name="*")
@dataclass(frozen=True)
class Trust:
    """Whether the members trust each other, which the method follows from.

    Attributes:
        trusted: The members trust each other: fast, or plain for a model that cannot be
            merged, such as a forest.
        untrusted: Somebody among them may lie: shield, or plain for such a model.
    """

    trusted: Annotated[bool, Each] = False
    untrusted: Annotated[bool, Each] = False

    @property
    def said(self) -> bool | None:
        """Whether they do; None if neither is said.

        Raises:
            ConfigError: Both are.
        """
        if self.trusted and self.untrusted:
            raise ConfigError("--trusted and --untrusted contradict each other: say one of them")
        return self.trusted if self.trusted or self.untrusted else None


UNSAID = Trust()


@Parameter(name="*")
@dataclass(frozen=True)
class Node:
    """How a command reaches the experiment's chain.

    Attributes:
        rpc: URL of a node of the experiment's chain; several, to believe only what they
            agree on. Else COLEARN_RPC, or a node on this machine.
        depth: How many blocks must lie on a block before it counts: 0 where blocks are
            final at once. Or "finalized", to leave it to the chain.
    """

    rpc: Annotated[tuple[str, ...], Parameter(negative=(), env_var="COLEARN_RPC")] = (
        "http://127.0.0.1:8545",
    )
    depth: str = "0"

    @property
    def chain(self) -> Chain:
        """The chain, as drivers want it.

        Raises:
            ConfigError: The depth cannot be read.
        """
        from colearn.drivers import Chain  # noqa: PLC0415 - brings web3 with it

        if self.depth == "finalized":
            return Chain(rpc=self.rpc, depth="finalized")
        if not (self.depth.isascii() and self.depth.isdecimal()):
            raise ConfigError(
                f"--depth {self.depth!r} is refused: give a number of blocks, or finalized"
            )
        return Chain(rpc=self.rpc, depth=int(self.depth))


LOCAL = Node()


@Parameter(name="*")
@dataclass(frozen=True)
class Account:
    """Whose key a command signs with.

    Attributes:
        key: Your keystore file, as colearn keys new made it. Else COLEARN_KEY holds the
            key itself.
        passphrase_file: File with its passphrase. Else it is taken from
            COLEARN_PASSPHRASE, or asked for.
    """

    key: Path | None = None
    passphrase_file: Path | None = None


@Parameter(name="*")
@dataclass(frozen=True)
class Reach:
    """How a member is reached by the others.

    Attributes:
        listen: HOST:PORT to listen on; beyond this machine only with a certificate. By
            default what the experiment says of you, or a free port of this machine.
        url: Where others reach you, if not there.
        peer: URL of another member, to find all of them by; several, if known.
        certificate: Your TLS certificate.
        certificate_key: Its key.
        trust: File of all members' certificates, one after the other.
        bucket: URL of an object store that all members meet in, where they cannot reach
            each other: s3://, gs://, az:// or file://.
    """

    listen: str | None = None
    url: str | None = None
    peer: Annotated[tuple[str, ...], Parameter(negative=())] = ()
    certificate: Path | None = None
    certificate_key: Path | None = None
    trust: Path | None = None
    bucket: str | None = None


THIS_MACHINE = Reach()


def host_and_port(option: str, text: str) -> tuple[str, int]:
    """Read HOST:PORT.

    Raises:
        ConfigError: It is none.
    """
    host, _, port = text.rpartition(":")
    if not host or not (port.isascii() and port.isdecimal()):
        raise ConfigError(f"{option} {text!r} is refused: write it HOST:PORT, such as 127.0.0.1:0")
    return host, int(port)


FROM_ENVIRONMENT = Account()
