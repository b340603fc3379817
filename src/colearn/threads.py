"""Calls that wait for others, side by side."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from threading import Thread
from typing import TypeVar

_T = TypeVar("_T")
_R = TypeVar("_R")
_MOST_THREADS = 16


def side_by_side(function: Callable[[_T], _R], arguments: Iterable[_T]) -> list[_R]:
    """Call a function with each of some arguments, several at a time; results in their order.

    Unlike a pool's, its threads hold up nobody's end: what interrupts the caller leaves
    them behind.
    """
    tasks = deque((argument, Future[_R]()) for argument in arguments)
    results = [future for _, future in tasks]

    def work() -> None:
        while tasks:
            try:
                argument, future = tasks.popleft()
            except IndexError:  # another thread was faster
                return
            try:
                future.set_result(function(argument))
            except BaseException as reason:  # noqa: BLE001 - it is raised again, where it is waited for
                future.set_exception(reason)

    for _ in range(min(len(tasks), _MOST_THREADS)):
        Thread(target=work, name="side by side", daemon=True).start()
    return [future.result() for future in results]
