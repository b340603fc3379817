"""What a member's process says while it runs: one line an event, for people or machines."""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from threading import Lock
from typing import Any

import msgspec
from rich.console import Console

from colearn.cli.progress import progress_bar
from colearn.committee import named
from colearn.errors import ColearnError
from colearn.records import (
    AddMember,
    Change,
    Choice,
    Digest,
    Endorse,
    Entry,
    Event,
    Experiment,
    Pass,
    Propose,
    RemoveMember,
    ReplaceMember,
    Reveal,
    Rotate,
    Rule,
    Vote,
    digest_of,
    encode,
)
from colearn.report.files import WEIGHTS_FILE
from colearn.rules import Decision, Outcome, State

_VERBS = {Choice.APPROVE: "approves", Choice.REJECT: "rejects", Choice.ABSTAIN: "abstains"}
_SHORT = 10


class Feed:
    """A `colearn.member.Watcher` that prints; never a score.

    What happened before the member joined is summed up in one line.

    Args:
        me: The member's name.
        rounds: How many proposals the experiment takes.
        as_json: Print one JSON object a line.
    """

    def __init__(self, me: str, rounds: int, *, as_json: bool) -> None:
        self._me = me
        self._as_json = as_json
        self._console = Console(highlight=False)
        self._progress = progress_bar(self._console, quiet=as_json)
        self._task = self._progress.add_task("learning", total=rounds)
        self._settled = Counter[Outcome]()
        self._caught_up = False
        self._trouble = ""
        self._still = False
        self._printing = Lock()

    @contextmanager
    def warned(self) -> Iterator[None]:
        """Meanwhile say what the package warns of, too, one event a warning."""
        handler, logger = _Warnings(self), logging.getLogger("colearn")
        logger.addHandler(handler)
        try:
            yield
        finally:
            logger.removeHandler(handler)

    @contextmanager
    def shown(self) -> Iterator[None]:
        """Show progress meanwhile, where there is a terminal."""
        with self._progress:
            yield

    def say(self, event: str, text: str, **values: Any) -> None:
        """Print one line: the text, or for machines the event's name and values."""
        with self._printing:
            if self._as_json:
                line = {"event": event, "at": round(time.time(), 3), **values}
                print(msgspec.json.encode(line, enc_hook=str).decode(), flush=True)
            else:
                self._console.print(
                    f"{datetime.now().astimezone():%H:%M:%S}  {text}", soft_wrap=True, markup=False
                )

    def ordered(self, entry: Entry) -> None:
        """The ledger has a new entry."""
        if self._caught_up:
            event = entry.event
            self.say("ordered", self._text_of(event), time=entry.time, entry=event)

    def decided(self, decision: Decision) -> None:
        """A round has ended, or a run of rounds in which nobody proposed."""
        if decision.proposal is not None:
            self._settled[decision.outcome] += 1
            self._progress.update(self._task, completed=self._settled.total())
        if self._caught_up:
            self.say(
                "decided",
                _outcome(decision),
                round=decision.round,
                through=decision.through,
                outcome=decision.outcome.value,
                proposal=decision.proposal,
                approvals=decision.approvals,
                voters=named(decision.members, decision.voters),
                needed=decision.needed,
            )

    def read(self, state: State) -> None:
        """The ledger was read; all is well if nothing has failed since it was read last."""
        if not self._still:
            self._trouble = ""
        self._still = False
        if not self._caught_up:
            self._caught_up = True
            done = self._settled.total()
            accepted = self._settled[Outcome.ACCEPTED]
            self.say(
                "joined",
                f"joined in round {state.round}: {done} proposals decided before, "
                f"{accepted} of them accepted",
                round=state.round,
                decided=done,
                accepted=accepted,
                model=state.current,
            )

    def failed(self, reason: ColearnError) -> None:
        """Something failed that may pass; the same trouble is told once."""
        self._still = True
        said = " ".join(str(reason).split())
        if said != self._trouble:
            self._trouble = said
            self.say("failed", f"trying again: {said}", reason=said)

    def begin(self, experiment: Experiment, folder: Path, url: str) -> None:
        """The drivers are open, and all agree."""
        digest = digest_of((encode(experiment),))
        self.say(
            "begin",
            f"experiment {digest[:_SHORT]}, {len(experiment.members)} members; "
            f"reached at {url}, files in {folder}",
            experiment=digest,
            member=self._me,
            url=url,
            folder=str(folder),
        )

    def finished(self, model: Digest, folder: Path) -> None:
        """The last round is over, and the model is written."""
        self.say(
            "finished", f"finished with model {model}, in {folder / WEIGHTS_FILE}", model=model
        )

    def waits(self, lacking: Sequence[str]) -> None:
        """Others may still have to fetch the last model."""
        if lacking:
            names = ", ".join(map(self._name, lacking))
            self.say("serving", f"serving the model to those that lack it: {names}", to=lacking)

    def stopped(self) -> None:
        """The process was told to stop."""
        self.say("stopped", "stopped; the same command goes on")

    def _name(self, member: str) -> str:
        return f"{member[:_SHORT]} (you)" if member == self._me else member[:_SHORT]

    def _text_of(self, event: Event) -> str:
        name = self._name(event.sender)
        if isinstance(event, Endorse):
            return f"{name} endorses: {change_text(event.change)}"
        if isinstance(event, Rotate):
            return f"{name} gives its place to its new key {event.successor}"
        if isinstance(event, Propose):
            what = f"proposes {event.proposal[:_SHORT]}"
        elif isinstance(event, Vote | Reveal):
            what = _VERBS[event.choice]
        else:
            what = "passes" if isinstance(event, Pass) else "commits to a vote"
        return f"round {event.round:3}  {name} {what}"


class _Warnings(logging.Handler):
    """Says warnings as events."""

    def __init__(self, feed: Feed) -> None:
        super().__init__(logging.WARNING)
        self._feed = feed

    def emit(self, record: logging.LogRecord) -> None:
        text = " ".join(record.getMessage().split())
        self._feed.say("warning", f"warning: {text}", source=record.name, reason=text)


def _outcome(decision: Decision) -> str:
    if decision.proposal is None:
        count = decision.through - decision.round + 1
        if count == 1:
            return f"round {decision.round:3}  nobody proposed"
        return f"rounds {decision.round} to {decision.through}  nobody proposed"
    drawn = " of those drawn" if decision.rule.committee else ""
    return (
        f"round {decision.round:3}  {decision.outcome.value}, {decision.approvals} approve and "
        f"{decision.needed} of {decision.eligible} were needed{drawn}"
    )


def change_text(change: Change) -> str:
    """A change of members or rule, in words."""
    if isinstance(change, AddMember):
        return f"add {change.member}"
    if isinstance(change, RemoveMember):
        return f"remove {change.member}"
    if isinstance(change, ReplaceMember):
        return f"replace {change.member} by {change.successor}"
    return f"set the rule {rule_text(change.rule)}"


def rule_text(rule: Rule) -> str:
    """All terms of a voting rule."""
    return ", ".join(f"{name}={value}" for name, value in msgspec.structs.asdict(rule).items())
