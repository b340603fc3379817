"""The rules and the local ledger in lock-step with a naive model of the protocol.

The model is written from the protocol's words, with sets, dictionaries and exact
fractions, and lets time pass one deadline at a time.
"""

from __future__ import annotations

import hashlib
from contextlib import nullcontext
from fractions import Fraction

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from colearn import rules
from colearn.errors import (
    AlreadyEndorsed,
    AlreadyProposed,
    AlreadyVoted,
    InvalidChange,
    NoProposal,
    NotAMember,
    NotDrawn,
    NothingToReveal,
    NotYourTurn,
    ProposerMayNotVote,
    RefusedEvent,
    WrongPhase,
    WrongProposal,
    WrongReveal,
    WrongRound,
)
from colearn.ledgers.local import LocalLedger
from colearn.records import (
    AddMember,
    Change,
    Choice,
    Commit,
    Endorse,
    Event,
    Experiment,
    Pass,
    Propose,
    RemoveMember,
    ReplaceMember,
    Reveal,
    Rotate,
    Rule,
    SetRule,
    Vote,
    digest_of,
)
from colearn.rules import Decision, Outcome

NAMES = ("ada", "bob", "cyd", "dan", "eve", "fay")
MODEL = digest_of([b"M0"])
PROPOSALS = (digest_of([b"p"]), digest_of([b"q"]))

shares = st.sampled_from([Fraction(num, den) for den in (2, 3, 4, 5) for num in range(1, den)])
common = {
    "threshold": shares,
    "inclusive": st.booleans(),
    "quorum": st.just(Fraction(0)) | shares,
    "propose_seconds": st.integers(1, 20),
    "vote_seconds": st.integers(1, 20),
    "governance": st.sampled_from([Fraction(1, 2), Fraction(2, 3)]),
}
voting_rules = st.builds(Rule, committee=st.integers(2, 4), **common) | st.builds(
    Rule,
    proposer_votes=st.booleans(),
    reveal_seconds=st.just(0) | st.integers(1, 20),
    **common,
)
names = st.sampled_from(NAMES)
changes = st.one_of(
    st.builds(AddMember, names),
    st.builds(RemoveMember, names),
    st.builds(ReplaceMember, names, names),
    st.builds(SetRule, voting_rules),
)

Ended = tuple[int, Outcome, str | None, frozenset[str]]


class Naive:
    """The protocol, as a clerk with paper and pencil would keep it."""

    def __init__(self, members: list[str], rule: Rule) -> None:
        self.members, self.rule = members, rule
        self.now = 0
        self.current = MODEL
        self.ended: list[Ended] = []
        self.ballots: dict[int, dict[str, Choice]] = {}
        self.voters: dict[int, set[str]] = {}
        self.groups: dict[int, list[str]] = {}
        self.proposals: dict[int, str] = {}
        self.secret: set[int] = set()
        self.hidden: dict[int, dict[str, tuple[Choice, str] | None]] = {}
        self.endorsed: dict[str, Change] = {}
        self.scheduled: list[Change | Rotate] = []
        self.open(0, 0)

    def open(self, number: int, now: int) -> None:
        """A round begins; what the group agreed on takes effect."""
        if self.scheduled:
            self.endorsed = {} if self.agreed() else self.endorsed
            for change in self.scheduled:
                self.members, self.rule = changed(self.members, self.rule, change)
                if isinstance(change, Rotate) and change.sender in self.endorsed:
                    self.endorsed[change.successor] = self.endorsed.pop(change.sender)
            self.scheduled = []
        self.round, self.until = number, now + self.rule.propose_seconds
        self.proposer = self.members[number % len(self.members)]
        self.groups[number] = list(self.members)
        self.ballots[number], self.hidden[number], self.revealing = {}, {}, False
        if self.rule.reveal_seconds > 0:
            self.secret.add(number)
        self.voters[number] = set(self.members)
        if not self.rule.proposer_votes:
            self.voters[number].remove(self.proposer)
        if 0 < self.rule.committee < len(self.voters[number]):
            self.voters[number] = self.draw(number)

    def draw(self, number: int) -> set[str]:
        """Lots in a hat: the digest accepted last and the round say which are drawn."""
        lots = {who for who in self.members if who != self.proposer}
        size, wanted = len(self.members), self.rule.committee
        resting = 2 * wanted > len(lots)
        if resting:
            wanted = len(lots) - wanted
        found: set[str] = set()
        for counter in range(30):
            text = bytes.fromhex(self.current) + number.to_bytes(32) + counter.to_bytes(32)
            hashed = hashlib.sha256(text).digest()
            for high, low in zip(hashed[::2], hashed[1::2], strict=True):
                value = 256 * high + low
                if value < 65_536 // size * size and len(found) < wanted:
                    found |= lots & {self.members[value % size]}
        return lots - found if resting else found

    def end(self, outcome: Outcome, now: int) -> None:
        """The round is over; the next one begins."""
        proposal = self.proposals.get(self.round)
        yes = {who for who, vote in self.ballots[self.round].items() if vote is Choice.APPROVE}
        self.ended.append((self.round, outcome, proposal, frozenset(yes)))
        if outcome is Outcome.ACCEPTED and proposal is not None:
            self.current = proposal
        self.open(self.round + 1, now)

    def pass_time(self, now: int) -> None:
        """Let time pass, deadline by deadline."""
        self.now = now
        while self.until <= now:
            if self.round in self.secret & set(self.proposals) and not self.revealing:
                self.reveal_votes(self.until)
            else:
                self.end(Outcome.EXPIRED, self.until)

    def reveal_votes(self, now: int) -> None:
        """Those who have committed to votes may reveal them."""
        self.revealing, self.until = True, now + self.rule.reveal_seconds

    def agreed(self) -> bool:
        """Did members agree on something that is to happen?"""
        return any(not isinstance(change, Rotate) for change in self.scheduled)

    def decided(self) -> list[int]:
        """The rounds that are over and had a proposal."""
        return sorted(number for number in self.proposals if number < self.round)

    def refusal(self, event: Event) -> type[RefusedEvent] | None:
        """Why the protocol does not allow the event; None where it does."""
        if isinstance(event, Endorse | Rotate):
            return self.change_refusal(event)
        if isinstance(event, Vote | Commit | Reveal):
            return self.vote_refusal(event)
        if event.sender not in self.members:
            return NotAMember
        if event.round != self.round:
            return WrongRound
        if event.sender != self.proposer:
            return NotYourTurn
        return AlreadyProposed if self.round in self.proposals else None

    def change_refusal(self, event: Endorse | Rotate) -> type[RefusedEvent] | None:
        """Changes must make sense, all together; nobody rotates where others agreed on one."""
        if event.sender not in self.members:
            return NotAMember
        change = event if isinstance(event, Rotate) else event.change
        if change in self.scheduled or self.endorsed.get(event.sender) == change:
            return InvalidChange if change is event else AlreadyEndorsed
        members, rule = self.members, self.rule
        for each in self.scheduled:
            members, rule = changed(members, rule, each)
        if change is event and self.agreed():
            return InvalidChange
        return None if sensible(members, change) else InvalidChange

    def vote_refusal(self, vote: Vote | Commit | Reveal) -> type[RefusedEvent] | None:
        """Votes count in the open round, and are noted in the last one that was decided."""
        number = vote.round
        late = [] if isinstance(vote, Commit) else self.decided()[-1:]
        if number not in {self.round, *late}:
            return WrongRound
        if vote.sender not in self.groups[number]:
            return NotAMember
        if number not in self.proposals:
            return NoProposal
        if isinstance(vote, Vote) == (number in self.secret):
            return WrongPhase
        revealing = self.revealing or number in late
        if not isinstance(vote, Vote) and isinstance(vote, Reveal) != revealing:
            return WrongPhase
        if isinstance(vote, Reveal):
            if vote.sender not in self.hidden[number]:
                return NothingToReveal
            meant = self.hidden[number][vote.sender]
            return None if meant == (vote.choice, vote.salt) else WrongReveal
        return self.ballot_refusal(vote, late=number in late)

    def ballot_refusal(self, vote: Vote | Commit, *, late: bool) -> type[RefusedEvent] | None:
        """Those who may vote do, once; too late, all who did not propose."""
        number = vote.round
        proposer = self.groups[number][number % len(self.groups[number])]
        if not late and vote.sender not in self.voters[number] | {proposer}:
            return NotDrawn
        if vote.proposal != self.proposals[number]:
            return WrongProposal
        if vote.sender == proposer and proposer not in self.voters[number]:
            return ProposerMayNotVote
        known = {**self.ballots[number], **self.hidden[number]}
        return AlreadyVoted if vote.sender in known else None

    def allow(self, event: Event) -> None:
        """What an allowed event does."""
        if isinstance(event, Propose):
            self.proposals[event.round] = event.proposal
            self.until = self.now + self.rule.vote_seconds
        elif isinstance(event, Pass):
            self.end(Outcome.EXPIRED, self.now)
        elif isinstance(event, Commit):
            self.hidden[self.round][event.sender] = None
            if self.voters[self.round] == set(self.hidden[self.round]):
                self.reveal_votes(self.now)
        elif isinstance(event, Vote | Reveal):
            self.hidden[event.round].pop(event.sender, None)
            self.ballots[event.round][event.sender] = event.choice
            outcome = self.outcome() if event.round == self.round else Outcome.PENDING
            if outcome is not Outcome.PENDING:
                self.end(outcome, self.now)
        elif isinstance(event, Rotate):
            self.rotate(event)
        else:
            self.endorsed[event.sender] = event.change
            backers = [who for who, what in self.endorsed.items() if what == event.change]
            if Fraction(len(backers), len(self.members)) > self.rule.governance:
                self.scheduled.append(event.change)
                for who in backers:
                    del self.endorsed[who]

    def rotate(self, event: Rotate) -> None:
        """What others endorse of a member that rotates its key means the new one from now on."""
        self.scheduled.append(event)
        for who, change in self.endorsed.items():
            if isinstance(change, RemoveMember) and change.member == event.sender:
                self.endorsed[who] = RemoveMember(event.successor)
            if isinstance(change, ReplaceMember) and change.member == event.sender:
                self.endorsed[who] = ReplaceMember(event.successor, change.successor)

    def outcome(self) -> Outcome:
        """Is it certain what all votes together will decide?"""
        voters, ballots = self.voters[self.round], self.ballots[self.round]
        yes = sum(vote is Choice.APPROVE for vote in ballots.values())

        def suffices(approvals: int) -> bool:
            share = Fraction(approvals, len(voters))
            tie = share == self.rule.threshold and self.rule.inclusive
            return tie or share > self.rule.threshold

        if suffices(yes) and Fraction(len(ballots), len(voters)) >= self.rule.quorum:
            return Outcome.ACCEPTED
        to_come = set(self.hidden[self.round]) if self.revealing else voters - set(ballots)
        all_cast = Fraction(len(ballots) + len(to_come), len(voters))
        hope = suffices(yes + len(to_come)) and all_cast >= self.rule.quorum
        return Outcome.PENDING if hope else Outcome.REJECTED


def sensible(members: list[str], change: Change | Rotate) -> bool:
    """Would a valid group be left?"""
    if isinstance(change, Rotate):
        change = ReplaceMember(change.sender, change.successor)
    if isinstance(change, AddMember):
        return change.member not in members
    if isinstance(change, RemoveMember):
        return change.member in members and len(members) > 2
    if isinstance(change, ReplaceMember):
        return change.member in members and change.successor not in members
    return True


def changed(members: list[str], rule: Rule, change: Change | Rotate) -> tuple[list[str], Rule]:
    """The group after a change."""
    members = list(members)
    if isinstance(change, Rotate):
        change = ReplaceMember(change.sender, change.successor)
    if isinstance(change, AddMember):
        members.append(change.member)
    elif isinstance(change, RemoveMember):
        members.remove(change.member)
    elif isinstance(change, ReplaceMember):
        members[members.index(change.member)] = change.successor
    else:
        rule = change.rule
    return members, rule


class LockStep(RuleBasedStateMachine):
    """Whatever happens, the rules, the ledger and the clerk agree."""

    @initialize(count=st.integers(2, 5), voting_rule=voting_rules)
    def start(self, count: int, voting_rule: Rule) -> None:
        """Found a group."""
        experiment = Experiment(
            members=NAMES[:count], initial=MODEL, schema=MODEL, rule=voting_rule
        )
        self.naive = Naive(list(NAMES[:count]), voting_rule)
        self.state = rules.start(experiment, 0)
        self.ledger = LocalLedger(experiment)
        self.decisions: list[Decision] = []

    def submit(self, event: Event) -> bool:
        """Put an event to all three; return whether it is allowed."""
        refusal = self.naive.refusal(event)
        before = self.state
        for apply in (self.apply, self.ledger.submit):
            with nullcontext() if refusal is None else pytest.raises(refusal) as caught:
                apply(event)
            assert refusal is None or caught.type is refusal
        if refusal is None:
            self.naive.allow(event)
        else:
            assert self.state is before
        return refusal is None

    def apply(self, event: Event) -> None:
        """Put an event to the rules."""
        self.state, decisions = rules.apply(
            self.state, event, self.naive.now, self.ledger.commitment
        )
        self.decisions += decisions

    @rule(proposal=st.sampled_from(PROPOSALS))
    def propose_in_turn(self, proposal: str) -> None:
        """The proposer proposes."""
        self.submit(Propose(self.naive.round, self.naive.proposer, proposal))

    @rule()
    def pass_in_turn(self) -> None:
        """The proposer gives its turn away."""
        self.submit(Pass(self.naive.round, self.naive.proposer))

    def commit(self, number: int, sender: str, choice: Choice) -> None:
        """Somebody commits to a vote on what is proposed in a round."""
        proposal, salt = self.naive.proposals.get(number, PROPOSALS[0]), f"{sender}'s salt"
        commitment = self.ledger.commitment(Vote(number, sender, proposal, choice), salt)
        if self.submit(Commit(number, sender, proposal, commitment)):
            self.naive.hidden[number][sender] = (choice, salt)

    def reveal(self, number: int, sender: str, wrong: bool) -> None:
        """Somebody reveals its vote, if it has one, or another vote."""
        hidden = self.naive.hidden.get(number, {})
        choice, salt = hidden.get(sender) or (Choice.APPROVE, "salt")
        self.submit(Reveal(number, sender, choice, salt + "!" * wrong))

    @rule(
        choices=st.lists(st.sampled_from(Choice), min_size=5, max_size=5),
        silent=st.integers(0, 9),
        wrong=st.booleans(),
    )
    def everybody_votes(self, choices: list[Choice], silent: int, wrong: bool) -> None:
        """All members vote on what is open, some of them too late or not allowed to.

        Where votes are secret, all but one commit to votes, and then reveal them.
        """
        number, members = self.naive.round, list(self.naive.members)
        for member, choice in zip(members, choices, strict=False):
            if number not in self.naive.secret:
                self.submit(
                    Vote(number, member, self.naive.proposals.get(number, PROPOSALS[0]), choice)
                )
            elif member != NAMES[silent % len(NAMES)]:
                self.commit(number, member, choice)
        if number in self.naive.secret & set(self.naive.proposals):
            if not self.naive.revealing:
                self.wait(0, exactly=True)
            for member in members:
                self.reveal(number, member, wrong)
                self.reveal(number, member, wrong=False)

    @rule(sender=names, ago=st.integers(0, 1), wrong=st.booleans(), choice=st.sampled_from(Choice))
    def commit_and_reveal(self, sender: str, ago: int, wrong: bool, choice: Choice) -> None:
        """Somebody commits to a vote, and reveals it as soon as may be or too soon."""
        numbers = [self.naive.round, *reversed(self.naive.decided())]
        number = numbers[ago % len(numbers)]
        self.commit(number, sender, choice)
        self.reveal(number, sender, wrong)

    @rule(sender=names, ago=st.integers(0, 1), choice=st.sampled_from(Choice))
    def vote(self, sender: str, ago: int, choice: Choice) -> None:
        """Somebody votes, on the open round or on the last decided."""
        numbers = [self.naive.round, *reversed(self.naive.decided())]
        number = numbers[ago % len(numbers)]
        self.submit(Vote(number, sender, self.naive.proposals.get(number, PROPOSALS[0]), choice))

    @rule(sender=names, off=st.integers(-3, 2), proposal=st.sampled_from(PROPOSALS))
    def do_anything(self, sender: str, off: int, proposal: str) -> None:
        """Somebody does something in some round."""
        number = self.naive.round + off
        for event in (
            Propose(number, sender, proposal),
            Vote(number, sender, proposal, Choice.APPROVE),
            Pass(number, sender),
            Commit(number, sender, proposal, "commitment"),
        ):
            self.submit(event)

    @rule(change=changes, senders=st.lists(names, min_size=1, max_size=6, unique=True))
    def endorse(self, change: Change, senders: list[str]) -> None:
        """Some endorse a change."""
        for sender in senders:
            self.submit(Endorse(sender, change))

    @rule(sender=names, successor=names, removal=st.booleans())
    def rotate(self, sender: str, successor: str, removal: bool) -> None:
        """A member rotates its key, now and then when others want to be rid of it."""
        if removal:
            self.endorse(RemoveMember(sender), list(self.naive.members)[:2])
        self.submit(Rotate(sender, successor))
        if removal:
            self.endorse(RemoveMember(successor), list(self.naive.members)[1:])

    @rule(change=changes)
    def agree(self, change: Change) -> None:
        """All members endorse a change."""
        for member in list(self.naive.members):
            self.submit(Endorse(member, change))

    @rule(seconds=st.integers(1, 60), exactly=st.booleans())
    def wait(self, seconds: int, exactly: bool) -> None:
        """Time passes, often to just a deadline."""
        now = self.naive.until - seconds % 2 if exactly else self.naive.now + seconds
        now = max(now, self.naive.now)
        self.naive.pass_time(now)
        self.state, decisions = rules.advance(self.state, now)
        self.decisions += decisions
        self.ledger.wait(len(self.ledger.events()), now)

    @invariant()
    def they_agree(self) -> None:
        """Same round, same members, same votes, same model, same past."""
        state, naive = self.state, self.naive
        assert (state.round, list(state.members)) == (naive.round, naive.members)
        assert (state.rule, state.deadline) == (naive.rule, naive.until)
        assert (state.current, state.proposer) == (naive.current, naive.proposer)
        assert state.proposal == naive.proposals.get(naive.round)
        voters = {who for index, who in enumerate(state.members) if state.voters >> index & 1}
        assert voters == naive.voters[naive.round]
        for choice in Choice:
            bitmap = getattr(state, choice.value)
            cast = {who for index, who in enumerate(state.members) if bitmap >> index & 1}
            ballots = naive.ballots[naive.round].items()
            assert cast == {who for who, vote in ballots if vote is choice}
        hidden = [index for index, each in enumerate(state.commitments) if each is not None]
        assert {state.members[index] for index in hidden} == set(naive.hidden[naive.round])
        assert (state.revealing is not None) == naive.revealing
        assert list(state.scheduled) == naive.scheduled
        assert [naive.endorsed.get(who) for who in naive.members] == list(state.endorsed)
        ended: list[Ended] = []
        for each in self.decisions:
            voters = {who for index, who in enumerate(each.members) if each.voters >> index & 1}
            assert voters == naive.voters[each.round]
            assert each.eligible == len(voters)
            yes = (who for index, who in enumerate(each.members) if each.approve >> index & 1)
            ended += [
                (number, each.outcome, each.proposal, frozenset(yes))
                for number in range(each.round, each.through + 1)
            ]
        assert ended == naive.ended
        if state.last is not None:
            last = naive.decided()[-1]
            assert (state.last.round, state.last.proposal) == (last, naive.proposals[last])
            assert state.last.voted.bit_count() == len(naive.ballots[last])
        assert self.ledger.view() == state
        assert list(self.ledger.decisions()) == self.decisions


LockStep.TestCase.settings = settings(stateful_step_count=40)
TestLockStep = LockStep.TestCase
