"""How a check says that a promise is broken."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

Value = TypeVar("Value")


def require(holds: bool, promise: str) -> None:
    """Raise an `AssertionError` with the promise unless it holds; also under ``python -O``."""
    if not holds:
        raise AssertionError(promise)


def require_quiet(call: Callable[[], Value], promise: str) -> Value:
    """Return the call's value; raise an `AssertionError` with the promise if it raises."""
    try:
        return call()
    except Exception as error:
        raise AssertionError(f"{promise}; it raised {type(error).__name__}: {error}") from error


def require_error(kind: type[Exception], call: Callable[[], object], promise: str) -> None:
    """Raise an `AssertionError` with the promise unless the call raises an error of that kind."""
    try:
        call()
    except kind:
        return
    except Exception as other:
        raise AssertionError(f"{promise}; it raised {type(other).__name__}: {other}") from other
    raise AssertionError(f"{promise}; it raised nothing")
