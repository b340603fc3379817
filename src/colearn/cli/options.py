"""Options that several commands read alike."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from cyclopts import Parameter, Token


def _whole(_: type, tokens: Sequence[Token]) -> int:
    """Read a whole number; the command line's own reading would cut 2.5 down to 2."""
    return int(tokens[0].value)


Whole = Annotated[int, Parameter(converter=_whole)]
Each = Parameter(negative=())
"""For an option that may be given several times."""

Rpc = Annotated[tuple[str, ...], Parameter(negative=(), env_var="COLEARN_RPC")]
