"""What suits a task and its members: a method, and the vote and rounds that go with it."""

from __future__ import annotations

from typing import NamedTuple

from colearn.methods import method as named_method
from colearn.methods import method_for
from colearn.records import PLAIN
from colearn.tasks.registry import Task


class Suited(NamedTuple):
    """What an experiment is to be run with.

    Attributes:
        method: Name of the method.
        vote: Name of the voting policy.
        rounds: How many rounds.
    """

    method: str
    vote: str
    rounds: int


def turns(task: Task) -> int:
    """How many rounds suit a task where all train in every one."""
    return task.rounds // 3


def suited(
    task: Task,
    *,
    trusted: bool,
    method: str | None = None,
    vote: str | None = None,
    rounds: int | None = None,
) -> Suited:
    """Fill in what is not given.

    The plain method votes strictly, for what is no better is no progress; merged
    proposals need the lenient vote. Where all train in every round, a third of the
    rounds will do.

    Args:
        task: What is learned.
        trusted: Whether the members trust each other.
        method: As given; None for what suits the members.
        vote: As given; None for what suits the method.
        rounds: As given; None for what suits task and method.

    Raises:
        ConfigError: There is no such method.
    """
    if method is None:
        method = method_for(merges=task.batch_size is not None, trusted=trusted)
    if rounds is None:
        rounds = turns(task) if named_method(method).all_train else task.rounds
    return Suited(method, vote or ("loss" if method == PLAIN else "not-worse"), rounds)
