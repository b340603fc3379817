"""The course of a method: its state after each proposal decided, and whether merges are true.

Whoever holds the blobs repeats it from the ledger alone, as members and auditors do.
Participants of one process share one course, and so the work.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from contextlib import suppress
from threading import RLock
from typing import NamedTuple, Protocol

from colearn.committee import named, workers
from colearn.errors import (
    BadSignature,
    BlobMissing,
    ConfigError,
    SchemaMismatch,
    StoreError,
    WeightsError,
    WrongMerge,
)
from colearn.ml_interface import Weights
from colearn.protocols import Method, Signer, Tensors, Trained
from colearn.records import PLAIN, Digest, Experiment, Proposal, Update
from colearn.rules import Decision, Outcome
from colearn.schema import Schema
from colearn.state import Turn
from colearn.weights_store import WeightsStore

_SOON_SECONDS = 0.1
_LATER_SECONDS = 30.0
_log = logging.getLogger(__name__)


def check_merges(method: Method, schema: Schema) -> None:
    """Raise `ConfigError` where a method cannot make M′ of such a model's updates."""
    if schema.bounds and method.name != PLAIN:
        raise ConfigError(
            f"the method {method.name} cannot merge a model whose tensors grow, such as a "
            f"forest: take the method {PLAIN}"
        )


class Decided(Protocol):
    """What a course follows: a ledger, or the decisions an auditor replays."""

    @property
    def experiment(self) -> Experiment:
        """What the members agreed on."""
        ...

    def decisions(self, since: int = 0) -> Sequence[Decision]:
        """Every round that has ended, in order, from position ``since`` on."""
        ...


class _Merged(NamedTuple):
    """What the last round's updates were trained from, and whose were merged."""

    base: Digest
    state: str
    senders: frozenset[str]


class Course:
    """Follows a ledger's decisions.

    An update that comes too late for its round counts in the next one, as the same move
    from the weights that are everyone's by then; each once. So members who need longer
    than a round are not without a say.

    Where the bytes of a decided proposal cannot be had just now, as by who has just begun and
    knows nobody's address, they are asked for again: after a tenth of a second, then after
    twice as long each time, up to half a minute. A proposal accepted later names the state
    from which it was made: what most members approved, they checked.

    Args:
        method: The method.
        ledger: The ledger.
        weights: Where proposals, updates and states lie.
        signer: Checks whose updates they are; None where members share one process.

    Attributes:
        method: The method.
        state: The method's state in the live round, where it is known.
    """

    def __init__(
        self, method: Method, ledger: Decided, weights: WeightsStore, signer: Signer | None = None
    ) -> None:
        self.method = method
        self.state: Tensors = {}
        self._ledger = ledger
        self._weights = weights
        self._signer = signer
        self._current = ledger.experiment.initial
        self._missed = list(ledger.decisions())
        self._seen = len(self._missed)
        self._since: float | None = None
        self._again, self._pause = 0.0, _SOON_SECONDS
        self._unsure = False
        self._digest: str | None = ""
        self._last: _Merged | None = None
        self._worked: frozenset[str] = frozenset()
        self._kept: list[str] = []
        self._found: dict[Digest, WrongMerge | None] = {}
        self._foreseen: tuple[Digest, Tensors] | None = None
        self._lock = RLock()
        if self._missed:
            self._skip(self._seen)
            self._catch_up()

    @property
    def known(self) -> bool:
        """Whether the state is everybody's: all bytes that it follows from could be had."""
        return not self._missed

    @property
    def seeks(self) -> bool:
        """Whether it is not, but was missed half a minute ago at the most, and may soon be."""
        return self._since is not None and time.monotonic() < self._since + _LATER_SECONDS

    @property
    def digest(self) -> str:
        """Digest of the state, which is stored for who joins late; empty for an empty state."""
        with self._lock:
            if self._digest is None:
                self._digest = self._weights.put_state(self.state)
                self._kept.append(self._digest)
            return self._digest

    def follow(self) -> None:
        """Take what the ledger has decided since, and what could not be had before."""
        with self._lock:
            fresh = self._ledger.decisions(self._seen)
            self._seen += len(fresh)
            self._missed += fresh
            if fresh:
                self._pause = _SOON_SECONDS
            if fresh or (self._missed and time.monotonic() >= self._again):
                self._catch_up()

    def _catch_up(self) -> None:
        """Advance the state by every round that was missed, as far as bytes can be had."""
        newest = self._missed[-1]
        while self._missed:
            try:
                self._advance(self._missed[0])
                del self._missed[0]
            except StoreError:
                if not self._skip(1):
                    break
                self._since = None
        if not self._missed:
            self._since = None
            return
        now = time.monotonic()
        if self._since is None:
            self._since = now
        self._again = now + self._pause
        self._pause = min(2 * self._pause, _LATER_SECONDS)
        self._current = _model_after(newest)

    def _skip(self, most: int) -> bool:
        """Go on at the last of so many accepted proposals whose state can be had, if one is."""
        accepted = [
            index
            for index, decision in enumerate(self._missed)
            if index and decision.outcome is Outcome.ACCEPTED
        ]
        for index in reversed(accepted[-most:]):
            decision = self._missed[index]
            if decision.proposal is not None:
                with suppress(StoreError, WeightsError):
                    self._adopt(decision.proposal, len(decision.members))
                    self._leave_behind(index)
                    return True
        return False

    def _leave_behind(self, count: int) -> None:
        """Go on after that many of the rounds that were missed."""
        if count:
            self._stand_after(self._missed[count - 1], None)
            del self._missed[:count]
            self._unsure = True

    def _advance(self, decision: Decision) -> None:
        """Advance the state by a round.

        A proposal that does not hold moves nothing; nor does one that was not accepted and
        that fewer than half of the voters judged: whoever made it may have shown it to few.

        Raises:
            StoreError: Its bytes, or those of an update, cannot be had.
        """
        foreseen, self._foreseen = self._foreseen, None
        self._current = decision.current
        last = None
        accepted = decision.outcome is Outcome.ACCEPTED
        if decision.proposal is not None and _counts(decision):
            self._found.pop(decision.proposal, None)
            try:
                self._weights.check_origin(
                    decision.proposal,
                    round_index=decision.round,
                    sender=decision.proposer,
                    base=decision.current,
                )
                proposal = self._weights.proposal(decision.proposal)
                if accepted and proposal.state != self.digest:
                    self._adopt(decision.proposal, len(decision.members))
                if accepted and foreseen is not None and foreseen[0] == decision.proposal:
                    state = foreseen[1]
                else:
                    state = self._after(decision.proposal, decision, accepted=accepted)
            except (SchemaMismatch, WeightsError):
                pass
            else:
                senders = frozenset(update.sender for update in proposal.merged)
                last = _Merged(decision.current, proposal.state, senders)
                self._tell(decision.round, state)
                self.state = state
                self._digest = None if self.state else ""
        if accepted:
            self._drop_states()
        self._stand_after(decision, last)
        self._unsure = False

    def _drop_states(self) -> None:
        """Hold no state but the last; what cannot be dropped now is dropped another time."""
        latest = self._kept[-1:]
        old = [digest for digest in dict.fromkeys(self._kept) if digest not in latest]
        with suppress(StoreError):
            while old:
                self._weights.drop_state(old[0])
                del old[0]
        self._kept = old + latest

    def _stand_after(self, decision: Decision, last: _Merged | None) -> None:
        """Go on from a round that has ended, in which these updates were merged."""
        self._last = last
        sat = workers(decision.rule, decision.current, decision.through, len(decision.members))
        self._worked = frozenset(named(decision.members, sat))
        self._current = _model_after(decision)

    def _tell(self, round_index: int, state: Tensors) -> None:
        """Say, in the round that brings it, that the method has backed off from something."""
        backed_off = self.method.backed_off(state)
        if backed_off is not None and self.method.backed_off(self.state) is None:
            _log.warning("round %d: %s", round_index, backed_off)

    def adopt(self, proposal: Digest, members: int) -> None:
        """Take the state that a proposal of so many members names, and miss no round any more.

        Raises:
            StoreError: It cannot be had.
            WeightsError: It is none.
        """
        with self._lock:
            self._adopt(proposal, members)
            self._leave_behind(len(self._missed))
            self._since = None

    def _adopt(self, proposal: Digest, members: int) -> None:
        digest = self._weights.proposal(proposal).state
        self.state = self._weights.get_state(digest, members) if digest else {}
        self._digest = digest

    def foresee(self, digest: Digest, live: Turn) -> Tensors:
        """The state after the live round, if this proposal is accepted in it.

        Raises:
            WrongMerge: The proposal does not hold.
            StoreError: It, or an update, cannot be had.
            WeightsError: An update is not weights of the experiment.
        """
        with self._lock:
            if self._foreseen is None or self._foreseen[0] != digest:
                self._foreseen = digest, self._after(digest, live, accepted=True)
            return self._foreseen[1]

    def _after(self, digest: Digest, live: Turn, *, accepted: bool) -> Tensors:
        """The state after a proposal of the live round is decided."""
        proposal = self._weights.proposal(digest)
        self.check_updates(proposal, live)
        updates = self.trained(proposal.merged)
        base = self._weights.get(self._current).weights
        merged = self._accepted(proposal, digest, base, updates) if accepted else None
        return self.method.advance(base, self.state, updates, merged)

    def _accepted(
        self, proposal: Proposal, digest: Digest, base: Tensors, updates: Sequence[Trained]
    ) -> Tensors:
        """M′ as accepted; who rested makes it of the updates, and need not fetch it."""
        if not self._weights.holds(proposal.weights):
            with suppress(WeightsError):  # a merge that is not true, and was accepted
                made = self.method.merge(base, self.state, updates)
                self._weights.put_weights(Weights(made))
        return self._weights.get(digest).weights

    def trained(self, updates: Sequence[Update]) -> list[Trained]:
        """Updates with their weights, in the order given; raises as `WeightsStore.get` does."""
        trained = []
        found = self._weights.get_updates(updates, self._current)
        for update, weights in zip(updates, found, strict=True):
            if not isinstance(weights, Weights):
                raise weights
            trained.append(Trained(update.sender, weights.weights, update.steps, update.samples))
        return trained

    def late(self, update: Update, round_index: int) -> bool:
        """Whether an update is of the round before, of who worked in it, and was not merged."""
        last = self._last or _Merged(self._current, self.digest, frozenset())
        return (
            (update.round, update.base, update.state) == (round_index - 1, last.base, last.state)
            and update.sender in self._worked - last.senders
            and bool(update.weights)
        )

    def sound(self, update: Update, live: Turn) -> bool:
        """Whether an update is of the live round, from everyone's model and state; or late.

        It must be a member's, whom its round asked for one. Behind rounds that were skipped
        it is not known whose were merged already: who accepted the next proposal knew.
        """
        if (update.round, update.base, update.state) == (live.round, self._current, self.digest):
            if update.sender not in live.at_work:
                return False
        elif update.sender not in live.members or not (
            self.late(update, live.round) or (self._unsure and update.round == live.round - 1)
        ):
            return False
        if not update.weights or min(update.steps, update.samples) < 0:
            return False
        if self._signer is not None:
            try:
                self._signer.check(update)
            except BadSignature:
                return False
        return True

    def check_updates(self, proposal: Proposal, live: Turn) -> None:
        """Check that a proposal of the live round names a method's state and updates that hold.

        Raises:
            WrongMerge: It does not.
        """
        what = f"the proposal of {proposal.sender!r} for round {proposal.round}"
        if proposal.state != self.digest:
            raise WrongMerge(
                f"{what} was made with the method's state {proposal.state[:12]!r}, "
                f"expected {self.digest[:12]!r}"
            )
        members = live.members
        order = [
            members.index(update.sender) if update.sender in members else -1
            for update in proposal.merged
        ]
        if not order or order != sorted(set(order)):
            raise WrongMerge(f"{what} does not name updates of members, one each, in their order")
        if not self.method.all_train and [each.sender for each in proposal.merged] != [
            proposal.sender
        ]:
            raise WrongMerge(f"{what} merges another update than its proposer's own")
        for update in proposal.merged:
            if not self.sound(update, live):
                raise WrongMerge(
                    f"{what} merges an update of {update.sender!r} that is not of this round "
                    "(or left over from the last), from everyone's model and state, and signed "
                    "by a member that was to train"
                )

    def check_whole(
        self, digest: Digest, live: Turn, held: Sequence[Update], *, early: bool
    ) -> None:
        """Check that a proposal of the live round leaves out few updates that were there for it.

        Its proposer may honestly lack some, and whoever trained may show it none and tell the
        others that it did. So less than a third may be missing: where fewer than a third of
        the members lie, they cannot stop a round in this way, and are fewer than half of any
        merge (as in Byzantine agreement, Lamport, Shostak and Pease 1982).

        One that came early had them all, for its proposer waits for every member at work: only
        who gave nothing that can be merged is not missed then.

        Args:
            digest: The proposal's.
            live: The state of the round.
            held: Updates of this round that were here before the proposal was; where it came
                early, all that are here.
            early: Whether it came while updates were still waited for.

        Raises:
            WrongMerge: It leaves out more.
            StoreError: It cannot be had.
        """
        proposal = self._weights.proposal(digest)
        merged = {
            update.sender for update in proposal.merged if early or update.round == live.round
        }
        sound = {update.sender for update in held if self.sound(update, live)}
        useless = {update.sender for update in held} - sound
        left = (live.at_work - useless if early else sound) - merged
        if left and 3 * len(left) >= len(left | merged):
            raise WrongMerge(
                f"the proposal of {proposal.sender!r} for round {proposal.round} merges "
                f"{len(merged)} updates and leaves out {len(left)}, "
                f"of {', '.join(sorted(left)):.200}: a third of them or more"
            )

    def merge(self, updates: Sequence[Update]) -> Tensors:
        """M′ from everyone's model and these updates."""
        base = self._weights.get(self._current).weights
        return self.method.merge(base, self.state, self.trained(updates))

    def check(self, digest: Digest, live: Turn) -> None:
        """Check that a proposal of the live round is what its method makes of its updates.

        Raises:
            WrongMerge: It is not.
            StoreError: It, or an update, cannot be had, or the method's state is not known.
            WeightsError: An update is not weights of the experiment.
        """
        if not self.known:
            raise BlobMissing(
                "the method's state is not known here, for the bytes of an earlier round could not "
                "be had: they are asked for again, and it is taken up with the next proposal that "
                "the others accept"
            )
        with self._lock:
            if digest not in self._found:
                self._found[digest] = self._check(digest, live)
            found = self._found[digest]
        if found is not None:
            raise found

    def _check(self, digest: Digest, live: Turn) -> WrongMerge | None:
        proposal = self._weights.proposal(digest)
        try:
            self.check_updates(proposal, live)
        except WrongMerge as reason:
            return reason
        merged = self._weights.put_weights(Weights(self.merge(proposal.merged)))
        if merged == proposal.weights:
            return None
        return WrongMerge(
            f"the proposal of {proposal.sender!r} for round {proposal.round} has weights "
            f"{proposal.weights[:12]}, but the updates it names merge to {merged[:12]}"
        )


def _counts(decision: Decision) -> bool:
    """Whether enough of the members have seen a round's proposal for it to move the state."""
    judged = (decision.approve | decision.reject).bit_count()
    return decision.outcome is Outcome.ACCEPTED or 2 * judged >= decision.eligible


def _model_after(decision: Decision) -> Digest:
    """Everyone's model once a round has ended."""
    if decision.proposal is not None and decision.outcome is Outcome.ACCEPTED:
        return decision.proposal
    return decision.current
