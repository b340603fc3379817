"""The loop of one member: whatever the ledger, the store or the learner.

`colearn.duty` says what a member has to do, and is pure. `Participant.work` does the
part that takes time (train, merge, test, accept), and may run in parallel with other
members'; the learner's part of it stands in `colearn.trainee`. `colearn.together` does
what is due for any number of members of one ledger, and publishes it; `Participant.step`
is that for one. All that a member needs to go on after a crash is in the ledger, the
store and its journal.
"""

from __future__ import annotations

import logging
import math
import secrets
import time
from collections.abc import Sequence

from colearn.course import Course
from colearn.duty import Action, Duty, ballots_of, came_early, candidate
from colearn.errors import (
    BadSignature,
    BlobCorrupt,
    LearnerError,
    NotFinite,
    StoreError,
    WeightsError,
)
from colearn.journal import Journal, Published
from colearn.ml_interface import MachineLearningInterface, Weights
from colearn.protocols import Board, Collector, Ledger, NoteT, Signer
from colearn.records import (
    Ballot,
    Candidate,
    Choice,
    Commit,
    Digest,
    Note,
    Pass,
    Propose,
    Reveal,
    Scores,
    Update,
    Vote,
)
from colearn.rules import State
from colearn.silence import MetBefore, Silence, newcomer
from colearn.together import Done, step_together
from colearn.trainee import Trainee
from colearn.weights_store import WeightsStore

GRACE_SECONDS = 1.0
"""How long a proposer waits for the last ballots once the outcome is certain."""

_MAKES = (Action.TRAIN, Action.PROPOSE)
_VOTES = (Action.VOTE, Action.COMMIT)
_log = logging.getLogger(__name__)


class Participant:
    """Runs one learner as one member of an experiment.

    Args:
        member: Its name on the ledger.
        learner: Anything with the methods of the Machine Learning Interface.
        ledger: Where proposals and votes are ordered.
        weights: Where weights are put and found.
        seed: The run's seed; with the member and the round it gives the training's.
        board: Where members post what the ledger need not order. None where the method
            needs no updates, and every vote goes to the ledger directly.
        course: The method's course; None for the plain method, in which M′ is what
            the proposer's training gives.
        signer: Signs what this member posts. With one, and a ledger that takes them,
            a proposer collects votes and submits them with its proposal.
        journal: Where this member keeps what it is about to publish. None where the
            ledger lives and dies with this process.
        met_before: Tells a member whose journal is new whether others know it.
        show_scores: Post the scores behind votes. Otherwise they stay home.

    Attributes:
        goes_ahead: Whether to train on a proposal while the vote on it runs. The learner
            then accepts M′ before it is everyone's and, where it is rejected, M again.
    """

    def __init__(
        self,
        member: str,
        learner: MachineLearningInterface,
        *,
        ledger: Ledger,
        weights: WeightsStore,
        seed: int = 0,
        board: Board | None = None,
        course: Course | None = None,
        signer: Signer | None = None,
        journal: Journal | None = None,
        met_before: MetBefore = newcomer,
        show_scores: bool = False,
    ) -> None:
        self.member = member
        self.learner = learner
        self.ledger = ledger
        self.board = board
        self.course = course
        self._weights = weights
        self._signer = signer
        self._journal = journal
        self._show_scores = show_scores
        self.duty = Duty(
            member,
            all_train=course is not None and course.method.all_train,
            collects=board is not None and signer is not None and isinstance(ledger, Collector),
        )
        self._trainee = Trainee(member, learner, weights=weights, course=course, seed=seed)
        self._hidden: Reveal | None = None
        self._shown: tuple[int, float] = (-1, 0.0)
        self.goes_ahead = False
        self._silence = None if journal is None else Silence(member, ledger, journal, met_before)

    def due(self, state: State, notes: Sequence[Note] = (), now: int = 0) -> Action | None:
        """What is to be done in this state; None is to wait.

        Args:
            state: The ledger's.
            notes: What stands on the board for the live round.
            now: Ledger time, in seconds.
        """
        if self.lacks(state):
            return None if self.duty.rests(state) else Action.ACCEPT
        if self._silence is not None and self._silence.holds(state, notes):
            return None
        patient = self.duty.collects and self._patient(state, notes)
        action = self.duty.due(state, notes, now, patient=patient)
        if action in _MAKES and self.course is not None and self.course.seeks:
            return None
        if action in _VOTES and self._journal and self._has_voted_else(state, notes):
            return None
        return None if action is Action.REVEAL and self._kept_vote(state) is None else action

    def lacks(self, state: State) -> bool:
        """Whether its learner holds another model than everyone's, and has not gone ahead."""
        return self._trainee.lacks(state)

    def hold(self, proposal: Digest) -> None:
        """Let the learner accept a proposal's weights, unless it holds them, and be idle.

        Raises:
            StoreError: They cannot be had.
            WeightsError: They are no weights of the experiment.
        """
        self._trainee.hold(proposal)

    def _patient(self, state: State, notes: Sequence[Note]) -> bool:
        """Whether a moment ago is when it first saw its candidate among the notes."""
        if candidate(state, notes) is None:
            return False
        if self._shown[0] != state.round:
            self._shown = state.round, time.monotonic()
        return time.monotonic() - self._shown[1] < GRACE_SECONDS

    def _has_voted_else(self, state: State, notes: Sequence[Note]) -> bool:
        """Whether it has voted on another proposal in the round, which it does only once."""
        vote = self._recall(state.round, Vote)
        voted_on = state.proposal or candidate(state, notes)
        return isinstance(vote, Vote | Commit) and vote.proposal != voted_on

    def _kept_vote(self, state: State) -> Reveal | None:
        """The vote it has committed to in the round."""
        kept = self._recall(state.round, Reveal) or self._hidden
        return kept if isinstance(kept, Reveal) and kept.round == state.round else None

    def work(self, action: Action, state: State, notes: Sequence[Note] = ()) -> Done:
        """Do what is `due` in this state; nothing is published yet.

        Raises:
            LearnerError: The learner returned something that is not weights of the
                experiment's schema, or no verdict on them.
        """
        try:
            done = self._do(action, state, notes)
            self._trainee.check(action, state)
            if self.goes_ahead:
                self._go_ahead(action, state)
        except Exception as reason:
            reason.add_note(f"while {self.member!r} was to {action.value}, round {state.round}")
            raise
        return done

    def _do(self, action: Action, state: State, notes: Sequence[Note]) -> Done:
        if action is Action.ACCEPT:
            self.hold(state.current)
            return Done()
        if action is Action.TRAIN and self.course is not None:
            return Done(notes=(self._signed(self._update(state, self.course)),))
        if action is Action.PROPOSE:
            turn = self._turn(state, notes)
            if isinstance(turn, Propose) and self.duty.collecting(state):
                shown = Candidate(turn.round, turn.sender, turn.proposal)
                return Done(notes=(self._signed(shown),))
            return Done(turn)
        if action is Action.COLLECT:
            return self._collect(state, notes)
        if action is Action.REVEAL:
            return Done(self._kept_vote(state))
        return (self._vote if action is Action.VOTE else self._commit)(state, notes)

    def step(self) -> Action | None:
        """Do what is due and publish it; return what was due, None to wait."""
        done = step_together([self])
        return done[0] if done else None

    def _go_ahead(self, action: Action, state: State) -> None:
        """Begin to train on a proposal, once there is nothing left to say about it."""
        expected = self._expected(action, state)
        if expected is None or not self.duty.trains_next(state, expected):
            return
        self._trainee.go_ahead(expected, state)

    def _expected(self, action: Action, state: State) -> Digest | None:
        """The proposal that will be everyone's model, as far as what it did itself tells."""
        if action is Action.PROPOSE and not state.rule.proposer_votes:
            turn = self._recall(state.round, Propose)
            return turn.proposal if isinstance(turn, Propose) else None
        if action is Action.VOTE:
            vote = self._recall(state.round, Vote)
            return vote.proposal if isinstance(vote, Vote) and _approves(vote) else None
        if action is Action.COMMIT:
            kept = self._kept_vote(state)
            return state.proposal if kept is not None and _approves(kept) else None
        return None

    def _update(self, state: State, course: Course) -> Update:
        """What training gives in the live round: once, and again the same after a crash."""
        found = self._recall(state.round, Update)
        if isinstance(found, Update):
            return found
        update = self._trainee.update(state, course.digest)
        self._keep(update)
        return update

    def _turn(self, state: State, notes: Sequence[Note]) -> Propose | Pass:
        found = self._recall(state.round, Propose)
        if isinstance(found, Propose | Pass):
            return found
        turn: Propose | Pass = Pass(state.round, self.member)
        try:
            digest = self._proposal(state, notes)
            if digest is not None:
                turn = Propose(state.round, self.member, digest)
        except NotFinite as reason:
            _log.warning("%s passes round %d: %s", self.member, state.round, reason)
        except LearnerError as reason:
            raise type(reason)(f"{self.member!r} cannot propose: {reason}") from None
        self._keep(turn)
        return turn

    def _proposal(self, state: State, notes: Sequence[Note]) -> Digest | None:
        """Make M′ and store it; None where there is nothing to propose."""
        merged: tuple[Update, ...] = ()
        if self.course is None:
            weights = self._trainee.train(state)
        else:
            merged = self._merged(state, notes, self.course)
            weights = Weights(self.course.merge(merged)) if merged else None
        if weights is None:
            return None
        return self._weights.put(
            weights,
            round_index=state.round,
            sender=self.member,
            base=state.current,
            state="" if self.course is None else self.course.digest,
            merged=merged,
        )

    def _merged(self, state: State, notes: Sequence[Note], course: Course) -> tuple[Update, ...]:
        """The updates to merge, in member order: those that hold, and whose weights can be had."""
        if not course.method.all_train:
            update = self._update(state, course)
            return (self._signed(update),) if update.weights else ()
        given = sorted((note for note in notes if isinstance(note, Update)), key=_round)
        updates = {note.sender: note for note in given if course.sound(note, state)}
        sound = [updates[member] for member in state.members if member in updates]
        had = []
        found = self._weights.get_updates(sound, state.current)
        for update, weights in zip(sound, found, strict=True):
            if isinstance(weights, Weights):
                had.append(update)
            else:
                _log.warning("%s leaves out %s: %s", self.member, update.sender, weights)
        return tuple(had)

    def _collect(self, state: State, notes: Sequence[Note]) -> Done:
        shown = candidate(state, notes)
        if shown is None:
            return Done()
        ballots = [each for each in ballots_of(state, notes) if self._is_genuine(each)]
        return Done(Propose(state.round, self.member, shown), ballots)

    def _vote(self, state: State, notes: Sequence[Note]) -> Done:
        proposal = state.proposal or candidate(state, notes)
        if proposal is None:
            return Done()
        vote, scores = self._recall(state.round, Vote), None
        if not isinstance(vote, Vote):
            choice, scores = self._judge(state, proposal, notes)
            vote = Vote(state.round, self.member, proposal, choice)
            self._keep(vote)
        shown: tuple[Note, ...] = () if scores is None else (scores,)
        if state.proposal is not None:
            return Done(vote, notes=shown)
        ballot = self._signed(Ballot(vote.round, vote.sender, vote.proposal, vote.choice))
        return Done(notes=(ballot, *shown))

    def _commit(self, state: State, notes: Sequence[Note]) -> Done:
        found = self._recall(state.round, Commit)
        if isinstance(found, Commit):
            return Done(found)
        if state.proposal is None:
            return Done()
        choice, scores = self._judge(state, state.proposal, notes)
        salt = secrets.token_hex(32)
        vote = Vote(state.round, self.member, state.proposal, choice)
        hidden = self.ledger.commitment(vote, salt)
        commit = Commit(state.round, self.member, state.proposal, hidden)
        self._hidden = Reveal(state.round, self.member, choice, salt)
        self._keep(commit, self._hidden)
        return Done(commit, notes=() if scores is None else (scores,))

    def _judge(
        self, state: State, proposal: Digest, notes: Sequence[Note]
    ) -> tuple[Choice, Scores | None]:
        try:
            self._weights.check_origin(
                proposal, round_index=state.round, sender=state.proposer, base=state.current
            )
            if self.course is not None:
                early = self.duty.all_train and came_early(state, self.ledger.now())
                self.course.check(proposal, state)
                if self.duty.all_train:
                    here = [note for note in notes if isinstance(note, Update)]
                    held = here if early else _held_before(proposal, state, notes)
                    self.course.check_whole(proposal, state, held, early=early)
            verdict = self._trainee.test(proposal, state)
        except WeightsError as reason:
            _log.warning("%s rejects round %d: %s", self.member, state.round, reason)
            return Choice.REJECT, None
        except StoreError as reason:
            # Who rejects a merge has judged its bytes: the method's state follows from them.
            if self.course is None and isinstance(reason, BlobCorrupt):
                _log.warning("%s rejects round %d: %s", self.member, state.round, reason)
                return Choice.REJECT, None
            _log.warning("%s abstains in round %d: %s", self.member, state.round, reason)
            return Choice.ABSTAIN, None
        choice = self._choice(verdict.vote)
        if not self._show_scores:
            return choice, None
        scores = _measured(verdict.vote_score), _measured(verdict.test_score)
        return choice, Scores(state.round, self.member, *scores)

    def _choice(self, vote: object) -> Choice:
        if vote is None:
            return Choice.ABSTAIN
        if type(vote).__name__ in ("bool", "bool_"):  # numpy's too
            return Choice.APPROVE if vote else Choice.REJECT
        raise LearnerError(
            f"{self.member!r}: mli_test_weights voted with a {type(vote).__name__}; "
            "a vote is True to approve, False to reject, None to abstain"
        )

    def _signed(self, note: NoteT) -> NoteT:
        return note if self._signer is None else self._signer.sign(note)

    def _is_genuine(self, ballot: Ballot) -> bool:
        try:
            if self._signer is not None:
                self._signer.check(ballot)
        except BadSignature as reason:
            _log.warning("%s leaves out a ballot: %s", self.member, reason)
            return False
        return True

    def _keep(self, *records: Published) -> None:
        if self._journal is not None:
            self._journal.write(*records)

    def _recall(self, round_index: int, kind: type[Published]) -> Published | None:
        return None if self._journal is None else self._journal.recall(round_index, kind)


def _held_before(proposal: Digest, state: State, notes: Sequence[Note]) -> list[Update]:
    """Updates of the live round that came before the note that shows a proposal, if one does."""
    held = []
    for note in notes:
        if isinstance(note, Candidate) and note.proposal == proposal:
            break
        if isinstance(note, Update) and note.round == state.round:
            held.append(note)
    return held


def _approves(vote: Vote | Reveal) -> bool:
    return vote.choice is Choice.APPROVE


def _round(note: Note) -> int:
    return note.round


def _measured(score: float) -> float | None:
    return float(score) if math.isfinite(score) else None
